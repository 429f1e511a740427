"""Range coding of symbols, with probabilities that are integers on both sides.

`constriction` turns floating-point probabilities into integer frequencies that sum to `2**24`.
So that no rounding enters, it is never given probabilities here: `frequencies` makes the integers,
and `_model` passes them minus one. Relied upon is what `Categorical(..., perfect=False)` does
with `p[0] .. p[K - 1]`: symbol `s` begins at `trunc(sum(p[:s]) * scale) + s`, with
`scale = (2**24 - K) / sum(p)`. As these `p` are whole numbers that sum to `2**24 - K`, `scale` is
exactly 1 and every step is exact in float64, so the model is the integers themselves, on every
machine. `tests/plain_reader.py` decodes with Python integers only and must agree.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import constriction
import numpy as np

from smh.coding.packed import symbol_dtype
from smh.coding.payload import Reader
from smh.errors import ArtifactError

TOTAL = 1 << 24  # constriction's default coders have 24 bits of precision
STEP = 4  # what one symbol adds to its weight in an adaptive model

_FIRST_BLOCK = 8
_LARGEST_BLOCK = 1 << 20

Categorical = constriction.stream.model.Categorical
RangeDecoder = constriction.stream.queue.RangeDecoder
RangeEncoder = constriction.stream.queue.RangeEncoder

# A model for each symbol: it takes a row of `frequencies` less one, in float64, with each.
FAMILY = Categorical(perfect=False)


def frequencies(weights: np.ndarray) -> np.ndarray:
    """Returns positive integers that sum to `TOTAL`, in proportion to `weights`.

    Args:
        weights: int64 `[K]`, `2 <= K`, none negative, not all zero, each below `2**38`.

    Returns:
        int64 `[K]`: one each, the rest shared out by rounding down; what the rounding left over
        goes to the first of the largest weights.
    """
    shared = 1 + weights * (TOTAL - weights.size) // weights.sum()
    shared[weights.argmax()] += TOTAL - shared.sum()
    return shared


def blocks(count: int) -> Iterator[tuple[int, int]]:
    """Yields the ranges of symbols that are coded with one model each."""
    start = 0
    while start < count:
        stop = min(count, start + min(max(_FIRST_BLOCK, start >> 3), _LARGEST_BLOCK))
        yield start, stop
        start = stop


def encode(symbols: np.ndarray, weights: np.ndarray, step: int) -> bytes:
    """Returns the 32-bit words, little-endian, of the range-coded symbols.

    Args:
        symbols: rank 1, each below `K`.
        weights: int64 `[K]`, of the first model.
        step: what a symbol adds to its weight once its block is coded; 0 keeps the model.

    Cost: 25 million symbols take a few tenths of a second.
    """
    encoder = RangeEncoder()
    weights = weights.copy()
    for start, stop in blocks(symbols.size):
        if step or not start:
            model = _model(weights)
        block = symbols[start:stop]
        encoder.encode(block.astype(np.int32), model)
        weights += step * np.bincount(block, minlength=weights.size)
    return words_of(encoder)


def decode(reader: Reader, words: memoryview, count: int, weights: np.ndarray, step: int):
    """Returns the `count` symbols that `encode` wrote, as uint8 or uint16.

    A range decoder makes symbols of any bytes, and of missing ones: the symbols are encoded again
    and must give the same words.
    """
    out = np.empty(count, symbol_dtype(weights.size))
    weights = weights.copy()
    with as_artifact_error(reader):
        decoder = RangeDecoder(np.frombuffer(words, "<u4").astype(np.uint32))
        encoder = RangeEncoder()
        for start, stop in blocks(count):
            if step or not start:
                model = _model(weights)
            symbols = decoder.decode(model, stop - start)
            out[start:stop] = symbols
            encoder.encode(symbols, model)
            weights += step * np.bincount(symbols, minlength=weights.size)
        if words_of(encoder) != words:
            raise reader.error("the range-coded words are not those of any symbols")
    return out


def _model(weights: np.ndarray):
    return Categorical((frequencies(weights) - 1).astype(np.float64), perfect=False)


def words_of(encoder) -> bytes:
    """Returns the 32-bit words of what was encoded so far, little-endian."""
    return encoder.get_compressed().astype("<u4").tobytes()


def shortest_bytes(encoder) -> bytes:
    """Returns the fewest bytes, highest first, that decode to what was encoded.

    Bytes behind them count as zeros. Any number in the coder's last interval will do, and this is
    the one with the most zero bytes at its end. Relied upon is constriction's `RangeEncoder.pos`,
    which gives the interval's place and size.
    """
    place, (lower, size) = encoder.pos()
    words = encoder.get_compressed()
    sealed = int.from_bytes(words[: place + 1].astype(">u4").tobytes(), "big") << 32
    # The sealed word may have been rounded up, and a carry may have gone through those before.
    begin = sealed - (((int(words[place]) << 32) - lower) & ((1 << 64) - 1))
    for zeros in range(64, -1, -8):
        point = -(-begin >> zeros) << zeros
        if point < begin + size:
            break
    return point.to_bytes(4 * (place + 2), "big").rstrip(b"\0")


def decoder_of(data: bytes | memoryview):
    """Returns a decoder of what `shortest_bytes` made."""
    padded = bytes(data) + bytes(8 - len(data) % 4)
    return RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))


@contextlib.contextmanager
def as_artifact_error(reader: Reader) -> Iterator[None]:
    """Turns whatever constriction raises on bad words into an `ArtifactError`.

    A Rust panic arrives as pyo3's PanicException, which derives from BaseException and has no
    importable name; an interrupt must still pass.
    """
    try:
        yield
    except ArtifactError:
        raise
    except Exception as error:
        raise reader.error(f"the range-coded words cannot be decoded ({error})") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise reader.error(f"the range-coded words cannot be decoded ({error})") from error
