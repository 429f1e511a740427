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

import collections
import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError, SmhError
from smh.progress import track
from smh.sensitivity.examples import examples_of, values
from smh.sensitivity.inputs import told
from smh.typing import Shape, Tensor

_SMALL = 1e-12
_WORTH_COMPILING = 4  # batches: it takes as long as one or two

Inside = Callable[[int, Tensor], Tensor]
Found = tuple[list[np.ndarray], dict[int, np.ndarray]]


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
    for count, every, _ in signed_gradients(model, variables, batches, scale):
        for total, found in zip(sums, every, strict=True):
            total += np.square(found, dtype=np.float64)
        examples += count
    return [total / max(1, examples) for total in sums]


def signed_gradients(
    model: keras.Layer,
    variables: Sequence[keras.Variable],
    batches: Sequence[Any],
    scale: Noticeable,
    seen: Callable[[Inside], contextlib.AbstractContextManager] | None = None,
) -> Iterator[tuple[int, list[np.ndarray], dict[int, np.ndarray]]]:
    """Yields for each batch how many examples it has, and the gradients of its outputs.

    They are those of the outputs' sum, on their `scale`, with a random sign for each. No state of a
    layer changes (relies on: what is assigned inside a stateless scope goes into the scope alone).

    Args:
        model: is run with `training=False`; on TensorFlow compiled, where there are some batches.
        variables: stored variables of the model.
        batches: each what the model takes.
        scale: of the outputs.
        seen: is given a function `inside(key, tensor)` that returns the tensor; in what `seen`
            returns the model runs, and gives it the tensors whose gradients are wanted as well.

    Returns:
        the examples; the gradients of the variables, zeros where there are none; and those of the
        tensors, each of which has a key of its own.

    Raises:
        ArgumentError: there are none on Keras' backend, or of a layer.
    """
    backend = keras.backend.backend()
    if variables and backend not in _RUNS:
        raise ArgumentError(
            f"There are no gradients here on Keras' backend {backend}, only on "
            f"{', '.join(_RUNS)}. smh.shrink needs none without data."
        )

    def score(batch: Any, signs: Callable[[Shape], Tensor], inside: Inside) -> Tensor:
        with contextlib.nullcontext() if seen is None else seen(inside):
            total = ops.zeros(())
            for z in scale(model(batch, training=False)):
                total = total + ops.sum(z * signs(tuple(z.shape)))
        return total

    run = _RUNS[backend](score, variables, batches) if variables else _nothing
    random = np.random.default_rng(0)
    for batch in track(batches, "weighing the layers"):
        seed = int(random.integers(2**32))
        try:
            found = run(batch, seed)
        except SmhError:
            raise
        except Exception as error:  # whatever a layer's own gradient raises
            raise ArgumentError(
                f"The model gave no gradients: {told(error)}.{_HINTS.get(backend, '')} "
                "smh.shrink needs none without data."
            ) from error
        yield examples_of(batch), *found


def _nothing(batch: Any, seed: int) -> Found:
    return [], {}


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


def _signs(seed: int) -> Callable[[Shape], Tensor]:
    """One or minus one by chance, in shape after shape."""
    random = np.random.default_rng(seed)
    return lambda shape: ops.convert_to_tensor(_drawn(random, shape))


def _drawn(random: np.random.Generator, shape: Shape) -> np.ndarray:
    return random.integers(0, 2, shape).astype(np.float32) * 2 - 1


class _TensorFlow:
    """Compiled, batches of equal length take three quarters to an eighth of the time."""

    def __init__(self, score, variables, batches):
        self._score, self._stored = score, [variable.value for variable in variables]
        self._counts = collections.Counter(map(examples_of, batches))
        self._compiled: dict[int, _Compiled] = {}
        self._compiles = True

    def __call__(self, batch: Any, seed: int) -> Found:
        size = examples_of(batch)
        if self._compiles and (size in self._compiled or self._counts[size] >= _WORTH_COMPILING):
            try:
                return self._by_graph(batch, seed)
            except Exception:  # whatever a layer raises that must see numbers
                self._compiles = False
        try:
            keys, found = self._gradients(batch, _signs(seed))
        except Exception:
            if not (self._compiles and self._compiled):
                raise
            return self._by_graph(batch, seed)  # as the others, if there are gradients there alone
        return self._found(keys, found)

    def _gradients(self, batch: Any, signs) -> tuple[list[int], list[Tensor]]:
        import tensorflow as tf

        kept: dict[int, Tensor] = {}

        def inside(key: int, tensor: Tensor) -> Tensor:
            kept[key] = tensor
            return tensor

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for one in self._stored:
                tape.watch(one)
            with keras.StatelessScope():
                total = self._score(batch, signs, inside)
        sources = [*self._stored, *kept.values()]
        found = tape.gradient(total, sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return list(kept), [tf.convert_to_tensor(gradient) for gradient in found]

    def _by_graph(self, batch: Any, seed: int) -> Found:
        import tensorflow as tf

        tensors, size = keras.tree.map_structure(ops.convert_to_tensor, batch), examples_of(batch)
        if size not in self._compiled:
            self._compiled[size] = self._traced(tensors)
        compiled, random = self._compiled[size], np.random.default_rng(seed)
        drawn = [_drawn(random, shape).ravel() for shape in compiled.shapes]
        found = compiled.function(tensors, tf.constant(np.concatenate(drawn)))
        return self._found(compiled.keys, found)

    def _traced(self, batch: Any) -> _Compiled:
        import tensorflow as tf

        keys: list[int] = []
        shapes: list[Shape] = []

        def run(batch: Any, flat: Tensor) -> list[Tensor]:
            def signs(shape: Shape) -> Tensor:
                start = sum(map(math.prod, shapes))
                shapes.append(shape)
                return ops.reshape(flat[start : start + math.prod(shape)], shape)

            shapes.clear()
            keys[:], found = self._gradients(batch, signs)
            return found

        function = tf.function(run, autograph=False).get_concrete_function(
            batch, tf.TensorSpec([None], tf.float32)
        )
        return _Compiled(function, keys, shapes)

    def _found(self, keys: Sequence[int], gradients: Sequence[Tensor]) -> Found:
        found, count = [values(gradient) for gradient in gradients], len(self._stored)
        return found[:count], dict(zip(keys, found[count:], strict=True))


class _Compiled(NamedTuple):
    """For batches of one size: what it computes, the tensors on the way, and what has signs."""

    function: Callable
    keys: list[int]
    shapes: list[Shape]


class _Jax:
    """A tensor's gradient is that of zeros which are added to it, for which its shape is needed."""

    def __init__(self, score, variables, batches):
        self._score, self._variables = score, variables
        self._known: dict[int, dict[int, Shape]] = {}  # of batches of so many examples

    def __call__(self, batch: Any, seed: int) -> Found:
        import jax
        import jax.numpy as jnp

        is_new = examples_of(batch) not in self._known
        shapes = self._known.setdefault(examples_of(batch), {})
        stored = [variable.value for variable in self._variables]

        def of(given, added):
            def inside(key: int, tensor: Tensor) -> Tensor:
                shapes[key] = tensor.shape
                return tensor + added[key].astype(tensor.dtype) if key in added else tensor

            state = list(zip(self._variables, given, strict=True))
            with keras.StatelessScope(state_mapping=state):
                return self._score(batch, _signs(seed), inside)

        if is_new:
            try:
                jax.eval_shape(of, stored, {})
            except Exception:  # a layer asks for numbers
                of(stored, {})
        zeros = {key: jnp.zeros(shape, jnp.float32) for key, shape in shapes.items()}
        found, inside = jax.grad(of, argnums=(0, 1))(stored, zeros)
        return [values(g) for g in found], {key: values(g) for key, g in inside.items()}


class _Torch:
    def __init__(self, score, variables, batches):
        self._score, self._stored = score, [variable.value for variable in variables]

    def __call__(self, batch: Any, seed: int) -> Found:
        import torch

        before = [one.requires_grad for one in self._stored]
        kept: dict[int, Tensor] = {}

        def inside(key: int, tensor: Tensor) -> Tensor:
            if tensor.requires_grad:
                kept[key] = tensor
            return tensor

        try:
            for one in self._stored:
                one.requires_grad_(True)
            with torch.enable_grad(), keras.StatelessScope():
                total = self._score(batch, _signs(seed), inside)
                sources = [*self._stored, *kept.values()]
                found = torch.autograd.grad(total, sources, allow_unused=True)
        finally:
            for one, was in zip(self._stored, before, strict=True):
                one.requires_grad_(was)
        made = [
            np.zeros(tuple(v.shape)) if g is None else values(g)
            for v, g in zip(sources, found, strict=True)
        ]
        count = len(self._stored)
        return made[:count], dict(zip(kept, made[count:], strict=True))


_HINTS = {
    "tensorflow": " A layer in float8 has none outside of a compiled function, which takes four "
    "batches of as many examples or more."
}
_RUNS: dict[str, Any] = {"tensorflow": _TensorFlow, "jax": _Jax, "torch": _Torch}
