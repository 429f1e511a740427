"""Error against bytes of the file: LeNet-300-100 and LeNet-5 on MNIST, one run per command.

    python examples/mnist_curve.py --data-dir DIR --network lenet_5 --replicas 8 --bits 3 --seed 0

trains one model on 55,000 of the 60,000 training images, writes it with `smh.save`, reads the file
again into a fresh network, and measures that: on the 5,000 images held out, and once, at the very
end, on the 10,000 test images. With `--no-test` the last step is left out: all choices are made so.
DIR holds MNIST's four IDX files, see `smh.datasets.mnist`. It appends a row
to `results/mnist.csv` (`results/mnist_tried.csv` without the test) and writes a log. A run that
is in the table is not run again; `--runs FILE` makes the runs of a file, one command line each.
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import shlex
import sys
import time
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from mnist_tables import (
    Measured,
    Run,
    append,
    command,
    find,
    measured_of,
    rows_of,
    versions,
    write_rows,
)

import smh
from smh.pool_shape import choose_sides
from smh.typing import Tensor

VALIDATION = 5_000  # of the training images, drawn with SPLIT_SEED: the same for all runs
SPLIT_SEED = 2_024
SIDE = 28


@keras.saving.register_keras_serializable(package="mnist_curve")
class LogScale(smh.Modifier):
    """Times exp(a learned number), which Adam changes by the same share in every layer."""

    def parts(self, spec):
        return {"log_scale": np.float32(np.log(max(spec.initial_std(), 1e-2)))}

    def apply(self, tensor, parts):
        return tensor * self.scale(parts)

    def scale(self, parts):
        return keras.ops.exp(parts["log_scale"])


@dataclass(frozen=True)
class Images:
    """Images `[n, 28, 28, 1]` in [0, 1], and labels `[n]`."""

    x: np.ndarray
    y: np.ndarray


def load(folder: Path) -> tuple[Images, Images]:
    """All training images, and the test images."""
    data = smh.datasets.mnist(folder, validation=0, download=False)
    return (
        Images(data.x_train, data.y_train.astype("int32")),
        Images(data.x_test, data.y_test.astype("int32")),
    )


def split(images: Images) -> tuple[Images, Images]:
    """Training and validation images."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images.y))
    held, kept = order[:VALIDATION], np.sort(order[VALIDATION:])
    return Images(images.x[kept], images.y[kept]), Images(images.x[held], images.y[held])


def transforms(run: Run, count: int, seed: Tensor) -> Tensor:
    """Random affine maps about the centre, in the form of ImageProjectiveTransform `[b, 8]`."""
    draw = tf.random.stateless_uniform([4, count], seed, -1.0, 1.0)
    angle = draw[0] * (run.rotate * math.pi / 180)
    scale = 1 + draw[1] * run.zoom
    a, b = tf.cos(angle) / scale, tf.sin(angle) / scale
    centre = (SIDE - 1) / 2
    dx = centre - a * centre + b * centre + draw[2] * run.shift
    dy = centre - b * centre - a * centre + draw[3] * run.shift
    zero = tf.zeros_like(a)
    return tf.stack([a, -b, dx, b, a, dy, zero, zero], axis=1)


def batches(run: Run, data: Images, stage: int) -> tf.data.Dataset:
    """Endless batches, shuffled and changed at random; `stage` gives each fit its own numbers."""
    x, y = tf.constant(data.x), tf.constant(data.y)
    moved = run.shift or run.rotate or run.zoom

    def take(step, rows):
        images = tf.gather(x, rows)
        seed = tf.stack([tf.cast(step, tf.int32), 1_000 * run.seed + stage])
        if moved:
            images = tf.raw_ops.ImageProjectiveTransformV3(
                images=images,
                transforms=transforms(run, run.batch, seed),
                output_shape=[SIDE, SIDE],
                fill_value=0.0,
                interpolation="BILINEAR",
                fill_mode="CONSTANT",
            )
        if run.noise:
            images += run.noise * tf.random.stateless_normal(tf.shape(images), seed)
        return images, tf.gather(y, rows)

    order = tf.data.Dataset.range(len(data.y)).shuffle(len(data.y), seed=run.seed + 7_919 * stage)
    rows = order.repeat().batch(run.batch, drop_remainder=True)
    return tf.data.Dataset.zip((tf.data.Dataset.counter(), rows)).map(take).prefetch(4)


def one_cycle(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a fifth of the steps, then a cosine to zero."""
    warm_up = max(1, steps // 5)
    return keras.optimizers.schedules.CosineDecay(
        peak / 100, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )


class Log(keras.callbacks.Callback):
    """Writes a line per epoch, with the validation error of every fifth."""

    def __init__(self, write, validation: Images):
        super().__init__()
        self.write, self.validation, self.begin = write, validation, time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        line = f"epoch {epoch + 1}: loss {logs['loss']:.4f}"
        if (epoch + 1) % 5 == 0:
            line += f", validation error {error(self.model, self.validation):.2f} %"
        self.write(f"{line}, {time.perf_counter() - self.begin:.0f} s")


def error(model: keras.Model, data: Images) -> float:
    """Percent of the images that the model gets wrong."""
    labels = [
        np.argmax(keras.ops.convert_to_numpy(model.predict_on_batch(data.x[i : i + 1_000])), -1)
        for i in range(0, len(data.y), 1_000)
    ]
    return round(100 * float(np.mean(np.concatenate(labels) != data.y)), 4)


def build(run: Run) -> keras.Model:
    """The network, dense."""
    return getattr(smh.zoo, run.network)()


def fit(model: keras.Model, run: Run, train: Images, callback: Log, switch=None) -> None:
    """Trains; at `float_share` of the epochs `switch(model)` changes how the model is stored."""
    steps = len(train.y) // run.batch
    model.compile(
        keras.optimizers.Adam(one_cycle(run.rate, steps * run.epochs)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=steps,
    )
    begin = round(run.float_share * run.epochs) if switch else run.epochs
    cuts = [begin + (run.epochs - begin) * i // (run.refits + 1) for i in range(run.refits + 2)]
    for stage, (first, last) in enumerate(itertools.pairwise([0, *cuts])):
        if stage and switch:
            switch(model)
        if first < last:
            model.fit(
                batches(run, train, stage),
                steps_per_epoch=steps,
                initial_epoch=first,
                epochs=last,
                shuffle=False,  # `batches` does
                verbose=0,
                callbacks=[callback],
            )


def train_dense(run: Run, train: Images, callback: Log) -> tuple[keras.Model, float]:
    """The network as it is, for comparison."""
    model = build(run)
    fit(model, run, train, callback)
    return model, 1.0


def compress(model: keras.Model, run: Run, path: str, replicas: int, seed: int) -> float:
    """Puts the weights whose path matches into one pool; returns the numbers in its factors."""
    everything = run.biases == "hashed"

    def chosen(variable):
        return bool(re.search(path, variable.path)) and (everything or len(variable.shape) > 1)

    shapes = [v.shape for v in model.trainable_variables if chosen(v)]
    numbers = sum(math.prod(shape) for shape in shapes)
    size = choose_sides(shapes, 0).replica_size  # numbers of one replica
    modifier = {"modifier": LogScale()} if run.scale == "log" else {}
    fraction = (replicas + 0.5) * size / numbers
    smh.compress(model, fraction, apply_to=chosen, seed=seed, **modifier)
    return replicas * size


def train_smh(run: Run, train: Images, callback: Log) -> tuple[keras.Model, float]:
    """All weights from pools; the factors are rounded from `float_share` of the epochs on."""
    model = build(run)
    numbers = sum(math.prod(v.shape) for v in model.trainable_variables)
    if run.conv_replicas:
        trained = compress(model, run, "/conv", run.conv_replicas, run.seed + 1_000)
        trained += compress(model, run, "/(fc|logits)[^/]*/[a-z]+$", run.replicas, run.seed)
    else:
        trained = compress(model, run, "", run.replicas, run.seed)
    switch = (lambda m: smh.quantize_factors(m, run.bits)) if run.bits else None
    fit(model, run, train, callback, switch)
    return model, round(trained / numbers, 6)


METHODS = {"smh": train_smh, "dense": train_dense}  # pruning and weight sharing go here


def load_into_fresh(run: Run, path: Path) -> keras.Model:
    """A network that holds nothing but what is in the file."""
    return smh.load_weights(build(run), path)


def write_both(model: keras.Model, run: Run, out: Path) -> tuple[int, int]:
    """Writes the file without the architecture and the one with it; returns their sizes."""
    rest = "float32" if run.method == "dense" else "float16"
    paths = out / f"{run.name}.smh", out / f"{run.name}.whole.smh"
    for path, architecture in zip(paths, (False, True), strict=True):
        smh.save(model, path, rest=rest, architecture=architecture)
    return paths[0].stat().st_size, paths[1].stat().st_size


def execute(run: Run, folder: Path, out: Path, write) -> Measured:
    """Trains, writes both files, and measures the one without the architecture on validation."""
    train, validation = split(load(folder)[0])
    begin = time.perf_counter()
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    model, fraction = METHODS[run.method](run, train, Log(write, validation))
    seconds = time.perf_counter() - begin
    sizes = write_both(model, run, out)
    whole, bare = out / f"{run.name}.whole.smh", out / f"{run.name}.smh"
    again = load_into_fresh(run, bare)
    found = error(again, validation)
    if error(smh.load(whole), validation) != found:
        raise SystemExit(f"{whole} and {bare} predict differently.")
    write(str(smh.inspect(bare)))
    return Measured(fraction, model.count_params(), found, None, *sizes, round(seconds, 1))


def once(run: Run, options, tested: bool) -> None:
    """Makes one run, or the part of it that is not done yet."""
    final, tried = (options.results / name for name in ("mnist.csv", "mnist_tried.csv"))
    out, logs = options.out, options.results / "logs"
    for path in (out, logs):
        path.mkdir(parents=True, exist_ok=True)
    if find(run, final if tested else tried):
        print(f"{run.name}: done already", flush=True)
        return
    log = logs / f"{run.name}.log"
    row = find(run, tried)
    bare = out / f"{run.name}.smh"
    if row is None or not bare.exists() or bare.stat().st_size != int(row["file_bytes"]):
        with log.open("w") as file:

            def write(line):
                print(line, file=file, flush=True)

            write(f"{command(run, tested)}\n{versions()}")
            measured = execute(run, options.data_dir, out, write)
            write(f"{measured}")
        if row is None:
            append(tried, run, measured, False)
    else:
        measured = measured_of(row)
    if tested:
        found = error(load_into_fresh(run, bare), load(options.data_dir)[1])
        measured = replace(measured, test_error=found)
        with log.open("a") as file:
            print(f"test error {found:.2f} %, {measured.file_bytes} bytes", file=file)
        append(final, run, measured, True)
    print(f"{run.name}: {measured}", flush=True)


def save_again(table: Path, folder: Path, out: Path) -> None:
    """Writes the files of all runs of a table again, for a smh that writes smaller ones."""
    _, validation = split(load(folder)[0])
    rows = rows_of(table)
    for row in rows:
        words = shlex.split(row["command"])
        run, _ = parse(words[words.index("examples/mnist_curve.py") + 1 :])
        bare = out / f"{run.name}.smh"
        keras.utils.clear_session()
        model = load_into_fresh(run, bare)
        sizes = write_both(model, run, out)
        if error(load_into_fresh(run, bare), validation) != float(row["validation_error"]):
            raise SystemExit(f"{bare} does not predict what {table} says.")
        print(f"{run.name}: {row['file_bytes']} bytes, now {sizes[0]}", flush=True)
        row["file_bytes"], row["bytes_with_architecture"] = map(str, sizes)
        row["versions"] = versions()
    write_rows(table, rows)


def parse(arguments=None) -> tuple[Run, argparse.Namespace]:
    """The command line: an option for each field of `Run`, and where things are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's IDX files")
    parser.add_argument("--results", type=Path, default=Path("results"), help="tables and logs")
    parser.add_argument("--out", type=Path, default=Path("out/mnist"), help="the models' files")
    parser.add_argument("--runs", type=Path, help="a file of such command lines: make them all")
    parser.add_argument("--save-again", type=Path, help="a table: write the files of its runs anew")
    parser.add_argument("--no-test", action="store_true", help="leave the test images alone")
    choices = {"method": list(METHODS), "biases": ["hashed", "dense"], "scale": ["linear", "log"]}
    choices["network"] = ["lenet_300_100", "lenet_5"]
    for field in fields(Run):
        assert field.default is not MISSING
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            choices=choices.get(field.name),
        )
    options = parser.parse_args(arguments)
    if options.data_dir is None and options.runs is None:
        parser.error("--data-dir is needed: the folder of MNIST's IDX files")
    return Run(**{field.name: getattr(options, field.name) for field in fields(Run)}), options


def main(arguments=None) -> None:
    """Makes one run, or those of a file."""
    run, options = parse(arguments)
    if options.save_again:
        save_again(options.save_again, options.data_dir, options.out)
        return
    if options.runs is None:
        once(run, options, not options.no_test)
        return
    while True:  # the file is read again after each run, so that runs can be added
        lines = [shlex.split(line, comments=True) for line in options.runs.read_text().splitlines()]
        for words in filter(None, lines):
            words = words[words.index("examples/mnist_curve.py") + 1 :]
            one, its = parse(words)
            tested = not its.no_test
            table = options.results / ("mnist.csv" if tested else "mnist_tried.csv")
            if not find(one, table):
                once(one, options, tested)
                break
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
