"""The door for built models: `smh.compress`."""

from __future__ import annotations

import math
import numbers
import warnings
from typing import Any, Literal

import keras

from smh.blueprint.describe import sources
from smh.doors.built import check_is_built
from smh.doors.compressible import numbers_in, select
from smh.doors.pools_for import fit_of, make_pools, start_at
from smh.errors import ArgumentError, SmhWarning
from smh.errors.limits import FRACTION
from smh.modifiers import Modifier, ScaleModifier, as_modifier, initial_std_modifier
from smh.modifiers.checking import checked_parts, tried
from smh.parametrizations.pool_slice import PoolSlice, check_shape
from smh.typing import Selector
from smh.variable_pool import VariablePool
from smh.virtual_variable import attach, creation_scope, own_layers, wrap_calls
from smh.virtual_variable.given import check_not_deployed
from smh.virtual_variable.inside_keras.raw_variables import is_torch_module, raw_variables
from smh.virtual_variable.inside_keras.training_state import reset_training


def compress(
    model: keras.Model,
    fraction: float | None = None,
    *,
    target_params: int | None = None,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    pool: VariablePool | None = None,
    modifier: Any = initial_std_modifier,
    seed: int | None = None,
    init: Literal["random", "fit"] = "random",
    blocks: int | Literal["auto"] = 1,
) -> keras.Model:
    """Replaces the selected weights of a built model by slices of one product, in place.

    The model then trains `L` and `R` of `M = L @ R` and one scale per weight instead of the
    weights. Its architecture, layers and the way it is called and trained stay as they are.
    Give exactly one of `fraction`, `target_params` and `pool`.

    Args:
        model: a built Keras 3 model of any kind, or a layer.
        fraction: numbers in the factors over numbers in the selected weights, in (0, 1]. The
            factors come within one replica (rows + columns of the pool) below it, never above.
        target_params: trainable numbers of the whole model afterwards; reached within one
            replica from below.
        apply_to: what to select: a pattern, a function of the variable, or a list of these. A path,
            or the end of paths after a `/`, means those variables alone (`fc1/kernel`); any other
            pattern is a regular expression that matches (`re.match`) from the begin of a path or of
            a bare name (`.*fc`, `kernel`). Default: kernels, embeddings and other trained weights
            of rank 2 or more; biases and scales stay, of any rank. `smh.doors.weight_roles` lists
            the roles.
        exclude: what to leave dense, in the same form.
        pool: a pool of your own, or one that another model uses already.
        modifier: applied to each slice. Default: a learned scale that starts at the standard
            deviation the weight has now. `None`: the slice as it is.
        seed: makes the factors repeatable.
        init: how the factors start. `"random"`: what the weights had learned is gone. `"fit"`: at
            the best fit of the weights that the model has, each over its root mean square, so that
            all count alike; the scales start at what then fits best. See below.
        blocks: about how many products the entries are cut into. 1: one pool, as published. `K`
            products with as many numbers together cost `1 / sqrt(K)` of that: a weight of more than
            `1 / K` of all has a pool of its own, in as many blocks as it has such shares; the
            others share pools. `"auto"`: as many as leave each about a million entries and 16
            replicas; a small model has one.

    Returns:
        The same model.

    Start from trained weights with `init="fit"`, if the model is to be trained on for less than it
    was trained at first. Weights of a network have little structure that a pool can use: of
    independent ones the best fit keeps 62, 38, 17, 9 and 4 % of the energy at a fraction of 0.5,
    0.25, 0.1, 0.05 and 0.02, so that the model is not usable before it is trained on. What it kept
    is `pool.energy_kept`, and is logged (logger `smh`). LeNet-5 at 0.1 had 2.6 % errors after one
    epoch from a fit, 3.6 % from a random start; after five, 1.6 and 1.8 %: it helps a short
    training, a long one hardly (benchmarks/README.md). On a model that was not trained it gives
    nothing. It needs a pool that `compress` makes and a modifier that is one learned scale.

    Raises:
        UnbuiltModelError: the model has no weights yet.
        SelectionError: nothing is selected, or a variable that cannot be compressed; one that its
            layer assigns to (`SpectralNormalization`); LoRA adapters, without `apply_to`.
        ArgumentError: a value that cannot work, such as more blocks than the fraction has replicas
            for, or a modifier whose `parts` or `apply` fail.
        PoolExhaustedError: `pool` is too small.
        In every case the model is as it was.

    Cost: each outermost call adds `rows * cols * replicas` multiply-adds, about
    `fraction / 2 * numel ** 1.5`, independent of the batch size, and by `blocks=K` a share of
    `1 / sqrt(K)` of that. A fit takes some 25 times that,
    once, and memory for the factors, as much again while it runs, and no copy of the weights.

    Example:
        >>> model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(300)])
        >>> smh.compress(model, fraction=0.1).count_params()
        23581

    Reference: Eban et al., "Structured Multi-Hashing for Model Compression", CVPR 2020.
    """
    _check_is_built(model)
    check_not_deployed(model, "compressing more of it")
    modifier = as_modifier(modifier)
    _check_init(init, pool, modifier)
    selected = select(model, apply_to, exclude)
    if pool is None:
        budget = _budget(model, selected, modifier, fraction, target_params)
        taken = {one.name for one in sources(model)}
        pools = make_pools(selected, budget, fraction, target_params, blocks, seed, taken)
    else:
        _check_own_pool(pool, selected, fraction, target_params, seed, blocks)
        pools = [(pool, selected)]
    _check_modifier(modifier, selected)
    existing_factors = pool.core_variables if pool is not None and pool.built else []
    scope = creation_scope([item.variable for item in selected], existing_factors)
    _warn_about_raw_variables(model)
    fits = [fit_of(one, its, seed) if init == "fit" else None for one, its in pools]

    with scope:
        for one, _ in pools:
            one.core_variables  # noqa: B018  (builds the factors before anything is changed)
        for (one, its), fit in zip(pools, fits, strict=True):
            slices = [
                PoolSlice(item.spec, one, one.allocate(item.spec.shape), modifier) for item in its
            ]
            if fit is not None:
                start_at(fit, one, slices)
            for item, pool_slice in zip(its, slices, strict=True):
                attach(list(item.owners), item.variable, pool_slice)
        wrap_calls(model)
        reset_training(model)
    return model


def _check_is_built(model: Any) -> None:
    for layer in check_is_built(model):
        warnings.warn(
            f"Layer '{layer.name}' ({type(layer).__name__}) is not built; weights that it creates "
            "later stay dense.",
            SmhWarning,
            stacklevel=3,
        )


def _check_init(init: Any, pool: VariablePool | None, modifier: Modifier) -> None:
    if init not in ("random", "fit"):
        raise ArgumentError(
            f"init must be 'random' or 'fit' (to the weights that the model has), got {init!r}."
        )
    if init == "fit" and pool is not None:
        raise ArgumentError(
            "init='fit' changes all factors of a pool, so it needs one that smh.compress makes. "
            "Give fraction= or target_params= instead of pool=, or leave out init=."
        )
    if init == "fit" and not (isinstance(modifier, ScaleModifier) and modifier.is_plain):
        raise ArgumentError(
            "init='fit' needs a modifier that is one learned scale, such as the default, got "
            f"{type(modifier).__name__}: what its slices should be fitted to is not known. Leave "
            "out modifier=, or init=."
        )


def _budget(model, selected, modifier: Modifier, fraction, target_params) -> int:
    """How many numbers the factors may have."""
    if (fraction is None) == (target_params is None):
        raise ArgumentError(
            "Give exactly one of fraction, target_params and pool, for example "
            f"smh.compress(model, fraction=0.1). Got fraction={fraction}, "
            f"target_params={target_params}, pool=None."
        )
    total = numbers_in(selected)
    if fraction is not None:
        return math.floor(FRACTION.checked(fraction, "fraction") * total + 1e-9)
    if not isinstance(target_params, numbers.Integral) or isinstance(target_params, bool):
        raise ArgumentError(f"target_params must be a whole number, got {target_params!r}.")
    now = sum(math.prod(v.shape) for v in model.trainable_variables)
    parts = sum(v.size for item in selected for v in checked_parts(modifier, item.spec).values())
    if target_params > now:
        raise ArgumentError(
            f"target_params={target_params:,} is more than the {now:,} that the model trains now."
        )
    return int(target_params) - (now - total) - int(parts)


def _check_own_pool(pool, selected, fraction, target_params, seed, blocks) -> None:
    if not isinstance(pool, VariablePool):
        raise ArgumentError(f"pool must be a VariablePool, got {type(pool).__name__}.")
    given = {"fraction": fraction, "target_params": target_params, "seed": seed}
    for name, value in {**given, "blocks": None if blocks == 1 else blocks}.items():
        if value is not None:
            raise ArgumentError(f"{name} is decided by `pool` already; leave out one of the two.")
    pool.check_not_in_a_graph()
    pool.index_store.check(numbers_in(selected))


def _check_modifier(modifier: Modifier, selected) -> None:
    """Tries the modifier on the smallest weight, so that a faulty one fails before any change."""
    for item in selected:
        checked_parts(modifier, item.spec)
    spec = min((item.spec for item in selected), key=lambda spec: math.prod(spec.shape))
    check_shape(tried(modifier, spec, checked_parts(modifier, spec)), spec)


def _warn_about_raw_variables(model) -> None:
    for layer in own_layers(model):
        if is_torch_module(layer):
            warnings.warn(
                f"Layer '{layer.name}' wraps a PyTorch module, which reads its own parameters, so "
                "they stay dense. Use Keras layers for what is to be compressed.",
                SmhWarning,
                stacklevel=3,
            )
        for name in raw_variables(layer):
            warnings.warn(
                f"Layer '{layer.name}' holds the raw tf.Variable '{name}', which Keras does not "
                "track: it is neither compressed nor trained by fit. Use self.add_weight(...).",
                SmhWarning,
                stacklevel=3,
            )
