"""Files and folders that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator

from smh.errors import ArgumentError


@contextlib.contextmanager
def replacing(path: str | bytes | os.PathLike, *, folder: bool = False) -> Iterator[str]:
    """Yields a name beside `path`; what is written there takes the name `path` if all went well.

    After an exception (a full disk, an interrupt) whatever was written is removed, and what was at
    `path` is still there. A file is replaced in one step of the file system. A folder takes two: it
    is moved aside, the new one takes its name, and then it is removed. A process that is killed
    leaves `.NAME.RANDOM.tmp` behind, and in the moment between the two steps `.NAME.RANDOM.old`.
    The new one has the permissions of the old one.

    Args:
        path: file or folder, or neither yet; a symbolic link is followed. The folder that it lies
            in exists.
        folder: whether a folder is written. It may replace another one, which a file never does.

    Yields:
        A path with the suffix of `path`, at which there is nothing yet.

    Raises:
        ArgumentError: at `path` is a folder where a file is to be, or the other way round, a pipe
            or a device. Nothing was written.
    """
    check_replaceable(os.fsdecode(path), folder)
    path = os.path.realpath(os.fsdecode(path))
    parent, name = os.path.split(path)
    beside = os.path.join(parent, f".{name[:50]}.{secrets.token_hex(4)}")
    temporary = f"{beside}.tmp{os.path.splitext(name)[1]}"
    try:
        yield temporary
        _flush(temporary)
        if os.path.exists(path):
            shutil.copymode(path, temporary)
        _move(temporary, path, aside=f"{beside}.old")
        _sync_folder(parent)
    except BaseException:
        _remove(temporary)
        _name_file(sys.exc_info()[1], temporary, path)
        raise


def check_replaceable(path: str, folder: bool = False) -> None:
    """Raises `ArgumentError` unless what is at `path` is of the kind that is written, or nothing.

    A pipe or a device would be a plain file afterwards, and nothing would come to who reads it;
    written into, it could not be left as it was after an error.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:  # nothing is there, or writing will say what is wrong
        return
    if stat.S_ISDIR(mode):
        if not folder:
            inside = os.path.join(path, "NAME")
            raise ArgumentError(f"'{path}' is a folder; name a file, such as '{inside}'.")
    elif not stat.S_ISREG(mode):
        raise ArgumentError(
            f"'{path}' is a pipe or a device, and no file can take its place. Write a file, and "
            "copy it there."
        )
    elif folder:
        raise ArgumentError(f"'{path}' is a file, and a folder is to be written; name another.")


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
    if not (os.path.isdir(temporary) and os.path.isdir(path)):
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
