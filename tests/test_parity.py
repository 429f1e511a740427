"""The published pool layout, pinned by numbers. `parity/make_parity.py` regenerates them."""

import json
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from smh import index_store
from smh.errors import PoolExhaustedError
from smh.modifiers import constant_fanout_scale_modifier, fanout_scale
from smh.variable_pool import HashVariablePool, ProductVariablePool

PARITY = json.loads((Path(__file__).parent / "parity" / "parity.json").read_text())
pytestmark = pytest.mark.backend_agnostic


def make_pool(case):
    size, fraction = case["pool_size"], case["fraction"]
    if case["kind"] == "hash":
        return HashVariablePool(True, 1.0, size, fraction)
    return ProductVariablePool(
        True, size, fraction, use_kronecker_product=case["kind"] == "kronecker"
    )


@pytest.mark.parametrize("case", PARITY["pools"], ids=lambda c: f"{c['kind']}-{c['pool_size']}")
def test_shapes_sizes_and_slices_in_order_of_creation(case):
    pool = make_pool(case)
    factors = [case["left"]] + ([case["right"]] if "right" in case else [])
    shapes = [case.get("left_shape", case.get("core_shape")), case.get("right_shape")]
    assert [list(v.shape) for v in pool.core_variables] == [s for s in shapes if s]
    assert (pool.pool_size, pool.core_size) == (case["size"], case["core_size"])
    for variable, values in zip(pool.core_variables, factors, strict=True):
        variable.assign(np.array(values, "float32"))
    for piece in case["slices_in_order_of_creation"]:
        assert pool.status == piece["begin"]
        got = ops.convert_to_numpy(pool.get_slice(piece["shape"]))
        expected = np.array(piece["values"], "float32").reshape(piece["shape"])
        np.testing.assert_array_equal(got, expected)  # every product is exact in float32


@pytest.mark.parametrize(
    "case",
    [c for c in PARITY["pools"] if "factor_stddev" in c],
    ids=lambda c: f"{c['kind']}-{c['pool_size']}",
)
def test_factors_start_with_the_published_deviation(case):
    for _, initializer in make_pool(case).factor_initializers():
        assert initializer.stddev == pytest.approx(case["factor_stddev"])


def test_basic_store():
    law = PARITY["index_stores"]["basic"]
    store = index_store.BasicIndexStore(law["size"])
    for length in law["requests"]:
        begin = store.position
        assert store.allocate(length).segments == ((begin, begin + length),)
    with pytest.raises(PoolExhaustedError):
        store.allocate(law["then_error"])


@pytest.mark.parametrize("kind", ["cyclic", "padding"])
def test_cyclic_and_padding_stores(kind):
    law = PARITY["index_stores"][kind]
    store = index_store.make_index_store(kind, law["size"])
    for request in law["requests"]:
        assert store.position == request["begin"]
        slot = store.allocate(request["length"])
        indices = [i for start, stop in slot.segments for i in range(start, stop)]
        assert indices + [None] * slot.padding == request["indices"]


@pytest.mark.parametrize("law", PARITY["fanout_scale"], ids=lambda law: str(law["shape"]))
def test_fanout_scale(law):
    assert fanout_scale(tuple(law["shape"])) == pytest.approx(law["scale"])
    ones = constant_fanout_scale_modifier(ops.ones(law["shape"]))
    np.testing.assert_allclose(ops.convert_to_numpy(ones), law["scale"], rtol=1e-6)
