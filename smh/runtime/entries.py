"""The entries of a pool, from its factors, by NumPy alone: see `smh.pools.products`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from smh.errors import ArtifactError
from smh.pools.hashing import hashed_indices


class Entries:
    """Computes a range of a flat pool from its factors, with NumPy."""

    size: int
    factor_shapes: list[tuple[int, ...]]

    def __call__(self, factors: Sequence[np.ndarray], start: int, stop: int) -> np.ndarray:
        """Returns entries `start` to `stop`, 1-D."""
        raise NotImplementedError


class _Matrix(Entries):
    def __init__(self, rows: int, cols: int, replicas: int):
        self.cols, self.size = cols, rows * cols
        self.factor_shapes = [(rows, replicas), (replicas, cols)]

    def __call__(self, factors, start, stop):
        left, right = factors  # [rows, M], [M, cols]
        first, last = start // self.cols, -(-stop // self.cols)
        flat = (left[first:last] @ right).ravel()
        return flat[start - first * self.cols :][: stop - start]


class _Blocks(Entries):
    def __init__(self, blocks: int, rows: int, cols: int, replicas: int):
        self.block = _Matrix(rows, cols, replicas)
        self.blocks, self.size = blocks, blocks * self.block.size
        self.factor_shapes = [(blocks * rows, replicas), (blocks * replicas, cols)]

    def __call__(self, factors, start, stop):
        left, right = (f.reshape(self.blocks, -1, f.shape[1]) for f in factors)
        one, parts = self.block.size, []
        for block in range(start // one, -(-stop // one)):
            edges = (max(start - block * one, 0), min(stop - block * one, one))
            parts.append(self.block((left[block], right[block]), *edges))
        return np.concatenate(parts) if parts else np.zeros(0, left.dtype)


class _Kronecker(Entries):
    def __init__(self, side: int, replicas: int):
        self.side, self.size = side, side**4
        self.factor_shapes = [(replicas, side, side)] * 2

    def __call__(self, factors, start, stop):
        left, right = factors  # [k, d, d] each
        row = self.side**2
        first, last = start // row, -(-stop // row)
        numbers = np.arange(first, last)
        i, p = numbers // self.side, numbers % self.side
        rows = np.einsum("kaj,kaq->ajq", left[:, i], right[:, p])  # row (i p), columns (j q)
        return rows.reshape(-1)[start - first * row :][: stop - start]


class _Hash(Entries):
    def __init__(self, length: int, buckets: int, seed: int | None = None):
        self.size, self.buckets, self.seed = length, buckets, seed
        self.factor_shapes = [(buckets,)]

    def __call__(self, factors, start, stop):
        (vector,) = factors
        if self.seed is None:
            return vector[np.arange(start, stop) % self.buckets]
        return vector[hashed_indices(start, stop, self.buckets, self.seed)]


class _Combined(Entries):
    def __init__(self, terms: Sequence[Entries], reduce_by: str):
        if reduce_by not in ("SUM", "PROD"):
            raise ArtifactError(f"pools are reduced by SUM or PROD, got {reduce_by!r:.80}")
        self.terms, self.reduce_by = terms, reduce_by
        self.size = min(term.size for term in terms)
        self.factor_shapes = [shape for term in terms for shape in term.factor_shapes]

    def __call__(self, factors, start, stop):
        values = []
        for term in self.terms:
            count = len(term.factor_shapes)
            values.append(term(factors[:count], start, stop))
            factors = factors[count:]
        return np.sum(values, axis=0) if self.reduce_by == "SUM" else np.prod(values, axis=0)


_PRODUCTS = {"matrix": _Matrix, "blocks": _Blocks, "kronecker": _Kronecker, "hash": _Hash}


def entries_of(pool: Mapping[str, Any]) -> Entries:
    """What computes the entries of a pool that is described so; raises `ArtifactError`."""
    config = pool["config"]
    if "pools" in config:
        return _Combined([entries_of(inner) for inner in config["pools"]], config["reduce_by"])
    product = dict(config["product"])
    if product.get("kind") not in _PRODUCTS:
        raise ArtifactError(f"unknown pool {product!r:.200}")
    return _PRODUCTS[product.pop("kind")](**product)
