"""The deviation that a weight starts from, whatever holds its initial values."""

import tracemalloc

import keras
import numpy as np
import pytest
from keras import ops

from smh.virtual_variable import weight_spec
from smh.virtual_variable.weight_spec import std_of

pytestmark = pytest.mark.backend_agnostic
HOLDERS = {"array": np.asarray, "tensor": ops.convert_to_tensor, "variable": keras.Variable}


@pytest.mark.parametrize("chunk", [1, 7, 2**20])
@pytest.mark.parametrize("holder", HOLDERS)
def test_equals_the_deviation_in_double_precision(holder, chunk, monkeypatch):
    for name in ("_CHUNK", "_CHUNK_FROM_DEVICE"):
        monkeypatch.setattr(weight_spec, name, chunk)
    value = np.random.default_rng(0).normal(3, 0.1, size=(5, 9, 2)).astype("float32")
    assert std_of(HOLDERS[holder](value)) == pytest.approx(value.std(dtype="float64"), rel=1e-6)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.full((3, 1000), 0.1, "float32"), 0.1),
        (np.float32(-2.0), 2.0),
        (np.zeros((0, 3)), 0.0),
        (np.full(5, -128, "int8"), 128.0),
    ],
    ids=["constant", "one number", "empty", "least integer"],
)
def test_a_constant_has_its_magnitude(value, expected):
    assert std_of(value) == pytest.approx(expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_shows(bad):
    assert not np.isfinite(std_of(np.array([1.0, bad, 1.0])))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_weight_is_not_copied(holder, dtype):
    if holder == "array" and dtype == "bfloat16":
        pytest.skip("NumPy has no such type")
    held = keras.Variable(np.ones((2000, 1000)), dtype=dtype) if holder == "variable" else None
    value = np.ones((2000, 1000), dtype) if holder == "array" else ops.ones((2000, 1000), dtype)
    value = value if held is None else held
    std_of(value)
    tracemalloc.start()
    try:
        assert std_of(value) == 1
        assert tracemalloc.get_traced_memory()[1] < 1.5e6 * (10 if dtype == "bfloat16" else 1)
    finally:
        tracemalloc.stop()
