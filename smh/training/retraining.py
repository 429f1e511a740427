"""Some epochs for a model that was changed: pruned, or compressed."""

from __future__ import annotations

from collections.abc import Callable

import keras

from smh.datasets import Dataset, batches
from smh.progress import task
from smh.training.objective import Objective

_BATCH = 128


def retraining(
    data: Dataset, epochs: int, seed: int, peak_rate: float = 1e-2
) -> Callable[[keras.Model], None]:
    """Returns a function that trains a model in place on the training examples.

    The optimizer goes afterwards, so that a file of the model has no state of it.

    Args:
        data: what to train on.
        epochs: passes over it.
        seed: decides the order of the examples.
        peak_rate: the highest learning rate of Adam's one cycle.
    """

    def train(model: keras.Model) -> None:
        keras.utils.set_random_seed(seed)
        objective = Objective.of(model, data)
        labelled = objective.labels(data)
        examples = batches(labelled.x_train, labelled.y_train, _BATCH, seed=seed)
        steps = epochs * len(examples)
        objective.compile(model, steps, peak_rate=peak_rate)
        # Keras 3.15 makes the optimizer's variables in the first step, which TensorFlow then traces
        # twice.
        model.optimizer.build(model.trainable_variables)
        with task("training", steps) as advance:
            told = keras.callbacks.LambdaCallback(on_train_batch_end=lambda b, logs: advance(1))
            # The batches are shuffled.
            model.fit(examples, epochs=epochs, shuffle=False, verbose=0, callbacks=[told])
        # Keras writes what `optimizer` holds, and the arguments of `compile` while `compiled`.
        del model.optimizer
        model.compiled = False

    return train
