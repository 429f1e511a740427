"""The zoo's networks have the published sizes and return logits."""

import math

import keras
import numpy as np
import pytest

import smh
from smh import zoo

pytestmark = pytest.mark.backend_agnostic


def _thin_kernels(depth):
    blocks = (depth - 2) // 6
    stages = sum(9 * (old * new + (2 * blocks - 1) * new * new) for old, new in _THIN_STAGES)
    return 9 * 3 * 16 + stages + 64 * 10


_THIN_STAGES = [(16, 16), (16, 32), (32, 64)]

# Trainable numbers, and those of them in kernels: counted by hand from the papers' layer sizes.
# The thin ResNets are 0.27, 0.46 and 0.85 M in the paper. Its wide ones end in 1000 classes and
# begin with 7 x 7; with 10 classes and 3 x 3 the published figure of ResNet-34 is 21.3 M.
LENETS = [
    (zoo.lenet_300_100, 266_610, 784 * 300 + 300 * 100 + 100 * 10),
    (zoo.lenet_5, 431_080, 25 * 20 + 25 * 20 * 50 + 800 * 500 + 500 * 10),
]
COUNTS = LENETS + [
    (zoo.resnet_20, 269_722, _thin_kernels(20)),
    (zoo.resnet_32, 464_154, _thin_kernels(32)),
    (zoo.resnet_56, 853_018, _thin_kernels(56)),
    (zoo.resnet_18, 11_173_962, 11_164_352),
    (zoo.resnet_34, 21_282_122, 21_265_088),
    (zoo.resnet_50, 23_520_842, 23_467_712),
]


def _kernel_numbers(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables if len(v.shape) > 1)


@pytest.mark.parametrize("build, total, kernels", COUNTS)
def test_has_the_published_counts(build, total, kernels):
    model = build()
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == total
    assert _kernel_numbers(model) == kernels


@pytest.mark.parametrize("build", [zoo.lenet_300_100, zoo.lenet_5, zoo.resnet_20, zoo.resnet_18])
def test_returns_logits_for_other_shapes(build):
    keras.utils.set_random_seed(0)
    logits = build(input_shape=(32, 32, 3), classes=7)(np.ones((2, 32, 32, 3), "float32"))
    assert tuple(logits.shape) == (2, 7)
    assert float(keras.ops.min(logits)) < 0, "a softmax or ReLU at the end"


@pytest.mark.parametrize("build, total, kernels", LENETS)
def test_can_be_compressed(build, total, kernels):
    model = smh.compress(build(), fraction=0.1, seed=0)
    scales = len([v for v in model.trainable_variables if v.name == "scale"])
    factors = model.count_params() - (total - kernels) - scales
    assert 0.09 * kernels < factors <= 0.1 * kernels
