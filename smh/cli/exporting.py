"""`smh export`: a file for another runtime."""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Sequence
from typing import Any

from smh.cli.arguments import add_command, add_data, add_model, add_output, number, numbers
from smh.cli.files import check_output, model_file, open_model, open_with_examples, quiet
from smh.cli.judging import Judge
from smh.cli.shrinking import few
from smh.errors import ArgumentError
from smh.errors.limits import COUNT, GRID_BITS
from smh.progress import task

_SUFFIXES = {
    "saved_model": (),
    "litert": (".tflite",),
    "onnx": (".onnx",),
    "micro": (".tflite",),
    "keras": (".keras",),
}
_EXAMPLES = 200


def add_commands(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(
        commands,
        "export",
        _export,
        "write a file that runs without smh",
        "Writes a model for inference, as a file that needs no smh. All formats but\n"
        "keras keep a compressed model small. The file is run once, and only written if\n"
        "its outputs are the model's.",
        "  smh export small.keras --to litert --out small.tflite\n"
        "  smh export speech.keras --to litert --shape 1,100,40 --out speech.tflite\n"
        "  smh export net.keras --to onnx --bits 4 --out net.onnx\n"
        "  smh export n.keras --to litert --activations int8 --data mnist --out n.tflite",
    )
    add_model(parser)
    parser.add_argument(
        "--to",
        required=True,
        choices=tuple(_SUFFIXES),
        help="saved_model is a folder; litert and micro (tflite-micro) need .tflite, onnx .onnx, "
        "keras .keras",
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
    parser.add_argument(
        "--bits",
        type=number("--bits", GRID_BITS),
        metavar="N",
        help="round the weights first, of a compressed model the factors: 2 to 8; with --data it "
        "says what that cost",
    )
    parser.add_argument(
        "--activations",
        choices=("int8",),
        help="round what goes between layers too, by the ranges that examples of --data have; "
        "litert and onnx",
    )
    parser.add_argument(
        "--examples",
        type=number("--examples", COUNT),
        default=_EXAMPLES,
        metavar="N",
        help=f"how many training examples to look at for that (default: {_EXAMPLES})",
    )
    add_data(parser)
    add_output(parser, "the file or folder to write")


def _export(args: argparse.Namespace) -> None:
    check_output(args.out, args.force, _SUFFIXES[args.to])
    _check_rounding(args)
    data = None
    if args.data is not None or args.activations is not None:
        model, data = open_with_examples(args)
    else:
        model = open_model(args)
    calibration = None
    if data is not None and args.activations is not None:
        calibration = [few(data, args.examples)]
    judge = Judge(data, args.quiet)
    judge(model, "before")
    import smh

    signature = None if args.shape is None else _signature(model, args.shape)
    if args.bits is not None:
        _round(model, args.bits)
        judge(model, f"{args.bits} bits")
    # The runtimes that run the file once say so on stderr.
    with task(f"writing {args.out}"), contextlib.nullcontext() if args.verbose else quiet():
        smh.export(
            model,
            args.out,
            args.to,
            args.mode,
            input_signature=signature,
            activations=args.activations,
            calibration=calibration,
        )
    if args.quiet:
        return
    print(f"{args.out}: {_bytes(args.out):,} bytes")
    if args.activations is not None and args.shape is None:
        judge.of_file(model, args.out, args.to, args.out)
    source = model_file(args.model)
    if source.endswith(".smh") and _bytes(args.out) > _bytes(source):
        print(
            f"{source}, which is coded, has {_bytes(source):,}: what runs elsewhere holds whole "
            "numbers of 4 to 16 bits, or floats"
        )


def _check_rounding(args: argparse.Namespace) -> None:
    """What needs no model to be wrong."""
    if args.bits is not None and (args.to not in ("litert", "onnx") or args.mode == "dense"):
        raise ArgumentError(
            "--bits is for --to litert and --to onnx, and not for --mode dense: other files hold "
            "floats. A .smh file keeps few bits too: smh quantize."
        )
    if args.activations is None and args.bits is None and args.data is not None:
        raise ArgumentError(
            "--data goes with --activations int8 and --bits: nothing else looks at examples."
        )
    if args.activations is not None and args.to not in ("litert", "onnx"):
        raise ArgumentError("--activations int8 is for --to litert and --to onnx.")


def _round(model: Any, bits: int) -> None:
    """Rounds the factors, if there are some, else the dense weights."""
    import smh
    from smh.parametrizations.masked import Masked
    from smh.virtual_variable import virtual_variables

    virtual = virtual_variables(model)
    if any(one.parametrization.source for one in virtual):
        smh.quantize_factors(model, bits)
    elif virtual:
        first = virtual[0]
        advice = (
            "Let what is not zero share few values, smh quantize --kind codebook, and export that."
            if isinstance(first.parametrization, Masked)
            else "Leave --bits out: the file holds the whole numbers that there are."
        )
        raise ArgumentError(
            f"--bits {bits} rounds dense weights and factors, and '{first.path}' is "
            f"{first.parametrization.describe()} already. {advice}"
        )
    else:
        smh.quantize_weights(model, bits)


def _signature(model: Any, shapes: Sequence[Sequence[int]]) -> list[Any]:
    """What the model is called with, in the sizes of `--shape`."""
    import keras

    from smh.exporting.signatures import signature_of, with_sizes

    sizes = [tuple(shape) for shape in shapes]
    own = signature_of(model)
    inputs = len(keras.tree.flatten(own))
    if len(sizes) != inputs:
        raise ArgumentError(f"--shape is needed once for each of {inputs} inputs.")
    for spec, size in zip(keras.tree.flatten(own), sizes, strict=True):
        pairs = zip(spec.shape, size, strict=False)
        if len(spec.shape) != len(size) or any(a not in (None, b) for a, b in pairs):
            raise ArgumentError(
                f"--shape {','.join(map(str, size))} does not fit the input '{spec.name}', which "
                f"is of shape {tuple(spec.shape)}, batch first: None takes any size."
            )
    return with_sizes(own, sizes)


def _bytes(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    files = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
    return sum(map(os.path.getsize, files))
