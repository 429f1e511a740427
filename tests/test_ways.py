"""Outcome: which way for which size is what the measured files say, and `smh.plan` tells it."""

import csv
import math
from collections import defaultdict
from pathlib import Path

import keras
import pytest

import smh
from smh.sizes.ways import ways

pytestmark = pytest.mark.backend_agnostic

RESULTS = Path(__file__).parents[1] / "results"
TABLES = ["cifar10_slim.csv", "fashion_mnist_slim.csv", "mnist_slim.csv"]
NEAR = 1.12  # files of sizes so near are compared
MORE, CHANCE = 1.25, 0.1  # times, and percent of errors more: what is about as good


def shrunk(table):
    with open(RESULTS / table, newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["way"].endswith("shrunk")]
    return [
        {name: float(row[name]) for name in ("bytes", "numbers", "validation_error")}
        for row in rows
        if not row["way"].startswith("pool")
    ]


def groups(table):
    """Files of about one size, made of several networks."""
    rows = sorted(shrunk(table), key=lambda row: row["bytes"])
    found = defaultdict(list)
    for row in rows:
        place = next((s for s in found if row["bytes"] <= NEAR * s), row["bytes"])
        found[place].append(row)
    several = {size: {file["numbers"] // 2000 for file in found[size]} for size in found}
    return {size: files for size, files in found.items() if len(several[size]) > 1}


@pytest.mark.parametrize("table", TABLES)
def test_the_network_that_is_recommended_is_about_the_best_at_its_size(table):
    whole = max(row["numbers"] for row in shrunk(table))
    seen = groups(table)
    assert len(seen) >= 3
    for size, files in seen.items():
        (way,) = [w for w in ways(int(size) * 10, int(whole)) if w.times == 10]
        chosen = min(files, key=lambda row: abs(math.log(row["numbers"] / way.numbers)))
        best = min(files, key=lambda row: row["validation_error"])
        assert chosen["validation_error"] <= MORE * best["validation_error"] + CHANCE, (size, files)


def test_the_plan_says_how_for_sizes_a_file_can_have():
    planned = smh.plan(smh.zoo.resnet_20(), [0.1])
    assert [way.times for way in planned.ways] == [10, 50, 300]
    alone, slim, _ = planned.ways
    assert (alone.keep, alone.how) == (1.0, "shrink")
    assert slim.keep == pytest.approx(32 / 50 / 3, rel=0.01)
    assert slim.bytes == planned.bytes // 50
    assert " 50x, 21.7 kB: prune 78.7 % of numbers, fit, slim, shrink" in str(planned)
    tiny = keras.Sequential([keras.Input((40,)), keras.layers.Dense(300)])
    assert [way.times for way in smh.plan(tiny, [0.5]).ways] == [10]
