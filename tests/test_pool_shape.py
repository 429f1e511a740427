"""The sides that `compress` chooses: little waste, no alignment, and why alignment matters."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smh.pools.shape import PoolShape, choose_sides

kernels = st.one_of(
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.tuples(st.just(3), st.just(3), st.integers(1, 128), st.integers(1, 128)),
    st.tuples(st.just(5), st.integers(1, 64), st.integers(1, 64)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(kernels, min_size=1, max_size=12), st.floats(0.01, 1))
def test_waste_budget_and_alignment(shapes, fraction):
    total = sum(math.prod(shape) for shape in shapes)
    budget = math.floor(fraction * total)
    shape = choose_sides(shapes, budget)
    assert shape.size >= total
    assert shape.core_size <= budget
    assert budget - shape.core_size < shape.replica_size or shape.replicas == shape.cols
    if total > 2000:
        assert (shape.size - total) / shape.size < 0.01
        periods = {math.prod(s[i:]) for s in shapes for i in range(1, len(s))}
        periods |= {math.prod(s[:i]) for s in shapes for i in range(1, len(s))}
        assert not any(d > 1 and (d % shape.cols == 0 or shape.cols % d == 0) for d in periods)


def rank_of_weight(cols, fan_in, fan_out, replicas):
    """Numerical rank of a `[fan_in, fan_out]` weight cut from a random product."""
    rng = np.random.default_rng(0)
    rows = -(-fan_in * fan_out // cols)
    product = rng.normal(size=(rows, replicas)) @ rng.normal(size=(replicas, cols))
    weight = product.reshape(-1)[: fan_in * fan_out].reshape(fan_in, fan_out)
    return np.linalg.matrix_rank(weight)


def test_an_aligned_side_limits_the_rank_and_the_chosen_one_does_not():
    fan_in, fan_out, replicas = 128, 128, 4
    assert rank_of_weight(128, fan_in, fan_out, replicas) == replicas
    assert rank_of_weight(256, fan_in, fan_out, replicas) == 2 * replicas
    shape = choose_sides([(fan_in, fan_out)], fan_in * fan_out)
    assert rank_of_weight(shape.cols, fan_in, fan_out, replicas) == fan_out


@pytest.mark.parametrize("shapes", [[(4608, 512)] * 8, [(784, 300), (300, 100), (100, 10)]])
def test_sides_are_nearly_square(shapes):
    shape = choose_sides(shapes, 10**6)
    assert isinstance(shape, PoolShape)
    root = math.sqrt(sum(math.prod(s) for s in shapes))
    assert shape.replica_size < 2.01 * root
