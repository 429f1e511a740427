"""What lies in a file or a run directory beside the model's weights."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from smh.artifact.inspection import Inspection, inspect
from smh.errors import ArtifactError
from smh.report_page.scan_files import ScanFile, read_scan
from smh.training.metrics import Row, read_metrics
from smh.training.run_directory import RunDirectory


@dataclass(frozen=True)
class Found:
    """What there is to show of a model besides its sizes.

    Attributes:
        source: the file or run directory, as it was given.
        files: names and bytes of the model's files.
        inspection: what is in its `.smh` file.
        metrics: a row per epoch of its training.
        result: the figures of the test examples, and how many there are (`test_images`).
        scans: the scans of it.
    """

    source: str = ""
    files: tuple[tuple[str, int], ...] = ()
    inspection: Inspection | None = None
    metrics: tuple[Row, ...] = ()
    result: dict[str, float] | None = None
    scans: tuple[ScanFile, ...] = ()


def look_into(source: str | os.PathLike | None) -> Found:
    """Reads what there is in a `.smh` file, another file, or a run directory.

    Raises:
        ArtifactError: a file is damaged.
        OSError: from the file system.
    """
    if source is None:
        return Found()
    path = Path(os.fsdecode(source))
    if path.is_dir():
        return _look_into_run(RunDirectory(path))
    files = ((path.name, path.stat().st_size),)
    return Found(str(path), files, inspect(path) if path.suffix == ".smh" else None)


def _look_into_run(run: RunDirectory) -> Found:
    files = [file for file in (run.artifact_file, run.model_file) if file.is_file()]
    tables = (read_scan(file) for file in sorted(run.path.glob("*.csv")))
    return Found(
        str(run),
        tuple((file.name, file.stat().st_size) for file in files),
        inspect(run.artifact_file) if run.artifact_file.is_file() else None,
        tuple(read_metrics(run.metrics_file)) if run.metrics_file.is_file() else (),
        _result(run),
        tuple(table for table in tables if table is not None),
    )


def _result(run: RunDirectory) -> dict[str, float] | None:
    if not run.is_complete:
        return None
    try:
        figures = {n: float(one) for n, one in run.result().items() if n.startswith("test_")}
        return figures | {name: figures[name] for name in ("test_images", best_of(figures))}
    except (ValueError, TypeError, KeyError) as error:
        raise ArtifactError(f"{run.result_file} is damaged: {error!r}") from error


def best_of(figures: dict[str, float]) -> str:
    """The name of what says most: an accuracy, or of numbers and of several outputs the loss."""
    several = any(name.endswith("_loss") for name in figures if name != "test_loss")
    accuracy = None if several else next((name for name in figures if "accuracy" in name), None)
    return accuracy or "test_loss"
