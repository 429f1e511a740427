"""What is published: the wheel and the sdist hold all that is needed, and run by themselves."""

import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import smh

ROOT = Path(smh.__file__).parents[1]
KEPT_AWAY = shutil.ignore_patterns(
    ".*", "out", "build", "dist", "*.egg-info", "__pycache__", "runs"
)


def test_versions_agree_and_extras_pin_nothing():
    assert f"version: {smh.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert not re.search(r'"[\w.\[\],-]+==', (ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("package")
    shutil.copytree(ROOT, folder / "source", ignore=KEPT_AWAY)
    python = fresh(folder / "tools") / "python"
    run(python, "-m", "pip", "install", "--quiet", "build")
    run(python, "-m", "build", "--outdir", folder / "dist", folder / "source")
    return folder


def fresh(folder):
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def run(*command, cwd=None):
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(built):
    (wheel,) = (built / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    found = {name for name in names if name.startswith("smh/")}
    kept = {".py", ".css", ".js", ".typed"}
    library = [path for path in (ROOT / "smh").rglob("*") if path.suffix in kept]
    expected = {path.relative_to(ROOT).as_posix() for path in library} | {"smh/py.typed"}
    assert found == expected
    assert all(re.match(r"smh/|structured_multihashing-[^/]*\.dist-info/", name) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".whl", ".tar.gz"])
def test_it_runs_in_a_fresh_environment_without_a_backend(built, suffix, tmp_path):
    (package,) = (built / "dist").glob(f"*{suffix}")
    binaries = fresh(tmp_path / "env")
    run(binaries / "python", "-m", "pip", "install", "--quiet", package)
    assert run(binaries / "smh", "--version") == f"smh {smh.__version__}\n"
    golden = ROOT / "tests" / "golden" / "model.smh"
    assert "smh report: " in run(binaries / "smh", "report", golden, cwd=tmp_path)
    code = "import smh.runtime, sys; print(len(smh.runtime.load(sys.argv[1])) > 0)"
    assert run(binaries / "python", "-c", code, golden, cwd=tmp_path) == "True\n"
