"""`smh prune`, `smh slim` and `smh quantize`: a model from a file into another."""

from __future__ import annotations

import argparse
from typing import Any

from smh.cli.arguments import (
    add_command,
    add_data,
    add_model,
    add_output,
    add_selection,
    level,
    number,
    one_or_pairs,
)
from smh.cli.files import (
    check_output,
    open_model,
    open_with_examples,
    open_with_images,
    write_model,
)
from smh.cli.judging import Judge
from smh.cli.shrinking import EXAMPLES, few
from smh.errors import ArgumentError
from smh.errors.limits import ABOVE_ZERO, CODEBOOK_BITS, COUNT, GRID_BITS, SPARSITY

_OUT = "what to write: .keras (to train on) or .smh (small)"
_PRUNE = """\
Sets the smallest weights of a model to zero; of a compressed model, of its
factors. Training makes good what that cost and keeps them zero: --then-train N
does so here for N epochs, and measures on the validation part; `smh train
--model FILE --data NAME` does it with a run directory. Use `smh sensitivity` to
choose."""
_PRUNE_EXAMPLE = """\
  smh prune model.keras --sparsity 0.9 --out pruned.keras
  smh prune model.keras --sparsity '.*conv=0.5' --sparsity kernel=0.9 \\
      --out pruned.keras
  smh prune model.keras --sparsity 0.9 --then-train 5 --data digits \\
      --out pruned.smh"""
_RATE = 0.01
_SLIM = """\
Takes out of a network what pruning made zero: whole filters, units and heads.
The new model is plain, gives the same, and is smaller and faster everywhere.
Prune with `--structure channels` and train first."""
_SLIM_EXAMPLE = """\
  smh slim pruned.keras --out small.keras
and before:
  smh prune model.keras --sparsity 0.5 --structure channels \\
      --out pruned.keras"""
_QUANTIZE = """\
Stores a model in few bits. `uniform` rounds to a grid of 2 to 8 bits: the
factors of a compressed model, or the weights of another one. `codebook` gives
each weight 2^bits values that k-means finds, 1 to 12 bits; zeros of a pruned
weight stay. All can be trained on."""
_QUANTIZE_EXAMPLE = """\
  smh quantize small.keras --bits 4 --out small.smh
  smh quantize pruned.keras --bits 4 --kind codebook --out pruned.smh"""


def add_commands(commands: Any) -> None:
    """Adds the three commands."""
    parser = add_command(
        commands, "prune", _prune, "set the smallest weights to zero", _PRUNE, _PRUNE_EXAMPLE
    )
    add_model(parser)
    parser.add_argument(
        "--sparsity",
        type=level("--sparsity", SPARSITY),
        action="append",
        required=True,
        metavar="N",
        help="share of zeros, below 1; or PATTERN=N, several times: for the weights "
        "whose path or bare name begins so, the first that fits counts",
    )
    parser.add_argument(
        "--scope",
        choices=("layer", "global"),
        default="layer",
        help="that share of each weight, or of all together (default: layer)",
    )
    parser.add_argument(
        "--structure",
        choices=("weights", "filters", "channels"),
        default="weights",
        help="single numbers, whole filters of each layer, or channels of the network, which "
        "smh slim takes out (default: weights)",
    )
    parser.add_argument(
        "--of",
        choices=("channels", "multiply_adds", "numbers"),
        default="channels",
        help="what --sparsity is a share of, with --structure channels (default: channels)",
    )
    parser.add_argument(
        "--round-to",
        type=number("--round-to", COUNT),
        default=1,
        metavar="N",
        help="a multiple of N channels stays of each layer: 8 or 16 for fast runtimes",
    )
    parser.add_argument(
        "--importance",
        choices=("magnitude", "fisher"),
        default="magnitude",
        help="what goes first: the smallest, or what changes the outputs for --data least",
    )
    add_selection(parser)
    parser.add_argument(
        "--then-train",
        type=number("--then-train", COUNT),
        metavar="EPOCHS",
        help="train it on the data afterwards, and say what pruning cost and what came back",
    )
    parser.add_argument(
        "--peak-rate",
        type=number("--peak-rate", ABOVE_ZERO),
        metavar="N",
        help=f"with --then-train: highest learning rate of Adam's one cycle (default: {_RATE})",
    )
    add_data(parser)
    add_output(parser, _OUT)

    parser = add_command(
        commands, "slim", _slim, "take out what pruning made zero", _SLIM, _SLIM_EXAMPLE
    )
    add_model(parser)
    parser.add_argument(
        "--fold-normalization",
        action="store_true",
        help="batch normalisations become part of the layers before them, for a model that is done",
    )
    add_output(parser, _OUT)

    parser = add_command(
        commands, "quantize", _quantize, "store weights in few bits", _QUANTIZE, _QUANTIZE_EXAMPLE
    )
    add_model(parser)
    parser.add_argument(
        "--bits",
        type=level("--bits", CODEBOOK_BITS),
        action="append",
        required=True,
        metavar="N",
        help="bits of a number; of weights also PATTERN=N, several times",
    )
    parser.add_argument(
        "--kind",
        choices=("uniform", "codebook"),
        help="default: uniform for a compressed model, else codebook",
    )
    add_selection(parser)
    add_output(parser, _OUT)


def _prune(args: argparse.Namespace) -> None:
    check_output(args.out, args.force)
    sparsity = one_or_pairs(args.sparsity, "--sparsity")
    if args.structure != "channels" and (args.of != "channels" or args.round_to != 1):
        raise ArgumentError("--of and --round-to go with --structure channels only.")
    looks = args.importance == "fisher"
    if args.then_train is None and (args.peak_rate is not None or args.data and not looks):
        raise ArgumentError(
            "--peak-rate goes with --then-train EPOCHS only, --data also with --importance fisher."
        )
    data, told = None, None
    if args.then_train is not None:
        model, data, _, _ = open_with_images(args, whole=False)
        told = Judge(data)
        told(model, "before")
    elif looks:
        model, data = open_with_examples(args)
    else:
        model = open_model(args)
    import smh
    from smh.doors.pruning import sparsity_of

    smh.prune(
        model,
        sparsity,
        scope=args.scope,
        structure=args.structure,
        of=args.of,
        round_to=args.round_to,
        importance=smh.sensitivity.fisher(model, few(data, EXAMPLES)) if looks and data else None,
        apply_to=args.apply_to,
        exclude=args.exclude,
    )
    if told is not None and data is not None:
        from smh.training.divergence import check_weights
        from smh.training.retraining import retraining

        told(model, "pruned")
        retraining(data, args.then_train, 0, args.peak_rate or _RATE)(model)
        check_weights(model)
        told(model, f"trained, {args.then_train} epoch{'s' if args.then_train > 1 else ''}")
    write_model(model, args)
    if not args.quiet:
        print(f"{sparsity_of(model)['sparsity']:.2%} of the pruned weights are zero")


def _slim(args: argparse.Namespace) -> None:
    check_output(args.out, args.force)
    model = open_model(args)
    import smh

    small, report = smh.slim(model, fold_normalization=args.fold_normalization, return_report=True)
    write_model(small, args)
    print(report)
    before, after = report.numbers
    if before == after and not args.quiet:
        print(
            "nothing could go: no whole channel is zero. First smh prune --structure channels, "
            "then train"
        )


def _quantize(args: argparse.Namespace) -> None:
    check_output(args.out, args.force)
    bits = one_or_pairs(args.bits, "--bits")
    if args.kind == "uniform":
        for one in [value for _, value in bits] if isinstance(bits, list) else [bits]:
            GRID_BITS.checked(one, "--bits with --kind uniform")
    model = open_model(args)
    import smh
    from smh.virtual_variable import virtual_variables

    sources = [virtual.parametrization.source for virtual in virtual_variables(model)]
    kind = args.kind or ("uniform" if any(sources) else "codebook")
    if kind == "codebook":
        smh.cluster(model, bits, apply_to=args.apply_to, exclude=args.exclude)
    elif not any(sources):
        smh.quantize_weights(model, bits, apply_to=args.apply_to, exclude=args.exclude)
    else:
        _check_uniform(args, bits)
        smh.quantize_factors(model, bits)
    write_model(model, args)


def _check_uniform(args: argparse.Namespace, bits: Any) -> None:
    if not isinstance(bits, int) or args.apply_to or args.exclude:
        raise ArgumentError(
            "--kind uniform rounds all factors of a compressed model to one number of bits: "
            "--bits 4, without PATTERN=, --apply-to and --exclude. --kind codebook takes them."
        )
    GRID_BITS.checked(bits, "--bits with --kind uniform")
