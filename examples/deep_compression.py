"""Deep Compression and SMH side by side: the bytes of real files at their test accuracy.

Trains a LeNet densely, then goes Deep Compression's way (prune, retrain, share values, retrain,
entropy-code), and SMH's (factors, then 4-bit factors). Every row is a file that was loaded again
before it was tested.

`python examples/deep_compression.py` (digits, a minute), or
`python examples/deep_compression.py --network lenet_5 --data mnist --data-dir DIR --epochs 20`
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

import smh
from smh.datasets import Augmentation, Dataset, batches, load, names

NETWORKS = {"lenet_300_100": smh.zoo.lenet_300_100, "lenet_5": smh.zoo.lenet_5}
# Deep Compression's levels, by layer. The convolutions bear less: its tables 1 to 3, as densities.
SPARSITIES = {
    "lenet_300_100": {".*fc1": 0.92, ".*fc2": 0.91, ".*logits": 0.74},
    "lenet_5": {".*conv1": 0.34, ".*conv2": 0.88, ".*fc1": 0.92, ".*logits": 0.81},
}
BITS = {
    "lenet_300_100": {"kernel": 5},
    "lenet_5": {".*conv": 8, "kernel": 5},
}
DENSE_RATE, RETRAIN_RATE, SHARED_RATE, SMH_RATE = 2e-3, 2e-3, 1e-4, 1e-2
FRACTION = {"lenet_300_100": 0.06, "lenet_5": 0.04}
FACTOR_BITS = 4


@dataclass(frozen=True)
class Result:
    """One line of the table: a model that was saved and loaded again."""

    stage: str
    kept: int  # numbers that are not pruned; of SMH, numbers in the factors and beside them
    bits: str  # of each of them, in the file
    bytes: int  # of the file, with the architecture
    times: float  # smaller than the dense file
    validation_error: float
    test_error: float


def schedule(peak: float, steps: int, warm_up: float = 0.2):
    """Linear warm-up, then a cosine to zero."""
    first = max(1, int(warm_up * steps))
    return keras.optimizers.schedules.CosineDecay(
        peak / 100, max(1, steps - first), warmup_target=peak, warmup_steps=first
    )


class Chain:
    """Trains a model stage by stage, and measures it after each."""

    def __init__(self, data: Dataset, options: argparse.Namespace, console: Console):
        self.data, self.options, self.console = data, options, console
        self.steps = math.ceil(len(data.x_train) / options.batch)
        self.results: list[Result] = []

    def train(self, model: keras.Model, rate: float, epochs: int, callbacks=()) -> None:
        """Trains with Adam; the rate rises and falls once."""
        model.compile(
            keras.optimizers.Adam(schedule(rate, epochs * self.steps)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self.fit(model, 0, epochs, callbacks)

    def fit(self, model: keras.Model, first: int, last: int, callbacks=()) -> None:
        """Trains a compiled model from epoch `first` to epoch `last`."""
        keras.utils.set_random_seed(self.options.seed + first)
        model.fit(
            batches(
                self.data.x_train,
                self.data.y_train,
                self.options.batch,
                augmentation=Augmentation.usual(self.data.name) if self.options.augment else None,
                seed=self.options.seed,
                first_epoch=first,
            ),
            initial_epoch=first,
            epochs=last,
            shuffle=False,  # `batches` does
            verbose=0,
            callbacks=list(callbacks),
        )

    def measure(self, stage: str, model: keras.Model, width: str, **how) -> None:
        """Saves, loads, tests."""
        path = self.options.out / f"{self.options.network}_{len(self.results)}.smh"
        smh.save(model, path, **how)
        loaded = smh.load(path)
        size, dense = path.stat().st_size, self.results[0].bytes if self.results else None
        result = Result(
            stage=stage,
            kept=sum(
                row.kept for row in smh.report(model).rows if not row.stored.startswith("pool")
            ),
            bits=width,
            bytes=size,
            times=round((dense or size) / size, 1),
            validation_error=error(loaded, self.data.x_validation, self.data.y_validation),
            test_error=error(loaded, self.data.x_test, self.data.y_test),
        )
        self.results.append(result)
        self.console.print(f"{stage}: {size:,} bytes, test error {result.test_error:.2%}")


def error(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """The share of images that it gets wrong."""
    return float(np.mean(model.predict(x, batch_size=1000, verbose=0).argmax(-1) != y))


def deep_compression(chain: Chain, make: Callable[[], keras.Model]) -> None:
    """Dense, pruned, shared values."""
    options, network = chain.options, chain.options.network
    model = make()
    chain.train(model, DENSE_RATE, options.epochs)
    chain.measure("dense", model, "32")
    middle = options.epochs * chain.steps // 2
    levels = smh.PruningSchedule(SPARSITIES[network], end=middle, every=max(1, middle // 20))
    chain.train(model, RETRAIN_RATE, options.epochs, [levels])
    chain.measure("pruned, retrained", model, "16", rest="float16")
    smh.cluster(model, BITS[network])
    width = "/".join(str(b) for b in BITS[network].values())
    chain.measure("+ shared values", model, width, rest="float16")
    chain.train(model, SHARED_RATE, max(1, options.epochs // 4))
    chain.measure("+ retrained", model, width, rest="float16")
    chain.measure("the same, Huffman", model, width, rest="float16", coder="huffman")


def multi_hashing(chain: Chain, make: Callable[[], keras.Model]) -> None:
    """Factors, and the same with few bits; both trained for as many epochs as all stages above."""
    options = chain.options
    epochs = 2 * options.epochs + max(1, options.epochs // 4)
    for bits in (None, FACTOR_BITS):
        keras.utils.set_random_seed(options.seed)
        model = smh.compress(make(), FRACTION[options.network], seed=options.seed)
        if bits is None:
            chain.train(model, SMH_RATE, epochs)
            chain.measure("SMH", model, "16", bits=16, rest="float16")
            continue
        model.compile(
            keras.optimizers.Adam(schedule(SMH_RATE, epochs * chain.steps)),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        middle = round(0.6 * epochs)
        chain.fit(model, 0, middle)
        smh.quantize_factors(model, bits)
        chain.fit(model, middle, epochs)
        chain.measure(f"SMH, {bits}-bit factors", model, str(bits), bits=bits, rest="float16")


def as_table(results: list[Result], options: argparse.Namespace, data: Dataset) -> Table:
    """The results, in 80 columns."""
    title = f"{options.network} on {data.name}, seed {options.seed}"
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for heading in ("numbers\nkept", "bits", "bytes of\nthe file", "times\nsmaller"):
        table.add_column(heading, justify="right")
    for heading in ("validation\nerror", "test\nerror"):
        table.add_column(heading, justify="right")
    for row in results:
        table.add_row(
            row.stage,
            f"{row.kept:,}",
            row.bits,
            f"{row.bytes:,}",
            f"{row.times:g}",
            f"{row.validation_error:.2%}",
            f"{row.test_error:.2%}",
        )
    table.caption = f"{len(data.y_test):,} test images, {len(data.y_validation):,} for validation"
    table.caption_justify = "left"
    return table


def write_csv(results: list[Result], path: Path) -> None:
    """One line per stage; the columns are the fields of `Result`."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in results)


def parse(arguments=None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--network", choices=NETWORKS, default="lenet_300_100")
    parser.add_argument("--data", choices=names(), default="digits")
    parser.add_argument("--data-dir", help="where the files of the data are")
    parser.add_argument("--validation", type=float, default=0.1, help="share of training images")
    parser.add_argument("--epochs", type=int, default=20, help="of training, and of retraining")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--augment", action="store_true", help="shift and turn training images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/deep_compression"))
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    return options


def main(arguments=None) -> list[Result]:
    """Trains, prints and writes everything."""
    options, console = parse(arguments), Console()
    data = load(options.data, options.data_dir, validation=options.validation)
    options.out.mkdir(parents=True, exist_ok=True)
    chain = Chain(data, options, console)

    def make() -> keras.Model:
        keras.utils.set_random_seed(options.seed)
        return NETWORKS[options.network]()

    deep_compression(chain, make)
    multi_hashing(chain, make)
    table = options.out / f"{options.network}_{data.name}_{options.seed}.csv"
    write_csv(chain.results, table)
    console.print(as_table(chain.results, options, data))
    console.print(f"wrote {table}", soft_wrap=True)
    return chain.results


if __name__ == "__main__":
    main()
