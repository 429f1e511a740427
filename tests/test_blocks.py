"""Floats of few binary digits: what comes back, what it takes, and what is refused."""

import hypothesis.extra.numpy as hnp
import numpy as np
import plain_reader
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smh.coding import Blocks, Planes, Raw, decode, describe, encode, smallest
from smh.errors import ArgumentError, ArtifactError

quick = settings(deadline=None, max_examples=80)


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


def round_trip(array, coding):
    encoded = encode(array, coding)
    found = describe(encoded.spec, len(encoded.payload))
    decoded = decode(encoded.spec, encoded.payload)
    assert (found.shape, found.dtype) == (decoded.shape, decoded.dtype.name)
    read = plain_reader.array(encoded.spec, plain_reader.Cursor(encoded.payload))
    np.testing.assert_array_equal(np.float32(read), decoded.ravel())
    return decoded


def rounded(count=1300, digits=6, seed=0):
    """Vectors with steps of their own, as of biases and scales."""
    random = np.random.default_rng(seed)
    out = []
    while sum(map(len, out)) < count:
        size = int(random.choice([16, 32, 64]))
        step = 2.0 ** random.integers(-9, 2)
        mean = random.choice([0, 2.0**digits])
        out.append(np.rint(random.normal(mean, 2 ** (digits - 2), size)) * step + 0.0)
    return np.concatenate(out)[:count].astype("float32")


@quick
@given(
    integers=hnp.arrays(
        np.int64, st.integers(0, 70), elements=st.integers(-(2**22) + 1, 2**22 - 1)
    ),
    exponent=st.integers(-149, 105),
    coder=st.sampled_from(["range", "huffman", "packed"]),
)
def test_whole_numbers_of_a_power_of_two_come_back(integers, exponent, coder):
    array = np.ldexp(integers.astype(np.float64), exponent).astype("float32")
    np.testing.assert_array_equal(round_trip(array, Blocks(coder)), array)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(0, "float32"),
        np.zeros((3, 0), "float32"),
        np.zeros(33, "float32"),
        np.float32(2.5),
        np.full((9, 9), 7, "float32"),
        np.float32([0] * 16 + [2.0**127] * 16 + [-(2.0**-149)] * 16 + [1]),
        np.float32([1 - 2**22, 2**22 - 1]),
        rounded(3000),
    ],
    ids=lambda a: str(a.shape),
)
def test_arrays_of_all_kinds_come_back(array):
    np.testing.assert_array_equal(round_trip(array, Blocks()), array)


def test_few_digits_take_few_bits():
    """Within a bit a number of what normal numbers of that spread take; `Planes` is far off."""
    array = rounded(digits=6)
    size = len(encode(array, Blocks()).payload)
    assert size < (np.log2(2**4 * np.sqrt(2 * np.pi * np.e)) + 1) * array.size / 8
    assert size < 0.75 * len(encode(array, Planes()).payload)
    assert smallest(array, [Raw(), Planes(), Blocks()]).spec["coding"] == "blocks"


@pytest.mark.parametrize(
    "array, match",
    [
        (np.float64([1]), "of float32"),
        (np.int32([1]), "of float32"),
        (np.float32([1, np.nan]), "NaN"),
        (np.float32([np.inf]), "infinity"),
        (np.float32([1, -0.0]), "negative zero"),
        (np.float32([1, 1 + 2**-23]), "more binary digits"),
        (np.float32([2**22]) + np.float32([0, 1]), "more binary digits"),
    ],
)
def test_what_has_no_place_is_refused(array, match):
    assert not Blocks.takes(array)
    with pytest.raises(ArgumentError, match=match):
        encode(array, Blocks())


@quick
@given(data=st.data())
def test_changed_bytes_are_decoded_or_refused(data):
    encoded = encode(rounded(40), Blocks())
    payload = bytearray(encoded.payload)
    place = data.draw(st.integers(0, len(payload) - 1))
    payload[place] = data.draw(st.integers(0, 255))
    try:
        found = decode(encoded.spec, bytes(payload))
    except ArtifactError:
        return
    assert found.shape == (40,) and np.isfinite(found).all()


def test_a_wrong_spec_is_refused():
    encoded = encode(rounded(40), Blocks())
    for spec in ({**encoded.spec, "dtype": "float32"}, {**encoded.spec, "shape": [400]}):
        with pytest.raises(ArtifactError):
            decode(spec, encoded.payload)
