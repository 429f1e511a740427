"""Shrunk, then trained for some minutes by what the network said before: no labels are needed.

    python benchmarks/shrink_trained.py --data DATA --out results/shrink_trained.csv

Each network of `shrink.py` is shrunk to a size, and trained with its bits in the loss (Adam, its
rate falling to zero by the clock), on inputs other than those that judge it. The file is read back
before it is judged, which it is twice: shrunk, and trained as well. Minutes are of two cores:
twice as many of processor time. Where a bit more of each number makes the error a quarter, the
bits are worth `2 ln 2` of what rounding added to the loss: that is the default of `--rate`.
"""

from __future__ import annotations

import argparse
import csv
import math
import tempfile
import time
from pathlib import Path

import keras
import networks
import numpy as np
import shrink_ways as ways
from networks.network import Network

import smh

CORES = 2
FIELDS = ("network", "unit", "asked", "rate", "shrunk_bytes", "shrunk_loss", "bytes", "loss")
FIELDS += ("minutes", "examples", "learning_rate", "batch")


class ByTheClock(keras.callbacks.Callback):
    """Lets the learning rate fall along half a cosine, and ends, by processor time."""

    def __init__(self, peak: float, seconds: float):
        super().__init__()
        self._peak, self._seconds, self._begin = peak, seconds, None

    @property
    def over(self) -> bool:
        """Whether all of the time is spent."""
        return self._share() >= 1

    def _share(self) -> float:
        if self._begin is None:
            return 0.0
        return min(1.0, (time.process_time() - self._begin) / self._seconds)

    def on_train_batch_begin(self, batch, logs=None):
        """Sets the rate of this step. The clock starts after the first, which compiles."""
        if self._begin is None and batch == 1:
            self._begin = time.process_time()
        share = self._share()
        self.model.optimizer.learning_rate = self._peak * 0.5 * (1 + math.cos(math.pi * share))
        if share >= 1:
            self.model.stop_training = True


def train(model: keras.Model, network: Network, options) -> int:
    """Trains a shrunk model in place; returns the number of examples that it saw."""
    values = network.unit.startswith("%")
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = options.normalisation  # by batches of other data they are others
    taught = smh.distill(
        model, network.model, temperature=1, alpha=1, targets="values" if values else "classes"
    )
    taught.compile(keras.optimizers.Adam(options.learning_rate))
    first = _some(network.lessons(0), 2000)
    lost = taught.evaluate(first, verbose=0, batch_size=options.batch)
    smh.recipes.penalise_bits(model, options.rate * lost)
    taught.compile(keras.optimizers.Adam(options.learning_rate))
    clock, seen = ByTheClock(options.learning_rate, 60 * CORES * options.minutes), 0
    while not clock.over:
        seen += 1
        taught.fit(network.lessons(seen), batch_size=options.batch, callbacks=[clock], verbose=0)
    return int(taught.optimizer.iterations) * options.batch


def _some(inputs, count: int):
    return keras.tree.map_structure(lambda x: np.asarray(x)[:count], inputs)


def measure(network: Network, size: int, options) -> dict:
    """One row: shrunk to a size, and trained."""
    keras.utils.set_random_seed(0)
    model = ways.copy_of(network.model)
    smh.shrink(model, network.calibration, target_size=size)
    with tempfile.TemporaryDirectory() as folder:
        shrunk_bytes, back = ways.saved(model, Path(folder))
        shrunk_loss = network.loss(back)
        examples = train(model, network, options)
        trained_bytes, back = ways.saved(model, Path(folder))
        loss = network.loss(back)
    found = (network.name, network.unit, size, options.rate, shrunk_bytes, round(shrunk_loss, 5))
    found += (trained_bytes, round(loss, 5), options.minutes, examples)
    return dict(zip(FIELDS, (*found, options.learning_rate, options.batch), strict=True))


def asked_for(name: str, table: Path, share: float) -> int:
    """A share of the bytes of the file that `shrink.py` found for the middle one of its losses."""
    with table.open(newline="") as file:
        rows = [r for r in csv.DictReader(file) if (r["network"], r["way"]) == (name, "smh.shrink")]
    if not rows:
        raise SystemExit(f"{table} has no row of smh.shrink for {name}; use --size.")
    return int(share * int(rows[len(rows) // 2]["bytes"]))


def main(arguments: list[str] | None = None) -> None:
    """Measures, prints, and adds rows to the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("data"), help="see benchmarks/README.md")
    parser.add_argument("--networks", nargs="+", default=list(networks.MODULES))
    parser.add_argument("--share", type=float, default=0.6, help="of the bytes in --table")
    parser.add_argument("--table", type=Path, default=Path("results/shrink.csv"))
    parser.add_argument("--size", type=int, help="bytes, in place of --share")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument(
        "--rate", type=float, default=1.4, help="of a bit, as a share of the loss by rounding"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--normalisation", action="store_true", help="by the batches' statistics")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--out", type=Path, help="a CSV file that gets a row for each network")
    options = parser.parse_args(arguments)
    for name in options.networks:
        network = networks.load(name, options.data)
        size = options.size or asked_for(name, options.table, options.share)
        row = measure(network, size, options)
        print(*(f"{key}={value}" for key, value in row.items()), flush=True)
        if options.out:
            new = not options.out.exists()
            with options.out.open("a", newline="") as file:
                writer = csv.DictWriter(file, FIELDS, lineterminator="\n")
                if new:
                    writer.writeheader()
                writer.writerow(row)


if __name__ == "__main__":
    main()
