"""The tutorial on Keras, as published: every variable of the toy network comes from one pool.

Run it with `python examples/toy_keras.py`; it takes a few seconds and needs no data.
`tf.compat.v2.keras.layers` is Keras 3 here; `keras.layers` works the same.
"""

import keras
import tensorflow as tf
from toy_training import fit

from smh import variable_factory, variable_pool


def toy_network_tf2(images):
    net = tf.compat.v2.keras.layers.Conv2D(16, (5, 5), padding="same", activation="relu")(images)
    net = tf.compat.v2.keras.layers.MaxPool2D(pool_size=(2, 2), strides=2)(net)
    net = tf.compat.v2.keras.layers.Flatten()(net)
    logits = tf.compat.v2.keras.layers.Dense(10)(net)

    return logits


def main():
    # Step 1: the network has 656,586 weights and biases, so a pool of 700,000 holds them.
    # Step 2: the pool, of which only 40 % are numbers that are trained, and the factory.
    pool = variable_pool.ProductVariablePool(trainable=True, pool_size=7e5, fraction=0.4, seed=0)
    factory = variable_factory.VariableFactory(
        variable_pool=pool,
        apply_to=".*",  # Apply to every variable created in the model.
        modifier=variable_factory.fanout_scale_modifier,
    )

    # Step 3: build the network inside the scope. With `keras.Input` the layers are built here.
    images = keras.Input((128, 128, 3))
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        logits = toy_network_tf2(images)
    model = keras.Model(images, logits)

    # From here on it is a Keras model like any other.
    seen = fit(model, pool)
    print(f"{pool.status:,} weights from {model.count_params():,} trained numbers")
    return seen


if __name__ == "__main__":
    main()
