"""Tensor codings: what comes back, how small it is, and what is refused."""

import time

import constriction
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smh.coding import (
    Codebook,
    Planes,
    Raw,
    Sparse,
    Uniform,
    decode,
    describe,
    encode,
    huffman,
    range_coder,
    symbols,
)
from smh.coding.payload import Reader, varint
from smh.errors import ArgumentError, ArtifactError

quick = settings(deadline=None, max_examples=60)
CODERS = ["range", "huffman", "packed"]
DTYPES = "bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64".split()


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
    assert decoded.shape == np.shape(array)
    return decoded


# Raw


@quick
@given(data=st.data(), dtype=st.sampled_from(DTYPES), order=st.sampled_from("<>"))
def test_raw_and_planes_give_back_every_bit(data, dtype, order):
    shape = data.draw(hnp.array_shapes(min_dims=0, min_side=0, max_side=5))
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    bits = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), np.uint8)
    if dtype == "bool":
        bits = bits & 1
    array = bits.view(dtype).reshape(shape).astype(np.dtype(dtype).newbyteorder(order))
    for given_array in (array, array.T, array[..., ::-1] if array.ndim else array):
        for coding in (Raw(), Planes(), Planes(coder="huffman")):
            decoded = round_trip(given_array, coding)
            assert decoded.dtype == np.dtype(dtype)
            assert decoded.tobytes() == given_array.astype(dtype).tobytes()


@pytest.mark.parametrize("dtype, least", [("float16", 0.1), ("float32", 0.15), ("bfloat16", 0.3)])
def test_planes_take_each_byte_within_its_entropy(dtype, least):
    array = np.random.default_rng(3).normal(0, 0.05, 5000).astype(np.float32)
    full, planes = encode(array, Raw(dtype)), encode(array, Planes(dtype))
    np.testing.assert_array_equal(
        decode(planes.spec, planes.payload), decode(full.spec, full.payload)
    )
    size = len(full.payload) // array.size
    bound = sum(entropy(np.frombuffer(full.payload, np.uint8)[i::size]) for i in range(size))
    assert len(planes.payload) <= 1.02 * bound + 64 * size
    assert len(planes.payload) < (1 - least) * len(full.payload)


def test_bfloat16_rounds_as_its_package_does():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    upper = np.arange(1 << 16, dtype=np.uint32) << 16
    for lower in (0x0000, 0x0001, 0x7FFF, 0x8000, 0x8001, 0xFFFF):
        array = (upper | np.uint32(lower)).view(np.float32)
        expected = array.astype(ml_dtypes.bfloat16)
        overflows = np.isfinite(array) & ~np.isfinite(expected.astype(np.float32))
        array, expected = array[~overflows], expected[~overflows]
        encoded = encode(array, Raw("bfloat16"))
        stored = np.frombuffer(encoded.payload, "<u2")
        number = ~np.isnan(array)
        assert (stored[number] == expected.view(np.uint16)[number]).all()
        decoded = decode(encoded.spec, encoded.payload)
        assert (np.isnan(decoded) == ~number).all() and decoded.dtype == np.float32
        own = encode(expected, Raw())  # from an array that is bfloat16 already: bit for bit
        assert own.payload == expected.tobytes() and own.spec["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    "array, dtype",
    [
        (np.float32([7e4]), "float16"),
        (np.float64([1e39]), "float32"),
        (np.float32([3.4e38]), "bfloat16"),
        (np.float32([0.5]), "int32"),
        (np.int32([300]), "uint8"),
        (np.int64([2**53 + 1]), "float64"),
        (np.complex64([1j]), None),
        (np.array(["a"]), None),
        (np.float32([1]), "float8"),
    ],
)
def test_raw_refuses_what_does_not_fit(array, dtype):
    with pytest.raises(ArgumentError, match="fit|cannot be stored"):
        encode(array, Raw(dtype))


def test_raw_keeps_special_numbers_in_a_smaller_type():
    array = np.float32([np.nan, np.inf, -np.inf, -0.0, 1 + 2**-11])
    for dtype in ("float16", "bfloat16"):
        decoded = round_trip(array, Raw(dtype))
        np.testing.assert_array_equal(decoded[:4], array[:4])
        assert np.signbit(decoded[3]) and decoded[4] == 1  # a tie goes to even


# Uniform


@quick
@given(
    array=hnp.arrays(
        st.sampled_from([np.float16, np.float32, np.float64]),
        hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=6),
        elements=st.floats(-1000, 1000, width=16),
    ),
    bits=st.integers(2, 8),
    per=st.sampled_from(["tensor", "row", "column"]),
    dtype=st.sampled_from(["float16", "float32"]),
    coder=st.sampled_from(CODERS),
)
@example(np.zeros((3, 4)), 4, "row", "float16", "range")
def test_uniform_is_off_by_half_a_step(array, bits, per, dtype, coder):
    decoded = round_trip(array, Uniform(bits, per, scale_dtype=dtype, coder=coder))
    axes = {"tensor": (), "row": (0,), "column": (array.ndim - 1,)}[per]
    others = tuple(axis for axis in range(array.ndim) if axis not in axes)
    largest = np.abs(array.astype(np.float64)).max(axis=others, keepdims=True, initial=0)
    step = largest / (2 ** (bits - 1) - 1) * 1.001 + 2.0**-24  # the scale was rounded up
    assert decoded.dtype == np.float32
    assert (np.abs(decoded - array) <= step / 2 * 1.0001).all()
    assert (decoded[np.broadcast_to(largest == 0, array.shape)] == 0).all()


@pytest.mark.parametrize("per, count", [("tensor", 1), ("row", 5), ("column", 7)])
def test_ready_integers_come_back_times_their_scale(per, count):
    rng = np.random.default_rng(0)
    integers = rng.integers(-8, 8, (5, 3, 7))
    scale = rng.random(count).astype(np.float32)
    scale[0] = 0
    spread = {"tensor": scale, "row": scale[:, None, None], "column": scale}[per]
    decoded = round_trip(integers, Uniform(4, per, scale))
    np.testing.assert_array_equal(decoded, integers.astype(np.float32) * spread)
    again = round_trip(decoded, Uniform(4, per, scale))  # quantised with the given scales
    inside = np.broadcast_to(integers > -8, decoded.shape)  # -8 is cut off: symmetric
    np.testing.assert_array_equal(again[inside], decoded[inside])


# Codebook and sparse


@quick
@given(
    array=hnp.arrays(np.float32, st.integers(0, 50), elements=st.floats(-9, 9, width=16)),
    values=st.lists(st.floats(-9, 9, width=16), min_size=1, max_size=300),
    coder=st.sampled_from(CODERS),
)
def test_a_codebook_takes_the_nearest_value(array, values, coder):
    decoded = round_trip(array, Codebook(np.float16(values), coder=coder))
    distance = np.abs(array[:, None].astype(np.float64) - np.array(values))
    np.testing.assert_array_equal(np.abs(array.astype(np.float64) - decoded), distance.min(axis=1))


@quick
@given(
    indices=hnp.arrays(np.int32, hnp.array_shapes(max_side=9), elements=st.integers(0, 299)),
    coder=st.sampled_from(CODERS),
)
def test_codebook_indices_come_back(indices, coder):
    decoded = round_trip(indices, Codebook(np.arange(300.0), coder=coder))
    np.testing.assert_array_equal(decoded, indices)


def masks():
    rng = np.random.default_rng(1)
    regular = np.zeros(5000, bool)
    regular[3::40] = True
    blocks = np.repeat(rng.random(60) < 0.2, 100)
    last = np.arange(3000) == 2999
    return {
        "none": np.zeros(700, bool),
        "all": np.ones(700, bool),
        "empty": np.zeros(0, bool),
        "random": rng.random(20_000) < 0.08,
        "rare": rng.random(200_000) < 1e-4,
        "regular": regular,
        "blocks": blocks,
        "last": last,
        "first": last[::-1],
    }


@pytest.mark.parametrize("name", masks())
@pytest.mark.parametrize("coder", CODERS)
def test_sparse_arrays_come_back(name, coder):
    mask = masks()[name]
    rng = np.random.default_rng(2)
    array = np.where(mask, rng.choice([-1.5, 0.25, 3.0], mask.size), 0).astype(np.float32)
    array = array.reshape(-1, 10) if mask.size % 10 == 0 else array
    book = np.float32([-1.5, 0.25, 3.0])
    indices = np.searchsorted(book, array.ravel()[mask])
    for coding in (
        Sparse(coder=coder),
        Sparse(Planes(coder=coder), coder=coder),
        Sparse(Codebook(book, coder=coder)),
        Sparse(Codebook(book), indices=indices, coder=coder),
        Sparse(Uniform(8, scale=np.float32(0.25)), coder=coder),
    ):
        np.testing.assert_array_equal(round_trip(array, coding), array)


def test_sparse_keeps_nan_and_drops_the_sign_of_zero():
    array = np.float32([0, -0.0, np.nan, np.inf, 0, 5])
    encoded = encode(array, Sparse())
    assert encoded.spec["values"]["shape"] == [3]
    np.testing.assert_array_equal(decode(encoded.spec, encoded.payload), array)


@pytest.mark.parametrize(
    "array",
    [np.float32(2.5), np.zeros(()), np.zeros((0, 3)), np.zeros((2, 0, 4)), np.full((9, 9), 7.0)],
    ids=str,
)
@pytest.mark.parametrize("coder", CODERS)
def test_scalars_empty_and_constant_arrays(array, coder):
    codings = [
        Raw(),
        Planes(coder=coder),
        Uniform(3, coder=coder),
        Codebook([0, 2.5, 7], coder=coder),
        Codebook([np.float32(array).max(initial=0)], coder=coder),
        Sparse(Codebook([2.5, 7], coder=coder), coder=coder),
    ]
    for coding in codings:
        assert np.abs(round_trip(array, coding) - array).max(initial=0) < 1e-2


def test_little_that_stands_for_much_is_padded():
    encoded = encode(np.zeros((1000, 1000)), Uniform(4))
    assert len(encoded.payload) == -(-1_000_000 // 1024) - 64
    assert not decode(encoded.spec, encoded.payload).any()
    with pytest.raises(ArtifactError, match="too few"):
        decode(encoded.spec, encoded.payload[:-1])


# Refusals


@pytest.mark.parametrize(
    "array, coding, match",
    [
        (np.float32([1, np.nan]), Uniform(4), r"1 of 2 numbers are NaN .* index \[1\]"),
        (np.float32([[1], [-np.inf]]), Codebook([1.0]), r"index \[1, 0\]"),
        (np.float32([0, np.nan]), Sparse(Codebook([1.0])), "NaN"),
        (np.float32([1]), Uniform(9), "bits must be 2 to 8, got 9"),
        (np.float32([1]), Uniform(4, "channel"), "per must be one of"),
        (np.float32([1]), Uniform(4, "row"), "rank 2 or more"),
        (np.float32([1]), Uniform(4, coder="zip"), "coder must be one of"),
        (np.float32([1]), Uniform(4, scale_dtype="int8"), "scale_dtype"),
        (np.float32([1e6]), Uniform(4), "scale_dtype='float32'"),
        (np.int8([1]), Uniform(4), "none was given"),
        (np.int8([8]), Uniform(4, scale=1.0), "-8 to 7, got integers from 8"),
        (np.int8([[1, 2]]), Uniform(4, "column", scale=[1.0]), "2 finite scales"),
        (np.int8([1]), Uniform(4, scale=np.nan), "finite scales"),
        (np.int8([1]), Uniform(4, scale=-1.0), "finite scales of at least 0"),
        (np.int8([1]), Uniform(4, scale=3e38), "infinite in float32"),
        (np.bool_([1]), Uniform(4), "Only floating-point"),
        (np.int8([2]), Codebook([0.0, 1.0]), "indices 0 to 1, got 2"),
        (np.float32([2]), Codebook([]), "1 to 4096 values"),
        (np.float32([2]), Codebook([np.inf]), "finite"),
        (np.float32([2]), Codebook([7e4], dtype="float16"), "finite"),
        (np.float32([2]), Sparse(Sparse()), "values must be Raw"),
        (np.float32([2]), Sparse(indices=[1, 2]), "1 integer indices expected"),
        (np.float32([2]), "raw", "coding must be"),
    ],
)
def test_what_cannot_be_encoded_is_said(array, coding, match):
    with pytest.raises(ArgumentError, match=match):
        encode(array, coding)


@pytest.mark.parametrize(
    "alphabet, block, match",
    [
        (5, bytes([1, 0b10100000]), "symbol 5, the largest is 4"),
        (5, bytes([1, 0b01000001]), "bits behind the last packed symbol"),
        (5, bytes([0]) + varint(5), "the only symbol is 5"),
        (5, bytes([0, 0x80, 0]), "shortest form"),
        (5, bytes([0, *[0x80] * 12]), "63-bit|expected"),
        (5, bytes([9]), "unknown kind 9"),
        (5, bytes([3, 2, 1, 2, 3]), "range-coded words of 8 bytes expected, 3 left"),
        (5, bytes([3, 127, 1]), "the limit is"),
        (5, bytes([3, 0]), "not those of any symbols"),
        (5, bytes([3, 1, 255, 255, 255, 255]), "not those of any symbols"),
        (5, bytes([4, 0, 0, 0]), "has no symbol"),
        (5, bytes([4, 4]), "unknown kind 4"),
        (5, bytes([4, 2]), "unknown kind 2"),
        (5, bytes([2, 0x11, 0x10, 0, 0]), "not those of a complete code"),
        (5, bytes([2, 0x10, 0, 0, 0]), "not those of a complete code"),
        (5, bytes([2, 0x11, 0, 0]), "Huffman codes do not fit"),
        (5, bytes([2, 0x11, 0, 0, 0b00100000]), "not followed by zero bits"),
        (5, b"", "expected, 0 left"),
    ],
)
def test_wrong_blocks_of_symbols_are_refused(alphabet, block, match):
    with pytest.raises(ArtifactError, match=match):
        symbols.read(Reader(block), 2, alphabet)


def test_a_panic_of_constriction_is_an_artifact_error(monkeypatch, capfd):
    block = symbols.write(np.arange(200, dtype=np.uint8) % 3, 3)
    cauchy = constriction.stream.model.QuantizedCauchy
    with monkeypatch.context() as patch:
        # A negative width is one of the arguments on which constriction panics.
        patch.setattr(range_coder, "Categorical", lambda *_, **__: cauchy(0, 9, 0.0, -1.0))
        with pytest.raises(ArtifactError, match="cannot be decoded"):
            symbols.read(Reader(block), 200, 3)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(range_coder, "Categorical", interrupted)
    with pytest.raises(KeyboardInterrupt):
        symbols.read(Reader(block), 200, 3)
    capfd.readouterr()  # Rust prints its panic


# Entropy


@quick
@given(
    values=hnp.arrays(np.uint16, st.integers(0, 300), elements=st.integers(0, 4095)),
    alphabet=st.sampled_from([1, 2, 3, 16, 255, 256, 257, 4096]),
    coder=st.sampled_from(CODERS),
    behind=st.binary(max_size=9),
)
def test_symbols_come_back_and_nothing_behind_them_is_read(values, alphabet, coder, behind):
    values = values % alphabet
    reader = Reader(symbols.write(values, alphabet, coder) + behind)
    np.testing.assert_array_equal(symbols.read(reader, values.size, alphabet), values)
    assert bytes(reader.rest()) == behind


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("alphabet", [2, 11, 256, 300])
def test_long_blocks_come_back(coder, alphabet):
    """Longer than any of the chunks that the coders work in, with codes that cross their ends."""
    rng = np.random.default_rng(alphabet)
    values = np.minimum(rng.geometric(0.2, 2_200_003) - 1, alphabet - 1).astype(np.uint16)
    reader = Reader(symbols.write(values, alphabet, coder))
    np.testing.assert_array_equal(symbols.read(reader, values.size, alphabet), values)
    assert not len(reader.rest())


def distributions(alphabet):
    rng = np.random.default_rng(alphabet)
    place = np.arange(alphabet) - alphabet / 2 + 0.5
    return {
        "gauss": np.exp(-((place / (alphabet / 6)) ** 2) / 2),
        "flat": np.ones(alphabet),
        "peaked": np.where(place == 0.5, 50.0 * alphabet, 1),
        "geometric": 0.8 ** np.arange(alphabet),
        "rough": rng.dirichlet(np.full(alphabet, 0.3)),
        "comb": np.where(np.arange(alphabet) % 3, 0.03, 1),
    }


@pytest.mark.parametrize("alphabet", [4, 16, 64, 256])
def test_range_coding_comes_within_two_per_cent_and_64_bytes_of_the_entropy(alphabet):
    rng = np.random.default_rng(alphabet)
    for name, weights in distributions(alphabet).items():
        for count in (10, 300, 1200, 5000, 40_000):
            values = rng.choice(alphabet, count, p=weights / weights.sum()).astype(np.uint8)
            size = len(symbols.write(values, alphabet))
            assert size <= 1.02 * entropy(values) + 64, (name, count)
    drifting = np.sort(values)  # the adaptive kind is lost here, the table is not
    assert len(symbols.write(drifting, alphabet)) <= 1.02 * entropy(values) + 64


def optimal_bits(counts):
    """Bits of an optimal prefix code: each merge of the two rarest adds one to all in them."""
    nodes, bits = sorted(int(count) for count in counts if count), 0
    while len(nodes) > 1:
        bits += nodes[0] + nodes[1]
        nodes = sorted([nodes[0] + nodes[1], *nodes[2:]])
    return bits


def test_huffman_codes_are_complete_optimal_and_limited():
    rng = np.random.default_rng(5)
    for alphabet in (2, 3, 16, 100):
        counts = rng.integers(0, 900, alphabet)
        counts[:2] += 1
        lengths = huffman.code_lengths(counts).astype(int)
        assert (lengths[counts == 0] == 0).all() and (0.5 ** lengths[counts > 0]).sum() == 1
        assert (counts * lengths).sum() == optimal_bits(counts)
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = huffman.code_lengths(np.array(fibonacci)).astype(int)  # 39 bits without a limit
    assert lengths.max() <= 15 and (0.5**lengths).sum() == 1


@quick
@given(
    weights=hnp.arrays(
        np.int64,
        st.integers(2, 4096),
        elements=st.one_of(st.just(0), st.integers(0, 9), st.integers(0, 2**38 - 1)),
    )
)
def test_frequencies_are_positive_and_sum_to_the_total(weights):
    weights[0] += not weights.any()
    shares = range_coder.frequencies(weights)
    assert shares.sum() == range_coder.TOTAL and shares.min() >= 1
    exact = [1 + int(w) * (2**24 - weights.size) // int(weights.sum()) for w in weights]
    exact[int(weights.argmax())] += 2**24 - sum(exact)
    assert shares.tolist() == exact


@pytest.mark.parametrize("share", [0.5, 0.9, 0.92, 0.99])
def test_sparse_comes_within_three_per_cent_and_64_bytes_of_the_entropy(share):
    rng = np.random.default_rng(8)
    array = rng.standard_normal(266_200).astype(np.float32)
    array[rng.random(array.size) < share] = 0
    kept = array[array != 0]
    book = np.quantile(kept, (np.arange(32) + 0.5) / 32).astype(np.float16)
    encoded = encode(array, Sparse(Codebook(book)))
    decoded = decode(encoded.spec, encoded.payload)
    bound = entropy(array != 0) + entropy(decoded[array != 0])
    assert len(encoded.payload) - book.nbytes <= 1.03 * bound + 64


def test_regular_positions_cost_next_to_nothing():
    array = np.zeros(100_000, np.float32)
    array[7::50] = 1
    assert entropy(array != 0) > 1700
    assert len(encode(array, Sparse(Codebook([1.0]))).payload) < 64


@pytest.mark.slow
@pytest.mark.parametrize("coder", CODERS)
def test_25_million_symbols_take_seconds(coder):
    rng = np.random.default_rng(0)
    integers = np.clip(np.rint(rng.standard_normal(25_000_000) * 2.2), -7, 7).astype(np.int8)
    start = time.perf_counter()
    encoded = encode(integers, Uniform(4, scale=np.float32(1), coder=coder))
    decoded = decode(encoded.spec, encoded.payload)
    assert time.perf_counter() - start < 30
    np.testing.assert_array_equal(decoded, integers)
