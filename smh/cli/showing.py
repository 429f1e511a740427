"""`smh report`, `smh inspect` and `smh export`."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from smh.cli.arguments import add_command, add_json, add_model, add_output, numbers, show
from smh.cli.files import artifact_file, check_output, model_file, open_model, quiet
from smh.errors import ArgumentError
from smh.errors.limits import COUNT
from smh.progress import task

if TYPE_CHECKING:
    from smh.sizes.rows import SizeReport

_SUFFIXES = {"saved_model": (), "litert": (".tflite",), "onnx": (".onnx",), "keras": (".keras",)}


def add_commands(commands: Any) -> None:
    """Adds the three commands."""
    parser = add_command(
        commands,
        "report",
        _report,
        "what each weight of a model costs",
        "Lists how each weight is stored, how many of its numbers are trained, and how\n"
        "many bytes they take. --html writes a page for a browser, with pictures: of the\n"
        "layers and pools, of the bytes of a .smh file, and of a run directory also the\n"
        "curves of the training and the scans (CSV files) that lie in it.",
        "  smh report small.keras --csv sizes.csv\n"
        "  smh report runs/lenet_5-digits-0.1 --html report.html",
    )
    add_model(parser)
    parser.add_argument("--csv", metavar="FILE", help="write the table as CSV, too")
    add_json(parser)
    parser.add_argument("--html", metavar="FILE", help="write a page for a browser, too")
    parser.add_argument("--force", action="store_true", help="replace these files if they exist")

    parser = add_command(
        commands,
        "export",
        _export,
        "write a file that runs without smh",
        "Writes a model for inference, as a file that needs no smh. All formats but\n"
        "keras keep a compressed model small. The file is run once, and only written if\n"
        "its outputs are the model's.",
        "  smh export small.keras --to litert --out small.tflite\n"
        "  smh export speech.keras --to litert --shape 1,100,40 --out speech.tflite",
    )
    add_model(parser)
    parser.add_argument(
        "--to",
        required=True,
        choices=tuple(_SUFFIXES),
        help="saved_model is a folder; litert needs .tflite, onnx .onnx, keras .keras",
    )
    parser.add_argument(
        "--mode",
        choices=("factors", "stream", "dense"),
        help="small; small and least memory, layer by layer; fast "
        "(default: factors for a compressed model)",
    )
    parser.add_argument(
        "--shape",
        type=numbers("--shape", COUNT),
        action="append",
        metavar="SIZES",
        help="fixed sizes of an input, batch first; once for each input, in the model's order "
        "(default: those that the model was built with, any batch)",
    )
    add_output(parser, "the file or folder to write")

    parser = add_command(
        commands,
        "inspect",
        _inspect,
        "what is inside a .smh file, byte by byte",
        "Lists what a .smh file holds, and checks it: a damaged one is an error.",
        "  smh inspect small.smh\n  smh inspect runs/lenet_5-digits-0.1",
    )
    parser.add_argument("file", metavar="FILE", help="a .smh file, or a run directory")
    add_json(parser)


def _report(args: argparse.Namespace) -> None:
    for path, suffix in ((args.csv, ".csv"), (args.html, ".html")):
        if path is not None:
            check_output(path, args.force, (suffix,), f"--{suffix[1:]}")
    sizes = _sizes(args)
    names = ("original_params", "trained_params", "original_bytes", "bytes", "packed")
    show(args, sizes, **{name: getattr(sizes, name) for name in names})
    if args.csv is not None:
        sizes.to_csv(args.csv)
    if args.html is not None:
        from smh.report_page import write_page

        write_page(args.html, sizes, args.model)


def _sizes(args: argparse.Namespace) -> SizeReport:
    """The report of a model; of a `.smh` file, or of a run, which has one, without Keras."""
    file = model_file(args.model)
    if os.path.isdir(args.model):
        file = artifact_file(args.model)
    found = None
    if file.endswith(".smh"):
        from smh.sizes.file_report import report_of_file

        found = report_of_file(file)
    if found is not None:
        return found
    model = open_model(args)
    import smh

    return smh.report(model)


def _export(args: argparse.Namespace) -> None:
    check_output(args.out, args.force, _SUFFIXES[args.to])
    model = open_model(args)
    import smh

    signature = None if args.shape is None else _signature(model, args.shape)
    # The runtimes that run the file once say so on stderr.
    with task(f"writing {args.out}"), contextlib.nullcontext() if args.verbose else quiet():
        smh.export(model, args.out, args.to, args.mode, input_signature=signature)
    if not args.quiet:
        print(f"{args.out}: {_bytes(args.out):,} bytes")


def _signature(model: Any, shapes: Sequence[Sequence[int]]) -> list[Any]:
    """What the model is called with, in the sizes of `--shape`."""
    import keras

    from smh.exporting.signatures import signature_of, with_sizes

    sizes = [tuple(shape) for shape in shapes]
    own = signature_of(model)
    inputs = len(keras.tree.flatten(own))
    if len(sizes) != inputs:
        raise ArgumentError(f"--shape is needed once for each of {inputs} inputs.")
    return with_sizes(own, sizes)


def _bytes(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sum(map(os.path.getsize, files))


def _inspect(args: argparse.Namespace) -> None:
    from smh.artifact.inspection import inspect

    found = inspect(artifact_file(args.file))
    show(args, found, bytes=found.bytes)
