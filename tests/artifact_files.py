"""Artifact files for tests: one with every coding, and crafted ones."""

import io
import json
import re
import struct
import zlib

import numpy as np
import pytest

from smh import container
from smh.coding import Codebook, Planes, Raw, Sparse, Stepped, Uniform, encode
from smh.container import Tensor
from smh.errors import ArtifactError


def tensor(name, array, coding):
    encoded = encode(array, coding)
    return Tensor(name, encoded.spec, encoded.payload)


def all_codings():
    """Tensors that together use every coding, kind of symbols and kind of positions."""
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((8, 12)).astype(np.float32)
    sorted_ = np.sort(rng.integers(0, 3, 900))
    regular = np.zeros(600, np.float32)
    regular[::40] = 1.5
    return [
        tensor("raw", normal[0], Raw()),
        tensor("bfloat16", normal[1], Raw("bfloat16")),
        tensor("bool", normal[0] > 0, Raw()),
        tensor("planes", np.tile(normal[2], 20), Planes("float16")),
        tensor("range", np.float32([rng.choice([-1, 0, 0, 0, 0, 1], 200)]), Uniform(2)),
        tensor("row", normal, Uniform(4, "row", coder="huffman")),
        tensor("column", normal[:5], Uniform(3, "column", scale_dtype="float32", coder="packed")),
        tensor("table", sorted_, Codebook([-1.0, 0.5, 2])),
        tensor("sparse", np.where(normal > 1.4, normal, 0), Sparse()),
        tensor("sparse planes", np.where(normal > 1.2, normal, 0), Sparse(Planes("bfloat16"))),
        tensor("regular", regular, Sparse(Codebook([1.5, 2]))),
        tensor("zeros", np.zeros((300, 300), np.float32), Uniform(8)),
        tensor("empty", np.zeros((0, 3), np.float32), Uniform(4)),
        tensor("scalar", np.int64(-7), Raw()),
        tensor("stepped", np.cumsum(normal, axis=0), Stepped(0.5)),
        tensor("stepped far", np.where(normal > 1.5, 70, 0), Stepped(0.5)),
        tensor("stepped fine", np.rint(normal * 900).astype(int), Stepped(1e-4)),
        tensor("stepped axis", normal[:4], Stepped(0.1, np.arange(12), 1, coder="packed")),
    ]


def whole_file(folder):
    """Returns the bytes of a file with all codings."""
    container.write(folder / "model.smh", {"a": [1, 2.5, None, "ä"]}, all_codings())
    return (folder / "model.smh").read_bytes()


def assemble(header, payloads, version=1):
    """Makes a file of any header (an object or bytes) with checksums that are right."""
    if not isinstance(header, bytes):
        text = json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        header = text.encode()
    tensors = b"".join(payloads)
    start = struct.pack("<8sHII", container.MAGIC, version, len(header), zlib.crc32(tensors))
    return start + struct.pack("<I", zlib.crc32(start + header)) + header + tensors


def split(data):
    """Returns header and payloads of a file."""
    (length,) = struct.unpack_from("<I", data, 10)
    header, at, payloads = json.loads(data[22 : 22 + length]), 22 + length, []
    for entry in header["tensors"]:
        payloads.append(data[at : at + entry["length"]])
        at += entry["length"]
    return header, payloads


def load(data):
    """What `read` does with a file of these bytes, without the file system: it is slow."""
    return container._load(io.BytesIO(data), "x.smh", len(data))


def read_all(found):
    return {name: found.tensor(name) for name in found.names}


def refused(data):
    """Returns the message with which `data` is refused, or fails."""
    with pytest.raises(ArtifactError) as error:
        read_all(load(data))
    message = str(error.value)
    assert message.startswith("x.smh: ") and re.search(r"byte \d", message), message
    return message
