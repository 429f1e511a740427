"""The tutorial on Keras: only the layer that is wrapped in the scope comes from the pool.

Run it with `python examples/toy_keras_one_layer.py`; it takes a few seconds.
"""

import keras
import tensorflow as tf
from toy_training import fit

from smh import variable_factory, variable_pool


def toy_network(images, var_factory):
    with tf.variable_creator_scope(var_factory.custom_getter_tf2):
        net = keras.layers.Conv2D(16, (5, 5), padding="same", activation="relu", name="conv")(
            images
        )
    net = keras.layers.MaxPool2D(pool_size=(2, 2), strides=2)(net)
    net = keras.layers.Flatten()(net)
    return keras.layers.Dense(10, name="dense")(net)


def main():
    # The convolution has 5 * 5 * 3 * 16 + 16 = 1,216 numbers: a small pool is enough.
    pool = variable_pool.ProductVariablePool(trainable=True, pool_size=1216, fraction=0.4, seed=0)
    factory = variable_factory.VariableFactory(
        variable_pool=pool, apply_to=".*", modifier=variable_factory.fanout_scale_modifier
    )
    images = keras.Input((128, 128, 3))
    model = keras.Model(images, toy_network(images, factory))

    seen = fit(model, pool)
    print("trained:", ", ".join(variable.path for variable in model.trainable_variables))
    return seen


if __name__ == "__main__":
    main()
