"""Which matrix products a layer computes: its weights as matrices, and the rows they multiply.

Every rule says, for one weight of a layer, how the weight is a stack of matrices `[groups, n, m]`
and what rows `[groups, rows, n]` of its input these multiply, so that `rows @ matrices` is what
the layer computes before its bias and activation. The tests hold each rule to that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from keras import layers

from smh.shrinking.patches import Sliding, patches
from smh.typing import Shape
from smh.virtual_variable import calls_as_keras, view_of

MOST = 4608  # of a larger `n` only how large each input is counts: `n * n` numbers are too many
_TOGETHER = 64  # rows that are put side by side at once


@dataclass(frozen=True)
class Product:
    """One weight of a layer as matrices.

    Attributes:
        variable: the weight.
        to_matrices: makes `[groups, n, m]` of an array of the weight's shape.
        from_matrices: the way back.
        count: how many rows an input (an array) has.
        rows: `rows(x, places)`: the rows `[groups, len(places), n]` at some of the `count` places.
        output: the axis of the weight that its outputs lie along, for scales of their own.
        whole: whether `rows @ matrices` is what the layer computes before bias and activation:
            then what its inputs lost before can be made good.
        argument: which of the layer's inputs, of those laid flat, it multiplies.
        bias: what is added to the product, if it has a number for each output, in their order.
    """

    variable: keras.Variable
    to_matrices: Callable[[np.ndarray], np.ndarray]
    from_matrices: Callable[[np.ndarray], np.ndarray]
    count: Callable[[np.ndarray], int]
    rows: Callable[[np.ndarray, np.ndarray], np.ndarray]
    output: int
    whole: bool = True
    argument: int = 0
    bias: keras.Variable | None = None

    def moments(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        """The sum over these rows of the products of each two numbers: `[groups, n, n]`."""
        return self.moments_of(self.rows(x, places))

    def moments_of(self, rows: np.ndarray) -> np.ndarray:
        """The same of rows that are known."""
        rows = rows.astype(np.float32, copy=False)
        return rows.transpose(0, 2, 1) @ rows


def products_of(layer: keras.Layer) -> list[Product]:
    """Returns the products of a layer; none if no rule knows it, or it has no weights yet.

    A class of one's own has those of the class it comes from, unless it has a `call` of its own.
    """
    rule = next((rule for kinds, rule in _RULES if isinstance(layer, kinds)), None)
    found = rule(layer) if rule is not None and calls_as_keras(layer) and layer.built else []
    return [one if _size(one) <= MOST else Diagonal.of(one) for one in found]


def _size(product: Product) -> int:
    """`n`."""
    return product.to_matrices(np.empty(tuple(product.variable.shape), np.bool_)).shape[1]


def _flat(variable: keras.Variable) -> Product:
    """A matrix that multiplies the last axis of its input."""
    shape = tuple(variable.shape)
    return Product(
        variable,
        lambda w: w.reshape(1, *shape),
        lambda m: m.reshape(shape),
        lambda x: math.prod(x.shape[:-1]),
        lambda x, places: x.reshape(-1, x.shape[-1])[places][None],
        output=1,
    )


def _dense(layer):
    return [replace(_flat(layer.kernel), bias=layer.bias)]


def _einsum(layer):
    """Letters of the kernel that are in the input are summed over, the others are outputs."""
    left, target = layer.equation.replace("...", "").split("->")
    given, kernel = left.split(",")
    summed = [letter for letter in kernel if letter not in target]
    if any(c in given and c in target for c in kernel) or not set(summed) <= set(given):
        return []  # a product for each index of a letter that all three have
    others = [c for c in kernel if c in target]
    order = [kernel.index(c) for c in (*summed, *others)]
    of_bias = [c for c in target if c in (layer.bias_axes or "")]
    shape = tuple(layer.kernel.shape)
    n = math.prod(shape[i] for i in order[: len(summed)])
    permuted = tuple(shape[i] for i in order)

    def rows_of(x: np.ndarray) -> np.ndarray:
        first = x.ndim - len(given) if "..." in layer.equation.split(",")[0] else 0
        axes = [first + given.index(c) for c in summed]
        return np.moveaxis(x, axes, range(x.ndim - len(axes), x.ndim)).reshape(-1, n)

    return [
        Product(
            layer.kernel,
            lambda w: w.transpose(order).reshape(1, n, -1),
            lambda m: m.reshape(permuted).transpose(np.argsort(order)),
            lambda x: x.size // n,
            lambda x, places: rows_of(x)[places][None],
            output=len(shape) - 1,
            # A letter of the input alone that is summed over: the layer adds rows up.
            whole=set(given) <= set(kernel) | set(target),
            bias=layer.bias if of_bias == others else None,
        )
    ]


def _sliding(layer: Any, transposed: bool = False) -> Sliding:
    extra = getattr(layer, "output_padding", None)
    rank = len(layer.kernel_size)
    if extra is not None:
        extra = (extra,) * rank if isinstance(extra, int) else tuple(extra)
    strides, dilation = layer.strides, layer.dilation_rate
    strides = (strides,) * rank if isinstance(strides, int) else tuple(strides)
    dilation = (dilation,) * rank if isinstance(dilation, int) else tuple(dilation)
    size = tuple(layer.kernel_size)
    return Sliding(size, strides, dilation, layer.padding, transposed, extra)


def _last(layer: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Puts the channels of a convolution's input last."""
    if layer.data_format == "channels_last":
        return lambda x: x
    return lambda x: np.moveaxis(x, 1, -1)


def _slid(variable, how: Sliding, last, groups: int, n: int, to, back, output, bias) -> Product:
    """A kernel whose channels are in `groups`: rows `[groups, rows, taps * channels]`."""

    def count(x: np.ndarray) -> int:
        return len(x) * math.prod(how.outputs(last(x).shape[1:-1]))

    def rows(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        found = patches(last(x), how, places)  # [rows, *size, channels]
        return _by_group(found.reshape(len(places), math.prod(how.size), groups, -1))

    return Product(variable, to, back, count, rows, output, bias=bias)


def _by_group(found: np.ndarray) -> np.ndarray:
    """`[groups, rows, taps * channels]` of `[rows, taps, groups, channels]`.

    Where each group has one channel, its rows are put side by side, so that products with them need
    no copy, and some at a time, which stay in the cache: less than half of the time of one copy.
    """
    count, taps, groups, channels = found.shape
    if channels > 1:
        return found.transpose(2, 0, 1, 3).reshape(groups, count, taps * channels)
    out = np.empty((groups, taps, count), found.dtype)
    for start in range(0, count, _TOGETHER):
        block = slice(start, start + _TOGETHER)
        out[:, :, block] = found[block, :, :, 0].transpose(2, 1, 0)
    return out.transpose(0, 2, 1)


def _conv(layer):
    shape = tuple(layer.kernel.shape)  # [*size, channels / groups, filters]
    groups, n = layer.groups, math.prod(shape[:-1])
    return [
        _slid(
            layer.kernel,
            _sliding(layer),
            _last(layer),
            groups,
            n,
            lambda w: w.reshape(n, groups, -1).transpose(1, 0, 2),
            lambda m: m.transpose(1, 0, 2).reshape(shape),
            len(shape) - 1,
            layer.bias,
        )
    ]


def _transposed(layer):
    shape = tuple(layer.kernel.shape)  # [*size, filters, channels]
    rank, n = len(shape) - 2, math.prod(shape[:-2]) * shape[-1]
    swapped = (*shape[:-2], shape[-1], shape[-2])
    axes = (*range(rank), rank + 1, rank)
    return [
        _slid(
            layer.kernel,
            _sliding(layer, transposed=True),
            _last(layer),
            1,
            n,
            lambda w: w.transpose(axes).reshape(1, n, -1),
            lambda m: m.reshape(swapped).transpose(axes),
            rank,
            layer.bias,
        )
    ]


def _by_channel(kernel: keras.Variable, layer: Any) -> Product:
    shape = tuple(kernel.shape)  # [*size, channels, multiplier]
    taps, channels = math.prod(shape[:-2]), shape[-2]
    return _slid(
        kernel,
        _sliding(layer),
        _last(layer),
        channels,
        taps,
        lambda w: w.reshape(taps, channels, -1).transpose(1, 0, 2),
        lambda m: m.transpose(1, 0, 2).reshape(shape),
        len(shape) - 2,
        layer.bias,
    )


def _depthwise(layer):
    return [_by_channel(layer.kernel, layer)]


def _separable(layer):
    """The second kernel's rows are what the first one computes."""
    first = _by_channel(layer.depthwise_kernel, layer)
    shape = tuple(layer.pointwise_kernel.shape)
    matrix: Shape = (1, shape[-2], shape[-1])

    def rows(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        kernels = first.to_matrices(view_of(layer.depthwise_kernel))
        between = first.rows(x, places) @ kernels  # [channels, rows, multiplier]
        return between.transpose(1, 0, 2).reshape(1, len(places), -1)

    second = Product(
        layer.pointwise_kernel,
        lambda w: w.reshape(matrix),
        lambda m: m.reshape(shape),
        first.count,
        rows,
        output=len(shape) - 1,
        bias=layer.bias,
    )
    # What the layer shows is the second product; the first one's outputs are inside.
    return [replace(first, whole=False, bias=None), second]


def _embedding(layer):
    """A row of the table is used as often as its token occurs."""
    shape = tuple(layer.embeddings.shape)

    def rows(x: np.ndarray, places: np.ndarray) -> np.ndarray:
        found = np.zeros((shape[0], len(places), 1), bool)
        found[x.reshape(-1)[places].astype(int), np.arange(len(places))] = True
        return found

    return [
        Table(
            layer.embeddings,
            lambda w: w.reshape(shape[0], 1, shape[1]),
            lambda m: m.reshape(shape),
            lambda x: int(x.size),
            rows,
            output=1,
            whole=False,
        )
    ]


class Diagonal(Product):
    """A product of which each input is taken by itself: groups of one."""

    @classmethod
    def of(cls, product: Product) -> Diagonal:
        """The same weight, with groups `[groups * n, 1, m]`."""

        def apart(w: np.ndarray) -> np.ndarray:
            matrices = product.to_matrices(w)
            return matrices.reshape(-1, 1, matrices.shape[-1])

        whole = product.to_matrices(np.empty(tuple(product.variable.shape), np.bool_)).shape
        return cls(
            product.variable,
            apart,
            lambda m: product.from_matrices(m.reshape(whole)),
            product.count,
            lambda x, places: (
                product.rows(x, places).transpose(0, 2, 1).reshape(-1, len(places), 1)
            ),
            product.output,
            whole=False,
            argument=product.argument,
        )

    def moments_of(self, rows: np.ndarray) -> np.ndarray:
        """The sum of squares: `[groups, 1, 1]`."""
        return np.square(rows.astype(np.float32, copy=False)).sum(1, dtype=np.float64)[..., None]


class Table(Diagonal):
    """A product of rows that are one at one place, and zero at all others."""

    def moments(self, x: np.ndarray, places: np.ndarray) -> np.ndarray:
        """How often each of the places occurs: `[groups, 1, 1]`."""
        counts = np.zeros(tuple(self.variable.shape)[0])
        np.add.at(counts, x.reshape(-1)[places].astype(int), 1.0)
        return counts[:, None, None]


def _cell(layer):
    """A recurrent cell multiplies its input, and its state (of a GRU, partly reset)."""
    first = replace(_flat(layer.kernel), whole=False)
    return [first, replace(_flat(layer.recurrent_kernel), whole=False, argument=1)]


_RULES: tuple[tuple[Any, Callable[[Any], list[Product]]], ...] = (
    (layers.Dense, _dense),
    (layers.EinsumDense, _einsum),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), _conv),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), _transposed),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), _depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), _separable),
    (layers.Embedding, _embedding),
    ((layers.LSTMCell, layers.GRUCell, layers.SimpleRNNCell), _cell),
)
