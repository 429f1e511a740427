"""A trained network in, the smallest file out, without training: smh.shrink beside others.

Same weights, same judge, one run. For each network and each loss that is allowed, the smallest
file of each way. Sizes are of whole files for smh (with architecture) and LiteRT, of the bit stream
for nncodec and zipnn (without).
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import networks
import shrink_ways as ways

WAYS = ("zipnn", "litert", "nncodec", "before", "shrink")


def measure(name: str, options) -> list[dict]:
    """The smallest files that were made of a network; each way is written as soon as it is done."""
    network = networks.load(name, options.data)
    if options.level is not None:
        network = replace(network, levels=(network.levels[options.level],))
    rows: list[dict] = []
    with tempfile.TemporaryDirectory() as folder:
        peer = ways.Peer(options.peer, Path(folder))
        try:
            for way in options.ways:
                if way in ("zipnn", "nncodec") and not peer:
                    continue
                judge = ways.Timed(network.loss)
                begin = time.perf_counter()
                made = _run(way, replace(network, loss=judge), peer, Path(folder))
                search = time.perf_counter() - begin
                made = [one.checked(network) for one in made]
                rows += [
                    {**row, "search": round(search, 1), "judge": round(judge.seconds, 1)}
                    for row in _rows(network, made)
                ]
                if options.out and rows:
                    write(rows, options.out)
        finally:
            peer.close()
    return rows


def _rows(network: networks.Network, made: list[ways.Made]) -> list[dict]:
    numbers = sum(math.prod(variable.shape) for variable in network.model.weights)
    return [
        {
            "network": network.name,
            "numbers": numbers,
            "unit": network.unit,
            "level": level,
            "way": best.way,
            "setting": best.setting,
            "bytes": best.bytes,
            "loss": round(best.loss, 5),
            "seconds": round(best.seconds, 1),
        }
        for level in network.levels
        for best in smallest(made, level)
    ]


def _run(way: str, network, peer, folder: Path) -> list[ways.Made]:
    print(f"{network.name}: {way}", file=sys.stderr, flush=True)
    if way == "zipnn":
        return ways.with_zipnn(network, peer, folder)
    if way == "nncodec":
        return ways.with_nncodec(network, peer, folder)
    makers = {
        "litert": ways.with_litert,
        "before": ways.with_earlier_smh,
        "shrink": ways.with_shrink,
    }
    return makers[way](network, folder)


def smallest(made: list[ways.Made], level: float) -> list[ways.Made]:
    """Of each way the smallest file that keeps the level; LiteRT's and zipnn's whatever they do."""
    found = []
    for way in dict.fromkeys(one.way for one in made):
        of_way = [one for one in made if one.way == way]
        kept = [one for one in of_way if one.loss <= level]
        if way in ("LiteRT int8", "zipnn"):
            kept = of_way
        if kept:
            found.append(min(kept, key=lambda one: one.bytes))
    return found


def ratios(rows: list[dict]) -> dict[str, float]:
    """Bytes of smh.shrink over nncodec's, by network and level, and their geometric mean."""
    by_place: dict[str, dict[str, int]] = {}
    for row in rows:
        by_place.setdefault(f"{row['network']} {row['level']}", {})[row["way"]] = row["bytes"]
    found = {
        place: sizes["smh.shrink"] / sizes["nncodec"]
        for place, sizes in by_place.items()
        if {"smh.shrink", "nncodec"} <= sizes.keys()
    }
    if found:
        found["geometric mean"] = statistics.geometric_mean(found.values())
    return found


def write(rows: list[dict], path: Path) -> None:
    """Writes the table; rows of networks and ways that were not measured this time are kept."""
    kept: list[dict] = []
    if path.exists():
        measured = {(row["network"], row["way"]) for row in rows}
        with path.open(newline="") as file:
            before = list(csv.DictReader(file))
        kept = [row for row in before if (row["network"], row["way"]) not in measured]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows([*kept, *rows])


def of_sizes(options) -> None:
    """Prints the loss of files of given sizes."""
    for name in options.networks:
        network = networks.load(name, options.data)
        with tempfile.TemporaryDirectory() as folder:
            for size in options.sizes:
                made = ways.of_size(network, Path(folder), size)
                print(
                    f"{name:20} {made.bytes:>11,} bytes {made.loss:9.4f} {network.unit} lost "
                    f"{made.seconds:8.1f} s",
                    flush=True,
                )


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="see benchmarks/README.md")
    parser.add_argument("--networks", nargs="+", default=list(networks.MODULES))
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS)
    parser.add_argument("--peer", help="the Python of an environment with nncodec and zipnn")
    parser.add_argument("--out", type=Path, help="a CSV file, such as results/shrink.csv")
    parser.add_argument("--sizes", nargs="+", type=int, help="instead: the loss of files so large")
    parser.add_argument("--level", type=int, help="only this one of each network's: 0, 1 or 2")
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    if options.sizes:
        of_sizes(options)
        return
    rows = []
    for name in options.networks:
        rows += measure(name, options)
        for row in rows:
            if row["network"] == name and not options.json:
                print(
                    f"{row['network']:20} {row['level']:6} {row['unit']:16} {row['way']:12} "
                    f"{row['bytes']:>11,} {row['loss']:9.4f} {row['seconds']:8.1f} s  "
                    f"{row['setting']}",
                    flush=True,
                )
    found = {place: round(ratio, 3) for place, ratio in ratios(rows).items()}
    if options.json:
        print(json.dumps({"rows": rows, "ratios": found}))
    else:
        for place, ratio in found.items():
            print(f"{place:30} smh.shrink / nncodec {ratio:.3f}")


if __name__ == "__main__":
    main()
