"""What changing a weight does to a model's outputs, nearly without running it: second order.

To first order a change `d` of a weight moves the outputs by `J d`, and half of the square of that
(on the scale of `smh.sensitivity.gradients`) is the divergence that it makes. `|J d|^2` is the mean
of `(g . d) ** 2` over gradients `g` of the outputs with random signs, one for each few examples, so
all weights and levels come of the same passes. What two numbers of a weight do together counts,
which the diagonal of the Gauss-Newton matrix leaves out.

That holds of small changes. What a large one makes (most of a weight gone) is measured on a few
examples at two of the levels, and the others follow: the first term that is left out grows as the
change, so the logarithm of the ratio is taken to be linear in the change's size.

References: LeCun, Denker, Solla, "Optimal Brain Damage", NIPS 1989; Theis et al., "Faster Gaze
Prediction with Dense Networks and Fisher Pruning", 2018 (1801.05787), for the diagonal; Singh,
Alistarh, "WoodFisher", NeurIPS 2020 (2004.14340), for the rest; the signs: see `gradients`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.examples import batches_of, examples_of, joined, values
from smh.sensitivity.gradients import Noticeable, signed_gradients
from smh.sensitivity.resuming import InPlaceOfTheWhole, Outputs, goes_on
from smh.sensitivity.scanned import Scanned

DIVERGENCE = "divergence"
MOST = 512  # examples
TOGETHER = 8  # of them give one gradient; more gradients tell more and take longer
SMALL = 0.01  # divergence, of which the estimate is near enough
FEW = 32  # examples on which large changes are measured, and the spread of the outputs is taken

Change = tuple[keras.Variable, np.ndarray]


def check_are_examples(data: Any) -> None:
    """Refuses what `method="exact"` takes and nothing can be looked at in.

    Raises:
        ArgumentError: `data` is a function.
    """
    if callable(data) and not hasattr(data, "__iter__"):
        raise ArgumentError(
            "method='fisher' looks at examples and calls no function: give some hundred as the "
            "model takes them, for example x[:500]."
        )


class SecondOrder:
    """Tells what changes of weights do to a model's outputs on some examples.

    Args:
        model: it is run, and stays as it is.
        data: examples as the model takes them; labels beside them are left out.

    Raises:
        ArgumentError: `data` is nothing that the model takes.
    """

    def __init__(self, model: keras.Layer, data: Any):
        self._model = model
        self._batches = batches_of(model, data, MOST, TOGETHER)
        self._few = joined(self._batches, FEW)
        self._scale = Noticeable.of(model, self._few)
        self._before = self._scaled(self._whole)
        self._behind = InPlaceOfTheWhole(
            goes_on(model, self._few), lambda outputs: self._agree(self._scaled(outputs))
        )

    def divergences(self, groups: Sequence[Sequence[Change]]) -> np.ndarray:
        """Returns the divergence that each change makes, `[groups, levels]`, of second order.

        Args:
            groups: of each the stored variables that change together, and by how much at each
                level: float32 `[levels, numbers]`.

        Cost: a forward and a backward pass of up to 512 examples, 8 at a time, and as many products
            of the changes and a gradient.
        """
        examples, variables = 0, [variable for group in groups for variable, _ in group]
        squares = np.zeros((len(groups), len(groups[0][0][1])))
        gradients = signed_gradients(self._model, variables, self._batches, self._scale)
        for count, every, _ in gradients:
            found = iter(every)
            for total, group in zip(squares, groups, strict=True):
                moved = sum(off @ next(found).ravel().astype(np.float32) for _, off in group)
                total += np.square(moved, dtype=np.float64)
            examples += count
        return 0.5 * squares / examples

    def measuring(self, group: Sequence[Scanned]) -> Callable[[], float]:
        """Returns what tells the divergence of the outputs from those when this was made.

        Args:
            group: what is about to change: the model is called from there on.
        """
        called = self._behind(group) or self._whole
        return lambda: self._divergence(self._scaled(called))

    def _whole(self) -> Any:
        return self._model(self._few, training=False)

    def _scaled(self, outputs: Outputs) -> list[np.ndarray]:
        with keras.StatelessScope():
            return [values(z).astype(np.float64) for z in self._scale(outputs())]

    def _agree(self, outputs: Sequence[np.ndarray]) -> bool:
        pairs = zip(outputs, self._before, strict=True)
        return all(np.allclose(z, y, rtol=1e-4, atol=1e-4) for z, y in pairs)

    def _divergence(self, outputs: Sequence[np.ndarray]) -> float:
        of_each = zip(self._scale.probabilities, self._before, outputs, strict=True)
        with np.errstate(all="ignore"):  # whatever a changed model makes
            total = sum(
                float(np.sum(y**2 / 2 * np.log(y / z) if is_probability else (z - y) ** 2 / 2))
                for is_probability, y, z in of_each
            )
        return total / examples_of(self._few)


def places_to_measure(estimates: np.ndarray) -> list[int]:
    """At which levels, the mildest first: the middle and the last, unless the change is small.

    All, where the gradients are not finite.
    """
    last = len(estimates) - 1
    if not np.isfinite(estimates).all():
        return list(range(last + 1))
    return [place for place in sorted({(last + 1) // 2, last}) if estimates[place] >= SMALL]


def corrected(estimates: np.ndarray, measured: Mapping[int, float]) -> np.ndarray:
    """Estimates `[levels]` of second order, by what was measured at some of the levels.

    Where that is not finite, what comes behind it is not either.
    """
    found, finite = estimates.copy(), np.isfinite(estimates)
    sizes = np.sqrt(estimates[finite])
    known = {
        np.sqrt(estimates[i]): math.log(x) - math.log(estimates[i])
        for i, x in measured.items()
        if np.isfinite([x, estimates[i]]).all() and min(x, estimates[i]) > 0
    }
    at = sorted(known)
    found[finite] *= np.exp(np.interp(sizes, [0.0, *at], [0.0, *(known[size] for size in at)]))
    for place in sorted(measured):
        value = measured[place]
        found[place : place + 1 if np.isfinite(value) else None] = value
    return found
