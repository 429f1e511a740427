"""Files of a data set, in a folder or still in the tar archive it is published as.

Nothing is unpacked to the disk.
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from smh.errors import DataFormatError

_DAMAGED = (tarfile.TarError, EOFError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, OSError)


def read_members(source: Path, wanted: Collection[str]) -> dict[str, bytes]:
    """Reads the files with the wanted names, all at once.

    Args:
        source: as in `each_member`.
        wanted: as in `each_member`.

    Returns:
        The contents of those that are there, by bare name.

    Raises:
        DataFormatError: the archive is damaged or truncated.
    """
    return dict(each_member(source, wanted))


def each_member(
    source: Path, wanted: Collection[str], largest: int | None = None
) -> Iterator[tuple[str, bytes]]:
    """Reads the files with the wanted names, wherever in the archive they are, one after another.

    Args:
        source: a folder, of which only the top level is looked at, or a tar archive (gzip too).
        wanted: bare file names.
        largest: most bytes that one of them may have; None for any number.

    Yields:
        Bare name and content of each that is there; an archive's in the order that it has.

    Raises:
        DataFormatError: the archive is damaged or truncated, or a file is too large.
    """
    if source.is_dir():
        for path in (source / name for name in wanted):
            if path.is_file():
                _check_size(path.stat().st_size, largest, path.name, source)
                yield path.name, path.read_bytes()
        return
    with opened(source) as archive:
        for member in archive:
            name = PurePosixPath(member.name).name
            if member.isfile() and name in wanted:
                _check_size(member.size, largest, name, source)
                yield name, content(archive, member)


def _check_size(size: int, largest: int | None, name: str, source: Path) -> None:
    if largest is not None and size > largest:
        raise DataFormatError(
            f"{name} in {source} has {size:,} bytes, expected at most {largest:,}; it is not read."
        )


def content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """Reads one plain file of an open archive."""
    file = archive.extractfile(member)
    assert file is not None, "only plain files are asked for"
    return file.read()


@contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Opens a tar archive; whatever is wrong with it is an error that names it.

    Raises:
        DataFormatError: it is damaged, truncated or no archive.
    """
    try:
        with tarfile.open(path) as archive:
            yield archive
    except DataFormatError:
        raise
    except _DAMAGED as error:
        raise DataFormatError(
            f"{path} is no tar archive, or is damaged or truncated: {error}. Get it again."
        ) from error
