"""What frozen layers cost: no copy where nothing of a pool is trained, none in a file without need.

Whatever is frozen, in whatever order: predictions stay, a file is as small as it can be, and what
is loaded from it is frozen in the same way.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic
NAMES = ("a", "b", "c")


def base(seed=0):
    keras.utils.set_random_seed(seed)
    x = y = keras.Input((12,))
    for name in NAMES:
        y = layers.Dense(30, "relu", name=name)(y)
    return smh.compress(keras.Model(x, layers.Dense(4, name="top")(y)), 0.1, seed=seed)


def with_new_head(model):
    """The usual transfer: the features of a model under another head. The old one lives on."""
    features = model.get_layer(NAMES[-1]).output
    return keras.Model(model.inputs, layers.Dense(2, name="head")(features))


def data(n=32):
    random = np.random.default_rng(0)
    return random.normal(size=(n, 12)).astype("float32")


def train(model):
    model.compile(keras.optimizers.SGD(0.05), "mse")
    model.fit(data(), np.ones((32, model.output_shape[-1])), epochs=1, verbose=0)


def size(model, folder):
    smh.save(model, folder / "size.smh")
    return (folder / "size.smh").stat().st_size


def copies(model):
    return [v._snapshot is not None for v in virtual_variables(model)]


def said(model):
    return ops.convert_to_numpy(model(data()))


def freeze(model, *names):
    for name in names:
        model.get_layer(name).trainable = False


ORDERS = {
    "forwards": ("a", "b", "c", "top"),
    "backwards": ("top", "c", "b", "a"),
    "head in between": ("b", "top", "a", "c"),
}


@pytest.mark.parametrize("order", ORDERS)
def test_one_after_the_other_costs_nothing_in_the_end(order, tmp_path):
    model = base()
    train(model)
    before, small = said(model), size(model, tmp_path)
    for i, name in enumerate(ORDERS[order]):
        freeze(model, name)
        assert sum(copies(model)) == (0 if i == 3 else i + 1)
        np.testing.assert_allclose(said(model), before, atol=1e-6)
        # The file never has a copy: the pool has not moved.
        assert size(model, tmp_path) < small + 60
    assert model.trainable_variables == [] and not smh.report(model).notes
    # And undone: the others keep their values while one is trained.
    model.get_layer("b").trainable = True
    assert sum(copies(model)) == 3
    frozen = [ops.convert_to_numpy(model.get_layer(n).kernel) for n in ("a", "c", "top")]
    train(model)
    for name, value in zip(("a", "c", "top"), frozen, strict=True):
        np.testing.assert_array_equal(ops.convert_to_numpy(model.get_layer(name).kernel), value)


@pytest.mark.parametrize("old_head", ["trained", "frozen"])
def test_frozen_features_under_a_new_head(old_head, tmp_path):
    model = base()
    train(model)
    new = with_new_head(model)
    small = size(new, tmp_path)
    if old_head == "frozen":
        freeze(model, "top")
    freeze(new, *NAMES)
    assert any(copies(new)) == (old_head == "trained")
    note = "".join(smh.report(new).notes)
    expected = "3 frozen weights keep dense copies, 8,640 bytes" if old_head == "trained" else ""
    assert note.startswith(expected) and ("top/kernel" in note) == bool(expected)
    assert bool(expected) == (" may still train" in str(smh.report(new)).replace("\n", " "))
    features = keras.Model(new.inputs, new.get_layer("c").output)
    before = said(features)
    train(new)  # of which only the head is trained
    np.testing.assert_array_equal(said(features), before)
    assert size(new, tmp_path) < small + 60
    loaded = smh.load(tmp_path / "size.smh")
    assert not any(copies(loaded))  # nothing in it trains the pool
    np.testing.assert_allclose(said(loaded), said(new), atol=1e-6)
    assert [v.path for v in loaded.trainable_variables if "kernel" in v.path] == ["head/kernel"]
    weights = smh.runtime.load(tmp_path / "size.smh")
    kernel = ops.convert_to_numpy(new.get_layer("b").kernel)
    np.testing.assert_allclose(weights["b/kernel"], kernel, atol=1e-6)


def test_a_pool_that_moved_keeps_its_copies_in_the_file_and_says_so(tmp_path):
    model = base()
    for name in (*NAMES, "top"):
        freeze(model, name)
        if name != "top":
            train(model)
    assert copies(model) == [True, True, True, False]
    (note,) = smh.report(model).notes
    assert "trained on after they were frozen" in note
    smh.save(model, tmp_path / "m.smh")
    loaded = smh.load(tmp_path / "m.smh")
    assert copies(loaded) == copies(model)
    np.testing.assert_allclose(said(loaded), said(model), atol=1e-6)


def test_what_is_loaded_stays_frozen_while_the_rest_is_trained(tmp_path):
    """The file has no copies; the model that is loaded makes its own before anything moves."""
    model = base()
    train(model)
    freeze(model, "a", "b")
    smh.save(model, tmp_path / "m.smh")
    loaded = smh.load(tmp_path / "m.smh")
    other = smh.load_weights(base(seed=0), tmp_path / "m.smh")  # compressed already, not frozen
    live = base()
    freeze(live, "a", "b")
    live = smh.load_weights(live, tmp_path / "m.smh")  # compressed and frozen
    for again in (loaded, other, live):
        np.testing.assert_allclose(said(again), said(model), atol=1e-6)
    for again in (loaded, live):
        assert copies(again) == [True, True, False, False]
        kept = ops.convert_to_numpy(again.get_layer("a").kernel)
        moves = ops.convert_to_numpy(again.get_layer("c").kernel)
        train(again)
        np.testing.assert_array_equal(ops.convert_to_numpy(again.get_layer("a").kernel), kept)
        assert np.abs(ops.convert_to_numpy(again.get_layer("c").kernel) - moves).max() > 1e-6


def test_two_models_of_one_file_that_share_a_pool(tmp_path):
    keras.utils.set_random_seed(5)
    second = keras.Sequential([keras.Input((12,)), layers.Dense(3, name="other")])
    big = smh.variable_pool.ProductVariablePool(True, 6000, 0.2, seed=0)
    first = keras.Sequential([keras.Input((12,)), layers.Dense(30, name="one"), layers.Dense(4)])
    smh.compress(first, pool=big)
    smh.compress(second, pool=big)
    first.trainable = False
    assert copies(first) == [True, True]
    smh.save([first, second], tmp_path / "m.smh")
    loaded = smh.load(tmp_path / "m.smh")
    assert copies(loaded[0]) == [True, True] and copies(loaded[1]) == [False]
    before = said(loaded[0])
    np.testing.assert_allclose(before, said(first), atol=1e-6)
    train(loaded[1])
    np.testing.assert_array_equal(said(loaded[0]), before)


class Residual(layers.Layer):
    """Made by another layer, and so without a configuration."""

    def __init__(self, units, **settings):
        super().__init__(**settings)
        self.dense = layers.Dense(units)

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return x + self.dense(x)


@keras.saving.register_keras_serializable("test_freezing")
class Adapted(layers.Layer):
    """Its class freezes its body and trains what it adds."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.body, self.adapter = Residual(8), layers.Dense(8)
        self.trainable = True  # else TensorFlow leaves the next out where it is frozen already
        self.trainable = False
        self.adapter.trainable = True

    def build(self, shape):
        self.body.build(shape)
        self.adapter.build(shape)

    def call(self, x):
        return self.adapter(self.body(x))


def nest(x):
    return keras.Sequential([layers.Dense(4), layers.Dense(3)], name="inner")(x)


INSIDE = {  # shape, and a layer with layers inside
    "attention": ((6, 8), lambda x: layers.MultiHeadAttention(2, 4, name="inner")(x, x)),
    "grouped": ((6, 8), lambda x: layers.GroupQueryAttention(4, 2, 2, name="inner")(x, x)),
    "convolutional": ((4, 6, 2), lambda x: layers.ConvLSTM1D(3, 2, name="inner")(x)),
    "both ways": ((6, 8), lambda x: layers.Bidirectional(layers.GRU(3), name="inner")(x)),
    "nested": ((6, 8), nest),
    "adapted": ((6, 8), lambda x: Adapted(name="inner")(x)),
}
DOORS = {
    "as it is": lambda model: model,
    "compressed": lambda model: smh.compress(model, 0.5),
    "pruned": lambda model: smh.prune(model, 0.5),
    "shrunk": lambda model: smh.shrink(model, quality=60) and model,
}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", INSIDE)
def test_what_a_frozen_layer_has_inside_is_frozen_in_a_file(kind, door, tmp_path):
    """Keras itself gives what attention and convolutional LSTMs have inside back as trainable."""
    shape, layer = INSIDE[kind]
    x = keras.Input(shape)
    model = keras.Model(x, layers.Dense(3, name="top")(layer(x)))
    DOORS[door](model)
    if kind != "adapted":  # which does so itself
        freeze(model, "inner")
    if kind == "nested":
        model.get_layer("inner").layers[0].trainable = True  # whether the outer one is or not
    smh.save(model, tmp_path / "model.smh")
    loaded = [smh.load(tmp_path / "model.smh")]
    if door != "as it is":
        model.save(tmp_path / "model.keras")
        loaded.append(keras.saving.load_model(tmp_path / "model.keras"))
    for again in loaded:
        assert len(again.trainable_variables) == len(model.trainable_variables)
        assert [v.trainable for v in again.weights] == [v.trainable for v in model.weights]
