"""A small LiteRT file as a fast one: `smh.runtime.expand`."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator

from smh.container.replacing import replacing
from smh.errors import ArgumentError, MissingPackageError
from smh.runtime.folding import Folding
from smh.runtime.litert_file import LitertFile
from smh.runtime.merging import merge


def expand(small: str | os.PathLike, fast: str | os.PathLike) -> None:
    """Computes the weights of a LiteRT file once, for a device that has room for them.

    `smh.export(model, path, "litert")` of a compressed model holds factors, and a runtime computes
    the weights from them in every call, and is slow with kernels that are computed. A device runs
    this once, when it installs the file: the weights become constants, normalisations are merged
    into them as a converter does, and a call then costs what it does in a dense model. Weights of
    at most eight bits stay in eight bits. What the file computes is the same, up to roundings.

    Args:
        small: a file that `smh.export` wrote. Any other is written as it is, or nearly.
        fast: where to write.

    Raises:
        MissingPackageError: there is no `ai-edge-litert`, which has the format's schema.
        ArgumentError: `small` is no LiteRT file, or one that is cut or damaged where that shows:
            such files have no checksum.
        OSError: from the file system. `fast` is as it was then.

    Cost: NumPy computes each weight once, in some seconds for millions; twice the fast file in
    memory. Neither Keras nor TensorFlow is needed.

    Example:
        >>> smh.runtime.expand("small.tflite", "fast.tflite")
    """
    with open(small, "rb") as opened:
        content = opened.read()
    with _refusing_what_is_damaged(os.fspath(small)):
        file = LitertFile(content)
        for graph in file.model.subgraphs:
            Folding(file, graph).fold()
            merge(file, graph)
        content = file.packed()
    with replacing(os.path.abspath(os.fspath(fast))) as temporary, open(temporary, "wb") as opened:
        opened.write(content)


@contextlib.contextmanager
def _refusing_what_is_damaged(name: str) -> Iterator[None]:
    """What a damaged file says of itself leads anywhere."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(f"'{name}' cannot be expanded. {error}") from None
    except MissingPackageError:
        raise
    except (
        ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RecursionError,
        TypeError, ValueError, struct.error,
    ) as error:  # fmt: skip
        raise ArgumentError(
            f"'{name}' cannot be expanded: the file is damaged or cut. Copy it again, or write it "
            f"by smh.export. What was seen: {error!r:.200}"
        ) from error
