"""A model that a callback changes: `fit` goes on, as after a change between two fits."""

import keras
import numpy as np
import pytest
from keras import layers
from models import numpy_of

import smh
from smh.errors import DeployedModelError

pytestmark = [pytest.mark.backend_agnostic, pytest.mark.optimizer_built_by_keras]

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(48, 12)).astype("float32"), RNG.integers(0, 3, 48)
FIT = {"batch_size": 16, "shuffle": False, "verbose": 0, "validation_data": (X, Y)}
# What is done, and when: between epochs, and in the middle of one.
DOORS = {
    "compress": (lambda m: smh.compress(m, 0.4), "on_epoch_end"),
    "deploy": (lambda m: smh.deploy(smh.deploy(smh.prune(m, 0.5)), "train"), "on_epoch_begin"),
    "cluster": (lambda m: smh.cluster(m, 3), "on_train_batch_begin"),
    "factors": (lambda m: smh.quantize_factors(smh.compress(m, 0.4), 4), "on_train_batch_end"),
    "shrink": (lambda m: smh.shrink(m, X[:16], target_size=2500), "on_epoch_end"),
}


def network(**options):
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(24, "relu", name="first"),
            layers.BatchNormalization(name="normal"),
            layers.Dense(3, name="last"),
        ],
        name="network",
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01, **options), loss, metrics=["accuracy"])
    return model


class Once(keras.callbacks.Callback):
    """Calls `act` on the model the first time that `moment` is there at the given count."""

    def __init__(self, act, moment, count):
        super().__init__()
        self.done = False

        def call(at, logs=None):
            if at == count and not self.done:
                self.done = True
                act(self.model)

        setattr(self, moment, call)


@pytest.mark.parametrize("door", DOORS)
def test_fit_goes_on_after_a_callback_has_changed_the_model(door):
    """Between two epochs as between two fits, to the number."""
    act, moment = DOORS[door]
    model, once = network(), Once(act, moment, 0 if moment == "on_epoch_end" else 1)
    losses = model.fit(X, Y, epochs=4, callbacks=[once], **FIT).history["loss"]
    assert once.done and np.isfinite(losses).all() and losses[3] < losses[1]
    np.testing.assert_allclose(model.predict(X, verbose=0), numpy_of(model(X)), atol=1e-5)
    if "epoch" in moment:
        apart = network()
        expected = apart.fit(X, Y, **FIT).history["loss"]
        act(apart)
        expected += apart.fit(X, Y, epochs=3, **FIT).history["loss"]
        np.testing.assert_allclose(losses, expected, atol=1e-4)
    before = [numpy_of(v) for v in model.trainable_variables]
    model.fit(X, Y, **FIT)
    after = [numpy_of(v) for v in model.trainable_variables]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("moment", ["on_epoch_begin", "on_train_batch_end"])
def test_deployed_by_a_callback_says_why_there_is_no_next_step(moment):
    model = smh.compress(network(), 0.4)
    once = Once(lambda m: smh.deploy(m, "cached"), moment, 0)
    with pytest.raises(DeployedModelError, match="deploy"):
        model.fit(X, Y, callbacks=[once], **FIT)
    smh.deploy(model, "train")
    assert np.isfinite(model.fit(X, Y, **FIT).history["loss"]).all()


USES = {
    "cluster": lambda m, path: smh.cluster(m, 3),
    "save": lambda m, path: smh.save(m, path / "model.smh"),
    "materialize": lambda m, path: smh.materialize(m),
    "export": lambda m, path: smh.export(m, path / "model.keras", "keras"),
}


@pytest.mark.parametrize("use", USES)
def test_a_callback_may_use_a_model_that_it_knows_from_elsewhere(use, tmp_path):
    """On JAX the numbers are with `fit` until the callback asks for `self.model`."""
    model = smh.prune(network(), 0.5)
    once = Once(lambda _: USES[use](model, tmp_path), "on_train_batch_end", 1)
    once.set_model = lambda _: None  # `self.model` would ask
    losses = model.fit(X, Y, callbacks=[once], **FIT).history["loss"]
    assert (
        once.done and np.isfinite(losses).all() and np.isfinite(model.predict(X, verbose=0)).all()
    )


@pytest.mark.parametrize("epoch", [0, 1])
def test_weights_are_averaged_from_where_they_changed(epoch):
    """`fit` ends by setting the weights to the averages, of whatever steps there were."""
    model = network(use_ema=True)
    once = Once(lambda m: smh.prune(m, 0.5), "on_epoch_end", epoch)
    model.fit(X, Y, epochs=2, callbacks=[once], **FIT)
    kernels = [numpy_of(model.layers[place].kernel) for place in (0, 2)]
    assert once.done and all(0.4 < (kernel != 0).mean() <= 0.51 for kernel in kernels)


@pytest.mark.parametrize("method", ["evaluate", "predict"])
def test_data_without_a_length_end_after_a_change(method):
    moment = {"evaluate": "on_test_batch_end", "predict": "on_predict_batch_end"}[method]
    model, once = network(), Once(lambda m: smh.cluster(m, 2), moment, 2)
    batches = ((X[i : i + 16], Y[i : i + 16]) for i in (0, 16, 32))
    getattr(model, method)(batches, callbacks=[once], verbose=0)
    assert once.done and np.isfinite(model.predict(X, verbose=0)).all()


def test_an_interrupted_step_leaves_the_weights():
    def interrupted(model):
        smh.compress(model, 0.4)
        model.make_train_function = lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)

    model, once = network(), Once(interrupted, "on_train_batch_end", 1)
    with pytest.raises(KeyboardInterrupt):
        model.fit(X, Y, callbacks=[once], **FIT)
    del model.make_train_function
    assert np.isfinite(model.fit(X, Y, **FIT).history["loss"]).all()


def test_outside_of_fit_nothing_is_put_back():
    """A step that failed left the numbers of before with the trainer, on JAX."""
    model = network()
    model.fit(X, Y, **FIT)
    with pytest.raises(Exception):  # noqa: B017  every backend has its own
        model.predict_on_batch(X[:, :3])
    model.set_weights([np.full(w.shape, 5, "float32") for w in model.get_weights()])
    smh.report(model)
    assert all((w == 5).all() for w in model.get_weights())


def test_between_two_fits_layers_may_be_frozen_and_functions_wrapped():
    calls = []

    class Counting(keras.Sequential):
        def make_train_function(self, force=False):
            super().make_train_function(force)
            made = self.train_function
            self.train_function = lambda *args: calls.append(1) or made(*args)
            return self.train_function

    model = Counting(network().layers)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(X, Y, **FIT)
    smh.prune(model, 0.5)
    model.layers[0].trainable = False
    calls.clear()
    model.fit(X, Y, **FIT)
    assert len(calls) == 3
