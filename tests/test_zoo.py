"""The zoo's networks have the published sizes and return logits."""

import math

import keras
import numpy as np
import pytest

import smh
from smh import zoo

pytestmark = pytest.mark.backend_agnostic

# Trainable numbers, and those of them in kernels: counted by hand from the papers' layer sizes.
COUNTS = [
    (zoo.lenet_300_100, 266_610, 784 * 300 + 300 * 100 + 100 * 10),
    (zoo.lenet_5, 431_080, 25 * 20 + 25 * 20 * 50 + 800 * 500 + 500 * 10),
]


def _kernel_numbers(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables if len(v.shape) > 1)


@pytest.mark.parametrize("build, total, kernels", COUNTS)
def test_has_the_published_counts(build, total, kernels):
    model = build()
    assert model.count_params() == total
    assert _kernel_numbers(model) == kernels


@pytest.mark.parametrize("build", [zoo.lenet_300_100, zoo.lenet_5])
def test_returns_logits_for_other_shapes(build):
    keras.utils.set_random_seed(0)
    logits = build(input_shape=(32, 32, 3), classes=7)(np.ones((2, 32, 32, 3), "float32"))
    assert tuple(logits.shape) == (2, 7)
    assert float(keras.ops.min(logits)) < 0, "a softmax or ReLU at the end"


@pytest.mark.parametrize("build, total, kernels", COUNTS)
def test_can_be_compressed(build, total, kernels):
    model = smh.compress(build(), fraction=0.1, seed=0)
    scales = len([v for v in model.trainable_variables if v.name == "scale"])
    factors = model.count_params() - (total - kernels) - scales
    assert 0.09 * kernels < factors <= 0.1 * kernels
