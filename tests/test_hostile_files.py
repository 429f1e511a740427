"""Hostile artifact files: an `ArtifactError` that names the place, or the promised arrays."""

import json
import re
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from artifact_files import all_codings, assemble, load, refused, split, whole_file

from smh import container
from smh.coding import decode
from smh.container import deflating
from smh.errors import ArtifactError


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return whole_file(tmp_path_factory.mktemp("whole"))


def test_every_truncation_is_refused(tmp_path, whole):
    for size in range(len(whole)):
        refused(whole[:size])
    refused(whole + b"\0")
    (tmp_path / "x").write_bytes(whole[:-1])
    with pytest.raises(ArtifactError, match=f"{tmp_path / 'x'}: byte {len(whole) - 1:,}: "):
        container.read(tmp_path / "x")


def test_every_flipped_bit_is_refused(whole):
    for i in range(8 * len(whole)):
        flipped = bytearray(whole)
        flipped[i // 8] ^= 1 << i % 8
        with pytest.raises(ArtifactError, match="byte"):
            load(flipped)


def test_payloads_changed_with_right_checksums():
    """Every bit, every length: an array of the promised kind, or an error; nothing else."""
    accepted = refusals = 0
    for made in all_codings():
        spec, payload = made.spec, made.payload
        honest = decode(spec, payload)
        for i in range(8 * len(payload)):
            flipped = bytearray(payload)
            flipped[i // 8] ^= 1 << i % 8
            try:
                array = decode(spec, bytes(flipped))
                accepted += 1
            except ArtifactError:
                refusals += 1
                continue
            assert array.shape == honest.shape and array.dtype == honest.dtype
            in_full = {"raw", "bfloat16", "planes", "sparse", "sparse planes"}  # any bits
            assert made.name in in_full or np.isfinite(array).all()
        for cut in [*range(len(payload)), len(payload) + 1]:
            with pytest.raises(ArtifactError, match=r"byte|bytes"):
                decode(spec, payload[:cut] + b"\0" * (cut - len(payload)))
    assert accepted > 1000 and refusals > 1000


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_headers_changed_with_right_checksums(whole, every):
    """Each bit of the header: all tensors in the promised shapes, or an `ArtifactError`."""
    header, payloads = split(whole)
    text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert assemble(text, payloads) == whole
    accepted = 0
    for i in range(0, 8 * len(text), every):
        flipped = bytearray(text)
        flipped[i // 8] ^= 1 << i % 8
        try:
            found = load(assemble(bytes(flipped), payloads))
        except ArtifactError:
            continue
        accepted += 1
        for section in found.sections:
            try:
                array = found.tensor(section.name)
            except ArtifactError:
                continue
            assert (array.shape, array.dtype.name) == (section.shape, section.dtype)
    assert accepted  # a letter of a name, for example


HUGE = [2**31 - 1, 2**31, 2**32, 2**32 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 1]
WRONG = [None, True, -1, 1.5, "1", [], {}, [[]], *HUGE]


def follows(key, entry):
    """Whether what is left of an entry of the header says that `key` is as it usually is."""
    return key == "name" or ("coding" not in entry and key not in ("coding", "length"))


def test_wrong_values_in_every_field_of_the_header(whole):
    header, payloads = split(whole)
    refusals = 0

    def places(value, place=()):
        items = enumerate(value) if isinstance(value, list) else value.items()
        for key, inner in list(items):
            yield (*place, key)
            if isinstance(inner, list | dict):
                yield from places(inner, (*place, key))

    for place in places(header):
        if place[0] == "meta" and len(place) > 1:
            continue
        for wrong in WRONG:
            changed = json.loads(json.dumps(header))
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if inner[place[-1]] == wrong and type(inner[place[-1]]) is type(wrong):
                continue
            if (place[-1], type(wrong)) in {("name", str), ("meta", dict)}:
                continue
            inner[place[-1]] = wrong
            refused(assemble(changed, payloads))
            refusals += 1
            if isinstance(inner, dict):
                del inner[place[-1]]
                if not follows(place[-1], inner):
                    refused(assemble(changed, payloads))
                inner["unknown"] = wrong
                refused(assemble(changed, payloads))
    assert refusals > 800


def packed(text):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15, 9, 0, deflating.DICTIONARY)
    return packer.compress(text) + packer.flush()


def test_every_bit_of_a_deflated_header(tmp_path):
    """With a right checksum: all tensors in the promised shapes, or an `ArtifactError`."""
    container.write(tmp_path / "x", {"kind": "models"}, all_codings(), deflate_header=True)
    whole = (tmp_path / "x").read_bytes()
    (length,) = struct.unpack_from("<I", whole, 10)
    header, rest = whole[22 : 22 + length], whole[22 + length :]
    assert assemble(header, [rest], version=2) == whole
    refusals = 0
    for i in range(8 * length):
        flipped = bytearray(header)
        flipped[i // 8] ^= 1 << i % 8
        try:
            load(assemble(bytes(flipped), [rest], version=2))
        except ArtifactError:
            refusals += 1
    assert refusals > 7 * length


BOMB = packed(b'{"meta":{"a":"' + b"x" * (3 << 20) + b'"},"tensors":[]}')


@pytest.mark.parametrize(
    "header, match",
    [
        (b"", "ends too early|more than"),
        (b"{}", "deflated text"),
        (packed(b'{"meta":{},"tensors":[]}')[:-1], "ends too early|more than"),
        (packed(b'{"meta":{},"tensors":[]}') + b"\0", "followed by other bytes"),
        (packed(b'{"meta":{}, "tensors":[]}'), "not canonical"),
        (zlib.compress(b'{"meta":{},"tensors":[]}'), "deflated text"),
        (BOMB, "has more than"),
    ],
    ids=["empty", "json", "cut", "longer", "spaces", "zlib", "bomb"],
)
def test_crafted_deflated_headers(header, match):
    tracemalloc.start()
    assert re.search(match, refused(assemble(header, [], version=2)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20  # the bomb holds 3 MiB


NESTED = b'{"meta":{"a":' + b"[" * 50_000 + b"]" * 50_000 + b'},"tensors":[]}'


@pytest.mark.parametrize(
    "data, match",
    [
        (b"", "byte 0: not a file of smh"),
        (b"PK\3\4 a zip file", "byte 0: not a file of smh"),
        (b"\x89SMH\n\x1a\n" + bytes(20), "byte 0: not a file of smh"),  # as text mode damages it
        (assemble({"meta": {}, "tensors": []}, [], version=3), "version 3, this smh reads"),
        (assemble({"meta": {}, "tensors": []}, [], version=2), "byte 22: the header: deflated"),
        (assemble({"meta": {}, "tensors": []}, [b"\0"]), "byte 46: header and tensors make"),
        (struct.pack("<8sHII", container.MAGIC, 1, 100 << 20, 0), "header of 104,857,600 bytes"),
        (struct.pack("<8sHII", container.MAGIC, 1, 2**32 - 1, 0), "the limit is 4,194,304"),
        (struct.pack("<8sHII", container.MAGIC, 1, 5000, 0), "header of 5,000 bytes"),
        (assemble(NESTED, []), "recursion|levels deep"),
        (assemble(NESTED.replace(b"[" * 49_800, b"").replace(b"]" * 49_800, b""), []), "levels"),
        (assemble(b'{"meta":{},"meta":{},"tensors":[]}', []), "a key occurs twice"),
        (assemble(b'{"meta":{"a":NaN},"tensors":[]}', []), "NaN is not a number"),
        (assemble(b'{"meta":{"a":-Infinity},"tensors":[]}', []), "-Infinity is not a number"),
        (assemble(b'{"meta":{"a":1e999},"tensors":[]}', []), "inf"),
        (assemble(b'{"meta":{"a":' + b"9" * 5000 + b'},"tensors":[]}', []), "5000 digits"),
        (assemble(b'{"meta":{"a":18446744073709551616},"tensors":[]}', []), "64 bits"),
        (assemble(b'{"meta":{"a":"\xff"},"tensors":[]}', []), "utf-8"),
        (assemble(b'{"meta":{"a":"\\ud800"},"tensors":[]}', []), "surrogates"),
        (assemble(b'{"meta": {},"tensors":[]}', []), "not canonical"),
        (assemble(b'{"tensors":[],"meta":{}}', []), "not canonical"),
        (assemble(b'{"meta":{"a":1.50},"tensors":[]}', []), "not canonical"),
        (assemble(b'{"meta":{},"tensors":[]', []), "not valid JSON"),
        (assemble(b"[]", []), "an object with meta and tensors"),
        (assemble(b"7", []), "an object with meta and tensors"),
        (assemble(b"", []), "not valid JSON"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_crafted_files(data, match):
    assert re.search(match, refused(data))


@pytest.mark.parametrize(
    "spec, payload, match",
    [
        ({"coding": "raw", "dtype": "bool", "shape": [2]}, b"\1\2", "neither 0 nor 1"),
        ({"coding": "raw", "dtype": "int8", "shape": [2]}, b"\1\2\3", "byte 2 .* nothing else"),
        ({"coding": "raw", "dtype": "int8", "shape": [1] * 33}, b"\1", "33 dimensions"),
        ({"coding": "raw", "dtype": "int8", "shape": [0, 2**62]}, b"", "too few"),
        ({"coding": "raw", "dtype": "object", "shape": []}, b"1", "dtype must be one of"),
        (
            {"bits": 4, "coding": "uniform", "per": "tensor", "scale": "float16", "shape": [2]},
            b"\0\x7c\1\x11",
            "scales must be finite",
        ),
        (
            {"bits": 4, "coding": "uniform", "per": "tensor", "scale": "float16", "shape": [2]},
            b"\0\xbc\1\x11",
            "a scale is negative",
        ),
        (
            {"bits": 4, "coding": "uniform", "per": "row", "scale": "float16", "shape": [2]},
            b"\0\0\0\0\1\x11",
            "a scale for each row",
        ),
        (
            {"bits": 8, "coding": "uniform", "per": "tensor", "scale": "float32", "shape": [1]},
            b"\xff\xff\x7f\x7f\1\x11",
            "infinite in float32",
        ),
        (
            {"coding": "codebook", "shape": [2], "size": 3, "values": "float16"},
            b"\0\0\0\0\0\0\1\xc0",
            "symbol 3, the largest is 2",
        ),
        (
            {"coding": "codebook", "shape": [2], "size": 4097, "values": "float16"},
            bytes(9000),
            "size must be 1 to 4,096",
        ),
        (
            {
                "coding": "sparse",
                "shape": [8],
                "values": {"coding": "raw", "dtype": "int8", "shape": [2]},
            },
            b"\0\1\x80\1\1",
            "a mask of 1 for 2 values",
        ),
        (
            {
                "coding": "sparse",
                "shape": [8],
                "values": {"coding": "raw", "dtype": "int8", "shape": [2]},
            },
            b"\1\1\4\1\1",
            "a position behind the last of 8",
        ),
        (
            {
                "coding": "sparse",
                "shape": [8],
                "values": {"coding": "raw", "dtype": "int8", "shape": [9]},
            },
            bytes(20),
            r"\[9\] values for a sparse array of shape \[8\]",
        ),
        (
            {"coding": "sparse", "shape": [8], "values": {"coding": "sparse", "shape": [1]}},
            bytes(20),
            "cannot be coded as 'sparse'",
        ),
    ],
)
def test_crafted_sections(spec, payload, match):
    entry = {**spec, "name": "w", "length": len(payload)}
    message = refused(assemble({"meta": {}, "tensors": [entry]}, [payload]))
    assert "section 'w' at byte" in message and re.search(match, message), message


@pytest.mark.parametrize("shape", [[n] for n in HUGE] + [[2**31, 2**31], [1, 10**6, 10**6]])
def test_huge_shapes_reserve_no_memory(shape):
    vector = {"coding": "raw", "dtype": "int8", "shape": shape}
    for spec in (
        vector,
        {"bits": 2, "coding": "uniform", "per": "tensor", "scale": "float16", "shape": shape},
        {"coding": "codebook", "shape": shape, "size": 2, "values": "float16"},
        {"coding": "sparse", "shape": shape, "values": {**vector, "shape": [1]}},
        {"coding": "sparse", "shape": [4], "values": vector},
    ):
        entry = {**spec, "name": "w", "length": 100}
        data = assemble({"meta": {}, "tensors": [entry]}, [bytes(100)])
        tracemalloc.start()
        refused(data)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()
