"""Files written by an earlier smh: they load, and mean what they meant; see golden/make_golden.py.

They also pin what the format leans on outside smh: the exact bits of constriction's coder.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))

import parametrizations  # noqa: E402
from artifact_files import all_codings, read_all  # noqa: E402
from make_golden import NETWORKS, build, compressed, inputs, some_inputs  # noqa: E402

import smh  # noqa: E402
from smh import container  # noqa: E402

EVERY = sorted(path.stem for path in (GOLDEN / "every").glob("*.smh"))
# Another backend or processor sums in another order. Some models here have weights of standard
# deviation 1, and JAX then differs by 3e-5 from TensorFlow behind four layers.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def answers(model):
    return keras.ops.convert_to_numpy(model(inputs()))


@pytest.fixture
def outputs():
    return np.load(GOLDEN / "outputs.npy")


@pytest.mark.backend_agnostic
def test_a_smh_file_loads(outputs):
    np.testing.assert_allclose(answers(smh.load(GOLDEN / "model.smh")), outputs, **CLOSE)


@pytest.mark.backend_agnostic
def test_weights_of_a_smh_file_load_into_a_model_built_by_code(outputs):
    model = smh.load_weights(build(), GOLDEN / "model.smh")
    np.testing.assert_allclose(answers(model), outputs, **CLOSE)


@pytest.mark.backend_agnostic
def test_a_keras_file_loads_and_trains_on(outputs):
    model = keras.saving.load_model(GOLDEN / "model.keras")
    np.testing.assert_allclose(answers(model), outputs, **CLOSE)
    assert int(model.optimizer.iterations) == 2
    losses = [float(model.train_on_batch(inputs(), outputs + 1)) for _ in range(4)]
    assert losses[-1] < losses[0]


@pytest.mark.backend_agnostic
def test_a_weights_file_loads(outputs):
    model = compressed()
    model.load_weights(GOLDEN / "model.weights.h5")
    np.testing.assert_allclose(answers(model), outputs, **CLOSE)


def test_the_runtime_reads_the_same_weights():
    expected, found = np.load(GOLDEN / "weights.npz"), smh.runtime.load(GOLDEN / "model.smh")
    assert sorted(found) == sorted(expected)
    for path in expected:
        np.testing.assert_allclose(found[path], expected[path], **CLOSE, err_msg=path)


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("name", EVERY)
def test_every_parametrization_loads(name):
    model = smh.load(GOLDEN / "every" / f"{name}.smh")
    outputs = keras.ops.convert_to_numpy(model(parametrizations.inputs()))
    expected = np.load(GOLDEN / "every" / "outputs.npz")[name]
    np.testing.assert_allclose(outputs, expected, **CLOSE)


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_put_together_from_a_short_header(name):
    path = GOLDEN / "networks" / f"{name}.smh"
    (entry,) = container.read(path).meta["models"]
    assert "network" in entry and "architecture" not in entry
    model = smh.load(path)
    answers = keras.tree.flatten(model(some_inputs(model)))
    expected = np.load(GOLDEN / "networks" / "outputs.npz")
    assert len(answers) == sum(key.startswith(f"{name} ") for key in expected)
    for i, answer in enumerate(answers):
        found = keras.ops.convert_to_numpy(answer)
        # What the file says in bfloat16 is summed in another order elsewhere.
        np.testing.assert_allclose(found, expected[f"{name} {i}"], rtol=1e-2, atol=1e-3)


def test_every_coding_decodes_to_the_same_numbers():
    expected, found = np.load(GOLDEN / "codings.npz"), container.read(GOLDEN / "codings.smh")
    decoded = read_all(found)
    assert found.meta == {"a": [1, 2.5, None, "ä"]} and sorted(decoded) == sorted(expected)
    for name, array in decoded.items():
        assert array.dtype == expected[name].dtype
        np.testing.assert_array_equal(array, expected[name], err_msg=name)


def test_every_coding_is_written_to_the_same_bytes(tmp_path):
    golden = GOLDEN / "codings.smh"
    known = container.read(golden).names  # codings that came later are in no golden file of before
    tensors = [tensor for tensor in all_codings() if tensor.name in known]
    container.write(tmp_path / "codings.smh", {"a": [1, 2.5, None, "ä"]}, tensors)
    assert (tmp_path / "codings.smh").read_bytes() == golden.read_bytes()
