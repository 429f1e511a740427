"""The tutorial on Keras: only the kernels come from the pool, the biases stay variables.

Run it with `python examples/toy_keras_kernels_only.py`; it takes a few seconds.
"""

import keras
import tensorflow as tf
from toy_training import fit

from smh import variable_factory, variable_pool


def toy_network(images):
    net = keras.layers.Conv2D(16, (5, 5), padding="same", activation="relu", name="conv")(images)
    net = keras.layers.MaxPool2D(pool_size=(2, 2), strides=2)(net)
    net = keras.layers.Flatten()(net)
    return keras.layers.Dense(10, name="dense")(net)


def main():
    pool = variable_pool.ProductVariablePool(trainable=True, pool_size=7e5, fraction=0.4, seed=0)
    kernel_factory = variable_factory.VariableFactory(
        variable_pool=pool,
        apply_to=".*kernel.*",  # Kernel variables have default name of 'kernel' for Keras layers.
        modifier=variable_factory.fanout_scale_modifier,
    )
    images = keras.Input((128, 128, 3))
    with tf.variable_creator_scope(kernel_factory.custom_getter_tf2):
        logits = toy_network(images)
    model = keras.Model(images, logits)

    seen = fit(model, pool)
    for variable, place in kernel_factory.layer_name_variable_index_map.items():
        print(f"{variable}: {'stays dense' if place is None else f'entries {place} of the pool'}")
    return seen


if __name__ == "__main__":
    main()
