r"""The file of a compressed model: one JSON header, then the payloads of the tensors.

All numbers are little-endian. `docs/format.md` is the specification; in short:

| bytes | what |
| --- | --- |
| 8 | the magic `89 53 4d 48 0d 0a 1a 0a` (`\x89SMH\r\n\x1a\n`) |
| 2 | version: 1, or 2 where the header is deflated (`smh.container.deflating`) |
| 4 | length of the header in bytes, at most 4 MiB |
| 4 | CRC-32 of all payloads |
| 4 | CRC-32 of the 18 bytes above and the header |
| header | JSON in UTF-8: `{"meta": {...}, "tensors": [...]}` (`smh.container.header`) |
| payloads | one for each tensor |

Payloads follow each other in the order of the header's entries, without gaps, up to the end of the
file: there are no offsets that could overlap. The JSON is canonical (sorted keys, no spaces,
Python's shortest floats, no NaN), and a reader accepts no other, so the same content is always the
same bytes (in version 2, those of one version of zlib). There is no time stamp and no pickle.

A reader checks all of this, and both checksums and every spec, before it hands out a tensor.
Whatever is wrong is an `ArtifactError` that names file, section and byte.

Needs NumPy and constriction, neither Keras nor TensorFlow.

Example:
    >>> import numpy as np
    >>> from smh import coding, container
    >>> encoded = coding.encode(np.zeros((3, 4), np.float32), coding.Uniform(bits=4))
    >>> tensor = container.Tensor("kernel", encoded.spec, encoded.payload)
    >>> container.write("model.smh", {"note": "any JSON"}, [tensor])
    >>> found = container.read("model.smh")
    >>> found.meta, found.names, found.tensor("kernel").shape
    ({'note': 'any JSON'}, ('kernel',), (3, 4))
    >>> found.sections[0]
    Section(name='kernel', offset=166, length=4, coding='uniform', dtype='float32', shape=(3, 4))
"""

from __future__ import annotations

import io
import os
import stat
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from smh import coding
from smh.container import deflating
from smh.container import header as container_header
from smh.container.header import MAX_HEADER, Tensor
from smh.container.replacing import replacing
from smh.errors import ArgumentError, ArtifactError

__all__ = ["Container", "Section", "Tensor", "check_magic", "read", "write"]

MAGIC = b"\x89SMH\r\n\x1a\n"
_OF_KERAS = (b"PK", b"\x89HDF")  # a .keras archive, or weights
PLAIN, DEFLATED = 1, 2  # versions: how the header is stored
_START = struct.Struct("<8sHI")
_CHECKSUM = struct.Struct("<I")
_FIXED = _START.size + 2 * _CHECKSUM.size  # bytes before the header


@dataclass(frozen=True)
class Section:
    """Where a tensor lies in the file, and what it is.

    Attributes:
        name: the tensor's.
        offset: of the payload's first byte in the file.
        length: in bytes.
        coding, dtype, shape: of the decoded array.
    """

    name: str
    offset: int
    length: int
    coding: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Container:
    """A file that was read and found whole.

    Attributes:
        path: where it was read from.
        meta: the JSON object that was written with it.
        sections: one `Section` for each tensor, in the order of the file.
        header_size: bytes before the first section. With the sections it makes up the file.
    """

    path: str
    meta: dict
    sections: tuple[Section, ...]
    header_size: int
    _specs: dict[str, dict]
    _payloads: dict[str, memoryview]

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors' names, in the order of the file."""
        return tuple(section.name for section in self.sections)

    def spec(self, name: str) -> Mapping[str, Any]:
        """The spec with which a tensor was encoded."""
        return self._specs[name]

    def tensor(self, name: str) -> np.ndarray:
        """Decodes one tensor; it is not kept.

        Raises:
            ArgumentError: if there is none of this name.
            ArtifactError: if the payload is not one that a writer makes.
        """
        if name not in self._specs:
            raise ArgumentError(
                f"{self.path} has no tensor {name!r}; it has {', '.join(self.names) or 'none'}."
            )
        section = next(section for section in self.sections if section.name == name)
        try:
            return coding.decode(self._specs[name], self._payloads[name])
        except ArtifactError as error:
            raise _in_section(self.path, section.name, section.offset, error) from error


def write(
    path: str | os.PathLike,
    meta: Mapping[str, Any],
    tensors: Sequence[Tensor],
    *,
    deflate_header: bool = False,
) -> None:
    """Writes a file; a file of that name stays whole until the new one is.

    The bytes go to a temporary file beside it (`smh.container.replacing`), are flushed to the disk,
    and only then take the name. After an exception (a full disk, an interrupt) the temporary file
    is removed; if the process is killed it stays, and may be deleted.

    Args:
        path: the file; a symbolic link is followed.
        meta: any JSON object. Integers have 64 bits, floats are finite, lists are lists.
        tensors: in the order in which they shall lie in the file.
        deflate_header: make the header some seven times smaller, at the cost of bytes that depend
            on the version of zlib.

    Raises:
        ArgumentError: if something cannot be written; nothing was touched then.
        OSError: from the file system.
    """
    tensors = list(tensors)
    header = container_header.encode(meta, tensors)
    deflated = deflating.deflate(header) if deflate_header else None
    version = PLAIN if deflated is None else DEFLATED
    header = header if deflated is None else deflated
    checksum = 0
    for tensor in tensors:
        checksum = zlib.crc32(tensor.payload, checksum)
    start = _START.pack(MAGIC, version, len(header)) + _CHECKSUM.pack(checksum)
    with replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(start + _CHECKSUM.pack(zlib.crc32(start + header)) + header)
        for tensor in tensors:
            file.write(tensor.payload)


def read(path: str | os.PathLike) -> Container:
    """Reads a file and checks it: every length, checksum and spec. Nothing is decoded yet.

    Args:
        path: the file; also a pipe, of which the whole is kept in memory first.

    Raises:
        ArtifactError: if the file is not whole, or not of this format.
        OSError: from the file system.

    Cost: memory of the file's size, and up to 40 bytes for each byte of the header.
    """
    with open(path, "rb") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode):
            return _load(file, os.fsdecode(path), found.st_size)
        content = _whole(file)
    return _load(io.BytesIO(content), os.fsdecode(path), len(content))


def _whole(file: BinaryIO) -> bytes:
    """All that comes out of a pipe, which tells no size; of what is no such file only the begin."""
    start = file.read(len(MAGIC))
    return start + file.read() if start == MAGIC else start


def check_magic(path: str | os.PathLike) -> None:
    """Looks whether a file begins as those of smh do; no more of it is read.

    Raises:
        ArtifactError: it does not.
        OSError: from the file system.
    """
    with open(path, "rb") as file:
        _check_magic(file.read(_START.size), os.fsdecode(path))


def _load(file: BinaryIO, name: str, size: int) -> Container:
    version, header, checksum = _read_header(file, name, size)
    base = offset = _FIXED + len(header)
    try:
        text = header if version == PLAIN else deflating.inflate(header, MAX_HEADER)
        parsed = container_header.decode(text)
    except ArtifactError as error:
        raise ArtifactError(f"{name}: byte {_FIXED}: the header: {error}") from error
    total = offset + sum(entry["length"] for entry in parsed["tensors"])
    if total != size:
        raise ArtifactError(
            f"{name}: byte {min(total, size):,}: header and tensors make {total:,} bytes, the file "
            f"has {size:,}"
        )
    data = memoryview(_read(file, name, offset, size - offset))
    if zlib.crc32(data) != checksum:
        raise ArtifactError(
            f"{name}: byte {base:,}: the tensors, from here to the end, are damaged (their CRC-32 "
            "differs)"
        )
    sections, specs, payloads = [], {}, {}
    for entry in parsed["tensors"]:
        label, length = entry["name"], entry["length"]
        spec = {key: value for key, value in entry.items() if key not in ("name", "length")}
        try:
            found = coding.describe(spec, length)
        except ArtifactError as error:
            raise _in_section(name, label, offset, error) from error
        sections.append(Section(label, offset, length, found.coding, found.dtype, found.shape))
        specs[label], payloads[label] = spec, data[offset - base :][:length]
        offset += length
    return Container(name, parsed["meta"], tuple(sections), base, specs, payloads)


def _in_section(path: str, name: str, offset: int, what: object) -> ArtifactError:
    return ArtifactError(f"{path}: section {name!r:.100} at byte {offset:,}: {what}")


def _read(file: BinaryIO, name: str, offset: int, size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise ArtifactError(
            f"{name}: byte {offset + len(data):,}: the file ends, {size - len(data):,} bytes early"
        )
    return data


def _check_magic(start: bytes, name: str) -> None:
    if start[: len(MAGIC)] != MAGIC[: len(start)] or not start:
        advice = ""
        if start.startswith(_OF_KERAS):
            advice = (
                ". keras.saving.load_model(path) or model.load_weights(path) read Keras' own files"
            )
        raise ArtifactError(
            f"{name}: byte 0: not a file of smh (it begins with {start[:8]!r}){advice}"
        )


def _read_header(file: BinaryIO, name: str, size: int) -> tuple[int, bytes, int]:
    """Returns version, stored header and the checksum of the payloads."""
    start = file.read(_START.size)
    _check_magic(start, name)
    start += _read(file, name, len(start), _START.size - len(start))
    _, version, length = _START.unpack(start)
    if version not in (PLAIN, DEFLATED):
        raise ArtifactError(
            f"{name}: byte 8: format version {version}, this smh reads versions {PLAIN} and "
            f"{DEFLATED}"
        )
    if length > MAX_HEADER or length > size:
        raise ArtifactError(
            f"{name}: byte 10: a header of {length:,} bytes in a file of {size:,}; the limit is "
            f"{MAX_HEADER:,}"
        )
    start += _read(file, name, _START.size, _CHECKSUM.size)
    (checksum,) = _CHECKSUM.unpack_from(start, _START.size)
    (stored,) = _CHECKSUM.unpack(_read(file, name, len(start), _CHECKSUM.size))
    header = _read(file, name, _FIXED, length)
    if zlib.crc32(start + header) != stored:
        raise ArtifactError(f"{name}: byte 18: the header is damaged (its CRC-32 differs)")
    return version, header, checksum
