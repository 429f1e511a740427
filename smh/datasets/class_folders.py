"""Which pictures a data set has that is one folder per class, in a folder or a tar archive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from smh.datasets.archives import content, opened
from smh.datasets.pictures import ENDINGS, Look, decode_all
from smh.errors import DataFormatError

# A part may have any of these names. The first that is there counts.
PARTS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("val", "valid", "validation"),
}


@dataclass(frozen=True)
class Pictures:
    """The pictures of one source, none of them read yet.

    Attributes:
        source: a folder or a tar archive.
        parts: for each part its files as (class, path in the source), in ascending order. A source
            without parts has one, called "".
    """

    source: Path
    parts: dict[str, tuple[tuple[str, str], ...]]

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, in ascending order: their labels."""
        return tuple(sorted({name for files in self.parts.values() for name, _ in files}))


def list_pictures(source: Path) -> Pictures:
    """Lists `[part/]class/file` below a folder, or below the one folder an archive holds.

    Hidden files and files that are no pictures by their ending are passed over.

    Raises:
        DataFormatError: an archive is damaged, or one part has classes that another has not.
    """
    if source.is_dir():
        found = (PurePosixPath(p.relative_to(source).as_posix()) for p in _files(source))
        split = [_placed(path.parts, path) for path in found]
    else:
        with opened(source) as archive:
            names = [PurePosixPath(m.name) for m in archive if m.isfile()]
        split = [_placed(path.parts[1:], path) for path in names]
    known = {name for names in PARTS.values() for name in names}
    placed = [entry for entry in split if entry is not None]
    with_parts = any(part in known for part, _, _ in placed)
    parts: dict[str, list[tuple[str, str]]] = {}
    for part, class_name, path in placed:
        if with_parts == (part in known):
            parts.setdefault(_part(part) if with_parts else "", []).append((class_name, path))
    pictures = Pictures(source, {part: tuple(sorted(files)) for part, files in parts.items()})
    _check_classes(pictures)
    return pictures


def read_part(pictures: Pictures, part: str, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """Reads all pictures of one part.

    Returns:
        Images `[n, h, w, c]` (uint8) and labels `[n]`: places in `pictures.classes`.

    Raises:
        DataFormatError: a picture or the archive is damaged; the message names it.
    """
    files = pictures.parts[part]
    numbers = {name: number for number, name in enumerate(pictures.classes)}
    labels = np.array([numbers[name] for name, _ in files], "int64")
    rows = {path: row for row, (_, path) in enumerate(files)}
    return decode_all(_contents(pictures.source, rows), len(files), look), labels


def _files(root: Path) -> Iterator[Path]:
    # Two levels down at most: class/file or part/class/file. Links to folders are followed.
    for pattern in ("*/*", "*/*/*"):
        yield from (path for path in root.glob(pattern) if path.is_file())


def _placed(levels: tuple[str, ...], path: PurePosixPath) -> tuple[str, str, str] | None:
    """Part (or ""), class and path of a file that lies two or three levels down."""
    if path.suffix.lower() not in ENDINGS or any(level.startswith(".") for level in levels):
        return None
    if len(levels) == 3:
        return levels[0], levels[1], str(path)
    return ("", levels[0], str(path)) if len(levels) == 2 else None


def _part(folder: str) -> str:
    return next(part for part, names in PARTS.items() if folder in names)


def _check_classes(pictures: Pictures) -> None:
    classes = set(pictures.classes)
    for part, files in pictures.parts.items():
        absent = sorted(classes - {name for name, _ in files})
        if absent:
            raise DataFormatError(
                f"{pictures.source}: the part '{part}' has no picture of {', '.join(absent[:10])}, "
                "which another part has. Each class needs a folder with pictures in each part."
            )


def _contents(source: Path, rows: dict[str, int]) -> Iterator[tuple[int, str, bytes]]:
    if source.is_dir():
        for path, row in rows.items():
            yield row, str(source / path), (source / path).read_bytes()
        return
    with opened(source) as archive:
        # In the archive's order: going back in a compressed file means reading it anew.
        for member in archive:
            if member.isfile() and member.name in rows:
                name = f"{member.name} in {source}"
                yield rows[member.name], name, content(archive, member)
