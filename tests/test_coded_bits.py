"""A penalty on the bits of rounded weights: their entropy, which training then makes less."""

import copy
import pickle

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh.recipes.coded_bits import coded_bits

pytestmark = pytest.mark.backend_agnostic


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((20,)), layers.Dense(60, activation="relu"), layers.Dense(30)]
    )


def shrunk(model):
    smh.shrink(model, quality=60)
    return model


ROUNDED = {
    "weights": lambda: smh.quantize_weights(network(), 5),
    "pruned and shrunk": lambda: shrunk(smh.prune(network(), 0.5)),
    "factors": lambda: smh.quantize_factors(smh.compress(network(), 0.5, seed=0), 5),
    "shrunk": lambda: shrunk(network()),
}


@pytest.mark.parametrize("count", [1, 2, 10, 312, 3000])
def test_of_whole_numbers_it_is_their_entropy_however_few_there_are(count):
    numbers = np.random.default_rng(0).geometric(0.4, count) - 1.0
    counts = np.bincount(numbers.astype(int))
    counts = counts[counts > 0]
    bits = np.array(coded_bits(ops.convert_to_tensor(numbers.astype("float32"))))
    ideal = -np.sum(counts * np.log2(counts / count))
    assert bits.sum() == pytest.approx(ideal, rel=1e-4, abs=1e-4)


def test_between_whole_numbers_it_is_linear_and_draws_to_the_frequent_one():
    units = np.append(np.repeat([0.0, 1.0], [90, 10]), [0.4, 1.6])
    slopes = np.diff(np.array(coded_bits(ops.convert_to_tensor(units, "float32"))))[-2:]
    table = np.array(coded_bits(ops.convert_to_tensor(np.append(units, [2.0]), "float32")))
    assert table[0] < table[10 + 89] < table[-1]  # 91, 10 and 1 or 2 of them
    assert slopes[0] < 0 < slopes[1]


def test_halfway_it_is_half_of_both():
    ends = np.repeat([0.0, 1.0], 50)
    middle = np.array(coded_bits(ops.convert_to_tensor(np.append(ends, 0.25), "float32")))
    assert middle[-1] == pytest.approx(0.75 * middle[0] + 0.25 * middle[50], rel=1e-4)


def no_loss(true, found):
    return 0.0 * ops.sum(found)


@pytest.mark.parametrize("name", ROUNDED)
def test_training_by_it_alone_makes_the_file_smaller(name, tmp_path):
    model = ROUNDED[name]()
    smh.save(model, tmp_path / "before.smh")
    smh.recipes.penalise_bits(model, 3.0)
    model.compile(keras.optimizers.Adam(3e-3), no_loss)
    model.fit(np.zeros((8, 20)), np.zeros((8, 30)), epochs=40, verbose=0)
    smh.save(model, tmp_path / "after.smh")
    before, after = ((tmp_path / f"{n}.smh").stat().st_size for n in ("before", "after"))
    assert after < 0.95 * before


@pytest.mark.parametrize("name", ROUNDED)
def test_it_is_beside_a_penalty_that_was_there(name):
    model = ROUNDED[name]()
    smh.recipes.penalise_bits(model, 0.1)
    bits = float(sum(model.losses))
    found = [v for v in model.trainable_variables if v.regularizer is not None]
    smh.recipes.penalise_bits(model, 0)
    for variable in found:
        variable.regularizer = keras.regularizers.L1(0.3)
    own = float(sum(model.losses))
    for rate, expected in ((0.1, own + bits), (0.2, own + 2 * bits), (0, own)):
        smh.recipes.penalise_bits(model, rate)
        assert float(sum(model.losses)) == pytest.approx(expected, rel=1e-4)
    assert found and own > 0


def test_it_is_taken_away_again_and_wrong_calls_change_nothing():
    model = smh.recipes.penalise_bits(ROUNDED["weights"](), 1.0)
    assert len(model.losses) == 2 and float(model.losses[0]) > 0
    with pytest.raises(smh.errors.ArgumentError, match="at least 0, got -1"):
        smh.recipes.penalise_bits(model, -1)
    assert len(model.losses) == 2
    assert not smh.recipes.penalise_bits(model, 0).losses
    with pytest.raises(smh.errors.SelectionError, match="quantize_weights"):
        smh.recipes.penalise_bits(network(), 0.1)
    with pytest.raises(smh.errors.ArgumentError, match="a Keras 3 model or layer, got int"):
        smh.recipes.penalise_bits(3, 0.1)


OTHERS = {
    "a copy": copy.deepcopy,
    "a pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "a clone": keras.models.clone_model,
    "shrunk again": shrunk,
}


@pytest.mark.parametrize("way", OTHERS)
def test_only_the_model_itself_has_the_penalty_as_it_is_said_there(way):
    model = smh.recipes.penalise_bits(ROUNDED["shrunk"](), 1.0)
    assert model.losses and not OTHERS[way](model).losses
