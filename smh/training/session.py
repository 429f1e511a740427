"""Trains a model by its settings, and goes on where a run was stopped."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Iterator
from typing import Any

import keras

from smh import datasets
from smh.artifact.files import save as save_artifact
from smh.datasets import Augmentation, Dataset
from smh.datasets.dataset import count_of, map_arrays
from smh.doors.quantization import quantize_factors
from smh.errors import ArgumentError, SmhWarning
from smh.progress import task
from smh.recipes import penalise_weights
from smh.sizes.size_report import report
from smh.training.checkpoints import (
    Place,
    last_checkpoint,
    load_checkpoint,
    load_metrics,
    load_torch_state,
    save_checkpoint,
)
from smh.training.config import TrainingConfig
from smh.training.data import measure
from smh.training.divergence import check_weights
from smh.training.every import EACH_MINUTE, Every
from smh.training.fingerprint import check_same_data, write_fingerprint
from smh.training.keeping import KeepState
from smh.training.metrics import Row, draw_curves, read_metrics
from smh.training.models import build_model
from smh.training.objective import Objective
from smh.training.progress import ShowProgress
from smh.training.run_directory import RunDirectory
from smh.training.sources import load_data
from smh.virtual_variable import virtual_variables


def train(
    config: TrainingConfig,
    run: RunDirectory,
    *,
    replace: bool = False,
    resume: bool = False,
    every: Every = EACH_MINUTE,
    verbose: int = 1,
) -> dict[str, Any]:
    """Trains a model, and writes what a `RunDirectory` holds.

    After each epoch the state is saved, and each minute within one. A run that was killed and is
    resumed ends with the numbers of one that was not: order and changes of the images depend on the
    seed and the batch only, and model, optimizer and random generators go on. (On a GPU that
    also needs deterministic kernels: `TF_DETERMINISTIC_OPS=1`, which the command line sets there.)

    Args:
        config: the settings.
        run: where to write.
        replace: whether an earlier run there is removed.
        resume: whether to go on with the run there, which must have the same settings and data;
            one that is complete is left as it is.
        every: how often the state is saved within an epoch.
        verbose: 1 prints a line per epoch, and a bar on a terminal, else a line per minute; 0
            nothing.

    Returns:
        The final figures, as in `result.json`: of the test images, and the sizes.

    Raises:
        ArgumentError: settings that do not go together, or `run` is not free. Nothing was written.
        ArtifactError: a checkpoint is damaged.
        MissingDataError: the data set is nowhere.
        DivergedError: the loss became NaN or infinite. The last good checkpoint stays, and no model
            is written.

    Example:
        `train(TrainingConfig("lenet_5", "digits", fraction=0.1), RunDirectory("runs/digits"))`
    """
    if resume:
        _check_same(config, run)
        if run.is_complete:
            return run.result()
    else:
        run.check_is_free(replace)
    with task(f"reading {config.data}"):
        data = load_data(
            config.data,
            config.data_dir,
            image_size=config.image_size,
            validation=config.validation,
            limit=config.limit,
        )
    _check_has_validation(config, data)
    if resume:
        check_same_data(run, data)
    found = last_checkpoint(run.checkpoints) if resume else None
    if found is None:
        with task(f"building {config.model}"):
            model = _new_model(config, data)
        run.begin(config)
        write_fingerprint(run, data)
        # Each run begins from a file, so that one that goes on from a file has the same names.
        found = save_checkpoint(model, run.checkpoints, Place()), Place()
    path, place = found
    model = load_checkpoint(path)
    objective = Objective.of(model, data)
    data = objective.labels(data)
    if config.l2:
        penalise_weights(model, config.l2)
    # A line is written before its checkpoint, so that none is missing.
    rows = read_metrics(run.metrics_file)[: place.epoch] if place.epoch else []
    metrics = load_metrics(path)
    begun = None if metrics is None else (place, metrics)
    keeps = KeepState(run, rows, every, begun, load_torch_state(path))
    shows = ShowProgress(config.epochs, len(_batches(config, data, Place()))) if verbose else None
    if shows is not None:
        shows.introduce(model, data, run, place, objective.in_words)
    try:
        _fit(model, config, data, run, place, [keeps, *([shows] if shows else [])])
    finally:
        if shows is not None:
            shows.close()
    return _finish(model, data, run, rows)


def _check_same(config: TrainingConfig, run: RunDirectory) -> None:
    old = run.config().to_dict()
    for name, value in config.to_dict().items():
        if value != old[name]:
            raise ArgumentError(
                f"The run in '{run}' has {name}={old[name]!r}, and {name}={value!r} is asked for. "
                "A run is resumed with its own settings; --out begins another."
            )


def _check_has_validation(config: TrainingConfig, data: Dataset) -> None:
    if data.x_validation is not None and not count_of(data.x_validation):
        raise ArgumentError(
            f"{data.name} has {count_of(data.y_train)} examples to train on, and validation="
            f"{config.validation:g} holds none of them out. Give more examples, hold out more, or "
            "none: --validation 0."
        )


def _new_model(config: TrainingConfig, data: Dataset) -> keras.Model:
    model = build_model(config, data)
    if config.bits is not None and not virtual_variables(model):
        raise ArgumentError(
            f"bits={config.bits} rounds the factors of a compressed model, and '{config.model}' "
            "has none. Give a fraction as well: --fraction 0.1."
        )
    steps = len(_batches(config, data, Place())) * config.epochs
    Objective.of(model, data).compile(
        model,
        steps,
        peak_rate=config.peak_rate,
        l2=config.l2,
        label_smoothing=config.label_smoothing,
    )
    # So that the first checkpoint has the optimizer's slots, which Keras looks for in it.
    model.optimizer.build(model.trainable_variables)
    return model


def _batches(config: TrainingConfig, data: Dataset, place: Place) -> Any:
    # A folder of pictures has the folder's name; what is usual goes by the kind of data set.
    name = config.data.replace("-", "_")
    usual = Augmentation.usual(name) if config.augment and name in datasets.names() else None
    return datasets.batches(
        data.x_train,
        data.y_train,
        config.batch_size,
        augmentation=usual,
        seed=config.seed,
        first_epoch=place.epoch,
        first_step=place.step,
    )


def _fit(
    model: keras.Model,
    config: TrainingConfig,
    data: Dataset,
    run: RunDirectory,
    place: Place,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    validation = None
    if data.x_validation is not None and data.y_validation is not None:
        x, y = data.x_validation, data.y_validation
        validation = datasets.batches(x, y, config.batch_size, shuffle=False)
    callbacks = [*callbacks, *_tensorboard(run)]
    for first, end in _parts(config, place):
        # At the border a checkpoint is still of the part with float factors.
        if config.bits is not None and first == Place(config.bits_from):
            quantize_factors(model, config.bits)
        _prepare(model, data)
        model.fit(
            _batches(config, data, first),
            initial_epoch=first.epoch,
            epochs=end,
            validation_data=validation,
            callbacks=callbacks,
            shuffle=False,  # the batches are
            verbose=0,
        )


def _parts(config: TrainingConfig, place: Place) -> Iterator[tuple[Place, int]]:
    """What `fit` does at once: the rest of an epoch; float factors; then rounded ones."""
    while place.epoch < config.epochs:
        end = place.epoch + 1 if place.step else config.bits_from
        end = config.epochs if end <= place.epoch else end
        yield place, end
        place = Place(end)


def _prepare(model: keras.Model, data: Dataset) -> None:
    """Lets Keras make metrics and slots now: `fit` would take an epoch's batches to do so."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    x, y = (map_arrays(lambda array: array[:1], part) for part in (data.x_train, data.y_train))
    few = datasets.batches(x, y, 1, shuffle=False)
    with task("preparing"):
        model.evaluate(few, verbose=0)


def _tensorboard(run: RunDirectory) -> list[keras.callbacks.Callback]:
    if not all(importlib.util.find_spec(name) for name in ("tensorflow", "tensorboard")):
        return []
    return [keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False)]


def _finish(model: keras.Model, data: Dataset, run: RunDirectory, rows: list[Row]) -> dict:
    check_weights(model)
    with task(f"writing {run}"):
        model.save(run.model_file)
        save_artifact(model, run.artifact_file)
    sizes = report(model)
    sizes.to_csv(run.report_file)
    try:
        draw_curves(rows, run.curves_file, f"{model.name} on {data.name}")
    except ImportError as error:
        warnings.warn(f"No curves.png: {error}", SmhWarning, stacklevel=2)
    figures = measure(model, data.x_test, data.y_test)
    result = {
        **{f"test_{name}": value for name, value in figures.items()},
        "test_images": count_of(data.y_test),
        "trained_params": sizes.trained_params,
        "original_params": sizes.original_params,
        "artifact_bytes": run.artifact_file.stat().st_size,
    }
    run.finish(result)
    return result
