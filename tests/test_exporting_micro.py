"""Files for microcontrollers: the interpreter of tflite-micro reads shared values."""

import warnings

import keras
import numpy as np
import pytest
from keras import layers

import smh

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def micro():
    return pytest.importorskip("tflite_micro")


def dense():
    return keras.Sequential(
        [keras.Input((64,)), layers.Dense(100, activation="relu"), layers.Dense(10)]
    )


def convolutional():
    x = keras.Input((12, 12, 3))
    y = layers.Conv2D(16, 3, activation="relu")(x)
    y = layers.Flatten()(layers.MaxPooling2D()(y))
    return keras.Model(x, layers.Dense(5, activation="softmax")(y))


MODELS = {"dense": dense, "convolutional": convolutional, "lenet_5": smh.zoo.lenet_5}


@pytest.mark.parametrize("bits", [1, 3, 4, 6])
@pytest.mark.parametrize("name", MODELS)
def test_shared_values_are_a_table_and_indices(name, bits, tmp_path):
    keras.utils.set_random_seed(0)
    model = smh.cluster(MODELS[name](), bits)
    # That the file computes what the model does, is what the export checks before it ends.
    smh.export(model, tmp_path / "micro.tflite", "micro")
    numbers = sum(int(np.prod(v.shape)) for v in smh.materialize(model).weights if v.ndim > 1)
    size = (tmp_path / "micro.tflite").stat().st_size
    assert size <= 1.05 * numbers * bits / 8 + 4 * 600 + 12_000  # biases in floats, and the graph


def test_pruned_values_have_a_table_too_and_others_stay_floats(tmp_path):
    pruned = smh.cluster(smh.prune(dense(), 0.5), 3)
    smh.export(pruned, tmp_path / "pruned.tflite", "micro")
    smh.export(dense(), tmp_path / "floats.tflite", "micro")
    sizes = [(tmp_path / f"{n}.tflite").stat().st_size for n in ("pruned", "floats")]
    assert sizes[0] < 0.4 * sizes[1]


@pytest.mark.parametrize("bits, told", [(6, False), (7, True), (8, True)])
def test_more_values_than_the_interpreter_looks_up_are_told(bits, told, tmp_path):
    model = smh.cluster(smh.prune(dense(), 0.5), bits)  # with zero one more than 2 ** bits
    with warnings.catch_warnings(record=True) as seen:
        smh.export(model, tmp_path / "m.tflite", "micro")
    said = [str(w.message) for w in seen if issubclass(w.category, smh.errors.SmhWarning)]
    assert [model.layers[0].kernel.path in text for text in said] == [True] * told


def residual():
    x = keras.Input((8, 8, 4))
    y = layers.Add()([x, layers.Conv2D(4, 3, padding="same")(x)])
    return keras.Model(x, layers.Dense(3)(layers.GlobalAveragePooling2D()(y)))


def of_three_axes():
    return keras.Sequential([keras.Input((6, 5)), layers.Dense(8), layers.Dense(3)])


# Models in which a file that is converted for any batch computes with its size.
FREE = {"residual": (residual, (8, 8, 4)), "three axes": (of_three_axes, (6, 5))}


@pytest.mark.parametrize("batch", ["default", None, 1, 2])
@pytest.mark.parametrize("name", FREE)
def test_a_free_batch_is_one_example_at_a_time(name, batch, tmp_path):
    make, shape = FREE[name]
    signature = None
    if batch != "default":
        signature = [keras.InputSpec(shape=(batch, *shape), dtype="float32")]
    path = tmp_path / "m.tflite"
    smh.export(make(), path, "micro", input_signature=signature)
    from tflite_micro import runtime

    interpreter = runtime.Interpreter.from_file(str(path))
    taken = interpreter.get_input_details(0)["shape"]
    assert list(taken) == [batch if batch == 2 else 1, *shape]


def test_a_batch_of_two_is_called_so(tmp_path):
    signature = [keras.InputSpec(shape=(2, 64), dtype="float32")]
    smh.export(smh.cluster(dense(), 4), tmp_path / "m.tflite", "micro", input_signature=signature)


def test_what_it_cannot_take_is_refused(tmp_path):
    a, b = keras.Input((4,)), keras.Input((4,))
    two = keras.Model([a, b], layers.Dense(2)(layers.Add()([a, b])))
    with pytest.raises(smh.errors.ArgumentError, match="one input, and .* has 2"):
        smh.export(two, tmp_path / "two.tflite", "micro")
    forked = keras.Model(a, [layers.Dense(2)(a), layers.Dense(3)(a)])
    with pytest.raises(smh.errors.ArgumentError, match="one output, got 2"):
        smh.export(forked, tmp_path / "forked.tflite", "micro")
    x = keras.Input((6, 4))
    recurrent = keras.Model(x, keras.ops.erfinv(layers.Dense(3)(x)))
    with pytest.raises(smh.errors.ArgumentError, match="LiteRT for microcontrollers"):
        smh.export(recurrent, tmp_path / "r.tflite", "micro")
    compressed = smh.compress(dense(), 0.5)
    with pytest.raises(smh.errors.ArgumentError, match="'micro' holds dense weights only"):
        smh.export(compressed, tmp_path / "m.tflite", "micro", mode="factors")
    assert not list(tmp_path.iterdir())
