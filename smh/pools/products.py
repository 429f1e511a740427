"""The maths of the pools: flat entries from factors. Tensors in, tensors out, no variables."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from smh.errors import ArgumentError, ArtifactError
from smh.pools.hashing import hashed_indices
from smh.pools.shape import PoolShape, too_small
from smh.typing import Shape, Tensor

# A graph's constant has at most 2^31 - 1 bytes; an address has four.
MOST_HASHED = 2**29 - 1


class Product(abc.ABC):
    """Computes a range of the flat pool from the factors."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Number of entries."""

    @property
    @abc.abstractmethod
    def granularity(self) -> int:
        """Ranges that begin and end at multiples of this cost no copy."""

    @property
    @abc.abstractmethod
    def factor_shapes(self) -> tuple[Shape, ...]:
        """Shapes of the factors, in order."""

    @abc.abstractmethod
    def entries(
        self, factors: Sequence[Tensor], start: int, stop: int, scale: Tensor | None = None
    ) -> Tensor:
        """Returns entries `start` to `stop` of the pool, 1-D, times `scale`.

        `start` and `stop` are multiples of `granularity`, or the pool's end.
        """


@dataclass(frozen=True)
class MatrixProduct(Product):
    """`M = L @ R`, row by row. Cost of all entries: `rows * cols * replicas` multiply-adds."""

    shape: PoolShape

    @property
    def replicas(self) -> int:
        """Number of terms in each entry's sum."""
        return self.shape.replicas

    @property
    def size(self):  # noqa: D102
        return self.shape.size

    @property
    def granularity(self):  # noqa: D102
        return self.shape.cols

    @property
    def factor_shapes(self):  # noqa: D102
        m = self.shape.replicas
        return (self.shape.rows, m), (m, self.shape.cols)

    def entries(self, factors, start, stop, scale=None):  # noqa: D102
        left, right, scale = _compiling_nothing(*factors, scale)  # [rows, M], [M, cols]
        first, last = start // self.shape.cols, stop // self.shape.cols
        if (first, last) != (0, self.shape.rows):
            left = left[first:last]
        if scale is not None:
            left = left * scale
        if isinstance(left, np.ndarray):
            return (left @ right).reshape(-1)
        return ops.reshape(ops.matmul(left, right), [stop - start])

    def scaled_rows(
        self,
        factors: Sequence[Tensor],
        rows: np.ndarray,
        owners: np.ndarray,
        scales: Sequence[Tensor | None],
    ) -> Tensor:
        """Returns rows of `L @ R`, each times the scale of its owner, 1-D.

        Args:
            factors: `L` and `R`.
            rows: numbers of the rows, `[k]`; they may occur more than once.
            owners: for each row, one plus the index of its scale, or 0 for none.
            scales: numbers; those that no row names may be `None`.
        """
        left, right = factors
        # The reshape makes TensorFlow return a dense gradient of `L`, see `HashedVector`.
        left = ops.take(ops.reshape(left, self.factor_shapes[0]), rows, axis=0)  # [k, M]
        numbers = ops.stack([1.0 if s is None else s for s in (None, *scales)])
        left = left * ops.expand_dims(ops.take(numbers, owners), 1)
        return ops.reshape(ops.matmul(left, right), [len(rows) * self.shape.cols])


def _compiling_nothing(*tensors: Tensor | None) -> tuple:
    """Returns NumPy's view of tensors where JAX would compile each operation; else themselves.

    That is outside of a function that it traces, on a CPU: every weight has another size, so
    materialising a ResNet-50 compiled some 250 programs of one operation.
    """
    if keras.backend.backend() != "jax":
        return tensors
    arrays = [None if t is None else ops.convert_to_tensor(t) for t in tensors]
    try:
        if any(d.platform != "cpu" for one in arrays if one is not None for d in one.devices()):
            return tensors
        return tuple(None if one is None else np.asarray(one) for one in arrays)
    except (AttributeError, TypeError):  # traced: it is nowhere yet
        return tensors


@dataclass(frozen=True)
class BlockProduct(Product):
    """Products `L_b @ R_b` of equal sides, one below the other, computed by one batched product.

    `K` blocks of the entries of one product, with the same numbers in the factors, cost
    `1 / sqrt(K)` of it. The factors of all blocks are two matrices, so that whatever is done to the
    rows or columns of a factor is done to those of each block.
    """

    shape: PoolShape

    @property
    def size(self):  # noqa: D102
        return self.shape.size

    @property
    def granularity(self):  # noqa: D102
        return self.shape.rows * self.shape.cols

    @property
    def factor_shapes(self):  # noqa: D102
        blocks, m = self.shape.blocks, self.shape.replicas
        return (blocks * self.shape.rows, m), (blocks * m, self.shape.cols)

    def entries(self, factors, start, stop, scale=None):  # noqa: D102
        first, last = start // self.granularity, stop // self.granularity
        left, right = (ops.reshape(f, [self.shape.blocks, -1, f.shape[1]]) for f in factors)
        if (first, last) != (0, self.shape.blocks):
            left, right = left[first:last], right[first:last]
        if scale is not None:
            left = left * scale
        return ops.reshape(ops.matmul(left, right), [stop - start])  # [b, rows, cols]


def matrix_product(shape: PoolShape) -> Product:
    """The product of this shape."""
    return MatrixProduct(shape) if shape.blocks == 1 else BlockProduct(shape)


@dataclass(frozen=True)
class KroneckerProduct(Product):
    """The sum of `replicas` Kronecker products of `d x d` matrices: a `d^2 x d^2` matrix."""

    side: int
    replicas: int

    @property
    def size(self):  # noqa: D102
        return self.side**4

    @property
    def granularity(self):  # noqa: D102
        return self.side**3

    @property
    def factor_shapes(self):  # noqa: D102
        shape = (self.replicas, self.side, self.side)
        return shape, shape

    def entries(self, factors, start, stop, scale=None):  # noqa: D102
        left, right = factors  # [k, d, d] each
        d, k = self.side, self.replicas
        first, last = start // self.granularity, stop // self.granularity
        left = ops.reshape(left[:, first:last], [k, (last - first) * d])
        if scale is not None:
            left = left * scale
        blocks = ops.matmul(ops.transpose(left), ops.reshape(right, [k, d * d]))  # [(i j), (p q)]
        blocks = ops.reshape(blocks, [last - first, d, d, d])
        return ops.reshape(ops.transpose(blocks, [0, 2, 1, 3]), [stop - start])  # i p j q


@dataclass(frozen=True)
class HashedVector(Product):
    """Entry `i` is element `h(i)` of one vector.

    Attributes:
        length: number of entries.
        buckets: length of the vector.
        seed: `None` for the published law `h(i) = i mod buckets`, else seeds a random `h`.
    """

    length: int
    buckets: int
    seed: int | None = None

    @property
    def size(self):  # noqa: D102
        return self.length

    @property
    def granularity(self):  # noqa: D102
        return 1

    @property
    def factor_shapes(self):  # noqa: D102
        return ((self.buckets,),)

    def entries(self, factors, start, stop, scale=None):  # noqa: D102
        (core,) = factors
        if scale is not None:
            core = core * scale
        if self.seed is None:
            first = start // self.buckets * self.buckets
            copies = -(-(stop - first) // self.buckets)
            return ops.tile(core, [copies])[start - first : stop - first]
        # The reshape makes TensorFlow return a dense gradient of the core instead of one row
        # per pool entry.
        core = ops.reshape(core, [self.buckets])
        return ops.take(core, hashed_indices(start, stop, self.buckets, self.seed))


def published_kronecker(pool_size: float, fraction: float) -> KroneckerProduct:
    """The published choice: `d = ceil(pool_size ** (1/4))`."""
    side = math.ceil(pool_size**0.25)
    replicas = math.floor(0.5 * fraction * pool_size / side**2)
    if replicas < 1:
        raise too_small(fraction, 2 * side**2 / pool_size)
    return KroneckerProduct(side, replicas)


def published_hash(pool_size: float, fraction: float, seed: int | None) -> HashedVector:
    """The published choice: `floor(fraction * pool_size)` buckets."""
    buckets = math.floor(fraction * pool_size)
    if buckets < 1:
        raise ArgumentError(
            f"fraction={fraction:.4g} is too small: it leaves the hash 0 buckets. "
            f"The smallest fraction that works here is {1 / pool_size:.6g}."
        )
    if seed is not None and pool_size > MOST_HASHED:
        raise ArgumentError(
            f"A random hash holds at most {MOST_HASHED:,} entries, got pool_size={pool_size:,.0f}: "
            "its table of int32 addresses is a constant of the graph, which may have 2 GB. Use "
            "hashing='modulo', or several pools."
        )
    return HashedVector(int(pool_size), buckets, seed)


_KINDS: dict[str, Any] = {
    "matrix": MatrixProduct,
    "blocks": BlockProduct,
    "kronecker": KroneckerProduct,
    "hash": HashedVector,
}


def describe_product(product: Product) -> dict[str, Any]:
    """Returns what `make_product` makes an equal product from, as plain JSON."""
    kind = next(name for name, cls in _KINDS.items() if type(product) is cls)
    has_sides = isinstance(product, (MatrixProduct, BlockProduct))
    record: Any = product.shape if has_sides else product  # type: ignore[attr-defined]
    numbers = dataclasses.asdict(record)
    if kind == "matrix":
        del numbers["blocks"]  # one: files of this kind are older than blocks
    return {"kind": kind, **numbers}


def make_product(config: Any) -> Product:
    """Makes the product that `describe_product` described; raises `ArtifactError`."""
    if not isinstance(config, dict) or config.get("kind") not in _KINDS:
        raise ArtifactError(
            f"A pool's product must be of kind {', '.join(_KINDS)}, got {config!r:.200}."
        )
    numbers = {name: value for name, value in config.items() if name != "kind"}
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        missing = name == "seed" and value is None
        if not missing and (type(value) is not int or value < least):
            raise ArtifactError(f"'{name}' of a pool must be a whole number, got {value!r:.80}.")
    try:
        if config["kind"] in ("matrix", "blocks"):
            return _KINDS[config["kind"]](PoolShape(**numbers))
        return _KINDS[config["kind"]](**numbers)
    except TypeError as error:
        raise ArtifactError(
            f"Wrong numbers for a pool of kind '{config['kind']}': {error}"
        ) from error
