"""The report of a file without Keras is that of the model that was saved."""

import keras
import pytest
from keras import layers

import smh
from smh.sizes.file_report import report_of_file

pytestmark = pytest.mark.backend_agnostic


def sequential():
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.Normalization(),
            layers.Conv2D(6, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3),
            layers.Flatten(),
            layers.Dense(20),
            layers.Dense(10),
        ]
    )


def residual():
    inputs = keras.Input((8, 8, 6), name="zz")
    x = layers.Conv2D(6, 3, padding="same", use_bias=False, name="last")(inputs)
    x = layers.BatchNormalization(name="b")(x)
    y = layers.Conv2D(6, 3, padding="same", use_bias=False, name="first")(x)
    y = layers.BatchNormalization(name="a")(y)
    x = layers.Flatten()(layers.Add()([x, y]))
    return keras.Model(inputs, [layers.Dense(3)(x), layers.Dense(2, name="dense_10")(x)], name="m")


def nested():
    inputs = keras.Input((8, 8, 3))
    inner = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(8, 3), layers.Flatten()])
    return keras.Model(inputs, layers.Dense(4)(layers.Dropout(0.1)(inner(inputs))))


def words():
    inputs = keras.Input((7,), dtype="int32")
    x = layers.Embedding(50, 16)(inputs)
    x = layers.LayerNormalization()(layers.MultiHeadAttention(2, 8)(x, x))
    x = layers.Bidirectional(layers.LSTM(5, return_sequences=True))(x)
    return keras.Model(inputs, layers.Dense(3)(layers.GRU(6)(x)))


def half():
    policy = keras.dtype_policies.DTypePolicy("bfloat16")
    return keras.Sequential(
        [keras.Input((40,)), layers.Dense(50, dtype=policy), layers.Dense(4, dtype=policy)]
    )


def computed(model):
    smh.compress(model, 0.4, seed=0)
    smh.quantize_factors(model, 4)
    return model


HOW = {
    "dense": lambda model: model,
    "compressed": lambda model: smh.compress(model, 0.4, seed=0),
    "rounded factors": computed,
    "pruned factors": lambda model: smh.prune(smh.compress(model, 0.4, seed=0), 0.5),
    "pruned": lambda model: smh.prune(model, 0.5),
    "shared": lambda model: smh.cluster(model, 3),
    "pruned and shared": lambda model: smh.cluster(smh.prune(model, 0.5), 3),
    "rounded": lambda model: smh.quantize_weights(model, 4),
    "shrunk": lambda model: (smh.shrink(model, quality=40), model)[1],
}
MODELS = [sequential, residual, nested, words]
CASES = [(model, how) for model in MODELS for how in HOW] + [(half, "dense")]


@pytest.mark.parametrize("make, how", CASES)
def test_it_is_that_of_the_model(make, how, tmp_path):
    path = tmp_path / "model.smh"
    keras.utils.set_random_seed(0)
    model = HOW[how](make())
    smh.save(model, path)
    expected, found = smh.report(model), report_of_file(path)
    assert found is not None
    assert found.rows == expected.rows
    assert found == expected and str(found) == str(expected)


@keras.saving.register_keras_serializable("test_file_report")
class Own(layers.Dense):
    """A layer of which nothing is known without its class."""


def frozen():
    model = smh.compress(sequential(), 0.4, seed=0)
    model.layers[-2].trainable = False
    return model


UNCERTAIN = {
    "own": lambda: keras.Sequential([keras.Input((8,)), Own(4)]),
    "frozen": frozen,
    "spectral": lambda: keras.Sequential(
        [keras.Input((8,)), layers.SpectralNormalization(layers.Dense(4))]
    ),
    "hashed": lambda: smh.compress(
        sequential(), pool=smh.HashVariablePool(True, 1.0, 7000, 0.3, seed=0)
    ),
}


@pytest.mark.parametrize("name", UNCERTAIN)
def test_what_is_not_certain_is_left_to_keras(name, tmp_path):
    smh.save(UNCERTAIN[name](), tmp_path / "model.smh")
    assert report_of_file(tmp_path / "model.smh") is None


def test_the_command_imports_no_backend(tmp_path):
    from test_wrong_calls import BEGUN, CALL

    smh.save(smh.compress(sequential(), 0.4, seed=0), tmp_path / "small.smh")
    line = "report small.smh --csv sizes.csv --html page.html"
    done = BEGUN.run(CALL, *line.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "smh report: sequential" in done.stdout and (tmp_path / "page.html").exists()
    for line in ("report small.smh", "inspect small.smh"):
        assert BEGUN.run(CALL, *line.split(), cwd=tmp_path).returncode == 0
