"""Modifiers: what may happen to a weight after it is cut from the pool.

Run it with `python examples/modifiers.py`; it trains the same small network once with each.
"""

import keras
import numpy as np
import tensorflow as tf

from smh import variable_factory, variable_pool


def halve(tensor):
    """Any function of one tensor that keeps its shape is a modifier."""
    return 0.5 * tensor


class SignMixture(variable_factory.Modifier):
    """A modifier with a variable of its own: a learned mixture of the weight and its sign."""

    def parts(self, spec):
        """Initial values by name; one variable of each is made for every weight."""
        return {"mix": np.float32(0.5)}

    def apply(self, tensor, parts):
        return parts["mix"] * keras.ops.sign(tensor) + (1 - parts["mix"]) * tensor


MODIFIERS = {
    # Published. `fanout_scale_modifier` is another name of the first.
    "constant_fanout_scale": variable_factory.constant_fanout_scale_modifier,
    "variable_fanout_scale": variable_factory.variable_fanout_scale_modifier,
    "variable_scale": variable_factory.variable_scale_modifier,
    "relu": variable_factory.relu_modifier,
    "sign_fw": variable_factory.sign_fw_modifier,
    # Several, one after the other: a binary weight times a learned number.
    "chain": variable_factory.modifier_factory(
        [variable_factory.sign_fw_modifier, variable_factory.variable_fanout_scale_modifier]
    ),
    # Your own.
    "function": halve,
    "class": SignMixture(),
}


def network(modifier):
    """A small network whose kernels come from a pool through `modifier`."""
    pool = variable_pool.ProductVariablePool(trainable=True, pool_size=6000, fraction=0.4, seed=0)
    factory = variable_factory.VariableFactory(pool, ".*kernel", modifier)
    images = keras.Input((16, 16, 3))
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        net = keras.layers.Conv2D(8, (3, 3), padding="same", activation="relu", name="conv")(images)
        net = keras.layers.MaxPool2D()(net)
        net = keras.layers.Flatten()(net)
        logits = keras.layers.Dense(10, name="dense")(net)
    return keras.Model(images, logits), pool


def synthetic_images(count=100, seed=0):
    """Each of the 10 classes is a pattern of coloured squares under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    patterns = rng.normal(size=(10, 8, 8, 3)).repeat(2, axis=1).repeat(2, axis=2)
    images = patterns[labels] + 0.5 * rng.normal(size=(count, 16, 16, 3))
    return images.astype("float32"), labels


def train(name):
    """Trains with one modifier; returns what happened."""
    model, pool = network(MODIFIERS[name])
    optimizer = keras.optimizers.Adam(5e-3)
    model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [factor.numpy() for factor in pool.core_variables]
    losses = model.fit(*synthetic_images(), batch_size=20, epochs=4, verbose=0).history["loss"]
    trained = [variable.path for variable in model.trainable_variables]
    own = [path for path in trained if path.startswith(("conv/kernel/", "dense/kernel/"))]
    print(f"{name:22} loss {losses[0]:8.2f} -> {losses[-1]:8.2f}   own variables: {own}")
    return {
        "losses": losses,
        "before": before,
        "after": [factor.numpy() for factor in pool.core_variables],
        "trained": trained,
        "pool": pool,
        "model": model,
    }


def main():
    return {name: train(name) for name in MODIFIERS}


if __name__ == "__main__":
    main()
