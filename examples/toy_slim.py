"""The tutorial on TF1 and tf_slim: every variable comes from one pool.

Run it with `python examples/toy_slim.py`; it takes a few seconds. Needs the package tf_slim (and
`import smh.tf_slim_compat` in networks with `slim.batch_norm`).
"""

import tensorflow as tf
import tf_slim as slim
from toy_training import synthetic_images, train_graph

from smh import variable_factory, variable_pool


def toy_network_tf1(images, scope="ToyNetwork"):
    with tf.compat.v1.variable_scope(scope, "ToyNetwork"):
        net = slim.conv2d(images, 16, [5, 5], scope="conv")
        net = slim.max_pool2d(net, [2, 2], 2, scope="pool")
        net = slim.flatten(net)
        # Without `activation_fn=None` slim ends the layer in a relu, which cuts logits off.
        logits = slim.fully_connected(net, 10, activation_fn=None, scope="fully_connected")

    return logits


def main():
    images, labels = synthetic_images(count=20)
    with tf.Graph().as_default():
        tf.compat.v1.set_random_seed(0)
        pool = variable_pool.ProductVariablePool(
            trainable=True, pool_size=7e5, fraction=0.4, seed=0
        )
        factory = variable_factory.VariableFactory(
            variable_pool=pool,
            apply_to=".*",  # Apply to every variable created in the model.
            modifier=variable_factory.fanout_scale_modifier,
        )
        with tf.compat.v1.variable_scope("SMH", custom_getter=factory.custom_getter):
            logits = toy_network_tf1(tf.constant(images))
        return train_graph(logits, labels, pool, rate=1e-3)


if __name__ == "__main__":
    main()
