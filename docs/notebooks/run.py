"""Runs the notebooks and keeps what they print: `python docs/notebooks/run.py [NAME ...]`.

They are committed with their outputs, which are small, so that the site and a reader of the
repository see results without running anything. `tests/test_notebooks.py` runs them again and
compares.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent
TIMEOUT = 600  # seconds for a cell, on a machine with much else to do


def execute(path: Path) -> nbformat.NotebookNode:
    """Returns a notebook, run by a kernel of this environment, without what depends on the run.

    Dropped are what goes to stderr, times, and the names of what ran it.
    """
    notebook = nbformat.read(path, as_version=4)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,  # how print's lines arrive depends on the machine's load
            resources={"metadata": {"path": folder}},
        )
        client.execute()
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [o for o in cell.outputs if o.get("name") != "stderr"]
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return notebook


def main(names: list[str]) -> None:
    """Runs the notebooks of these names, or all, and writes them."""
    for name in names or sorted(path.stem for path in FOLDER.glob("*.ipynb")):
        path = FOLDER / f"{name}.ipynb"
        nbformat.write(execute(path), path)
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
