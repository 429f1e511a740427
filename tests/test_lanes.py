"""Many coders side by side: what comes back, what it costs, and that nothing else is taken."""

import math

import numpy as np
import plain_reader
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smh.coding import Stepped, decode, encode, information, integers, lanes, symbols
from smh.coding.payload import Reader
from smh.errors import ArtifactError

MANY = symbols.MANY


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


def block(given_symbols, alphabet, bits=2):
    """A block in lanes, however short."""
    groups = lanes.grouped(given_symbols, alphabet)
    return symbols._in_lanes(groups, alphabet ** lanes.group_size(alphabet), bits)


def behind_the_table(written, alphabet):
    """Bytes of states and words of a block, which end it."""
    reader = Reader(written)
    bits = reader.take(2, "")[1]
    symbols._read_table(reader, alphabet ** lanes.group_size(alphabet), 3)
    return (4 << bits) + 2 * reader.varint(1 << 20, "")


def drawn(alphabet, count, seed=0):
    share = np.random.default_rng(seed).dirichlet(np.full(alphabet, 0.5))
    numbers = np.random.default_rng(seed).choice(alphabet, count, p=share)
    return numbers.astype(np.uint8 if alphabet <= 256 else np.uint16)


@settings(deadline=None, max_examples=60)
@given(
    alphabet=st.sampled_from([2, 3, 4, 5, 13, 16, 17, 256, 257, 4096]),
    count=st.integers(32, 300),
    bits=st.integers(0, 2),
    seed=st.integers(0, 9),
)
def test_symbols_come_back_and_the_plain_reader_agrees(alphabet, count, bits, seed):
    found = drawn(alphabet, count, seed)
    written = block(found, alphabet, bits)
    reader = Reader(written + b"behind")
    read = symbols.read(reader, count, alphabet)
    assert reader.position == len(written)
    np.testing.assert_array_equal(read, found)
    if alphabet <= 256:  # its table of 65,536 groups would take Python a while
        cursor = plain_reader.Cursor(written)
        assert plain_reader.symbols(cursor, count, alphabet) == found.tolist()
        assert cursor.at == len(written)


@pytest.mark.parametrize("alphabet", [2, 4, 16, 300])
def test_what_is_taken_is_what_a_writer_makes(alphabet):
    """Of flipped bits nearly all are refused; what is left are the words of other symbols."""
    count = 20_000
    written = block(drawn(alphabet, count, 1), alphabet, 6)
    first = len(written) - behind_the_table(written, alphabet)
    weights = symbols._read_table(Reader(written[2:]), alphabet ** lanes.group_size(alphabet), 3)
    shares, refused = lanes.frequencies(weights), 0
    for bit in np.random.default_rng(0).integers(8 * first, 8 * len(written), 80):
        changed = bytearray(written)
        changed[bit // 8] ^= 1 << int(bit) % 8
        try:
            read = symbols.read(Reader(changed), count, alphabet)
        except ArtifactError:
            refused += 1
        else:
            again = lanes.encode(lanes.grouped(read, alphabet), shares, 64).to_bytes()
            assert changed.endswith(again) and again not in written
    assert refused >= 78
    for cut in range(first, len(written), 397):
        with pytest.raises(ArtifactError):
            symbols.read(Reader(written[:cut] + written[cut + 1 :]), count, alphabet)


@pytest.mark.parametrize(
    "change, match",
    [
        (lambda b: b[:1] + bytes([13]) + b[2:], r"2\*\*13 lanes"),
        (lambda b: b[:1] + bytes([7]) + b[2:], r"2\*\*7 lanes for 100"),
        (lambda b: b[:-2], "the words of lanes of"),
        (lambda b: b[:2] + bytes([0, 0]) + b[4:], "has no symbol"),
    ],
)
def test_wrong_blocks_say_what_is_wrong(change, match):
    written = block(drawn(16, 100), 16)
    with pytest.raises(ArtifactError, match=match):
        symbols.read(Reader(change(written)), 100, 16)


def test_states_below_and_words_left_over_are_refused():
    shares = lanes.frequencies(np.array([3, 1, 0, 4]))
    assert shares.tolist() == [24575, 8192, 0, 32769]  # rounding down left 1 over
    coded = lanes.encode(np.array([0, 3, 1, 0, 3, 3, 3, 0], np.uint8), shares, 4)

    def read(states, words):
        return lanes.decode(Reader(b""), 8, 64, np.pad(shares, (0, 60)), lanes.Coded(states, words))

    assert read(coded.states, coded.words).tolist() == [0, 3, 1, 0, 3, 3, 3, 0]
    with pytest.raises(ArtifactError, match="below 65,536"):
        read(coded.states * 0 + 5, coded.words)
    with pytest.raises(ArtifactError, match="not those of any symbols"):
        read(coded.states, np.append(coded.words, np.uint16(1)))
    with pytest.raises(ArtifactError, match="end too early"):
        read(coded.states // 65536 + 65536, coded.words)


# What is chosen


def normal(deviation, least, most, count=MANY, seed=0):
    numbers = np.random.default_rng(seed).standard_normal(count, np.float32) * deviation
    return np.clip(np.rint(numbers), least, most).astype(np.int32) - least


@pytest.mark.parametrize(
    "numbers, alphabet, kind",
    [
        (normal(2, -8, 7), 16, symbols.LANES),
        (normal(20, -128, 127), 256, symbols.LANES),
        (normal(0.7, 0, 1), 2, symbols.LANES),
        (normal(2, -8, 7, MANY - 1), 16, None),  # too few
        (np.arange(MANY) % 16, 16, symbols.PACKED),  # nothing to gain
        (np.arange(MANY) // (MANY // 16), 16, None),  # the statistics change along the way
        (normal(0.1, 0, 1), 2, None),  # too few bytes for lanes
    ],
)
def test_many_symbols_are_in_lanes_where_they_cost_a_hundredth_at_most(numbers, alphabet, kind):
    numbers = numbers.astype(np.uint8)
    written = symbols.write(numbers, alphabet)
    reader = Reader(written)
    np.testing.assert_array_equal(symbols.read(reader, numbers.size, alphabet), numbers)
    assert (written[0] == kind) if kind is not None else written[0] != symbols.LANES
    entropy = information.bytes_of(np.bincount(numbers))
    assert len(written) <= 1.01 * entropy + 64


def test_a_wavefront_of_many_integers_is_tried_on_a_part():
    rng = np.random.default_rng(0)
    plain = normal(2, -8, 7).reshape(1024, 1024) - 8
    rows = np.rint(rng.standard_normal((1024, 1024)) * rng.lognormal(0.5, 1, (1024, 1)))
    assert integers.wavefronts(plain, "range") == []
    (settings_,) = integers.wavefronts(rows.astype(np.int32), "range")
    assert settings_.width == 1024
    encoded = encode(plain, Stepped(0.5))
    np.testing.assert_array_equal(decode(encoded.spec, encoded.payload), plain / 2)


@given(st.integers(1, 1 << 53))
def test_logarithms_are_right_to_some_units(number):
    found = int(information.log2(np.array([number]))[0])
    exact = math.log2(number) * (1 << information.FRACTION)
    assert exact - 4 < found <= exact + 1


def test_the_entropy_of_a_histogram_in_whole_numbers():
    counts = np.array([1000, 0, 250, 3])
    there = counts[counts > 0]
    exact = float((there * np.log2(there.sum() / there)).sum()) / 8
    assert exact <= information.bytes_of(counts) < exact + 2
    assert information.bytes_of(np.zeros(3, int)) == 0
