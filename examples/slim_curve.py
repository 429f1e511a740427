"""Images with fewer multiply-adds: a trained network of `mnist_curve.py`, pruned and trained on.

    python examples/slim_curve.py --data-dir DIR --file out/mnist/NAME.smh --ways dense fisher

NAME is a dense run of `mnist_curve.py`, on any of its data. `dense`: trained on as it is, for
comparison. `magnitude` and `fisher`: channels are taken by that (`smh.prune(structure="channels")`)
until `--share` of the multiply-adds (or of what `--of` says) is gone, what is left is trained on
for the same epochs at the same rate, and `smh.slim` takes out what went. Each is read back from its
file, and measured on the 5,000 images held out and on the test images; a side whose file is in
`--out` is not trained again. With `--teacher FILE`, a network of the same kind (the dense side's),
what was pruned also learns from its soft targets. `--ways again --file out/slim/masked-NAME.smh`
trains a pruned side of an earlier call on. `--ways file` takes the file as it is, with its
architecture, whatever it is. `--sizes` shrinks each side to so many bytes (`smh.shrink`) without
training; with `--rounded-epochs N` the rounded network is trained N epochs more, its bits in the
loss (`smh.recipes.penalise_bits`), in float32 and with the soft targets of `--teacher`; a bit is
worth `--bits-rate` times what rounding added to the loss: `2 ln 2`, if a bit more of each number
makes the error a quarter.

It is slimmed after training: on a CPU with AMX, a step in bfloat16 took 659 ms with channels by
fours, 250 ms with all of the 16, 32 and 64, and 185 ms with multiples of 16.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import keras
from mnist_images import error, load, split
from mnist_tables import Run, rows_of, versions, write_rows
from mnist_training import EXAMPLES, Log, build, fit, fused_normalisation, training_precision

import smh
from smh.sizes.multiply_adds import count_multiply_adds

# How far images are moved, and whether they are mirrored.
AUGMENTED = {
    "cifar10": {"shift": 4.0, "flip": 1},
    "mnist": {"shift": 2.0, "rotate": 7.0, "zoom": 0.07},
    "fashion_mnist": {"shift": 2.0, "flip": 1},
}


def prune(model: keras.Model, way: str, options, images) -> None:
    """Makes channels zero until the share of the multiply-adds is gone."""
    fisher = smh.sensitivity.fisher(model, images.x[:EXAMPLES]) if way == "fisher" else None
    smh.prune(
        model,
        options.share,
        structure="channels",
        of=options.of,
        round_to=options.round_to,
        importance=fisher,
    )


def name_of(way: str, run: Run, options) -> str:
    """What the file of a side is called: by all that makes it another, files by a checksum."""

    def mark(file):
        return f"{zlib.crc32(Path(file).read_bytes()):08x}"

    name = f"{run.network}-{way}-{mark(options.file)}-epochs{run.epochs}-rate{run.rate:g}"
    if way not in ("dense", "again"):
        kind = "" if options.of == "multiply_adds" else f"-of-{options.of}"
        name += f"-share{options.share:g}{kind}-round{options.round_to}"
    if way != "dense" and options.teacher:
        name += f"-taught-{mark(options.teacher)}"
    return f"{name}-s{run.seed}.smh"


def train(way: str, run: Run, options, parts, path: Path) -> None:
    """Trains one side, slims it, and writes it."""
    images, validation, _ = parts
    keras.utils.set_random_seed(run.seed)
    with training_precision(run), fused_normalisation():
        model = trained = smh.load_weights(build(run), options.file)
        if way not in ("dense", "again"):
            prune(model, way, options, images)
            print(f"{way}, not trained on: {error(model, validation):.2f} %", flush=True)
        if way != "dense" and options.teacher:
            trained = smh.distill(model, smh.load_weights(build(run), options.teacher))
        log = Log(lambda line: print(line, flush=True), validation)
        path.parent.mkdir(parents=True, exist_ok=True)
        fit(trained, run, images, [log], state=path.with_suffix(".state.npz"))
    masked = path.with_name(f"masked-{path.name}")
    smh.save(model, masked, architecture=False)
    smh.save(smh.slim(smh.load_weights(build(run), masked)), path)  # in float32


def measured(way: str, path: str | Path, parts) -> dict:
    """What is read back from a file."""
    back = smh.load(path)
    return {
        "way": way,
        "numbers": back.count_params(),
        "multiply_adds": count_multiply_adds(back).multiply_adds,
        "bytes": os.path.getsize(path),
        "validation_error": error(back, parts[1]),
        "test_error": error(back, parts[2]),
    }


def shrunk(way: str, path: Path, size: int, run: Run, options, parts) -> Iterator[dict]:
    """The network of a file in so many bytes, by `EXAMPLES` images without labels; then trained."""
    model = smh.load(path)
    teacher = teacher_of(run, options) if options.rounded_epochs else None
    before = training_loss(model, teacher, parts[0]) if options.rounded_epochs else 0.0
    smh.shrink(model, parts[0].x[:EXAMPLES], target_size=size)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder, "small.smh")
        smh.save(model, small)
        yield measured(f"{way}, shrunk", small, parts)
        if options.rounded_epochs:
            added = training_loss(model, teacher, parts[0]) - before
            print(f"rounding added {added:.4f} to the loss", flush=True)
            train_rounded(model, teacher, added, run, options, parts)
            smh.save(model, small)
            yield measured(f"{way}, shrunk, trained", small, parts)


def teacher_of(run: Run, options) -> keras.Model | None:
    """The network of `--teacher`."""
    if not options.teacher:
        return None
    with training_precision(run):
        return smh.load_weights(build(run), options.teacher)


def training_loss(model: keras.Model, teacher: keras.Model | None, images) -> float:
    """By the teacher's soft targets alone, or by the labels, of some training images."""
    x, y = images.x[: 4 * EXAMPLES], images.y[: 4 * EXAMPLES]
    if teacher is None:
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model.evaluate(x, y, verbose=0)
    taught = smh.distill(model, teacher, alpha=1, targets="classes")
    taught.compile()
    return taught.evaluate(x, verbose=0)


def train_rounded(model, teacher, added: float, run: Run, options, parts) -> None:
    """Trains a shrunk network on, with the rounding on and its bits in the loss."""
    keras.utils.set_random_seed(run.seed)
    run = replace(run, epochs=options.rounded_epochs, rate=options.rounded_rate, l2=0.0)
    smh.recipes.penalise_bits(model, options.bits_rate * max(0.0, added))
    trained = model if teacher is None else smh.distill(model, teacher)
    log = Log(lambda line: print(line, flush=True), parts[1])
    with fused_normalisation():
        fit(trained, run, parts[0], [log])


def main(arguments=None) -> None:
    """Measures the sides one after the other, and prints a line of JSON for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder of the images; see `smh.datasets`")
    parser.add_argument("--file", required=True, help="the .smh file of a dense run")
    parser.add_argument("--network", default="resnet_20")
    parser.add_argument("--data", default="cifar10", choices=list(AUGMENTED))
    parser.add_argument("--ways", nargs="+", default=["dense", "magnitude", "fisher"])
    parser.add_argument("--teacher", help="a .smh file from which the pruned sides learn")
    parser.add_argument("--out", type=Path, default=Path("out/slim"), help="where the files go")
    parser.add_argument("--table", type=Path, help="a CSV file that gets a row for each side")
    parser.add_argument("--sizes", nargs="+", type=int, default=[], help="bytes: shrunk to these")
    parser.add_argument("--rounded-epochs", type=int, default=0, help="after each of --sizes")
    parser.add_argument("--rounded-rate", type=float, default=0.001, help="Adam's, in these")
    parser.add_argument(
        "--bits-rate", type=float, default=1.4, help="as a share of what rounding added to the loss"
    )
    parser.add_argument("--share", type=float, default=0.5, help="that goes, of --of")
    parser.add_argument("--of", default="multiply_adds", choices=["multiply_adds", "numbers"])
    parser.add_argument("--round-to", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rate", type=float, default=0.005)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    run = Run(
        options.network,
        "dense",
        options.seed,
        epochs=options.epochs,
        rate=options.rate,
        precision=options.precision,
        data=options.data,
        batch=options.batch,
        l2=2.5e-5,
        noise=0.0,
        **AUGMENTED[options.data],
    )
    whole, test = load(options.data_dir, options.data)
    parts = *split(whole), test
    print(versions(), flush=True)

    def note(path: Path, side: dict) -> None:
        row = {"network": run.network, **side, "seed": run.seed, "file": path.name}
        print(json.dumps(row), flush=True)
        if options.table:
            write_rows(options.table, [*rows_of(options.table), row])

    for way in options.ways:
        path = options.out / name_of(way, run, options) if way != "file" else Path(options.file)
        if not path.exists():
            train(way, run, options, parts, path)
        note(path, measured(way, path, parts))
        for size in options.sizes:
            for side in shrunk(way, path, size, run, options, parts):
                note(path, side)


if __name__ == "__main__":
    main()
