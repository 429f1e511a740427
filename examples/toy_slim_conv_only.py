"""The tutorial on TF1 and tf_slim: only the layer called `conv` comes from the pool.

Run it with `python examples/toy_slim_conv_only.py`; it takes a few seconds. Needs the package
tf_slim.
"""

import tensorflow as tf
from toy_slim import toy_network_tf1
from toy_training import synthetic_images, train_graph

from smh import variable_factory, variable_pool


def main():
    images, labels = synthetic_images(count=20)
    with tf.Graph().as_default():
        tf.compat.v1.set_random_seed(0)
        # Only what is compressed has to fit in: 5 * 5 * 3 * 16 + 16 = 1,216 weights and biases.
        pool = variable_pool.ProductVariablePool(
            trainable=True, pool_size=1216, fraction=0.4, seed=0
        )
        conv_factory = variable_factory.VariableFactory(
            variable_pool=pool,
            apply_to=".*conv.*",  # Apply to variables whose name contains 'conv'.
            modifier=variable_factory.fanout_scale_modifier,
        )
        with tf.compat.v1.variable_scope("SMH", custom_getter=conv_factory.custom_getter):
            logits = toy_network_tf1(tf.constant(images))
        return train_graph(logits, labels, pool, rate=1e-4)


if __name__ == "__main__":
    main()
