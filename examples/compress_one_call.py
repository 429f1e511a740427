"""The short way: compress a Keras model that is built already, train, report, make it plain again.

Run it with `python examples/compress_one_call.py`; it takes a few seconds.
"""

import keras
import numpy as np
from toy_training import synthetic_images

import smh


def network():
    return keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            keras.layers.Conv2D(16, 5, padding="same", activation="relu", name="conv"),
            keras.layers.MaxPool2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(64, activation="relu", name="hidden"),
            keras.layers.Dense(10, name="out"),
        ]
    )


def main():
    images, labels = synthetic_images(count=200, size=32)
    model = network()

    # One call: the kernels become slices of one product, biases stay as they are.
    smh.compress(model, fraction=0.1, seed=0)

    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    before = [variable.numpy() for variable in model.trainable_variables]
    history = model.fit(images, labels, batch_size=20, epochs=5, verbose=2)
    print(smh.report(model))

    # A plain Keras model with the same predictions, for tools that know nothing of smh.
    plain = smh.materialize(model)
    difference = np.abs(plain.predict(images, verbose=0) - model.predict(images, verbose=0)).max()
    print(f"largest difference between the predictions of both: {difference:.1e}")
    return {
        "losses": history.history["loss"],
        "before": before,
        "after": [variable.numpy() for variable in model.trainable_variables],
        "trained": [variable.path for variable in model.trainable_variables],
        "model": model,
        "plain": plain,
        "difference": float(difference),
    }


if __name__ == "__main__":
    main()
