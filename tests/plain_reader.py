"""A reader of the file format in plain Python: written from docs/format.md, not from smh.

It shares no code with smh and uses neither NumPy nor constriction, only Python's integers. So where
both read the same file alike, the specification is complete, and the range coder needs no floating
point. It is slow, and trusts the file.
"""

import json
import re
import struct
import zlib
from pathlib import Path

FORMAT = Path(__file__).parent.parent / "docs" / "format.md"
TOTAL = 1 << 24
ITEMS = {
    "bool": "?", "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i",
    "uint32": "I", "int64": "q", "uint64": "Q", "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip


def read(data):
    """Returns meta and `{name: (shape, flat list of numbers)}`."""
    magic, version, length, of_tensors, of_header = struct.unpack_from("<8sHIII", data)
    assert magic == b"\x89SMH\r\n\x1a\n" and version in (1, 2)
    header, at = data[22 : 22 + length], 22 + length
    assert zlib.crc32(data[:18] + header) == of_header
    assert zlib.crc32(data[at:]) == of_tensors
    if version == 2:
        header = zlib.decompressobj(-15, zdict=dictionary()).decompress(header)
    header = json.loads(header.decode("utf-8"))
    tensors, entry = {}, {}
    for number, given in enumerate(header["tensors"]):
        entry = {**({} if "coding" in given else entry), "name": str(number), **given}
        end = at + entry["length"]
        payload = data[at:end]
        cursor = Cursor(payload)
        tensors[entry["name"]] = (entry["shape"], array(entry, cursor))
        padding = max(0, -(-product(max(n, 1) for n in entry["shape"]) // 1024) - 64 - cursor.at)
        assert payload[cursor.at :] == bytes(padding)
        at = end
    assert at == len(data)
    return header["meta"], tensors


def dictionary():
    """Returns the preset dictionary, from the last block of the specification."""
    (block,) = re.findall(r"```dictionary\n(.*?)```", FORMAT.read_text("utf-8"), re.DOTALL)
    return block.replace("\n", "").encode()


class Cursor:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def items(self, dtype, count):
        if dtype == "bfloat16":
            bits = self.items("uint16", count)
            return list(
                struct.unpack(f"<{count}f", struct.pack(f"<{count}I", *(b << 16 for b in bits)))
            )
        form = f"<{count}{ITEMS[dtype]}"
        return list(struct.unpack(form, self.take(struct.calcsize(form))))


def array(spec, cursor):
    shape = spec["shape"]
    size = product(shape)
    if spec["coding"] == "raw":
        return cursor.items(spec["dtype"], size)
    if spec["coding"] == "planes":
        planes = [symbols(cursor, size, 256) for _ in range(item_size(spec["dtype"]))]
        full = bytes(byte for number in zip(*planes, strict=True) for byte in reversed(number))
        return Cursor(full).items(spec["dtype"], size)
    if spec["coding"] == "codebook":
        values = cursor.items(spec["values"], spec["size"])
        return [values[i] for i in symbols(cursor, size, spec["size"])]
    if spec["coding"] == "sparse":
        kept = spec["values"]["shape"][0]
        places = positions(cursor, size, kept)
        flat = [0] * size
        for place, value in zip(places, array(spec["values"], cursor), strict=True):
            flat[place] = value
        return flat
    half = 1 << (spec["bits"] - 1)
    count = {"tensor": 1, "row": shape[0], "column": shape[-1]}[spec["per"]] if shape else 1
    scales = cursor.items(spec["scale"], count)
    columns = shape[-1] if shape else 1
    row = product(shape[1:])
    of = {"tensor": lambda i: 0, "row": lambda i: i // row, "column": lambda i: i % columns}
    levels = symbols(cursor, size, 2 * half)
    return [single((level - half) * scales[of[spec["per"]](i)]) for i, level in enumerate(levels)]


def item_size(dtype):
    return 2 if dtype == "bfloat16" else struct.calcsize(ITEMS[dtype])


def single(value):
    """Rounds a product of 8 and 24 bits, exact in Python's doubles, to single precision."""
    return struct.unpack("<f", struct.pack("<f", value))[0]


def positions(cursor, size, count):
    if cursor.take(1)[0] == 0:
        return [i for i, bit in enumerate(symbols(cursor, size, 2)) if bit]
    distinct = cursor.varint()
    gaps = [cursor.varint()]
    while len(gaps) < distinct:
        gaps.append(gaps[-1] + 1 + cursor.varint())
    at, places = -1, []
    for index in symbols(cursor, count, distinct):
        at += gaps[index] + 1
        places.append(at)
    return places


def symbols(cursor, count, alphabet):
    if count == 0 or alphabet == 1:
        return [0] * count
    kind = cursor.take(1)[0]
    if kind == 0:
        return [cursor.varint()] * count
    if kind == 1:
        return fields(cursor, count, (alphabet - 1).bit_length())
    if kind == 2:
        return huffman(cursor, count, alphabet)
    if kind == 3:
        return ranged(cursor, count, [1] * alphabet, 4)
    m = kind - 4
    levels = symbols(cursor, alphabet, 1 + (32 << m))
    weights = [
        ((1 << m) + ((level - 1) & ((1 << m) - 1))) << ((level - 1) >> m) if level else 0
        for level in levels
    ]
    return ranged(cursor, count, weights, 0)


def fields(cursor, count, width):
    bits = bit_string(cursor.take(-(-count * width // 8)))
    return [int(bits[i * width : (i + 1) * width], 2) for i in range(count)]


def huffman(cursor, count, alphabet):
    lengths = fields(cursor, alphabet, 4)
    codes, code, before = {}, 0, 0
    for length, symbol in sorted((n, s) for s, n in enumerate(lengths) if n):
        code <<= length - before
        codes[format(code, f"0{length}b")] = symbol
        code, before = code + 1, length
    bits, at, found = bit_string(cursor.data[cursor.at :]), 0, []
    while len(found) < count:
        length = next(n for n in range(1, 16) if bits[at : at + n] in codes)
        found.append(codes[bits[at : at + length]])
        at += length
    cursor.take(-(-at // 8))
    return found


def ranged(cursor, count, weights, step):
    words = cursor.varint()
    words = list(struct.unpack(f"<{words}I", cursor.take(4 * words)))
    mask = (1 << 64) - 1
    following = iter(words + [0, 0])
    point = next(following) << 32 | next(following)
    lower, size, found, block_end = 0, mask, [], 0
    while len(found) < count:
        if len(found) == block_end:
            for symbol in found[len(found) - block(block_end)[1] :] if found else []:
                weights[symbol] += step
            block_end += block(block_end)[0]
            begins = cumulative(weights)
        scale = size >> 24
        quantile = ((point - lower) & mask) // scale
        symbol = next(s for s in range(len(weights)) if begins[s + 1] > quantile)
        found.append(symbol)
        lower = (lower + scale * begins[symbol]) & mask
        size = scale * (begins[symbol + 1] - begins[symbol])
        if size < 1 << 32:
            size <<= 32
            lower = lower << 32 & mask
            point = point << 32 & mask | next(following, 0)
    return found


def block(start):
    """Returns the length of the block that begins at `start`, and of the one before it."""
    at = length = 0
    while at < start:
        length = min(max(8, at >> 3), 1 << 20)
        at += length
    return min(max(8, at >> 3), 1 << 20), length


def cumulative(weights):
    total = sum(weights)
    shares = [1 + weight * (TOTAL - len(weights)) // total for weight in weights]
    shares[weights.index(max(weights))] += TOTAL - sum(shares)
    begins = [0]
    for share in shares:
        begins.append(begins[-1] + share)
    return begins


def bit_string(data):
    return "".join(format(byte, "08b") for byte in data)


def product(numbers):
    result = 1
    for number in numbers:
        result *= number
    return result
