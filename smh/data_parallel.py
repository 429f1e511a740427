"""Data-parallel training on JAX that exchanges the gradients of factors, not of weights."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from smh.errors import ArgumentError
from smh.virtual_variable.inside_keras.masks import masks_of, set_masks

# Keras gives a random generator's state this name.
_SEED_STATE = "seed_generator_state"
_MEANS = ("sum_over_batch_size", "mean")
_WEIGHTED_MEAN = "mean_with_sample_weight"  # without weights as the others


def exchange_factors(model: keras.Model) -> keras.Model:
    """Makes `fit` under `keras.distribution.DataParallel` exchange the gradients of the factors.

    JAX's compiler sums a gradient over the devices where the batch is contracted: at the dense
    weight, before it is carried back to the factors. So a compressed model would exchange as much
    as a dense one. After this call each device carries its own gradient back to the factors, and
    the factors' gradients are summed. `tf.distribute` does that by itself, and Keras has no
    `DataParallel` on PyTorch: there, and while none is set, this changes nothing.

    Each device then sees its own part of the batch only, as in `tf.distribute`: batch
    normalisation uses that part's statistics, a loss must be a mean over the batch (Keras' default;
    without sample weights also `mean_with_sample_weight`), and dropout draws on each device anew.
    Where steps are masked, it is the mean over the devices of the means over what each does not
    mask, as there. Keras itself needs batches, also the last one, that the devices share evenly.

    What has no batch axis, an output or a layer's own state, becomes the mean over the devices if
    it is of a float type, and else what the first device has. That is right for a mean over the
    batch, as moving averages are. It is not for a sum or a count: of 16 examples on two devices a
    layer that counts them counts 8.

    Args:
        model: a Keras model, usually one that `smh.compress` has compressed. It is changed in
            place. Compile it before or after; call this before the first `fit`.

    Returns:
        The same model.

    Raises:
        ArgumentError: `model` is no Keras model. When training starts: a loss that is no mean over
            the batch, an output whose batch axis is not its first, or a distribution other than
            `DataParallel`.

    Cost: every device computes the product and its gradient, as a single device would. What is
    exchanged per step falls from the size of the weights to that of what is trained. The model is
    traced once more.

    Example:
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300)])
        >>> model = smh.compress(model, fraction=0.1)
        >>> model = smh.data_parallel.exchange_factors(model)
    """
    if not isinstance(model, keras.Model):
        raise ArgumentError(f"model must be a keras.Model, got {type(model).__name__}.")
    if keras.backend.backend() == "jax" and "compute_loss_and_updates" not in model.__dict__:
        # Relies on: `train_step` and `test_step` differentiate this method, looked up on the
        # instance; Keras gives it a public name and calls it stateless.
        model.__dict__["compute_loss_and_updates"] = _on_each_device(model)
        model.train_function = model.test_function = None
    return model


def _on_each_device(model: keras.Model) -> Callable:
    """Wraps the model's loss so that JAX differentiates it device by device."""
    whole = model.compute_loss_and_updates

    @functools.wraps(whole)
    def compute_loss_and_updates(
        trained, state, metrics, x, y, sample_weight, training=False, optimizer_variables=None
    ):
        distribution = keras.distribution.distribution()
        if distribution is None:
            return whole(
                trained, state, metrics, x, y, sample_weight, training, optimizer_variables
            )
        _check(model, distribution, sample_weight)
        axis = distribution.batch_dim_name
        batch = (x, y, sample_weight)
        outputs = _outputs(whole, trained, state, metrics, batch, training, optimizer_variables)
        seeds = [v.name == _SEED_STATE for v in model.non_trainable_variables]

        def on_one_device(trained, state, metrics, batch, optimizer_variables):
            own = _own_seeds(state, seeds, axis)
            loss, (unscaled, y_pred, new, new_metrics) = whole(
                trained, own, metrics, *batch, training, optimizer_variables
            )
            new = [
                s if n is o else _agreed(n, axis) for s, o, n in zip(state, own, new, strict=True)
            ]
            new_metrics = [
                m if n is m else _agreed(n, axis) for m, n in zip(metrics, new_metrics, strict=True)
            ]
            y_pred = _parts((y_pred, masks_of(y_pred)), outputs, axis)
            return _agreed(loss, axis), (_agreed(unscaled, axis), y_pred, new, new_metrics)

        mapped = _shard_map(on_one_device, distribution)
        loss, (unscaled, y_pred, new, new_metrics) = mapped(
            trained, state, metrics, batch, optimizer_variables
        )
        return loss, (unscaled, _joined(y_pred, outputs), new, new_metrics)

    return compute_loss_and_updates


def _check(model: keras.Model, distribution: Any, sample_weight: Any) -> None:
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ArgumentError(
            f"The distribution is a {type(distribution).__name__}; `exchange_factors` works under "
            "keras.distribution.DataParallel only, where every device holds all factors. Train "
            "without it, or set a DataParallel."
        )
    weighted = any(weight is not None for weight in keras.tree.flatten(sample_weight))
    for loss in keras.tree.flatten(getattr(model, "loss", None)):
        reduction = getattr(loss, "reduction", _MEANS[0])
        is_mean = reduction in _MEANS or (reduction == _WEIGHTED_MEAN and not weighted)
        if isinstance(loss, keras.losses.Loss) and not is_mean:
            given = " and there are sample weights" if reduction == _WEIGHTED_MEAN else ""
            raise ArgumentError(
                f"The loss {type(loss).__name__} has reduction={reduction!r}{given}; the loss of a "
                "batch is the mean of its devices' losses only if each of them is a mean. Use "
                f"reduction={_MEANS[0]!r}."
            )


def _outputs(whole: Callable, trained, state, metrics, batch, training, optimizer_variables) -> Any:
    """The shapes that the model's outputs, and their masks, have for the whole batch."""
    import jax

    def outputs(trained, state, metrics, batch, optimizer_variables):
        found = whole(trained, state, metrics, *batch, training, optimizer_variables)[1][1]
        return found, masks_of(found)

    return jax.eval_shape(outputs, trained, state, metrics, batch, optimizer_variables)


def _parts(masked: Any, outputs: Any, axis: str) -> Any:
    """One device's outputs and masks, to be put one behind the other along their first axis.

    An output that is as large as that of the whole batch has no batch axis: all devices agree on
    it, and it gets an axis for them, which `_joined` takes away.
    """
    import jax

    def part(path, value, output):
        if value.shape == output.shape:
            return _agreed(value, axis)[None]
        if value.shape[1:] != output.shape[1:]:
            raise ArgumentError(
                f"The output {jax.tree_util.keystr(path[1:])} has shape {output.shape} for the "
                f"whole batch and {value.shape} on each device; `exchange_factors` needs the batch "
                "as the first axis. Transpose it, or train without `exchange_factors`."
            )
        return value

    return jax.tree_util.tree_map_with_path(part, masked, outputs)


def _joined(masked: Any, outputs: Any) -> Any:
    """The outputs for the whole batch, with the masks that each device gave its part."""
    import jax

    y_pred, masks = jax.tree.map(
        lambda v, whole: v if v.shape == whole.shape else v[0], masked, outputs
    )
    set_masks(y_pred, masks)
    return y_pred


def _shard_map(function: Callable, distribution: Any) -> Callable:
    """Runs `function` on each device with its part of the batch, the fourth argument.

    The gradient that reaches the replicated arguments is summed over the devices, there and not
    before: that is the point.
    """
    import jax

    one, split = (
        jax.sharding.PartitionSpec(),
        jax.sharding.PartitionSpec(distribution.batch_dim_name),
    )
    specs = {
        "mesh": distribution.device_mesh.backend_mesh,
        "in_specs": (one, one, one, split, one),
        "out_specs": (one, (one, split, one, one)),
    }
    # Unchecked: Keras' loops start from constants, which the check takes for replicated values.
    if hasattr(jax, "shard_map"):
        return jax.shard_map(function, check_vma=False, **specs)
    from jax.experimental.shard_map import shard_map  # before JAX 0.6

    return shard_map(function, check_rep=False, **specs)


def _own_seeds(state: Sequence[Any], seeds: Sequence[bool], axis: str) -> list[Any]:
    """Gives the generators of every device but the first another seed.

    Relies on: a generator's state is `[seed, draws so far]`.
    """
    import jax

    device = jax.lax.axis_index(axis)
    return [
        value.at[0].add(device.astype(value.dtype)) if is_seed else value
        for value, is_seed in zip(state, seeds, strict=True)
    ]


def _agreed(value: Any, axis: str) -> Any:
    """One value for all devices: the mean, or the first device's for integers and seeds."""
    import jax

    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(value.dtype)):
        return jax.lax.pmean(value, axis)
    first = jax.lax.axis_index(axis) == 0
    return jax.lax.psum(jax.numpy.where(first, value, 0), axis).astype(value.dtype)
