"""What is promised of versions: an older Keras is refused, and the lower bounds are tested."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from smh.blueprint import keras_version

ROOT = Path(__file__).parent.parent
# `-S`: the process sees no installed package, only what the test lays down.
IMPORT = "import sys; sys.path[:0] = sys.argv[1:]; import smh, smh.index_store; print('imported')"


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


def import_smh(folder, **distributions):
    """Imports smh in a new process where only `distributions` are installed."""
    for name, version in distributions.items():
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        name = name.replace("_", "-")
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    command = [sys.executable, "-I", "-S", "-c", IMPORT, str(ROOT), str(folder)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("version", ["2.15.0", "3.0.5", "3.7.0", "3.9.2", "3.10.0"])
def test_an_older_keras_is_refused_in_one_line(tmp_path, version):
    result = import_smh(tmp_path, keras=version)
    assert result.returncode == 1 and not result.stdout
    assert result.stderr.splitlines()[-1] == (
        f"smh.errors.MissingPackageError: smh needs Keras 3.11 or newer, and {version} is "
        "installed: pip install --upgrade 'keras>=3.11'"
    )


@pytest.mark.parametrize(
    "distributions",
    [
        {},
        {"keras": "3.11.0"},
        {"keras": "3.15.1"},
        {"keras": "4.0.0"},
        {"keras_nightly": "3.16.0.dev2026102704"},
        {"keras": "3.9.2", "keras_nightly": "3.16.0.dev2026102704"},
    ],
    ids=lambda distributions: " and ".join(distributions) or "no Keras",
)
def test_no_keras_and_a_newer_one_are_fine(tmp_path, distributions):
    result = import_smh(tmp_path, **distributions)
    assert (result.stdout, result.stderr) == ("imported\n", "")


def test_a_keras_that_is_loaded_speaks_for_itself(monkeypatch):
    class Loaded:
        __version__ = "3.8.0"

    monkeypatch.setitem(sys.modules, "keras", Loaded)
    with pytest.raises(ImportError, match="and 3.8.0 is installed"):
        keras_version.refuse_older_keras()


def test_make_test_oldest_installs_every_lower_bound():
    declared = lower_bounds()
    tested = dict(
        line.split("==")
        for line in (ROOT / "tests" / "oldest.txt").read_text().splitlines()
        if line and not line.startswith("#")
    )
    assert tested == declared
    assert declared["keras"] == ".".join(map(str, keras_version.OLDEST_KERAS))
    readme = (ROOT / "README.md").read_text()
    assert f"Keras {declared['keras']} or newer" in readme


def lower_bounds():
    """Returns the lower bound of each package that pyproject.toml names."""
    text = (ROOT / "pyproject.toml").read_text()
    project = text[text.index("[project]") : text.index("[project.scripts]")]
    requirements = re.findall(r'"([A-Za-z0-9_-]+)(\[[^"]*\])?([<>=!~][^"]*)?"', project)
    found = {}
    for name, _, bound in requirements:
        if bound:
            operator, version = re.fullmatch(r"([<>=!~]+)([0-9.]+)", bound).groups()
            assert operator == ">=", f"{name}{bound}: a pin belongs to the Makefile"
            found[name] = version
    return found
