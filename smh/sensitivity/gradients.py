"""How much each weight matters for a model's outputs: its squared gradient.

With `z` the outputs, on a scale where a step of one is as noticeable everywhere, and random signs
`s` for each example and output, the mean of `(d(s . z) / dw) ** 2` is the diagonal of the
Gauss-Newton matrix: how much `|z|^2` changes by a small change of the weight. Of probabilities `p`
the scale is `2 sqrt(p)`: then `|dz|^2` is twice the Kullback-Leibler divergence. Other outputs are
divided by their standard deviation.

Reference: Martens, "New Insights and Perspectives on the Natural Gradient Method", JMLR 2020,
section 9; the random signs: Hutchinson, "A Stochastic Estimator of the Trace", 1990.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError, SmhError
from smh.progress import track
from smh.sensitivity.examples import values
from smh.sensitivity.inputs import told
from smh.typing import Tensor

_SMALL = 1e-12


def squared_gradients(
    model: keras.Layer,
    variables: Sequence[keras.Variable],
    batches: Sequence[Any],
) -> list[np.ndarray]:
    """Returns for each variable the mean squared gradient, per example, in its shape.

    Args:
        model: it is run with `training=False`.
        variables: stored variables of the model.
        batches: each what the model takes; one sample of the signs is drawn for each.

    Cost: a forward and a backward pass of each batch.
    """
    sums = [np.zeros(tuple(v.shape), np.float64) for v in variables]
    examples, scale = 0, Noticeable.of(model, batches[0])
    for count, every in signed_gradients(model, variables, batches, scale):
        for total, found in zip(sums, every, strict=True):
            total += np.square(found, dtype=np.float64)
        examples += count
    return [total / max(1, examples) for total in sums]


def signed_gradients(
    model: keras.Layer,
    variables: Sequence[keras.Variable],
    batches: Sequence[Any],
    scale: Noticeable,
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Yields for each batch how many examples it has, and the gradient of each variable.

    It is that of the outputs' sum, on their `scale`, with a random sign for each.
    """
    random = np.random.default_rng(0)
    for batch in track(batches, "weighing the layers"):
        signs = int(random.integers(2**32))

        def score(batch=batch, signs=signs) -> Tensor:
            return signed_sum(scale(model(batch, training=False)), signs)

        yield len(keras.tree.flatten(batch)[0]), gradients(score, variables)


def gradients(score: Callable[[], Tensor], variables: Sequence[keras.Variable]) -> list[np.ndarray]:
    """Returns the gradient of a number with respect to stored variables; zeros where it has none.

    No state of a layer changes (relies on: what is assigned inside a stateless scope goes into the
    scope alone).

    Raises:
        ArgumentError: there are none on Keras' backend, or of a layer.
    """
    if not variables:
        return []
    found = _GRADIENTS.get(keras.backend.backend())
    if found is None:
        raise ArgumentError(
            f"There are no gradients here on Keras' backend {keras.backend.backend()}, only on "
            f"{', '.join(_GRADIENTS)}. smh.shrink needs none without data."
        )
    try:
        return found(score, variables)
    except SmhError:
        raise
    except Exception as error:  # whatever a layer's own gradient raises
        raise ArgumentError(
            f"The model gave no gradients: {told(error)}. On TensorFlow a layer in float8 has none "
            "outside of a compiled function. smh.shrink needs none without data."
        ) from error


class Noticeable:
    """Puts a model's float outputs on a scale where a step of one is as noticeable everywhere.

    Args:
        scales: for each output `None` (probabilities), a number to divide by, or 0: no floats.
    """

    def __init__(self, scales: Sequence[float | None]):
        self._scales = tuple(scales)

    @classmethod
    def of(cls, model: keras.Layer, batch: Any) -> Noticeable:
        """Looks at what the model makes of a batch."""
        with keras.StatelessScope():
            outputs = model(batch, training=False)
        return cls([_scale_of(y) for y in keras.tree.flatten(outputs)])

    @property
    def probabilities(self) -> list[bool]:
        """Whether each float output is one."""
        return [scale is None for scale in self._scales if scale != 0]

    def __call__(self, outputs: Any) -> list[Tensor]:
        """The float outputs, in float32, on that scale."""
        found = []
        for scale, y in zip(self._scales, keras.tree.flatten(outputs), strict=True):
            if scale == 0:
                continue
            y = ops.cast(y, "float32")
            found.append(2.0 * ops.sqrt(y + _SMALL) if scale is None else y / scale)
        return found


def _scale_of(output: Tensor) -> float | None:
    y = values(output)
    if y.dtype.kind != "f":
        return 0.0
    if y.ndim > 1 and y.shape[-1] > 1 and y.min() >= 0 and abs(y.sum(-1) - 1).max() < 1e-2:
        return None
    return float(y.std(dtype=np.float64)) or 1.0


def signed_sum(scaled: Sequence[Tensor], seed: int) -> Tensor:
    """The sum of numbers, each with a random sign."""
    random, total = np.random.default_rng(seed), ops.zeros(())
    for z in scaled:
        signs = random.integers(0, 2, tuple(z.shape)).astype(np.float32) * 2 - 1
        total = total + ops.sum(z * ops.convert_to_tensor(signs))
    return total


def _tensorflow(score: Callable[[], Tensor], variables) -> list[np.ndarray]:
    import tensorflow as tf

    stored = [variable.value for variable in variables]
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        for one in stored:
            tape.watch(one)
        with keras.StatelessScope():
            total = score()
    found = tape.gradient(total, stored, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    return [values(tf.convert_to_tensor(g)) for g in found]


def _jax(score: Callable[[], Tensor], variables) -> list[np.ndarray]:
    import jax

    def of(given):
        with keras.StatelessScope(state_mapping=list(zip(variables, given, strict=True))):
            return score()

    return [values(g) for g in jax.grad(of)([variable.value for variable in variables])]


def _torch(score: Callable[[], Tensor], variables) -> list[np.ndarray]:
    import torch

    stored = [variable.value for variable in variables]
    before = [one.requires_grad for one in stored]
    try:
        for one in stored:
            one.requires_grad_(True)
        with torch.enable_grad(), keras.StatelessScope():
            found = torch.autograd.grad(score(), stored, allow_unused=True)
    finally:
        for one, was in zip(stored, before, strict=True):
            one.requires_grad_(was)
    return [
        np.zeros(tuple(v.shape)) if g is None else values(g)
        for v, g in zip(variables, found, strict=True)
    ]


_GRADIENTS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
