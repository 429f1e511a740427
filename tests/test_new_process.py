"""The law that needs a new process: saved and loaded, every parametrization predicts the same."""

from pathlib import Path

import fresh_process
import keras
import numpy as np
import pytest
from parametrizations import PARAMETRIZATIONS, QUICK, inputs, network

pytestmark = pytest.mark.backend_agnostic


@pytest.mark.parametrize(
    "names", [QUICK[1:4], pytest.param(tuple(PARAMETRIZATIONS), marks=pytest.mark.slow)], ids=len
)
def test_saved_weights_give_the_same_predictions_in_a_new_process(names, tmp_path):
    here = {}
    for name in names:
        parametrize = PARAMETRIZATIONS[name]
        keras.utils.clear_session()
        model = parametrize(network(), seed=1)
        model.save_weights(tmp_path / f"{name}.weights.h5")
        here[name] = model.predict(inputs(), verbose=0)
    script = Path(__file__).with_name("parametrizations.py")
    fresh_process.run(script, tmp_path).check_returncode()
    there = np.load(tmp_path / "loaded.npz")
    assert set(there) == set(here)
    for name in here:
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
