"""Error against bytes of the file: LeNet-300-100 and LeNet-5 on MNIST, one run per command.

    python examples/mnist_curve.py --data-dir DIR --network lenet_5 --replicas 8 --bits 3 --seed 0

trains one model on 55,000 of the 60,000 training images, writes it with `smh.save`, reads the file
again into a fresh network, and measures that: on the 5,000 images held out, and once, at the very
end, on the 10,000 test images. With `--no-test` the last step is left out: all choices are made so.
DIR holds MNIST's four IDX files, see `smh.datasets.mnist`; with `--data cifar10` CIFAR-10, see
`smh.datasets.cifar10`, and the rows go to `results/cifar10.csv`. It appends a row
to `results/mnist.csv` (`results/mnist_tried.csv` without the test) and writes a log. A run that
is in the table is not run again, and one that was killed goes on after its last epoch; `--runs
FILE` makes the runs of a file, one command line each.
"""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from dataclasses import MISSING, fields, replace
from pathlib import Path

import keras
from mnist_images import error, load, split
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
from mnist_training import METHODS, SCALES, Log, build, file_of, fused_normalisation, state_of

import smh

NETWORKS = ["lenet_300_100", "lenet_5", "resnet_8", "resnet_20"]


def load_into_fresh(run: Run, path: Path) -> keras.Model:
    """A network that holds nothing but what is in the file."""
    return smh.load_weights(build(run), path)


def write_both(model: keras.Model, run: Run, out: Path) -> tuple[int, int]:
    """Writes the file without the architecture, and from it that with it; returns their sizes."""
    rest = "float32" if run.method == "dense" else "float16"
    bare, whole = file_of(run, out), out / f"{run.name}.whole.smh"
    smh.save(model, bare, rest=rest, architecture=False)
    smh.save(load_into_fresh(run, bare), whole, rest=rest)
    return bare.stat().st_size, whole.stat().st_size


def trained_numbers(model: keras.Model, run: Run, fraction: float) -> int:
    """How many numbers training changes; of a pruned network those that are kept."""
    if run.method == "pruned":
        return round(fraction * build(run).count_params())
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def execute(run: Run, folder: Path, out: Path, write) -> Measured:
    """Trains, writes both files, and measures the one without the architecture on validation."""
    train, validation = split(load(folder, run.data)[0])
    begin = time.perf_counter()
    keras.utils.clear_session()
    keras.utils.set_random_seed(run.seed)
    with fused_normalisation():
        model, fraction = METHODS[run.method](run, train, Log(write, validation), out)
    seconds = time.perf_counter() - begin
    sizes = write_both(model, run, out)
    whole, bare = out / f"{run.name}.whole.smh", file_of(run, out)
    found = error(load_into_fresh(run, bare), validation)
    if error(smh.load(whole), validation) != found:
        raise SystemExit(f"{whole} and {bare} predict differently.")
    write(str(replace(smh.inspect(bare), path=bare.name)))
    return Measured(
        fraction, trained_numbers(model, run, fraction), found, None, *sizes, round(seconds, 1)
    )


def folder_of(run: Run, options) -> Path | None:
    """Where the images of a run are; `None`: where Debian's package puts them."""
    return {"fashion_mnist": options.fashion_dir}.get(run.data, options.data_dir)


def tables_of(run: Run, options) -> tuple[Path, Path]:
    """The table of what was tested, and that of what was tried."""
    data = "cifar10" if run.data == "cifar10" else "mnist"
    return options.results / f"{data}.csv", options.results / f"{data}_tried.csv"


def once(run: Run, options, tested: bool) -> None:
    """Makes one run, or the part of it that is not done yet."""
    final, tried = tables_of(run, options)
    out, logs = options.out, options.results / "logs"
    for path in (out, logs):
        path.mkdir(parents=True, exist_ok=True)
    if find(run, final if tested else tried):
        print(f"{run.name}: done already", flush=True)
        return
    folder = folder_of(run, options)
    log = logs / f"{run.name}.log"
    row = find(run, tried)
    bare = file_of(run, out)
    if row is None or not bare.exists() or bare.stat().st_size != int(row["file_bytes"]):
        with log.open("a" if state_of(run, out).exists() else "w") as file:

            def write(line):
                print(line, file=file, flush=True)

            write(f"{command(run, tested)}\n{versions()}")
            measured = execute(run, folder, out, write)
            write(f"{measured}")
        if row is None:
            append(tried, run, measured, False)
    else:
        measured = measured_of(row)
    if tested:
        found = error(load_into_fresh(run, bare), load(folder, run.data)[1])
        measured = replace(measured, test_error=found)
        with log.open("a") as file:
            print(f"test error {found:.2f} %, {measured.file_bytes} bytes", file=file)
        append(final, run, measured, True)
    print(f"{run.name}: {measured}", flush=True)


def save_again(table: Path, options) -> None:
    """Writes the files of all runs of a table again, for a smh that writes smaller ones.

    A run whose file is not there keeps its row. Runs may be added to the table meanwhile.
    """
    for name in [row["command"] for row in rows_of(table)]:
        words = shlex.split(name)
        run, _ = parse(words[words.index("examples/mnist_curve.py") + 1 :])
        bare = file_of(run, options.out)
        if not bare.exists():
            print(f"{run.name}: no file, its row stays", flush=True)
            continue
        keras.utils.clear_session()
        sizes = write_both(load_into_fresh(run, bare), run, options.out)
        _, validation = split(load(folder_of(run, options), run.data)[0])
        found = error(load_into_fresh(run, bare), validation)
        rows = rows_of(table)
        (row,) = (row for row in rows if row["command"] == name)
        if found != float(row["validation_error"]):
            raise SystemExit(f"{bare} does not predict what {table} says.")
        print(f"{run.name}: {row['file_bytes']} bytes, now {sizes[0]}", flush=True)
        row["file_bytes"], row["bytes_with_architecture"] = map(str, sizes)
        row["versions"] = versions()
        write_rows(table, rows)


def parse(arguments=None) -> tuple[Run, argparse.Namespace]:
    """The command line: an option for each field of `Run`, and where things are."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, help="folder of MNIST's IDX files, or of CIFAR-10")
    parser.add_argument("--fashion-dir", type=Path, help="of Fashion-MNIST's, if not Debian's")
    parser.add_argument("--results", type=Path, default=Path("results"), help="tables and logs")
    parser.add_argument("--out", type=Path, default=Path("out/mnist"), help="the models' files")
    parser.add_argument("--runs", type=Path, help="a file of such command lines: make them all")
    parser.add_argument("--save-again", type=Path, help="a table: write the files of its runs anew")
    parser.add_argument("--no-test", action="store_true", help="leave the test images alone")
    choices = {"method": list(METHODS), "biases": ["hashed", "dense"]}
    choices["scale"] = ["linear", *SCALES]
    choices |= {"network": NETWORKS, "precision": ["float32", "bfloat16"], "flip": [0, 1]}
    choices["granularity"] = ["auto", "tensor", "row", "column"]
    choices["data"] = ["mnist", "fashion_mnist", "cifar10"]
    for field in fields(Run):
        assert field.default is not MISSING
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            choices=choices.get(field.name),
        )
    options = parser.parse_args(arguments)
    given = options.data_dir or options.data == "fashion_mnist" or options.runs
    if not given:
        parser.error("--data-dir is needed: the folder of MNIST's IDX files, or of CIFAR-10")
    return Run(**{field.name: getattr(options, field.name) for field in fields(Run)}), options


def main(arguments=None) -> None:
    """Makes one run, or those of a file."""
    run, options = parse(arguments)
    if options.save_again:
        save_again(options.save_again, options)
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
            table = tables_of(one, options)[0 if tested else 1]
            if not find(one, table):
                once(one, options, tested)
                break
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
