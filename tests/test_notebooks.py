"""The notebooks run, and print what is committed, but for the numbers."""

import importlib.util
import re

import documents
import keras
import nbformat
import pytest

NOTEBOOKS = documents.ROOT / "docs" / "notebooks"
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
MOST_BYTES = 150_000


def runner():
    """The module `docs/notebooks/run.py`."""
    spec = importlib.util.spec_from_file_location("run_notebooks", NOTEBOOKS / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(notebook):
    """What each cell shows: text without numbers and blanks, and the kinds of everything else."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[_shown(output) for output in cell.outputs] for cell in cells]


def _shown(output):
    text = output.get("text") or output.get("data", {}).get("text/plain", "")
    kinds = sorted(output.get("data", {}))
    return output.output_type, kinds, re.sub(r"[\s━─]+", " ", re.sub(r"\d[\d.,]*", "0", text))


def test_there_are_four_and_each_is_on_the_site():
    assert len(NAMES) == 4
    listed = (NOTEBOOKS / "index.md").read_text()
    assert all(f"({name}.ipynb)" in listed and f"\n{name}\n" in listed for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_committed_with_small_outputs_and_nothing_of_the_machine(name):
    path = NOTEBOOKS / f"{name}.ipynb"
    text = path.read_text()
    assert len(text) < MOST_BYTES
    assert not re.search(r"/(home|root|tmp|work|usr)/", text)
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not any(output.get("name") == "stderr" for cell in cells for output in cell.outputs)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the notebooks use TensorFlow")
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_shows_the_same(name, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(documents.ROOT))
    path = NOTEBOOKS / f"{name}.ipynb"
    assert shown(runner().execute(path)) == shown(nbformat.read(path, as_version=4))
