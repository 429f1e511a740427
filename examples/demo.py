"""Trains LeNet-5 on handwritten digits: dense, from fewer and fewer numbers, and from low-bit ones.

Then it shrinks and slims the dense one, and shows all four in one table. Run it with `make demo`,
or `python examples/demo.py --help`. It needs no download and writes `table.csv`, `ways.csv` and
`accuracy_size.png`.
"""

from __future__ import annotations

import argparse
import csv
import math
import operator
import tempfile
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from smh.cli.files import start_keras

start_keras()  # before anything imports Keras: without the lines that TensorFlow prints
import demo_ways  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: E402
from rich.table import Table  # noqa: E402

import smh  # noqa: E402
from smh import plots  # noqa: E402
from smh.datasets import Dataset, digits  # noqa: E402
from smh.errors import ArgumentError  # noqa: E402
from smh.zoo import lenet_5  # noqa: E402

FRACTIONS = (0.5, 0.25, 0.1, 0.05, 0.02)
BITS = 4
WAY_FRACTION = 0.1  # of the SMH model that is held against the other ways
FLOAT_SHARE = 0.6  # of the epochs, before the factors are rounded
BATCH = 32
TIMED_STEPS = 30
FIRST_STEPS = 5  # these trace and warm up, and are left out of the step time
# Peak rates of Adam, chosen on a quarter of the training images held out, mean error of two seeds:
# dense: 1e-3 2.7 %, 2e-3 2.1 %, 4e-3 2.2 %; fraction 0.1: 3e-3 3.0 %, 5e-3 2.5 %, 1e-2 2.1 %;
# fraction 0.02: 5e-3 3.5 %, 1e-2 2.7 %, 2e-2 3.7 %. At 0.5 the rates lie within 0.3 points.
DENSE_RATE = 2e-3
SMH_RATE = 1e-2


@dataclass(frozen=True)
class Variant:
    """One of the models that are compared: dense if `fraction` is `None`."""

    fraction: float | None = None
    bits: int | None = None

    @property
    def name(self) -> str:
        """What it is called in the table."""
        if self.fraction is None:
            return "dense"
        return f"smh f={self.fraction:g}" + (f" {self.bits}-bit" if self.bits else "")


@dataclass(frozen=True)
class Result:
    """What was measured of one model; one line of the table."""

    model: str
    fraction: float | None
    bits: int | None  # of the factors, if they are rounded
    variables: int  # numbers that training changes
    share: float  # of the dense model's
    bytes: int  # of the file that `save_weights` writes; with rounded factors, `smh.save`
    accuracy: float  # on the test images, of a model that was loaded from that file
    step_ms: float


class Bar(keras.callbacks.Callback):
    """Shows how far a run is."""

    def __init__(self, progress: Progress, task):
        super().__init__()
        self.progress, self.task = progress, task

    def on_train_batch_end(self, batch, logs=None):
        self.progress.advance(self.task)

    def on_epoch_end(self, epoch, logs=None):
        self.progress.update(self.task, epoch=epoch + 1, accuracy=f"{logs['accuracy']:.1%}")


def make(fraction: float | None, seed: int) -> keras.Model:
    """A fresh LeNet-5, dense if `fraction` is `None`."""
    keras.utils.set_random_seed(seed)
    model = lenet_5()
    return model if fraction is None else smh.compress(model, fraction=fraction, seed=seed)


def rate_schedule(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a fifth of the steps, then a cosine to zero."""
    warm_up = max(1, steps // 5)
    return keras.optimizers.schedules.CosineDecay(
        peak / 100, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )


def prepare(model, fraction, data: Dataset, epochs: int) -> None:
    """Compiles: the same for all models but for the peak rate."""
    steps = epochs * math.ceil(len(data.x_train) / BATCH)
    peak = DENSE_RATE if fraction is None else SMH_RATE
    model.compile(
        optimizer=keras.optimizers.Adam(rate_schedule(peak, steps)),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )


def train(model, data: Dataset, first: int, last: int, seed: int, bar: Bar) -> None:
    """Trains from epoch `first` to epoch `last`."""
    keras.utils.set_random_seed(seed + first)  # the same order of the images for all
    model.fit(
        data.x_train,
        data.y_train,
        batch_size=BATCH,
        initial_epoch=first,
        epochs=last,
        verbose=0,
        callbacks=[bar],
    )


def copy_state(source, target) -> None:
    """Lets `target` go on where `source` is: all variables, and those of the optimizer."""
    for model in (source, target):
        if not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
    for name in ("variables", "optimizer.variables"):
        get = operator.attrgetter(name)
        for old, new in zip(get(source), get(target), strict=True):
            new.assign(old)


def save_and_load(model, variant: Variant, seed: int) -> tuple[keras.Model, int]:
    """Writes the model, reads it again, and returns what was read and the file's bytes.

    Rounded factors go into a file of `smh.save`. The others go into Keras' weights file, from a
    model that was never compiled: else the optimizer's slots, two numbers for each that is trained,
    would be in it; and into a model that starts from other numbers.
    """
    with tempfile.TemporaryDirectory() as folder:
        if variant.bits:
            path = Path(folder) / "model.smh"
            smh.save(model, path, rest="float16")
            return smh.load(path), path.stat().st_size
        bare, loaded = make(variant.fraction, seed), make(variant.fraction, seed + 1)
        path = Path(folder) / "model.weights.h5"
        bare.set_weights(model.get_weights())
        bare.save_weights(path)
        loaded.load_weights(path)
        return loaded, path.stat().st_size


def accuracy(model, data: Dataset) -> float:
    """The share of test images that it gets right."""
    logits = model.predict(data.x_test, verbose=0)
    return float(np.mean(np.argmax(logits, axis=-1) == data.y_test))


def step_times(models, data: Dataset) -> list[float]:
    """Median milliseconds of a training step of each model.

    The models take turns, so that whatever else the machine does slows all of them alike.
    """
    x, y = data.x_train[:BATCH], data.y_train[:BATCH]
    for model in models:
        for _ in range(FIRST_STEPS):
            model.train_on_batch(x, y)
    seconds = []  # [steps, models]
    for _ in range(TIMED_STEPS):
        times = [time.perf_counter()]
        for model in models:
            model.train_on_batch(x, y)
            times.append(time.perf_counter())
        seconds.append(np.diff(times))
    return (1000 * np.median(seconds, axis=0)).tolist()


def train_all(models, data: Dataset, epochs: int, seed: int, console: Console) -> None:
    """Trains the models one after the other, each behind a progress bar.

    One with rounded factors goes on from where the float one of its fraction was after the first
    part of the epochs, as it would in a run of its own.
    """
    columns = (
        TextColumn("{task.description:<16}"),
        BarColumn(bar_width=24),
        TextColumn("epoch {task.fields[epoch]:>2}/" + str(epochs)),
        TextColumn("train accuracy {task.fields[accuracy]:>6}"),
        TimeElapsedColumn(),
    )
    steps, middle = math.ceil(len(data.x_train) / BATCH), int(FLOAT_SHARE * epochs)
    with Progress(*columns, console=console) as progress:

        def bar(variant, first):
            total = steps * (epochs - first)
            return Bar(
                progress, progress.add_task(variant.name, total=total, epoch=0, accuracy="-")
            )

        for variant in [variant for variant in models if not variant.bits]:
            model, own_bar = models[variant], bar(variant, 0)
            prepare(model, variant.fraction, data, epochs)
            train(model, data, 0, middle, seed, own_bar)
            for rounded in [v for v in models if v.bits and v.fraction == variant.fraction]:
                prepare(models[rounded], rounded.fraction, data, epochs)
                copy_state(model, models[rounded])
                smh.quantize_factors(models[rounded], rounded.bits)
            train(model, data, middle, epochs, seed, own_bar)
        for variant in [variant for variant in models if variant.bits]:
            train(models[variant], data, middle, epochs, seed, bar(variant, middle))


def measure(model, variant: Variant, data: Dataset, seed: int, step_ms: float) -> Result:
    """Measures one trained model."""
    loaded, size = save_and_load(model, variant, seed)
    report = smh.report(loaded)
    return Result(
        model=variant.name,
        fraction=variant.fraction,
        bits=variant.bits,
        variables=report.trained_params,
        share=report.trained_params / report.original_params,
        bytes=size,
        accuracy=accuracy(loaded, data),
        step_ms=step_ms,
    )


def run(fractions, bits, data: Dataset, epochs: int, seed: int, console: Console):
    """Trains and measures the dense model, and one per fraction and per bits.

    Returns:
        The models by `Variant`, and a `Result` for each.
    """
    variants = [Variant(), *(Variant(f, b) for b in (None, *bits) for f in fractions)]
    # All are built first, so that a fraction that cannot work fails before minutes of training.
    models = {variant: make(variant.fraction, seed) for variant in variants}
    train_all(models, data, epochs, seed, console)
    # The rate has fallen to zero by now: the timed steps change no weight.
    times = step_times(models.values(), data)
    return models, [
        measure(model, variant, data, seed, step_ms)
        for (variant, model), step_ms in zip(models.items(), times, strict=True)
    ]


def compare_ways(models, data: Dataset, epochs: int, seed: int) -> list[demo_ways.Way]:
    """The dense network, an SMH one, and the dense one shrunk and slimmed."""
    small = min(models, key=lambda v: (v.bits is None, abs((v.fraction or 9) - WAY_FRACTION)))

    def train_on(model):
        some = max(1, epochs // 3)
        prepare(model, None, data, some)
        keras.utils.set_random_seed(seed)
        model.fit(data.x_train, data.y_train, batch_size=BATCH, epochs=some, verbose=0)

    return demo_ways.compare(models[Variant()], models[small], data, train_on)


def as_table(results: list[Result], data: Dataset) -> Table:
    """The results, in 80 columns."""
    table = Table(title=f"LeNet-5 on {data.name}", title_justify="left")
    table.add_column("model", no_wrap=True)
    for heading in ("variables\ntrained", "share of\ndense", "bytes\non disk"):
        table.add_column(heading, justify="right")
    table.add_column("test\naccuracy", justify="right")
    table.add_column("step time\n(ms, median)", justify="right")
    for row in results:
        table.add_row(
            row.model,
            f"{row.variables:,}",
            f"{row.share:.1%}",
            f"{row.bytes:,}",
            f"{row.accuracy:.1%}",
            f"{row.step_ms:.1f}",
        )
    images = len(data.y_test)
    table.caption = (
        f"one seed; {images} test images, one is {1 / images:.2%}; float32 in HDF5, low bits "
        "entropy-coded"
    )
    table.caption_justify = "left"
    return table


def write_csv(results, path: Path) -> None:
    """One line per model; the columns are the fields of `Result`, or of `Way`."""
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(results[0])])
        writer.writeheader()
        writer.writerows(asdict(row) for row in results)


def parse(arguments=None) -> tuple[argparse.ArgumentParser, argparse.Namespace]:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("out/demo"), help="folder for the results")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--fractions", type=float, nargs="*", default=FRACTIONS)
    parser.add_argument("--bits", type=int, nargs="*", default=[BITS], help="of rounded factors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--ways",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="hold the SMH model against the dense one shrunk and slimmed",
    )
    options = parser.parse_args(arguments)
    if options.epochs < 1:
        parser.error(f"--epochs must be at least 1, got {options.epochs}")
    return parser, options


def main() -> None:
    """Trains, prints and writes everything."""
    parser, options = parse()
    console = Console()
    data = digits(seed=options.seed)
    try:
        models, results = run(
            options.fractions, options.bits, data, options.epochs, options.seed, console
        )
    except ArgumentError as error:
        parser.error(str(error))
    options.out.mkdir(parents=True, exist_ok=True)
    table, picture = options.out / "table.csv", options.out / "accuracy_size.png"
    write_csv(results, table)
    title = f"LeNet-5 on {data.name}, one seed"
    examples = len(data.y_test)
    plots.accuracy_against_size(results, picture, title, test_examples=examples, joined=False)
    console.print(as_table(results, data))
    console.print(f"wrote {table} and {picture}", soft_wrap=True)
    if options.ways:
        with smh.progress.shown():
            ways = compare_ways(models, data, options.epochs, options.seed)
        write_csv(ways, options.out / "ways.csv")
        console.print(demo_ways.as_table(ways))


if __name__ == "__main__":
    main()
