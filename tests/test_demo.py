"""`examples/demo.py` runs from the command line and writes what it says."""

import csv
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from matplotlib import image

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "demo.py"
COLUMNS = ["model", "fraction", "bits", "variables", "share", "bytes", "accuracy", "step_ms"]


def demo(*options):
    """Runs it in a process of its own, as a user does; it finds smh where this process does."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, str(DEMO), *options]
    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=600)
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done


@pytest.mark.slow
def test_it_ends_with_the_ways_in_one_table(tmp_path):
    done = demo("--epochs", "1", "--fractions", "0.1", "--out", str(tmp_path))
    check_ways(done.stdout, tmp_path / "ways.csv")


def test_demo(tmp_path):
    """One test, so that it is run once however the tests are shared out."""
    out = tmp_path / "new" / "folder"
    done = demo("--epochs", "1", "--fractions", "0.1", "0.02", "--no-ways", "--out", str(out))
    with (out / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    check_rows(rows)
    check_numbers(*rows)
    check_printed(done.stdout, out)
    check_picture(out / "accuracy_size.png")


def check_rows(rows):
    assert list(rows[0]) == COLUMNS
    names = ["dense", "smh f=0.1", "smh f=0.02", "smh f=0.1 4-bit", "smh f=0.02 4-bit"]
    assert [row["model"] for row in rows] == names
    assert [row["fraction"] for row in rows] == ["", "0.1", "0.02", "0.1", "0.02"]
    assert [row["bits"] for row in rows] == ["", "", "", "4", "4"]


def check_numbers(dense, tenth, fiftieth, *rounded):
    assert int(dense["variables"]) == 431_080 and float(dense["share"]) == 1
    assert 0.09 < float(tenth["share"]) < 0.11 and 0.019 < float(fiftieth["share"]) < 0.022
    for row in (dense, tenth, fiftieth, *rounded):
        assert float(row["step_ms"]) > 0
        assert 0.15 < float(row["accuracy"]) <= 1, "an untrained network gets a tenth right"
    for row, same in zip(rounded, (tenth, fiftieth), strict=True):
        assert row["variables"] == same["variables"]
        # At most 4 bits a factor, 2 bytes for each of 584 biases and scales, and the architecture.
        assert int(row["bytes"]) <= int(row["variables"]) // 2 + 2 * 584 + 4_000
    for row in (dense, tenth, fiftieth):
        # float32, and at most 64 kB of HDF5 around it: no optimizer slots, no dense weights.
        assert 0 <= int(row["bytes"]) - 4 * int(row["variables"]) < 65_536


def check_ways(printed, path):
    with path.open() as file:
        dense, small, shrunk, slim, both = list(csv.DictReader(file))
    assert [row["name"].split(",")[0] for row in (dense, small, shrunk, slim, both)] == [
        "dense",
        "SMH",
        "shrunk",
        "slimmed",
        "slimmed",
    ]
    sizes = [int(row["bytes"]) for row in (dense, slim, shrunk, both)]
    assert sizes == sorted(sizes, reverse=True) and 20 * int(small["bytes"]) < sizes[0]
    assert all(
        float(row["accuracy"]) > 0.15 and float(row["image_ms"]) > 0 for row in (small, both)
    )
    # It comes last: what a newcomer sees when all is done.
    last = printed[printed.index("One network, four ways") :]
    assert all(f"{size:,}" in last for size in sizes) and "times" in last


def check_printed(printed, out):
    table = [line for line in printed.splitlines() if str(out) not in line]
    assert max(map(len, table)) <= 80
    assert "smh f=0.02" in printed and "431,080" in printed


def check_picture(path):
    pixels = image.imread(path)
    assert pixels.shape[0] > 300 and pixels.shape[1] > 500
    assert pixels.std() > 0.05, "nothing is drawn"


def test_impossible_fraction_is_a_usage_error(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(DEMO.parent))  # as Python does for a script
    monkeypatch.setattr(sys, "argv", ["demo.py", "--fractions", "0.001"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(DEMO), run_name="__main__")
    assert "smallest fraction that works here is 0.003" in capsys.readouterr().err
