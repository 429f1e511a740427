"""What is raised inside `smh.exporting` where a format cannot take a model."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

from smh.errors import SmhError


class CannotExport(Exception):
    """A converter, or the runtime of a file that was just written, failed.

    `smh.exporting.explaining` makes an `ArgumentError` of it, which is what users see.

    Args:
        said: what the converter or runtime said, or what is wrong with its outputs.
        operations: pairs of a TensorFlow operation and the path of its name scope, which begins
            with the names of the layers that it is in; those that are to blame, if that is known.
    """

    def __init__(self, said: str, operations: Sequence[tuple[str, str]] = ()):
        super().__init__(said)
        self.said = said
        self.operations = list(operations)


@contextlib.contextmanager
def others_errors() -> Iterator[None]:
    """Turns what a converter or runtime raises into `CannotExport`.

    Their classes are not public. The file system's errors and our own stay as they are.
    """
    try:
        yield
    except (CannotExport, SmhError, OSError, MemoryError):
        raise
    except Exception as error:
        raise CannotExport(f"{type(error).__name__}: {error}") from error


@contextlib.contextmanager
def quiet(name: str) -> Iterator[None]:
    """Silences a logger: what fails raises."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
