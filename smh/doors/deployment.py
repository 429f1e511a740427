"""For inference: `smh.deploy`."""

from __future__ import annotations

import keras

from smh.errors import ArgumentError
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.given import check_is_model
from smh.virtual_variable.inside_keras.deploying import cache, stream, undeploy
from smh.virtual_variable.inside_keras.own import models_around, own_layers
from smh.virtual_variable.inside_keras.traces import forget_traces

_MODES = {"stream": stream, "cached": cache, "train": undeploy}


def deploy(model: keras.Model, mode: str = "stream") -> keras.Model:
    """Switches a compressed model to inference with little memory, or with no extra time.

    Use `"stream"` where memory is short and batches are large, `"cached"` where every millisecond
    of a small batch counts.

    - `"stream"`: each layer computes its weights when it is called, from only the rows of the
      pool in which they lie, and they are freed after it. What is held at any time are the
      factors and the weights of the layer that runs. Predictions and gradients are right, but
      training takes more memory than in mode `"train"`.
    - `"cached"`: all weights are computed now and kept dense, beside the factors. A call costs what
      it costs in a dense model. Training raises an error. What changes the factors in another way
      (`assign`, training of another model on the same pool) shows once the model is deployed
      again; loading weights does so.
    - `"train"`: as `smh.compress` left it, exactly: the factors and the optimizer were not touched.

    A recurrent layer or a `TimeDistributed` computes the weights of all its cells before its loop.
    A custom layer that calls others in a loop of its own (`keras.ops.scan`) computes theirs in
    every step when it streams.

    The mode is not saved: a model that is loaded is in mode `"train"`.

    Args:
        model: a compressed model or layer of any kind.
        mode: `"stream"`, `"cached"` or `"train"`.

    Returns:
        The same model.

    Raises:
        ArgumentError: for another mode, or a model with nothing compressed in it.

    Cost: `"stream"`: `fraction / 2 * numel ** 1.5` multiply-adds per call, whatever the batch;
    `"cached"`: the same once, and the dense weights in memory.

    Example:
        >>> smh.deploy(smh.compress(model, fraction=0.1), mode="stream").predict(x)

    Reference: the modes are those of FeatherMap (`model.deploy()`), for any Keras model.
    """
    check_is_model(model)
    if mode not in _MODES:
        raise ArgumentError(f"mode must be one of {', '.join(map(repr, _MODES))}, got {mode!r}.")
    if not virtual_variables(model):
        raise ArgumentError(
            f"'{model.name}' has no compressed weights, so there is nothing to deploy. Call "
            "smh.compress(model, fraction=...) first."
        )
    undeploy(model)
    try:
        _MODES[mode](model)
    except BaseException:  # memory may run out on the way
        undeploy(model)
        raise
    forget_traces([*own_layers(model), *models_around(model)])
    return model
