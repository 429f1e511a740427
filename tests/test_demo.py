"""`examples/demo.py` runs from the command line and writes what it says."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("demo")  # one run of it serves all

ROOT = Path(__file__).parent.parent
COLUMNS = ["model", "fraction", "variables", "share", "bytes", "accuracy", "step_ms"]


def _run(*arguments):
    # The demo runs as a user runs it, so it finds smh where this process does.
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, str(ROOT / "examples/demo.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    done = _run("--epochs", 1, "--fractions", 0.1, 0.02, "--out", out)
    assert done.returncode == 0, done.stderr
    with (out / "table.csv").open() as file:
        return out, done.stdout, list(csv.DictReader(file))


def test_table_has_one_row_per_model(demo):
    _, _, rows = demo
    assert list(rows[0]) == COLUMNS
    assert [row["model"] for row in rows] == ["dense", "smh f=0.1", "smh f=0.02"]
    assert [row["fraction"] for row in rows] == ["", "0.1", "0.02"]


def test_numbers_are_those_of_the_models(demo):
    _, _, rows = demo
    dense, tenth, fiftieth = rows
    assert int(dense["variables"]) == 431_080 and float(dense["share"]) == 1
    assert 0.09 < float(tenth["share"]) < 0.11 and 0.019 < float(fiftieth["share"]) < 0.022
    for row in rows:
        assert float(row["step_ms"]) > 0
        # An untrained network gets a tenth right.
        assert 0.15 < float(row["accuracy"]) <= 1
        # float32, and at most 64 kB of HDF5 around it: no optimizer slots, no dense weights.
        assert 0 <= int(row["bytes"]) - 4 * int(row["variables"]) < 65_536


def test_printed_table_fits_80_columns(demo):
    out, printed, _ = demo
    table = [line for line in printed.splitlines() if str(out) not in line]
    assert max(map(len, table)) <= 80
    assert "smh f=0.02" in printed and "431,080" in printed


def test_picture_is_an_image(demo):
    from matplotlib import image

    pixels = image.imread(demo[0] / "accuracy_size.png")
    assert pixels.shape[0] > 300 and pixels.shape[1] > 500
    assert pixels.std() > 0.05, "nothing is drawn"


def test_impossible_fraction_is_a_usage_error():
    done = _run("--epochs", 1, "--fractions", 0.001)
    assert done.returncode == 2
    assert "smallest fraction that works here is 0.0031" in done.stderr
    assert "Traceback" not in done.stderr
