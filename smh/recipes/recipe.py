"""One call that compiles a model for training, and its schedule."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.errors.limits import ABOVE_ZERO, AT_LEAST_0, BELOW_1, COUNT
from smh.recipes.losses import SmoothedCrossentropy
from smh.recipes.penalty import penalise, to_penalise
from smh.recipes.rates import with_rates
from smh.virtual_variable import creation_scope, virtual_variables

# Names of the modifiers' trained scales: `ScaleModifier`, `LogScaleModifier`.
_SCALES = "(log_)?scale$"


def one_cycle(
    peak_rate: float, steps: int, warmup: float = 0.2
) -> keras.optimizers.schedules.LearningRateSchedule:
    """Makes a schedule that climbs to a high rate and falls to zero.

    The climb is straight from a hundredth of the peak, the fall is half a cosine. Compressed models
    take high rates of Adam (0.01), if they do not start with them.

    Args:
        peak_rate: the highest learning rate.
        steps: batches in the whole training.
        warmup: share of the steps that the climb takes, at least 0 and below 1.

    Returns:
        A Keras schedule, for `learning_rate=` of any optimizer. Keras can save it.

    Raises:
        ArgumentError: an argument is out of range.

    Example:
        >>> from smh.recipes import one_cycle
        >>> [round(float(one_cycle(0.01, 100)(step)), 4) for step in (0, 5, 20, 60, 100)]
        [0.0001, 0.0026, 0.01, 0.005, 0.0]

    Reference: L. Smith, N. Topin, "Super-Convergence", arXiv:1708.07120 (2017), with the cosine of
    I. Loshchilov, F. Hutter, "SGDR", ICLR 2017.
    """
    peak_rate = ABOVE_ZERO.checked(peak_rate, "peak_rate")
    steps = COUNT.checked(steps, "steps")
    warmup = BELOW_1.checked(warmup, "warmup")
    climb = int(warmup * steps)
    if not climb:
        return keras.optimizers.schedules.CosineDecay(peak_rate, steps)
    return keras.optimizers.schedules.CosineDecay(
        peak_rate / 100, steps - climb, warmup_target=peak_rate, warmup_steps=climb
    )


def compile_for_training(
    model: keras.Model,
    steps: int,
    *,
    peak_rate: float = 1e-2,
    warmup: float = 0.2,
    scale_rate: float = 1.0,
    l2: float = 0.0,
    label_smoothing: float = 0.0,
    loss: Any = None,
    metrics: Any = ("accuracy",),
    **options: Any,
) -> keras.Model:
    """Compiles a classifier that gives logits for `fit`, as compressed models train well.

    Adam, one cycle, cross-entropy with integer labels; a penalty on the weights and smoothed labels
    if asked for.

    Args:
        model: a built model from images to logits; usually one that `smh.compress` has compressed.
        steps: batches in the whole training: `epochs * len(dataset)`.
        peak_rate: the highest learning rate of Adam.
        warmup: share of the steps before the peak.
        scale_rate: factor on the learning rate of the trained scales, of which a step moves a whole
            layer. On LeNet-300-100 with 6 % of its numbers, values from 0.1 to 3 differed by less
            than the seeds did.
        l2: see `penalise_weights`. 0 adds none; what `penalise_weights` has added before stays.
        label_smoothing: see `SmoothedCrossentropy`; 0 for none.
        loss: as in `compile`, for other models. Default: cross-entropy of integer labels.
        metrics: as in `compile`, a list, a dict or None; or one metric.
        **options: further arguments of `compile`, such as `jit_compile`.

    Returns:
        The same model, compiled.

    Raises:
        ArgumentError: an argument is out of range, `scale_rate` is given for a model without
            trained scales, or the scope of another `tf.distribute` strategy than the model's is
            open. In `fit`: the labels are no integers, one-hot for example.
        UnbuiltModelError: `l2` is given, and the model has no weights yet.
        SelectionError: `l2` is given, and the model has no kernels.

    Example:
        >>> import smh
        >>> model = smh.compress(smh.zoo.lenet_300_100(), fraction=0.1)
        >>> model = smh.recipes.compile_for_training(model, steps=20 * 430, l2=1e-5)
    """
    scale_rate, l2 = AT_LEAST_0.checked(scale_rate, "scale_rate"), AT_LEAST_0.checked(l2, "l2")
    chosen = to_penalise(model) if l2 else set()
    schedule = one_cycle(peak_rate, steps, warmup)
    loss = SmoothedCrossentropy(label_smoothing) if loss is None else loss
    if scale_rate != 1.0 and not _has_scales(model):
        raise ArgumentError(
            f"scale_rate={scale_rate} needs trained scales, and '{model.name}' has none. "
            "smh.compress makes them unless it is told another modifier; or leave scale_rate out."
        )
    with creation_scope(model.trainable_variables):  # an optimizer's numbers lie with the model's
        optimizer = keras.optimizers.Adam(schedule)
        if scale_rate != 1.0:
            optimizer = with_rates(optimizer, {_SCALES: scale_rate})
        model.compile(optimizer, loss, metrics=_listed(metrics), **options)
    if l2:
        penalise(model, chosen, l2)  # last: `compile` may refuse what it is given
    return model


def _listed(metrics: Any) -> Any:
    if isinstance(metrics, str) or callable(metrics):
        return [metrics]
    if metrics is None or isinstance(metrics, dict | list):
        return metrics
    if isinstance(metrics, Iterable):
        return list(metrics)
    raise ArgumentError(f"metrics must be as in compile: a list or a dict, got {metrics!r:.100}.")


def _has_scales(model: keras.Model) -> bool:
    parts = [part for v in virtual_variables(model) for part in v.parametrization.parts]
    return any(re.match(_SCALES, part.name) for part in parts)
