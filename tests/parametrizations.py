"""The table of parametrizations that the laws run over.

Run as a script, it is the new process: `python parametrizations.py DIR` loads `DIR/NAME.weights.h5`
into each rebuilt model and writes its predictions to `DIR/loaded.npz`.
"""

import os
import sys

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh.modifiers import (
    fanout_scale_modifier,
    initial_std_log_scale_modifier,
    initial_std_modifier,
    modifier_factory,
    sign_fw_modifier,
    variable_fanout_scale_modifier,
    variable_log_scale_modifier,
    variable_scale_modifier,
)
from smh.parametrizations.counting import Steps
from smh.parametrizations.stepped import Stepped
from smh.pools.shape import choose_sides
from smh.virtual_variable import Parametrization, parametrize, stored_variable


@keras.saving.register_keras_serializable(package="tests")
class Gated(Parametrization):
    """A parametrization without a pool: `gate * weight`, both trained. Shows the mechanism."""

    def __init__(self, weight, gate):
        self.weight, self.gate = weight, gate

    @classmethod
    def of(cls, variable):
        weight = ops.convert_to_numpy(variable.value)
        return cls(
            stored_variable(f"{variable.path}/weight", weight),
            stored_variable(f"{variable.path}/gate", np.full((), 0.5, "float32")),
        )

    @classmethod
    def from_config(cls, config, spec, parts, source=None, slot=None):
        return cls(parts["weight"], parts["gate"])

    @property
    def parts(self):
        return self.weight, self.gate

    def value(self, piece):
        return self.gate.value * self.weight.value

    def describe(self):
        return "gated"


@keras.saving.register_keras_serializable(package="tests")
def small_tanh(tensor):
    return ops.tanh(tensor) * 0.1


def network():
    x = keras.Input((10, 10, 2))
    y = layers.Conv2D(8, 3, activation="relu", name="conv")(x)
    y = layers.Flatten()(y)
    shared = layers.Dense(12, activation="tanh", name="shared")
    y = shared(layers.Dense(12, name="wide")(y))
    return keras.Model(x, layers.Dense(3, name="head")(shared(y)))


def inputs():
    return np.random.default_rng(0).normal(size=(16, 10, 10, 2)).astype("float32")


def with_pool(make, modifier=initial_std_modifier):
    return lambda model, seed: smh.compress(model, pool=make(seed), modifier=modifier)


def gated(model, seed):
    kernels = [variable for variable in model.trainable_variables if variable.name == "kernel"]
    return parametrize(model, [(variable, Gated.of(variable)) for variable in kernels])


def product(seed, **kwargs):
    return smh.ProductVariablePool(True, 7000, 0.3, seed=seed, **kwargs)


def rounded(bits, compress=lambda model, seed: smh.compress(model, 0.2, seed=seed)):
    return lambda model, seed: smh.quantize_factors(compress(model, seed), bits)


def pruned(model, seed):
    return smh.prune(model, 0.6, seed=seed)


def shared_values(model, seed):
    return smh.cluster(model, 3)


def shrunk(**options):
    def apply(model, seed):
        smh.shrink(model, **options)
        return model

    return apply


def by_channels(model, seed):
    """A step for each output, as `smh.shrink` takes where it pays."""
    kernels = [variable for variable in model.trainable_variables if variable.name == "kernel"]
    pairs = []
    for variable in kernels:
        weight = ops.convert_to_numpy(variable.value)
        steps = Steps(0.0625, np.arange(weight.shape[-1]) % 5, weight.ndim - 1)
        pairs.append((variable, Stepped.of(variable.path, weight, steps)))
    return parametrize(model, pairs)


def then(*steps):
    def apply(model, seed):
        for step in steps:
            model = step(model, seed)
        return model

    return apply


def compressed(model, seed):
    return smh.compress(model, 0.4, seed=seed)


def pool_of_blocks(seed):
    """One pool, whose blocks begin and end somewhere in the weights."""
    return smh.ProductVariablePool.from_shape(choose_sides([(7000,)], 2100, blocks=3), seed=seed)


sum_of_pools = with_pool(lambda seed: smh.MetaVariablePool(True, 1.0, 7000, 0.3, seed=seed))

PARAMETRIZATIONS = {
    "default": lambda model, seed: smh.compress(model, 0.2, seed=seed),
    "plain slice": lambda model, seed: smh.compress(model, 0.2, modifier=None, seed=seed),
    "published": with_pool(product, fanout_scale_modifier),
    "learned fanout": with_pool(product, variable_fanout_scale_modifier),
    "two scales": with_pool(
        product, modifier_factory([variable_scale_modifier, variable_fanout_scale_modifier])
    ),
    "logarithmic scale": with_pool(product, initial_std_log_scale_modifier),
    "logarithmic and other scales": with_pool(
        product,
        modifier_factory(
            [variable_log_scale_modifier, variable_log_scale_modifier, initial_std_modifier]
        ),
    ),
    "binary": with_pool(product, modifier_factory([sign_fw_modifier, initial_std_modifier])),
    "function": with_pool(product, small_tanh),
    "kronecker": with_pool(lambda seed: product(seed, use_kronecker_product=True)),
    "cyclic": with_pool(
        lambda seed: smh.ProductVariablePool(True, 2000, 0.3, seed=seed, index_store_type="cyclic")
    ),
    "padding": with_pool(
        lambda seed: smh.ProductVariablePool(True, 6400, 0.3, seed=seed, index_store_type="padding")
    ),
    "hash": with_pool(lambda seed: smh.HashVariablePool(True, 1.0, 7000, 0.3, seed=seed)),
    "random hash": with_pool(
        # The hash itself is part of the architecture: the same seed in every process.
        lambda seed: smh.HashVariablePool(True, 1.0, 7000, 0.3, seed=11, hashing="random")
    ),
    "sum of pools": sum_of_pools,
    "product of pools": with_pool(
        lambda seed: smh.MetaVariablePool(True, 1.0, 7000, 0.3, reduce_by="PROD", seed=seed)
    ),
    "blocks": lambda model, seed: smh.compress(model, 0.3, seed=seed, blocks=6),
    "4-bit factors of one pool of blocks": rounded(4, with_pool(pool_of_blocks)),
    "without a pool": gated,
    "4-bit factors": rounded(4),
    "2-bit factors of a sum": rounded(2, sum_of_pools),
    "4-bit weights": lambda model, seed: smh.quantize_weights(model, 4),
    "shrunk weights": shrunk(quality=30),
    "shrunk by channels": by_channels,
    "pruned": pruned,
    "shared values": shared_values,
    "pruned, shared values": then(pruned, shared_values),
    "pruned factors": then(compressed, pruned),
    "shared values of factors": then(compressed, shared_values),
    "pruned factors of a sum, shared values": then(sum_of_pools, pruned, shared_values),
    # Finer: at 30 a weight is left with one size, which rounding it to one bit does not change.
    "pruned, shrunk": then(pruned, shrunk(quality=60)),
    "shrunk factors": then(compressed, shrunk(quality=30)),
    "pruned 4-bit factors": then(compressed, pruned, rounded(4, lambda model, seed: model)),
}
# For tests that take seconds with each: the rest of the table is left to `make test-all`.
QUICK = (
    "default",
    "two scales",
    "logarithmic scale",
    "sum of pools",
    "2-bit factors of a sum",
    "4-bit weights",
    "shrunk by channels",
    "pruned, shrunk",
) + (
    "pruned",
    "pruned factors of a sum, shared values",
)
SOME_PARAMETRIZATIONS = [
    pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in PARAMETRIZATIONS
]


if __name__ == "__main__":
    folder = sys.argv[1]
    loaded = {}
    for name, change in PARAMETRIZATIONS.items():
        if not os.path.exists(f"{folder}/{name}.weights.h5"):
            continue
        keras.utils.clear_session()
        model = change(network(), seed=99)
        model.load_weights(f"{folder}/{name}.weights.h5")
        loaded[name] = model.predict(inputs(), verbose=0)
    np.savez(f"{folder}/loaded.npz", **loaded)
