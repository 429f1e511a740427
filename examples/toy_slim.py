"""The tutorial on TF1 and tf_slim: every variable comes from one pool.

Run it with `python examples/toy_slim.py`; it takes a few seconds. Needs the package tf_slim (and
`import smh.tf_slim_compat` in networks with `slim.batch_norm`).
"""

import numpy as np
import tensorflow as tf
import tf_slim as slim

from smh import variable_factory, variable_pool


def toy_network_tf1(images, scope="ToyNetwork"):
    with tf.compat.v1.variable_scope(scope, "ToyNetwork"):
        net = slim.conv2d(images, 16, [5, 5], scope="conv")
        net = slim.max_pool2d(net, [2, 2], 2, scope="pool")
        net = slim.flatten(net)
        # Without `activation_fn=None` slim ends the layer in a relu, which cuts logits off.
        logits = slim.fully_connected(net, 10, activation_fn=None, scope="fully_connected")

    return logits


def synthetic_images(count=20, seed=0):
    """Each of the 10 classes is a pattern of coloured squares under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    patterns = rng.normal(size=(10, 8, 8, 3)).repeat(16, axis=1).repeat(16, axis=2)
    images = patterns[labels] + 0.5 * rng.normal(size=(count, 128, 128, 3))
    return images.astype("float32"), labels


def main():
    images, labels = synthetic_images()
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
        loss = tf.compat.v1.losses.sparse_softmax_cross_entropy(labels, logits)
        step = tf.compat.v1.train.AdamOptimizer(1e-3).minimize(loss)

        with tf.compat.v1.Session() as session:
            session.run(tf.compat.v1.global_variables_initializer())
            before = session.run(pool.core_variables)
            losses = [session.run([loss, step])[0] for _ in range(15)]
            after = session.run(pool.core_variables)
        trained = [variable.op.name for variable in tf.compat.v1.trainable_variables()]

    print(f"loss {losses[0]:.2f} -> {losses[-1]:.2f}; trained: {', '.join(trained)}")
    return {
        "losses": losses,
        "before": before,
        "after": after,
        "trained": trained,
        "pool": pool,
        "loss": loss,
    }


if __name__ == "__main__":
    main()
