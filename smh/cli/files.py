"""Models from files and run directories, and into files; data to measure them on."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from smh.cli.judging import to_judge_by
from smh.container.replacing import check_replaceable, replacing
from smh.errors import ArgumentError, MissingPackageError, SmhError, SmhWarning
from smh.progress import task
from smh.training import RunDirectory, TrainingConfig
from smh.training.foreign import explained, refuse_foreign
from smh.training.sources import (
    SUFFIXES,
    check_data,
    check_model_file,
    is_same_data,
    load_data,
)

if TYPE_CHECKING:
    import keras

    from smh.datasets import Dataset

_BACKENDS = ("tensorflow", "jax", "torch")  # the names of packages, of extras, and for Keras


def start_keras(repeatable: bool = False) -> None:
    """Imports Keras without the lines that TensorFlow prints when it starts.

    Nor does it warn that functions are traced often: a search tries many models, each once.
    `TF_CPP_MIN_LOG_LEVEL=0` shows all of it. What Python raises is raised.

    Args:
        repeatable: whether a GPU gives the same numbers each time. Its sums depend on chance
            otherwise, and a resumed run would end elsewhere. `TF_DETERMINISTIC_OPS=0` is faster.

    Raises:
        MissingPackageError: the backend that Keras is to run on is not installed.
        ArgumentError: there is no such backend.
    """
    shown = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2") == "0"
    with task("starting Keras"), contextlib.nullcontext() if shown else quiet():
        keras = _import_keras()
        if not shown:
            logging.getLogger("tensorflow").setLevel(logging.ERROR)

        # Not on a CPU, where it costs the parallel input pipeline and changes nothing.
        on_tensorflow = keras.backend.backend() == "tensorflow"
        if repeatable and on_tensorflow and keras.distribution.list_devices("gpu"):
            os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")
        keras.ops.zeros(1)  # starts the backend


def _import_keras() -> Any:
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name not in _BACKENDS:
            raise
        raise MissingPackageError(
            f"Keras is to run on '{error.name}' here, which is not installed: pip install "
            f'"structured-multihashing[{error.name}]", or set KERAS_BACKEND to another of '
            f"{', '.join(_BACKENDS)}."
        ) from error
    except ValueError as error:
        raise ArgumentError(
            f"KERAS_BACKEND must be one of {', '.join(_BACKENDS)}: {error}"
        ) from error
    return keras


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Sends what native code writes to stderr nowhere; what smh warns of is said afterwards."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
        for one in caught:
            if issubclass(one.category, SmhWarning):
                warnings.showwarning(one.message, one.category, one.filename, one.lineno)


def find_own(modules: Sequence[str]) -> None:
    """Looks for a user's modules, in the current folder too, as `python -m` finds them.

    Raises:
        ArgumentError: a file was named, not a module; or there is none of this name.
    """
    from smh.datasets.modules import has_module

    for module in modules:
        if module.endswith(".py"):
            raise ArgumentError(f"--import takes a module, {module[:-3]!r}, not the file.")
        if not has_module(module):
            raise ArgumentError(f"--import: No module named {module!r:.100}.")


def import_own(modules: Sequence[str]) -> None:
    """Imports a user's modules, once Keras has started.

    Raises:
        SmhError: a module raises an error.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except SmhError:
            raise
        except Exception as error:
            text = f"{type(error).__name__}: {' '.join(str(error).split()):.300}"
            raise SmhError(f"--import {module} raised {text}") from error


def model_file(path: str) -> str:
    """Returns the file of a model: `path` itself, or that of the run directory.

    Raises:
        ArgumentError: it is neither, nothing is there, or the run is not complete.
    """
    if os.path.isdir(path):
        return str(_complete_run(path).model_file)
    check_model_file(path)
    return path


def artifact_file(path: str) -> str:
    """Returns `path` itself, or the `.smh` file of the run directory.

    Raises:
        ArgumentError: a folder that is no run directory, a run that is not complete, or a file of
            Keras.
    """
    if os.path.isdir(path):
        return str(_complete_run(path).artifact_file)
    if path.endswith(".keras"):
        raise ArgumentError(
            f"'{path}' is a file of Keras; smh inspect looks into .smh files. What each weight "
            f"costs: smh report {path}"
        )
    refuse_foreign(path)
    return path


def _complete_run(path: str) -> RunDirectory:
    run = RunDirectory(path)
    if os.path.isfile(os.path.join(path, "saved_model.pb")):
        raise ArgumentError(explained(path))
    run.config()
    if not run.is_complete:
        raise ArgumentError(
            f"the run in '{path}' is not complete. `smh train --resume --out {path}` goes on."
        )
    return run


def open_model(args: argparse.Namespace) -> keras.Model:
    """Loads the model of a file or a run directory, `args.model`."""
    file = model_file(args.model)
    start_keras()
    import_own(args.imports)
    from smh.training.models import open_model_file

    with task(f"reading {file}"):
        return open_model_file(file)


def open_with_images(
    args: argparse.Namespace, whole: bool = True
) -> tuple[keras.Model, Dataset, Any, Any]:
    """Returns the model of `args.model`, its data, and the images and labels to judge it by.

    As `to_judge_by` chooses them.
    """
    model, data = open_with_examples(args, whole, labels=True)
    return model, data, *to_judge_by(data)[:2]


def open_with_examples(
    args: argparse.Namespace, whole: bool = True, labels: bool = False
) -> tuple[keras.Model, Dataset]:
    """Returns the model of `args.model`, and its data, which may have no labels."""
    model_file(args.model)
    data = open_data(args, whole, labels)
    model = open_model(args)
    from smh.training.data import check_fits

    check_fits(model, data)
    return model, data


def check_output(
    path: str, force: bool, suffixes: tuple[str, ...] = SUFFIXES, flag: str = "--out"
) -> None:
    """Checks that `path` may be written, before any work is done.

    Args:
        path: a file, or without `suffixes` a folder.
        force: whether it may exist.
        suffixes: one that it must have.
        flag: what named it.

    Raises:
        ArgumentError: another suffix is needed, it exists, its folder does not or takes no file,
            or it is a pipe.
    """
    if suffixes and not path.endswith(suffixes):
        raise ArgumentError(f"{flag} must end in {' or '.join(suffixes)}, got '{path}'.")
    folder = Path(path).resolve().parent
    if not folder.is_dir():
        raise ArgumentError(f"the folder of '{path}' does not exist.")
    check_writable(folder, path)
    if suffixes and os.path.isdir(path):
        raise ArgumentError(f"'{path}' is a folder; {flag} names a file.")
    if os.path.exists(path) and not force:
        raise ArgumentError(f"'{path}' exists; --force replaces it.")
    check_replaceable(path, folder=not suffixes)


def check_writable(folder: Path, path: str) -> None:
    """Makes a file in a folder, and removes it: permissions alone do not say whether that works.

    Args:
        folder: the folder; of one that is not there yet the one that it will lie in.
        path: what is to be written, for the error.

    Raises:
        ArgumentError: it takes no file.
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ArgumentError(
            f"'{path}' cannot be written, for its folder takes no file: {error.strerror}."
        ) from error


def write_model(model: keras.Model, args: argparse.Namespace) -> None:
    """Writes the `.keras` or `.smh` file `args.out` as a whole, and says how large it is."""
    path = args.out
    from smh.artifact.files import save
    from smh.sizes.size_report import report

    with task(f"writing {path}"):
        if path.endswith(".smh"):
            save(model, path)
        else:
            with replacing(path) as partial:
                model.save(partial)
    if args.quiet:
        return
    print(f"{path}: {os.path.getsize(path):,} bytes; {report(model).in_words}")
    wanted = getattr(args, "target_size", None)
    if wanted is not None and path.endswith(".keras"):
        print(
            f"that is to train on, and not {wanted:,} bytes: only a .smh file is coded; --out "
            f"{path.removesuffix('.keras')}.smh writes it"
        )


def has_data(args: argparse.Namespace) -> bool:
    """Whether there are examples to look at: the flags name them, or the model is that of a run."""
    return args.data is not None or os.path.isdir(args.model)


def open_data(args: argparse.Namespace, whole: bool = True, labels: bool = True) -> Dataset:
    """Loads the data set that the flags name, else that of the run.

    A model that is a run was trained on a part of its data, so these are split as in the run, also
    where the flags name them.

    Args:
        args: what was typed.
        whole: whether examples of a user's own are not split, as nothing is trained on them.
        labels: whether they are needed.

    Raises:
        ArgumentError: neither names one, or it has no labels.
    """
    config = _run_on(args)
    name = args.data if config is None else config.data
    if name is None:
        raise ArgumentError("--data NAME is needed, for example --data digits.")
    options: dict[str, Any] = {"whole": whole}
    if config is not None:
        options = {"validation": config.validation, "limit": config.limit}
        options |= {"data_dir": config.data_dir, "image_size": config.image_size}
    given = {"data_dir": args.data_dir, "image_size": args.image_size}
    given["limit"] = args.limit
    options |= {key: value for key, value in given.items() if value is not None}
    check_data(name, options.get("data_dir"), options.get("image_size"))
    if not name.endswith(".npz"):  # which needs none, so that what is wrong is told at once
        start_keras()
    with task(f"reading {name}"):
        return load_data(name, **options, labels=labels)


def _run_on(args: argparse.Namespace) -> TrainingConfig | None:
    """The settings of the run that is the model, if its data are what is meant."""
    if not os.path.isdir(args.model):
        return None
    config = RunDirectory(args.model).config()
    if args.data is None or is_same_data(args.data, config.data):
        return config
    return None
