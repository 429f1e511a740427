"""What changing a weight does to a model's outputs, without running it again: second order.

To first order a change `d` of a weight moves the outputs by `J d`, and half of the square of that
(on the scale of `smh.sensitivity.gradients`) is the divergence that it makes. `|J d|^2` is the mean
of `(g . d) ** 2` over gradients `g` of the outputs with random signs, one for each few examples, so
all weights and levels come of the same passes. What two numbers of a weight do together counts,
which the diagonal of the Gauss-Newton matrix leaves out. Large changes (most of a weight gone) make
more than that; the order of the weights stays.

References: LeCun, Denker, Solla, "Optimal Brain Damage", NIPS 1989; Theis et al., "Faster Gaze
Prediction with Dense Networks and Fisher Pruning", 2018 (1801.05787), for the diagonal; Singh,
Alistarh, "WoodFisher", NeurIPS 2020 (2004.14340), for the rest; the signs: see `gradients`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.examples import batches_of, joined
from smh.sensitivity.gradients import Noticeable, signed_gradients

DIVERGENCE = "divergence"
MOST = 512  # examples
TOGETHER = 8  # of them give one gradient; more gradients tell more and take longer
_SPREAD = 32  # examples of which the spread of the outputs is taken

Change = tuple[keras.Variable, np.ndarray]


def check_are_examples(data: Any) -> None:
    """Refuses what `method="exact"` takes and nothing can be looked at in.

    Raises:
        ArgumentError: `data` is a function.
    """
    if callable(data) and not hasattr(data, "__iter__"):
        raise ArgumentError(
            "method='fisher' looks at examples and evaluates nothing: give some hundred as the "
            "model takes them, for example x[:500], in the place of a function."
        )


def divergences(model: keras.Layer, data: Any, groups: Sequence[Sequence[Change]]) -> np.ndarray:
    """Returns the divergence that each change makes, `[groups, levels]`.

    Args:
        model: it is run, and stays as it is.
        data: examples as the model takes them; labels beside them are left out.
        groups: of each the stored variables that change together, and by how much at each level:
            float32 `[levels, numbers]`.

    Raises:
        ArgumentError: `data` is nothing that the model takes.

    Cost: a forward and a backward pass of up to 512 examples, 8 at a time, and as many products of
        the changes and a gradient.
    """
    batches = batches_of(model, data, MOST, TOGETHER)
    scale = Noticeable.of(model, joined(batches, _SPREAD))
    examples, variables = 0, [variable for group in groups for variable, _ in group]
    squares = np.zeros((len(groups), len(groups[0][0][1])))
    for count, every in signed_gradients(model, variables, batches, scale):
        found = iter(every)
        for total, group in zip(squares, groups, strict=True):
            moved = sum(off @ next(found).ravel().astype(np.float32) for _, off in group)
            total += np.square(moved, dtype=np.float64)
        examples += count
    return 0.5 * squares / examples
