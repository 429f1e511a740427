"""`smh train` and `smh evaluate`."""

from __future__ import annotations

import argparse
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smh.cli.arguments import DATA, OWN, add_command, add_data, add_model, number, reader
from smh.cli.files import (
    check_writable,
    import_own,
    model_file,
    open_data,
    open_model,
    start_keras,
)
from smh.errors import ArgumentError
from smh.errors.limits import Limit
from smh.sensitivity.words import Shown, score
from smh.training import RunDirectory, TrainingConfig
from smh.training.config import read_settings
from smh.training.every import EACH_MINUTE, Every
from smh.training.sources import check_data, find_model

if TYPE_CHECKING:
    from smh.datasets import Dataset

_TRAIN = """\
Trains a model and writes a run directory: the settings (config.json), metrics
by epoch (metrics.csv, curves.png, tensorboard/), checkpoints, the trained model
(model.keras, model.smh), its sizes (report.csv) and its test figures
(result.json). Settings that are not given come from --config, else from the
defaults."""
_TRAIN_EXAMPLE = """\
  smh train --model resnet32 --data fashion_mnist --fraction 0.1
  smh train --out runs/resnet32-fashion_mnist-0.1 --resume    # after a kill
  smh train --config runs/resnet32-fashion_mnist-0.1/config.json \\
      --seed 1 --out runs/again"""
_EVALUATE = """\
Measures a model on labelled examples: accuracy and cross-entropy of classes,
mean square and absolute error of numbers, all of them for several outputs. Of a
run directory the data set is known, and how it was split; a file needs --data.
Of your own examples without parts it takes all, and with --part those that
`smh train` would take for it."""
_EVALUATE_EXAMPLE = """\
  smh evaluate runs/lenet_5-digits-0.1
  smh evaluate model.keras --data fashion_mnist --part validation"""


def add_commands(commands: Any) -> None:
    """Adds `train` and `evaluate`."""
    parser = add_command(
        commands, "train", _train, "train a model, compressed or not", _TRAIN, _TRAIN_EXAMPLE
    )
    parser.add_argument("--config", metavar="FILE", help="settings as JSON, as a run keeps them")
    parser.add_argument(
        "--out",
        metavar="RUN",
        help="run directory (default: runs/MODEL-DATA, then -0.1 with --fraction 0.1 and -4bit "
        "with --bits 4)",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with a run that was stopped, or begin it"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier run in RUN")
    parser.add_argument(
        "--checkpoint-every",
        type=reader(Every.read),
        metavar="TIME",
        default=EACH_MINUTE,
        help="how often to save the state within an epoch: 1m, 90s, 500steps, or epoch: only after "
        "each (default: 1m)",
    )
    settings = parser.add_argument_group("settings")
    for field in dataclasses.fields(TrainingConfig):
        _add_setting(settings, field)
    parser = add_command(
        commands,
        "evaluate",
        _evaluate,
        "measure a model on labelled examples",
        _EVALUATE,
        _EVALUATE_EXAMPLE,
    )
    add_model(parser)
    add_data(parser)
    parser.add_argument(
        "--part",
        choices=("test", "validation", "train"),
        help="which examples (default: test; where nobody made parts, all of them, of a run its "
        "test part)",
    )


def _add_setting(group: Any, field: dataclasses.Field) -> None:
    # Not given is not the same as the default: a flag overrides --config only where it is given.
    text, kind = field.metadata["help"], field.metadata["kind"]
    text = f"{text}: {DATA}; {OWN}" if field.name == "data" else text
    if field.default not in (dataclasses.MISSING, None):
        default = {True: "yes", False: "no"}[field.default] if kind is bool else field.default
        text += f" (default: {default})"
    flag, options = "--" + field.name.replace("_", "-"), {"default": argparse.SUPPRESS}
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text, **options)
    else:
        metavar = {"model": "NAME", "data": "NAME", "data_dir": "DIR"}.get(field.name, "N")
        limit = Limit(kind, field.metadata["expected"], field.metadata["valid"])
        read = str if kind is str else number(flag, limit)
        group.add_argument(flag, type=read, metavar=metavar, help=text, **options)


def _train(args: argparse.Namespace) -> None:
    names = [field.name for field in dataclasses.fields(TrainingConfig)]
    given = {name: getattr(args, name) for name in names if hasattr(args, name)}
    if args.config is not None:
        given = read_settings(args.config) | given
    run = RunDirectory(args.out) if args.out else None
    if args.resume and run is not None and run.is_run:
        given = run.config().to_dict() | given
    elif args.resume and "model" not in given:
        raise ArgumentError(f"there is no run in '{run}' to go on with." if run else _WHICH_RUN)
    for name in ("model", "data"):
        if name not in given:
            raise ArgumentError(f"--{name} is needed, for example --{name} {_EXAMPLES[name]}.")
    config = TrainingConfig.from_dict(given, args.config or "")
    run = run or RunDirectory(_usual_place(config))
    resume = args.resume and run.is_run
    if not resume:
        run.check_is_free(args.force)
        check_writable(run.path.resolve(), str(run))
    complete = resume and run.is_complete
    if not complete:
        find_model(config.model)
        check_data(config.data, config.data_dir, config.image_size)
    start_keras(repeatable=True)
    import_own(args.imports)
    from smh.training.session import train

    try:
        result = train(
            config,
            run,
            replace=args.force,
            resume=resume,
            every=args.checkpoint_every,
            verbose=int(not args.quiet),
        )
    except KeyboardInterrupt:
        if not run.is_run:
            raise
        raise KeyboardInterrupt(f"; `smh train --resume --out {run}` goes on") from None
    if complete:
        print(f"{run}: was complete already")
    print(
        f"test {_figures(result)} on {result['test_images']:,} examples; "
        f"{run.artifact_file}: {result['artifact_bytes']:,} bytes"
    )


def _figures(result: Mapping[str, Any]) -> str:
    """Accuracies if there are any, else all that was measured."""
    found = {name[5:]: value for name, value in result.items() if name.startswith("test_")}
    del found["images"]
    shares = {name: value for name, value in found.items() if Shown.of(name, [value]).is_share}
    return ", ".join(f"{name} {score(name, value)}" for name, value in (shares or found).items())


_EXAMPLES = {"model": "lenet_5", "data": "digits"}
_WHICH_RUN = "--resume needs --out RUN, or the settings of the run."


def _usual_place(config: TrainingConfig) -> str:
    parts = [Path(config.model).stem, Path(config.data).stem.replace(":", "-")]
    parts += [] if config.fraction is None else [f"{config.fraction:g}"]
    parts += [] if config.bits is None else [f"{config.bits}bit"]
    return os.path.join("runs", "-".join(parts))


def _evaluate(args: argparse.Namespace) -> None:
    model_file(args.model)
    data = open_data(args, whole=args.part is None)
    model = open_model(args)
    from smh.training.data import check_fits, measure

    check_fits(model, data)
    part = args.part or "test"
    x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
    if x is None:
        raise ArgumentError(f"{data.name} has no {part} part here.")
    figures = measure(model, x, y)
    print(f"{args.model} on {data.name}, {_counted(data, part, args.limit)}")
    width = max(8, *map(len, figures))
    for name, value in figures.items():
        print(f"{name:<{width}}  {score(name, value)}")


def _counted(data: Dataset, part: str, limit: int | None) -> str:
    """How many examples it is measured on, and which."""
    from smh.datasets.dataset import count_of

    x = getattr(data, f"x_{part}")
    what = "images" if getattr(x, "ndim", 0) == 4 else "examples"
    if x is not data.x_train or x is not data.x_test:
        return f"{count_of(x):,} {part} {what}"
    return (
        f"{count_of(x):,} of all {what}" if limit == count_of(x) else f"all {count_of(x):,} {what}"
    )
