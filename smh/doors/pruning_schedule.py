"""Pruning while `fit` runs: `smh.PruningSchedule`."""

from __future__ import annotations

import functools
import numbers
from typing import Any

import keras

from smh.doors.candidates import by_pattern, candidates, check_model
from smh.doors.pruning import (
    Sparsity,
    add_masks,
    check_choice,
    check_may_be_pruned,
    checked_sparsity,
    prune,
    sparsity_of,
)
from smh.errors import ArgumentError
from smh.typing import Selector

_SHAPES = ("polynomial", "constant", "rounds")
_UNKNOWN = -1


class PruningSchedule(keras.callbacks.Callback):
    """Prunes step by step while `fit` runs, and logs how sparse each weight is.

    `fit` needs it only for a sparsity that changes. It stands before `TensorBoard`, `CSVLogger`
    and the like, which then show `sparsity` and `sparsity/PATH` for each epoch.

    Args:
        sparsity: at the end, as in `smh.prune`; `None`: prune nothing, only log.
        shape: how to get there. `"polynomial"`: fast, then slowly, `1 - (1 - t) ** power` of the
            way. `"constant"`: at once at `begin`. `"rounds"`: prune and retrain, `rounds` times,
            each time the same share of what is left.
        begin: the step (batch) at which it begins, counted over all epochs of this `fit`.
        end: the step at which the last pruning happens; default: three quarters of the steps of
            this `fit`, where Keras knows how many there are. What is pruned already stays so.
        every: steps between two prunings, of `"polynomial"`.
        power: exponent of `"polynomial"`.
        rounds: prunings of `"rounds"`.
        scope: see `smh.prune`; so are `structure`, `apply_to`, `exclude` and `seed`.

    Raises:
        ArgumentError: a value that cannot work.

    Example:
        >>> schedule = smh.PruningSchedule(0.95, begin=100, end=2000)
        >>> model.fit(x, y, epochs=20, callbacks=[schedule])

    Reference: Zhu, Gupta, "To prune, or not to prune", 2017 (the polynomial, with power 3).
    """

    def __init__(
        self,
        sparsity: Sparsity | None = 0.9,
        *,
        shape: str = "polynomial",
        begin: int = 0,
        end: int | None = None,
        every: int = 100,
        power: float = 3.0,
        rounds: int = 5,
        scope: str = "layer",
        structure: str = "weights",
        apply_to: Selector | None = None,
        exclude: Selector | None = None,
        seed: int = 0,
    ):
        super().__init__()
        check_choice("shape", shape, _SHAPES)
        for name, value, least in (
            ("begin", begin, 0),
            ("end", end, begin),
            ("every", every, 1),
            ("rounds", rounds, 1),
        ):
            if value is not None and (not isinstance(value, numbers.Integral) or value < least):
                raise ArgumentError(
                    f"{name} must be a whole number of at least {least}, got {value!r}."
                )
        if not power > 0:
            raise ArgumentError(f"power must be above 0, got {power!r}.")
        self.sparsity, self.shape, self.begin, self.end = sparsity, shape, begin, end
        self.every, self.power, self.rounds = every, power, rounds
        self._prune = functools.partial(
            prune, scope=scope, structure=structure, apply_to=apply_to, exclude=exclude, seed=seed
        )
        self._scope, self._selection = scope, (apply_to, exclude)
        self._step, self._reached = 0, 0.0
        self._before_epoch = 0
        self._last = _UNKNOWN
        self._levels: dict[int, float] = {}

    def set_model(self, model):
        """Gives the weights their masks.

        Relies on: `fit` hands out the model before it compiles its step.
        """
        super().set_model(model)
        check_model(model)
        if self.sparsity is None:
            return
        items = candidates(model, *self._selection)
        self._levels = by_pattern(model, items, self.sparsity, "sparsity", checked_sparsity)
        chosen = [items[i] for i in self._levels]
        self._paths = [item.path for item in chosen]
        check_may_be_pruned(chosen)
        add_masks(model, chosen)
        optimizer = getattr(model, "optimizer", None)
        if optimizer is not None and not optimizer.built:
            optimizer.build(model.trainable_variables)

    def on_train_begin(self, logs=None):
        """Begins to count."""
        self._step, self._reached, self._last = 0, 0.0, _UNKNOWN
        self._before_epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        """Decides on the last step, in the first epoch; may prune at once."""
        self._before_epoch = self._step
        if self._last != _UNKNOWN:
            return
        if self.end is None and self.sparsity is not None and self.shape != "constant":
            # Keras counts the epochs from 0, also where `initial_epoch` is another.
            steps, epochs = self.params.get("steps"), self.params.get("epochs", 1) - epoch
            if not steps:
                raise ArgumentError(
                    "Keras does not know how many steps this fit has, so `end` has to be given: "
                    "smh.PruningSchedule(..., end=2000)."
                )
            self._last = max(self.begin, steps * epochs * 3 // 4)
        else:
            self._last = self.begin if self.end is None else self.end
        self._advance()

    def on_train_batch_end(self, batch, logs=None):
        """Prunes where the schedule says so.

        Relies on: `batch` is the number, in its epoch, of the last step that was made; with
        `steps_per_execution` there are several between two calls.
        """
        self._step = self._before_epoch + batch + 1
        self._advance()

    def on_epoch_end(self, epoch, logs=None):
        """Adds the shares of zeros to the logs."""
        if logs is not None:
            logs.update(sparsity_of(self.model))

    def share_at(self, step: int) -> float:
        """How much of the way to the final sparsity is reached at `step`, from 0 to 1.

        For `"rounds"` that is in the logarithm of what is left.
        """
        if step < self.begin:
            return 0.0
        if self.shape == "constant" or step >= self._last:
            return 1.0
        way = (step - self.begin) / max(1, self._last - self.begin)
        if self.shape == "rounds":
            return min(1.0, (int(way * (self.rounds - 1)) + 1) / self.rounds)
        way = (step - self.begin) // self.every * self.every / (self._last - self.begin)
        return 1 - (1 - way) ** self.power

    def _advance(self):
        if not self._levels:
            return
        share = self.share_at(self._step)
        if share > self._reached:
            self._reached = share
            reach = self._left if self.shape == "rounds" else lambda level: level * share
            there = sparsity_of(self.model)  # of an earlier fit: nothing comes back
            levels = list(self._levels.values())
            if self._scope == "global":
                now: Any = max(reach(levels[0]), there["sparsity"])
            else:
                now = [
                    (path, max(reach(level), there[f"sparsity/{path}"]))
                    for path, level in zip(self._paths, levels, strict=True)
                ]
            self._prune(self.model, now)

    def _left(self, level: float) -> float:
        return 1 - (1 - level) ** self._reached
