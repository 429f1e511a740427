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


def test_of_whole_numbers_it_is_their_entropy_and_between_them_it_is_linear():
    numbers = np.random.default_rng(0).geometric(0.4, 3000) - 1.0
    counts = np.bincount(numbers.astype(int)) / numbers.size
    counts = counts[counts > 0]
    entropy = -np.sum(counts * np.log2(counts))
    bits = np.array(coded_bits(ops.convert_to_tensor(numbers.astype("float32"))))
    assert bits.mean() == pytest.approx(entropy, rel=0.1)  # what does not occur costs a little
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


def test_it_is_taken_away_again_and_wrong_calls_change_nothing():
    model = smh.recipes.penalise_bits(ROUNDED["weights"](), 1.0)
    assert len(model.losses) == 2 and float(model.losses[0]) > 0
    with pytest.raises(smh.errors.ArgumentError, match="at least 0, got -1"):
        smh.recipes.penalise_bits(model, -1)
    assert len(model.losses) == 2
    assert not smh.recipes.penalise_bits(model, 0).losses
    with pytest.raises(smh.errors.SelectionError, match="quantize_weights"):
        smh.recipes.penalise_bits(network(), 0.1)
    with pytest.raises(smh.errors.ArgumentError, match="keras.Model, got int"):
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
