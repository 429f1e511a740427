"""Integers of any range times steps: what comes back, what it takes, and what is refused."""

import hypothesis.extra.numpy as hnp
import numpy as np
import plain_reader
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smh.coding import (
    Stepped,
    decode,
    describe,
    encode,
    integers,
    nearest_steps,
    steps,
    wavefront_block,
)
from smh.coding.payload import Reader, signed, unsigned, varint
from smh.errors import ArgumentError, ArtifactError

quick = settings(deadline=None, max_examples=60)
CODERS = ["range", "huffman", "packed"]


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


def entropy(values):
    """Bytes of the order-0 entropy of `values`."""
    counts = np.unique(values, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


def round_trip(array, coding):
    encoded = encode(array, coding)
    found = describe(encoded.spec, len(encoded.payload))
    decoded = decode(encoded.spec, encoded.payload)
    assert (found.shape, found.dtype) == (decoded.shape, decoded.dtype.name)
    return decoded


def alike_taps(seed=0, shape=(3, 3, 12, 20)):
    """A kernel whose taps resemble their neighbours, and whose filters differ in size."""
    rng = np.random.default_rng(seed)
    kernel = rng.standard_normal(shape)
    kernel[1:] += 0.7 * kernel[:-1]
    kernel[:, 1:] += 0.7 * kernel[:, :-1]
    return kernel * rng.lognormal(0, 0.7, shape[-1])


# Steps


@quick
@given(
    step=st.floats(1e-30, 1e30),
    exponents=st.lists(st.integers(0, 255), min_size=1, max_size=9),
)
def test_steps_are_what_a_file_holds(step, exponents):
    plain = steps(step)
    assert abs(plain - step) <= step / 256 and plain.dtype == np.float32
    if exponents and float(plain) * 2 ** (max(exponents) / 4) < 3e38:
        found = steps(step, exponents)
        np.testing.assert_allclose(found, plain * 2.0 ** (np.array(exponents) / 4), rtol=1e-7)
        ones = np.ones((2, len(exponents)), int)
        decoded = round_trip(ones, Stepped(step, exponents, 1))
        np.testing.assert_array_equal(decoded, np.broadcast_to(found, ones.shape))
    np.testing.assert_array_equal(
        round_trip(np.int8([-1, 0, 3]), Stepped(step)), np.float32([-1, 0, 3]) * plain
    )


@quick
@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(1e-6, 1e6)))
def test_the_nearest_steps_are_near(wanted):
    step, exponents = nearest_steps(wanted)
    np.testing.assert_array_less(np.abs(np.log2(steps(step, exponents) / wanted)), 1 / 8 + 0.006)


def test_the_nearest_steps_of_zeros():
    assert nearest_steps(0.0) == (1.0, None)
    step, exponents = nearest_steps([0.0, 0.5, 0.0])
    assert step == 0.5 and exponents.tolist() == [0, 0, 0]


@pytest.mark.parametrize("axis, shape", [(2, (3, 3, 5, 1)), (-1, (4, 5)), (0, (5, 7)), (0, (5,))])
def test_channels_may_lie_on_any_axis(axis, shape):
    rng = np.random.default_rng(0)
    whole = rng.integers(-9, 10, shape)
    exponents = np.array([3, 0, 200, 7, 1])
    spread = steps(0.01, exponents).reshape(-1, *[1] * (len(shape) - 1 - axis % len(shape)))
    decoded = round_trip(whole, Stepped(0.01, exponents, axis))
    np.testing.assert_array_equal(decoded, whole.astype(np.float32) * spread)
    again = round_trip(decoded, Stepped(0.01, exponents, axis))  # rounded to the same integers
    np.testing.assert_array_equal(again, decoded)


# Round trips


@quick
@given(data=st.data(), coder=st.sampled_from(CODERS))
def test_integers_of_any_range_come_back(data, coder):
    shape = data.draw(hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7))
    reach = data.draw(st.sampled_from([0, 1, 3, 40, 300, 10**5, 2**24 - 1]))
    whole = data.draw(hnp.arrays(np.int32, shape, elements=st.integers(-reach, reach)))
    np.testing.assert_array_equal(round_trip(whole, Stepped(1.0, coder=coder)), whole)


def kinds():
    rng = np.random.default_rng(1)
    one_far = rng.integers(0, 2, (20, 20))
    one_far[-1, -1] = 10**6
    heavy = np.rint(rng.standard_t(1.2, (40, 50)) * 2).clip(-(2**20), 2**20)
    return {
        "taps": np.rint(alike_taps() / 2),
        "fine": np.rint(alike_taps() * 100),
        "heavy tails": heavy,
        "rare": np.where(rng.random((50, 70)) < 0.01, 3, 0),
        "rows": np.rint(rng.standard_normal((30, 40)) * rng.lognormal(0, 2, (30, 1))),
        "vector": np.rint(rng.standard_normal(997) * 3),
        "depthwise": np.rint(rng.standard_normal((3, 3, 40, 1)) * 3),
        "column": np.rint(rng.standard_normal((64, 1)) * 3),
        "walk": np.cumsum(rng.integers(-2, 3, (5, 300)), axis=1),
        "one far": one_far,
    }


@pytest.mark.parametrize("name", kinds())
def test_every_kind_comes_back_and_the_plain_reader_agrees(name):
    whole = kinds()[name].astype(np.int64)
    encoded = encode(whole, Stepped(0.25))
    decoded = decode(encoded.spec, encoded.payload)
    np.testing.assert_array_equal(decoded, whole * np.float32(0.25))
    cursor = plain_reader.Cursor(encoded.payload)
    assert plain_reader.array(encoded.spec, cursor) == decoded.ravel().tolist()
    for settings_ in wavefront_block.choices(whole):  # also where it is not the shortest
        flat = whole.astype(np.int32).ravel()
        block = integers.wavefront(flat, settings_)
        np.testing.assert_array_equal(integers.read(Reader(block), flat.size), flat)
        assert plain_reader.integers(plain_reader.Cursor(block), flat.size) == flat.tolist()


# What it takes


def test_contexts_are_used_only_where_they_pay():
    rng = np.random.default_rng(3)
    taps = np.rint(alike_taps(shape=(3, 3, 32, 32)) / 2).astype(int)
    assert len(integers.write(taps)) < 0.9 * entropy(taps)
    shuffled = rng.permutation(taps.ravel()).reshape(taps.shape)
    assert len(integers.write(shuffled)) < 1.015 * entropy(taps) + 30
    even = np.tile([0, 1, 1, 0], 500).reshape(4, 500)
    assert len(integers.write(even)) < 100 < entropy(even)


@pytest.mark.parametrize("scale", [0.05, 0.2, 0.5, 1, 3, 20, 300])
@pytest.mark.parametrize("shape", [(9, 16), (64, 10), (3, 3, 16, 16), (256, 128)])
def test_within_two_per_cent_and_24_bytes_of_the_entropy(scale, shape):
    whole = np.rint(np.random.default_rng(5).standard_normal(shape) * scale).astype(int)
    # Of the normal distribution where it is wider than a step: few numbers of a large range have
    # a histogram of a lower entropy, which no coder reaches that does not know it.
    source = whole.size * np.log2(scale * np.sqrt(2 * np.pi * np.e)) / 8 if scale >= 1 else 0
    assert len(integers.write(whole)) <= 1.02 * max(entropy(whole), source) + 24


# Refusals


@pytest.mark.parametrize(
    "array, coding, match",
    [
        (np.float32([1, np.nan]), Stepped(0.1), r"1 of 2 numbers are NaN .* index \[1\]"),
        (np.float32([1]), Stepped(0), "above 0, got 0"),
        (np.float32([1]), Stepped(-0.5), "above 0, got -0.5"),
        (np.float32([1]), Stepped(np.nan), "above 0"),
        (np.float32([1]), Stepped("1"), "above 0"),
        (np.float32([1]), Stepped(1e-42), "normal number"),
        (np.float32([1]), Stepped(1e39), "normal number"),
        (np.float32([1]), Stepped(1e-9), "too fine"),
        (np.int64([2**24]), Stepped(1.0), "below 16,777,216 in size, got 16,777,216"),
        (np.int8([2]), Stepped(3e38), "infinite in float32"),
        (np.int8([0]), Stepped(1.0, [255], 0), None),
        (np.int8([0]), Stepped(1e30, [255], 0), "infinite in float32"),
        (np.int8([1, 1]), Stepped(1.0, [0, 1]), "go together"),
        (np.int8([1, 1]), Stepped(1.0, axis=0), "go together"),
        (np.int8([1, 1]), Stepped(1.0, [0, 1], 1), r"axis must be one of an array of shape \(2,\)"),
        (np.int8([1, 1]), Stepped(1.0, [0, 1], True), "axis must be one of"),
        (np.int8([1, 1]), Stepped(1.0, [0], 0), "2 integer exponents expected"),
        (np.int8([1, 1]), Stepped(1.0, [0.5, 1], 0), "2 integer exponents expected"),
        (np.int8([1, 1]), Stepped(1.0, [0, 256], 0), "0 to 255, got 0 to 256"),
        (np.int8([1, 1]), Stepped(1.0, [-1, 0], 0), "0 to 255, got -1 to 0"),
        (np.int8([1]), Stepped(1.0, coder="zip"), "coder must be one of"),
        (np.bool_([1]), Stepped(1.0), "Only floating-point"),
    ],
)
def test_what_cannot_be_encoded_is_said(array, coding, match):
    if match is None:
        encode(array, coding)
        return
    with pytest.raises(ArgumentError, match=match):
        encode(array, coding)


def wave(width=3, largest=2, near=b"", behind=b"\0", count=0):
    return bytes([1]) + varint(width) + bytes([largest << 3 | count]) + near + behind


@pytest.mark.parametrize(
    "block, match",
    [
        (b"", "expected, 0 left"),
        (bytes([18]), "unknown kind 18"),
        (bytes([0]) + varint(unsigned(2**24)) + varint(0), "below 2\\*\\*24"),
        (bytes([0]) + varint(unsigned(5)) + varint(2**24 - 2), "below 2\\*\\*24"),
        (bytes([0, 0, 3, 9]), "unknown kind 9"),
        (bytes([0, 0, 3, 1]), "packed symbols of 2 bytes expected"),
        (wave(width=0), "width 0"),
        (wave(width=9), "the width of the matrix is 9"),
        (wave(largest=0), "largest symbol 0"),
        (wave(count=5), "5 neighbours"),
        (wave(count=1, near=bytes([0, 0, 1])), "its own neighbour"),
        (wave(count=1, near=bytes([2, 0, 1])), "rows to a neighbour is 2"),
        (wave(count=1, near=bytes([0, 3, 1])), "columns to a neighbour is 3"),
        (wave(count=1, near=bytes([0]), behind=b""), "columns to a neighbour of 1 bytes expected"),
        (wave(largest=31, behind=bytes([7])), "number of integers beyond .* is 7"),
        (wave(largest=31, behind=bytes([1, 0, 0])), "not those of any|more integers are beyond"),
        (wave(behind=bytes([3, 1])), "the length is 3"),
        (wave(behind=bytes([1, 0])), "not those of any integers"),
        (wave(behind=bytes([4, 255, 255, 255, 255])), "not those of any|cannot be decoded"),
    ],
)
def test_wrong_blocks_of_integers_are_refused(block, match):
    with pytest.raises(ArtifactError, match=match):
        integers.read(Reader(block), 6)


def test_a_wavefront_that_runs_away_is_refused():
    """Weights of two let integers double from row to row until they are no longer whole numbers."""
    near = bytes([1, 0, 127, 2, 0, 127, 3, 0, 127])
    rng = np.random.default_rng(0)
    for _ in range(20):
        data = rng.bytes(200)
        block = wave(1, 30, near, varint(len(data)) + data, count=3)
        with pytest.raises(ArtifactError, match=r"2\*\*24|not those of|cannot be decoded"):
            integers.read(Reader(block), 400)


@pytest.mark.parametrize(
    "spec, payload, match",
    [
        ({"axis": -2, "coding": "stepped", "shape": [2]}, b"", "axis must be -1 to 0"),
        ({"axis": 1, "coding": "stepped", "shape": [2]}, b"", "axis must be -1 to 0"),
        ({"axis": 0, "coding": "stepped", "shape": []}, b"", "axis must be -1 to -1"),
        ({"coding": "stepped", "shape": [2]}, b"", "has the keys"),
        ({"axis": -1, "coding": "stepped", "shape": [1]}, b"\x80\xbf", "step is -1"),
        ({"axis": -1, "coding": "stepped", "shape": [1]}, b"\0\0", "step is 0"),
        ({"axis": -1, "coding": "stepped", "shape": [1]}, b"\x80\x7f", "step is inf"),
        ({"axis": -1, "coding": "stepped", "shape": [1]}, b"\x01\0", "normal number"),
        (
            {"axis": -1, "coding": "stepped", "shape": [1]},
            b"\x7f\x7f\0\4\0",
            "infinite in float32",
        ),
        (
            {"axis": 0, "coding": "stepped", "shape": [1]},
            b"\x7f\x7f\xff\0\xff\1\0\2\0",
            "infinite in float32",
        ),
    ],
)
def test_wrong_payloads_are_refused(spec, payload, match):
    with pytest.raises(ArtifactError, match=match):
        decode(spec, payload)


@quick
@given(st.integers(-(2**40), 2**40))
def test_signed_numbers_as_unsigned(number):
    assert signed(unsigned(number)) == number and unsigned(number) >= 0


@pytest.mark.slow
def test_a_million_integers_take_seconds():
    import time

    whole = np.rint(np.random.default_rng(0).standard_normal((1000, 1000)) * 2).astype(int)
    begin = time.process_time()
    encoded = encode(whole, Stepped(1.0))
    decode(encoded.spec, encoded.payload)
    assert time.process_time() - begin < 10


@quick
@given(
    hnp.arrays(
        np.int64,
        st.integers(1, 40) | st.tuples(st.integers(1, 6), st.integers(1, 6)),
        elements=st.sampled_from([0, 1, -1, 2031617, 2**24 - 1, 1 - 2**24])
        | st.integers(1 - 2**24, 2**24 - 1),
    )
)
def test_integers_of_the_whole_range_come_back(whole):
    found = integers.read(Reader(integers.write(whole)), whole.size)
    np.testing.assert_array_equal(found, whole.ravel())


def test_integers_are_coded_once(monkeypatch):
    """What is measured and then written; never what has another shape, coder or integer."""
    random = np.random.default_rng(0)
    whole = random.integers(-3, 4, (24, 36))
    blocks = []
    coded = integers.write_plain
    monkeypatch.setattr(integers, "write_plain", lambda *a: blocks.append(a) or coded(*a))
    other = whole.copy()
    other[5, 7] += 1
    cases = [(whole, "range"), (whole.T, "range"), (whole.reshape(8, -1), "range")]
    cases += [(whole, "huffman"), (whole, "packed"), (other, "range")]
    made = [integers.write(*case) for case in cases]
    assert len(blocks) == len(cases)
    again = [integers.write(x.astype(np.int64).copy(), coder) for x, coder in cases]
    assert again == made and len(blocks) == len(cases)
    for (x, _), block in zip(cases, made, strict=True):
        assert (integers.read(Reader(block), x.size) == x.ravel()).all()


def test_few_blocks_are_remembered(monkeypatch):
    """By number and by size, the newest."""
    monkeypatch.setattr(integers, "_blocks", {})
    monkeypatch.setattr(integers, "_MOST", 5)
    for number in range(9):
        integers.write(np.full(3, number))
    assert len(integers._blocks) == 5
    monkeypatch.setattr(integers, "_MOST_BYTES", 40)
    block = integers.write(np.random.default_rng(0).integers(0, 16, 1000))
    assert len(block) > 40 and not integers._blocks
