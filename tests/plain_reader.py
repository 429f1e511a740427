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
MASK = (1 << 64) - 1
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
    if spec["coding"] == "stepped":
        return stepped(spec, cursor)
    if spec["coding"] == "blocks":
        return blocks(cursor, size)
    half = 1 << (spec["bits"] - 1)
    count = {"tensor": 1, "row": shape[0], "column": shape[-1]}[spec["per"]] if shape else 1
    scales = cursor.items(spec["scale"], count)
    columns = shape[-1] if shape else 1
    row = product(shape[1:])
    of = {"tensor": lambda i: 0, "row": lambda i: i // row, "column": lambda i: i % columns}
    levels = symbols(cursor, size, 2 * half)
    return [single((level - half) * scales[of[spec["per"]](i)]) for i, level in enumerate(levels)]


def stepped(spec, cursor):
    shape, axis = spec["shape"], spec["axis"]
    (step,) = cursor.items("bfloat16", 1)
    steps = [step]
    if axis >= 0:
        roots = struct.unpack(">4f", bytes.fromhex("3f8000003f9837f03fb504f33fd744fd"))
        exponents = symbols(cursor, shape[axis], cursor.take(1)[0] + 1)
        steps = [single(step * roots[e % 4]) * 2.0 ** (e // 4) for e in exponents]
    inner = product(shape[axis + 1 :]) if axis >= 0 else 1
    return [
        single(number * steps[i // inner % len(steps)])
        for i, number in enumerate(integers(cursor, product(shape)))
    ]


def blocks(cursor, size):
    if not size:
        return []
    count = -(-size // 16)
    exponents, exponent = [], 0
    for larger in integers(cursor, count):
        exponent += larger
        exponents.append(exponent)
    ranges = [
        p + 1 if p < 3 else (4 + (p - 3) % 4) << (p - 3) // 4 for p in symbols(cursor, count, 92)
    ]
    bases = [
        base << max(0, size_.bit_length() - 4)
        for base, size_ in zip(integers(cursor, count), ranges, strict=True)
    ]
    found = []
    for start in range(0, size, 1024):
        places = range(start, min(size, start + 1024))
        most = product(ranges[i // 16] for i in places) - 1
        number = int.from_bytes(cursor.take(-(-most.bit_length() // 8)), "little")
        for i in places:
            number, digit = divmod(number, ranges[i // 16])
            found.append(single((bases[i // 16] + digit) * 2.0 ** exponents[i // 16]))
    return found


def integers(cursor, count):
    if count == 0:
        return []
    kind = cursor.take(1)[0]
    if kind > 0:
        return wavefront(cursor, count, kind - 1)
    least, span = zigzag(cursor.varint()), cursor.varint()
    low = max(0, span.bit_length() - 12)
    high = symbols(cursor, count, (span >> low) + 1)
    return [least + number for number in with_low(cursor, high, low)]


def zigzag(number):
    return -(number + 1) // 2 if number % 2 else number // 2


def with_low(cursor, high, low):
    if not low:
        return high
    return [h << low | f for h, f in zip(high, fields(cursor, len(high), low), strict=True)]


EDGES = [1024, 1448, 2048, 2896, 4096, 5793, 8192, 11585, 16384, 23170, 32768, 46341, 65536,
         92682, 131072, 185364, 262144, 370728, 524288, 741455]  # fmt: skip
RHO = [861, 1217, 1721, 2432, 3435, 4844, 6814, 9536, 13217, 18012, 23892, 30518, 37278, 43539,
       48887, 53191, 56514, 59008, 60846, 62182, 63146]  # fmt: skip


def wavefront(cursor, count, low):
    width = cursor.varint()
    most, near = divmod(cursor.take(1)[0], 8)
    neighbours = [(cursor.varint(), cursor.varint(), *cursor.items("int8", 1)) for _ in range(near)]
    beyond = [cursor.varint() for _ in range(cursor.varint())] if most == 31 else []
    coded = cursor.take(cursor.varint())
    coder = RangeDecoder(coded + bytes(-len(coded) % 4), ">")
    tables = [first_weights(place, rho, most) for place in range(6) for rho in RHO]
    shares = [cumulative(table) for table in tables]
    shared, new = [32] * len(tables), [0] * len(tables)
    height = -(-count // width)
    values, of_rows, of_columns, total, seen = {}, [0] * height, [0] * width, 0, 0
    for antidiagonal in range(height + width):
        learnt = []
        for row in range(max(0, antidiagonal - width + 1), min(height, antidiagonal + 1)):
            column = antidiagonal - row
            if row * width + column >= count:
                continue
            mean = sum(g * values.get((row - a, column - b), 0) for a, b, g in neighbours)
            far = abs(mean)
            base = max((far + 32) // 64 - 2, 0)
            place = (2 * (far - 64 * base) + 32) // 64
            overall = (1024 * total + 32768) // (seen + 1)
            of_row = (1024 * of_rows[row] + 8 * overall) // (column + 8)
            of_column = (1024 * of_columns[column] + 8 * overall) // (row + 8)
            deviation = of_row * of_column // max(overall, 1)
            table = 21 * place + sum(edge <= deviation for edge in EDGES)
            symbol = coder.symbol(shares[table])
            x = symbol - most
            if most == 31 and abs(x) == 31:
                x += beyond.pop(0) if x > 0 else -beyond.pop(0)
            value = -(x + base) if mean < 0 else x + base
            learnt.append((row, column, value, table, symbol, min(abs(64 * value - mean), 8128)))
        for row, column, value, table, symbol, far in learnt:
            values[row, column] = value
            of_rows[row] += far
            of_columns[column] += far
            total, seen = total + far, seen + 1
            tables[table][symbol] += 1024
            new[table] += 1
        for table in {entry[3] for entry in learnt}:
            if 16 * new[table] >= shared[table]:
                shared[table], new[table] = shared[table] + new[table], 0
                shares[table] = cumulative(tables[table])
    high = [values[divmod(i, width)] for i in range(count)]
    return with_low(cursor, high, low)


def first_weights(place, rho, most):
    tail = [1 << 31]
    while len(tail) < 2 * most + 10:
        tail.append(tail[-1] * rho >> 16)

    def below(edge):
        return (1 << 32) - tail[edge] if edge >= 0 else tail[-edge]

    begins = [2 * x - 1 - place for x in range(-most, most + 1)]
    return [max(32768 * (below(j + 2) - below(j)) >> 32, 1) for j in begins]


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
    if kind == 8:
        return lanes(cursor, count, alphabet)
    return ranged(cursor, count, table(cursor, alphabet, kind - 4), 0)


def table(cursor, alphabet, m):
    return [
        ((1 << m) + ((level - 1) & ((1 << m) - 1))) << ((level - 1) >> m) if level else 0
        for level in symbols(cursor, alphabet, 1 + (32 << m))
    ]


def lanes(cursor, count, alphabet):
    size = 8 if alphabet <= 2 else 4 if alphabet <= 4 else 2 if alphabet <= 16 else 1
    number = 1 << cursor.take(1)[0]
    weights = table(cursor, alphabet**size, 3)
    there = sum(weight > 0 for weight in weights)
    shares = [weight and 1 + weight * (65536 - there) // sum(weights) for weight in weights]
    shares[weights.index(max(weights))] += 65536 - sum(shares)
    begins = [sum(shares[:group]) for group in range(len(shares))]
    words = cursor.varint()
    states = cursor.items("uint32", number)
    words = iter(cursor.items("uint16", words))
    found = []
    for i in range(-(-count // size)):
        state = states[i % number]
        slot = state % 65536
        group = max(g for g, share in enumerate(shares) if share and begins[g] <= slot)
        state = state // 65536 * shares[group] + slot - begins[group]
        states[i % number] = state << 16 | next(words) if state < 65536 else state
        found += [group // alphabet**place % alphabet for place in reversed(range(size))]
    assert states == [65536] * number and next(words, None) is None
    return found[:count]


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


class RangeDecoder:
    def __init__(self, data, order="<"):
        words = list(struct.unpack(f"{order}{len(data) // 4}I", data))
        self.following = iter(words + [0, 0])
        self.point = next(self.following) << 32 | next(self.following)
        self.lower, self.size = 0, MASK

    def symbol(self, begins):
        scale = self.size >> 24
        quantile = ((self.point - self.lower) & MASK) // scale
        symbol = next(s for s in range(len(begins) - 1) if begins[s + 1] > quantile)
        self.lower = (self.lower + scale * begins[symbol]) & MASK
        self.size = scale * (begins[symbol + 1] - begins[symbol])
        if self.size < 1 << 32:
            self.size <<= 32
            self.lower = self.lower << 32 & MASK
            self.point = self.point << 32 & MASK | next(self.following, 0)
        return symbol


def ranged(cursor, count, weights, step):
    coder, found, block_end = RangeDecoder(cursor.take(4 * cursor.varint())), [], 0
    while len(found) < count:
        if len(found) == block_end:
            for symbol in found[len(found) - block(block_end)[1] :] if found else []:
                weights[symbol] += step
            block_end += block(block_end)[0]
            begins = cumulative(weights)
        found.append(coder.symbol(begins))
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
