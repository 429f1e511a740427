"""Pruning while `fit` runs: `smh.PruningSchedule`."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras

from smh.doors.candidates import Candidate, by_pattern, candidates, check_model
from smh.doors.pruning import (
    Sparsity,
    add_masks,
    check_may_be_pruned,
    check_way,
    checked_sparsity,
    prune,
    sparsity_of,
)
from smh.doors.pruning_course import Course
from smh.errors import ArgumentError, SmhWarning
from smh.typing import Selector
from smh.virtual_variable.inside_keras.training_state import build_optimizer, steps_made

# A model that was stopped is as far as the schedule was at that step, up to rounding (of filters).
_ALIKE = 0.1


class PruningSchedule(keras.callbacks.Callback):
    """Prunes step by step while `fit` runs, and logs how sparse each weight is.

    `fit` needs it only for a sparsity that changes. It stands before `TensorBoard`, `CSVLogger`
    and the like, which then show `sparsity` and `sparsity/PATH` for each epoch.

    **It goes on where it was stopped**, as learning rate schedules do: its step is the number of
    steps that the optimizer has made since the model has masks, which is in every file that holds
    the optimizer (`.keras`, `ModelCheckpoint`, `BackupAndRestore`). Where the optimizer is a new
    one, its step is `initial_epoch` times the steps of an epoch. Either counts only if the model is
    at least as sparse as the schedule would have made it by then (up to 0.1); else the model was
    pruned by something else, or not at all, and the schedule begins at 0. One schedule object that
    is given to several `fit` calls on a model goes on from one to the next.

    Args:
        sparsity: at the end, as in `smh.prune`; `None`: prune nothing, only log.
        shape: how to get there. `"polynomial"`: fast, then slowly, `1 - (1 - t) ** power` of the
            way. `"constant"`: at once at `begin`. `"rounds"`: prune and retrain, `rounds` times,
            each time the same share of what is left.
        begin: the step (batch) at which it begins, counted from the schedule's first one over all
            epochs and `fit` calls.
        end: the step at which the last pruning happens; default: three quarters of the steps from
            the schedule's first one to the end of this `fit`, where Keras knows how many there are.
            Give it where one schedule spans several `fit` calls of different `epochs`. What is
            pruned already stays so.
        every: steps between two prunings, of `"polynomial"`.
        power: exponent of `"polynomial"`.
        rounds: prunings of `"rounds"`.
        scope: see `smh.prune`; so are `structure`, `apply_to`, `exclude` and `seed`.

    Raises:
        ArgumentError: a value that cannot work.

    Warns:
        SmhWarning: `fit` ended before the schedule did, or another callback put earlier weights
            back with their masks, as `EarlyStopping(restore_best_weights=True)` does: fewer numbers
            are zero than asked for. `start_from_epoch=` lets it look only at epochs in which the
            schedule has ended.

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
        seed: int | None = 0,
    ):
        super().__init__()
        if structure == "channels":
            raise ArgumentError(
                "A schedule takes single numbers or filters. Take channels before fit: "
                "smh.prune(model, 0.3, structure='channels'), fit, and again with a higher number."
            )
        if sparsity is not None:
            check_way(sparsity, scope, structure, seed)
        self.course = Course(shape, begin, end, every, power, rounds)
        self.sparsity = sparsity
        self._prune = functools.partial(
            prune, scope=scope, structure=structure, apply_to=apply_to, exclude=exclude, seed=seed
        )
        self._scope, self._selection = scope, (apply_to, exclude)
        self._items: list[Candidate] = []
        self._levels: list[float] = []
        self._known: Any = lambda: None  # the model of the fit before
        self._counter: Any = None  # the optimizer that counted there
        self._begun, self._reached = False, 0.0
        # How many were zero after the last pruning, and in which epoch that was.
        self._left, self._epoch, self._pruned_in = 0.0, 0, 0
        # Steps: of the schedule now, before this epoch, its last; of the optimizer at its first.
        self._step = self._before_epoch = self._last = self._origin = 0

    def set_model(self, model):
        """Gives the weights their masks.

        Relies on: `fit` hands out the model before it compiles its step, and before other callbacks
        restore anything.
        """
        super().set_model(model)
        self._history = _behind_all(model)
        check_model(model)
        if self.sparsity is None:
            return
        items = candidates(model, *self._selection)
        levels = by_pattern(model, items, self.sparsity, "sparsity", checked_sparsity)
        self._items, self._levels = [items[i] for i in levels], list(levels.values())
        check_may_be_pruned(self._items)
        self._new = add_masks(model, self._items)
        build_optimizer(model)
        self._made = steps_made(model)

    def on_train_begin(self, logs=None):
        """Forgets how the last `fit` went on."""
        self._begun, self._reached = False, 0.0

    def on_epoch_begin(self, epoch, logs=None):
        """Finds, in the first epoch, where the schedule is; may prune at once."""
        if not self._levels:
            return
        self._epoch = epoch
        if not self._begun:
            self._check_length()
            self._find_place(epoch)
            self._begun = True
        elif (made := steps_made(self.model)) != self._made:
            # Loss scaling leaves steps out. A training step may also use optimizers of its own.
            self._made, self._step = made, made - self._origin
        self._before_epoch = self._step
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

    def on_train_end(self, logs=None):
        """Warns, when the other callbacks have had their turn, if fewer are zero than asked for."""
        if self._begun and self._history is not None:
            _and_then(self._history, self._warn_if_short)
        elif self._begun:
            self._warn_if_short()

    def _warn_if_short(self) -> None:
        zeros = self._zeros()
        if self.share_at(self._step) < 1:
            why = f"This fit ended at step {self._step:,} of the pruning schedule, whose last one "
            why += f"is at step {self._last:,}"
            advice = "Go on with the same schedule and `initial_epoch=`, train for more epochs, or "
            advice += "give a smaller `end`."
        elif round(zeros, 3) < round(self._left, 3):  # what is printed
            why = "Another callback put earlier weights back, with the masks of their epoch"
            advice = "EarlyStopping(restore_best_weights=True) does so: with start_from_epoch="
            advice += f"{self._pruned_in} it looks only at epochs in which all is pruned. Or prune "
            advice += "first, and stop early in a second fit."
        else:
            return
        warnings.warn(
            f"{why}: {zeros:.1%} of the numbers are zero, asked for were {self._wanted(1.0):.1%}. "
            f"{advice}",
            SmhWarning,
            stacklevel=2,
        )

    def share_at(self, step: int) -> float:
        """How much of the way to the final sparsity is reached at `step`, from 0 to 1.

        For `"rounds"` that is in the logarithm of what is left.
        """
        return self.course.share_at(step, self._last)

    def _check_length(self) -> None:
        if self.course.needs_length and not self.params.get("steps"):
            raise ArgumentError(
                "Keras does not know how many steps this fit has, so `end` has to be given: "
                "smh.PruningSchedule(..., end=2000)."
            )

    def _find_place(self, epoch: int) -> None:
        model, made = self.model, steps_made(self.model)
        if self._known() is model and self._counter is model.optimizer:
            self._step = made - self._origin
        else:
            self._step = self._found(epoch, made)
            self._origin = made - self._step
        self._made = made
        self._known, self._counter = weakref.ref(model), model.optimizer

    def _found(self, epoch: int, made: int) -> int:
        """The step of a schedule that has not been at this model, or not with this optimizer."""
        if self._known() is self.model and made == self._made:
            return self._step
        restored = not self._new or made != self._made or self._zeros() > 0
        from_epochs = epoch * (self.params.get("steps") or 0)
        for step in (made, from_epochs) if restored else ():
            self._last = self._last_from(step, epoch)
            if step and self._is_as_far_as(step):
                return step
        self._last = self._last_from(0, epoch)
        return 0

    def _last_from(self, step: int, epoch: int) -> int:
        """The last step of the course, if epoch number `epoch` begins at `step`."""
        steps = self.params.get("steps") or 1
        # Whole epochs: BackupAndRestore begins the epoch anew in which it was stopped.
        return self.course.last(steps * (step // steps + self.params.get("epochs", 1) - epoch))

    def _is_as_far_as(self, step: int) -> bool:
        # A file may have been written before the schedule's own turn in that step.
        before = step - getattr(self.model, "steps_per_execution", 1)
        return self._zeros() >= self._wanted(self.share_at(before)) - _ALIKE

    def _wanted(self, share: float) -> float:
        """The share of zeros in all weights together, at a share of the way."""
        zeros = [
            self.course.sparsity(level, share) * item.size
            for item, level in zip(self._items, self._levels, strict=True)
        ]
        return sum(zeros) / sum(item.size for item in self._items)

    def _zeros(self) -> float:
        there = sparsity_of(self.model)
        zeros = [there[f"sparsity/{item.path}"] * item.size for item in self._items]
        return sum(zeros) / sum(item.size for item in self._items)

    def _advance(self):
        share = self.share_at(self._step) if self._levels else 0.0
        if share <= self._reached:
            return
        self._reached = share
        reach = [self.course.sparsity(level, share) for level in self._levels]
        # Nothing comes back of what an earlier fit, or the user, has pruned.
        if self._scope == "global":
            now: Any = max(reach[0], self._zeros())
        else:
            there = sparsity_of(self.model)
            now = [
                (item.path, max(level, there[f"sparsity/{item.path}"]))
                for item, level in zip(self._items, reach, strict=True)
            ]
        self._prune(self.model, now)
        self._left, self._pruned_in = self._zeros(), self._epoch


def _behind_all(model: keras.Model) -> keras.callbacks.History | None:
    """The callback that has its turn after all of the user's; None outside of `fit`.

    Relies on: `fit` appends a new `History`, sets it as `model.history`, and then hands out the
    model to the callbacks, in the order in which each of them always has its turn.
    """
    history = getattr(model, "history", None)
    is_next = isinstance(history, keras.callbacks.History) and history.model is None
    return history if is_next else None


def _and_then(callback: keras.callbacks.Callback, do: Callable[[], None]) -> None:
    """Lets `callback` call `do` once, when the training has ended for it."""
    ends = callback.on_train_end

    def on_train_end(logs=None):
        vars(callback).pop("on_train_end", None)
        ends(logs)
        do()

    vars(callback)["on_train_end"] = on_train_end
