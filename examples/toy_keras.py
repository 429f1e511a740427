"""The tutorial on Keras, as published: every variable of the toy network comes from one pool.

Run it with `python examples/toy_keras.py`; it takes a few seconds and needs no data.
`tf.compat.v2.keras.layers` is Keras 3 here; `keras.layers` works the same.
"""

import keras
import numpy as np
import tensorflow as tf

from smh import variable_factory, variable_pool


def toy_network_tf2(images):
    net = tf.compat.v2.keras.layers.Conv2D(16, (5, 5), padding="same", activation="relu")(images)
    net = tf.compat.v2.keras.layers.MaxPool2D(pool_size=(2, 2), strides=2)(net)
    net = tf.compat.v2.keras.layers.Flatten()(net)
    logits = tf.compat.v2.keras.layers.Dense(10)(net)

    return logits


def synthetic_images(count=48, seed=0):
    """Each of the 10 classes is a pattern of coloured squares under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    patterns = rng.normal(size=(10, 8, 8, 3)).repeat(16, axis=1).repeat(16, axis=2)
    images = patterns[labels] + 0.5 * rng.normal(size=(count, 128, 128, 3))
    return images.astype("float32"), labels


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
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [factor.numpy() for factor in pool.core_variables]
    history = model.fit(*synthetic_images(), batch_size=16, epochs=5, verbose=2)
    print(f"{pool.status:,} weights from {model.count_params():,} trained numbers")
    return {
        "losses": history.history["loss"],
        "before": before,
        "after": [factor.numpy() for factor in pool.core_variables],
        "trained": [variable.path for variable in model.trainable_variables],
        "pool": pool,
        "model": model,
    }


if __name__ == "__main__":
    main()
