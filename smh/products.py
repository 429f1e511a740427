"""The maths of the pools: flat entries from factors. Tensors in, tensors out, no variables."""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from smh.errors import ArgumentError
from smh.pool_shape import PoolShape, too_small
from smh.typing import Shape, Tensor


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
    def entries(self, factors: Sequence[Tensor], start: int, stop: int) -> Tensor:
        """Returns entries `start` to `stop` of the pool, 1-D.

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

    def entries(self, factors, start, stop):  # noqa: D102
        left, right = factors  # [rows, M], [M, cols]
        first, last = start // self.shape.cols, stop // self.shape.cols
        if (first, last) != (0, self.shape.rows):
            left = left[first:last]
        return ops.reshape(ops.matmul(left, right), [stop - start])


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

    def entries(self, factors, start, stop):  # noqa: D102
        left, right = factors  # [k, d, d] each
        d, k = self.side, self.replicas
        first, last = start // self.granularity, stop // self.granularity
        left = ops.reshape(left[:, first:last], [k, (last - first) * d])
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

    def entries(self, factors, start, stop):  # noqa: D102
        (core,) = factors
        if self.seed is None:
            first = start // self.buckets * self.buckets
            copies = -(-(stop - first) // self.buckets)
            return ops.tile(core, [copies])[start - first : stop - first]
        # The reshape makes TensorFlow return a dense gradient of the core instead of one row
        # per pool entry.
        core = ops.reshape(core, [self.buckets])
        return ops.take(core, hashed_indices(start, stop, self.buckets, self.seed))


def hashed_indices(start: int, stop: int, buckets: int, seed: int) -> np.ndarray:
    """`h(i)` for `start <= i < stop`: splitmix64 of the seeded index, modulo `buckets`.

    Reference: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014).
    """
    with np.errstate(over="ignore"):
        key = np.uint64(seed % 2**64) * np.uint64(0x9E3779B97F4A7C15)
        z = np.arange(start + 1, stop + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + key
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) % np.uint64(buckets)).astype(np.int32)


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
    return HashedVector(int(pool_size), buckets, seed)
