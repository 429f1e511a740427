"""What the toy examples share: images to train on, and the training. Nothing of smh is in here."""

import numpy as np


def synthetic_images(count=48, seed=0, size=128):
    """Each of the 10 classes is a pattern of coloured squares under noise."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 10
    patterns = rng.normal(size=(10, 8, 8, 3)).repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    images = patterns[labels] + 0.5 * rng.normal(size=(count, size, size, 3))
    return images.astype("float32"), labels


def fit(model, pool):
    """Trains a Keras model whose weights lie in `pool`, as any other; returns what was seen."""
    import keras

    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [factor.numpy() for factor in pool.core_variables]
    history = model.fit(*synthetic_images(), batch_size=16, epochs=5, verbose=2)
    return {
        "losses": history.history["loss"],
        "before": before,
        "after": [factor.numpy() for factor in pool.core_variables],
        "trained": [variable.path for variable in model.trainable_variables],
        "pool": pool,
        "model": model,
    }


def train_graph(logits, labels, pool, rate):
    """Trains the network in the current TF1 graph; returns what was seen."""
    import tensorflow as tf

    loss = tf.compat.v1.losses.sparse_softmax_cross_entropy(labels, logits)
    step = tf.compat.v1.train.AdamOptimizer(rate).minimize(loss)
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
