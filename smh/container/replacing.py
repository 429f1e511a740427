"""Files and folders that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[str]:
    """Yields a name beside `path`; what is written there takes the name `path` if all went well.

    After an exception (a full disk, an interrupt) whatever was written is removed, and what was at
    `path` is still there. A file is replaced in one step of the file system. A folder takes two: it
    is moved aside, the new one takes its name, and then it is removed. A process that is killed
    leaves `.NAME.RANDOM.tmp` behind, and in the moment between the two steps `.NAME.RANDOM.old`.

    Args:
        path: file or folder, or neither yet; a symbolic link is followed. The folder that it lies
            in exists.

    Yields:
        A path with the suffix of `path`, at which there is nothing yet.
    """
    path = os.path.realpath(os.fspath(path))
    folder, name = os.path.split(path)
    beside = os.path.join(folder, f".{name[:50]}.{secrets.token_hex(4)}")
    temporary = f"{beside}.tmp{os.path.splitext(name)[1]}"
    try:
        yield temporary
        _flush(temporary)
        _move(temporary, path, aside=f"{beside}.old")
        _sync_folder(folder)
    except BaseException:
        _remove(temporary)
        _name_file(sys.exc_info()[1], temporary, path)
        raise


def _name_file(error: BaseException | None, temporary: str, path: str) -> None:
    """Lets an error of the file system name the file that was to be written.

    A full disk names none, and the temporary one is none of the user's. An error without a number
    is somebody's own, with a text that a name would hide.
    """
    if not isinstance(error, OSError) or error.errno is None:
        return
    if error.filename in (None, temporary):
        error.filename = path


def _move(temporary: str, path: str, aside: str) -> None:
    if not os.path.isdir(path):
        os.replace(temporary, path)
        return
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except BaseException:
        os.rename(aside, path)
        raise
    _remove(aside)


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    with contextlib.suppress(OSError):
        os.unlink(path)


def _flush(path: str) -> None:
    """Has the operating system write everything to the disk before it gets the name."""
    inside = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    for name in inside or [path]:
        with open(name, "rb+") as file:
            os.fsync(file.fileno())


def _sync_folder(folder: str) -> None:
    """Makes the new name last through a power cut, where the system can (not on Windows)."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
