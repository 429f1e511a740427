"""Descriptions of compressed models: what they hold, the way back, and what is refused."""

import json

import keras
import numpy as np
import pytest
from models import SOME_CASES
from parametrizations import PARAMETRIZATIONS, SOME_PARAMETRIZATIONS, inputs, network

import smh
from smh.blueprint.describe import describe
from smh.blueprint.restore import restore

pytestmark = pytest.mark.backend_agnostic


def restored(dense, model):
    """`dense`, compressed as `model` is, by way of a text."""
    description = describe(model)
    restore(dense, json.loads(json.dumps(description)))
    return dense


def same_state(first, second):
    assert describe(first)["weights"] == describe(second)["weights"]
    for kind in ("trainable_variables", "non_trainable_variables", "variables"):
        shapes = [[tuple(v.shape) for v in getattr(m, kind)] for m in (first, second)]
        assert shapes[0] == shapes[1], kind


@pytest.mark.parametrize("name", SOME_PARAMETRIZATIONS)
def test_every_parametrization_comes_back(name):
    model = PARAMETRIZATIONS[name](network(), seed=1)
    keras.utils.clear_session()
    again = restored(network(), model)
    same_state(model, again)
    again.set_weights(model.get_weights())
    np.testing.assert_array_equal(
        model.predict(inputs(), verbose=0), again.predict(inputs(), verbose=0)
    )


@pytest.mark.parametrize("case", SOME_CASES)
def test_every_kind_of_model_comes_back(case):
    model = smh.compress(case.build(), case.fraction, seed=1)
    keras.utils.clear_session()
    again = restored(case.build(), model)
    same_state(model, again)
    again.set_weights(model.get_weights())
    x, _ = case.data()
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))
