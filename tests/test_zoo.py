"""The zoo's networks have the published sizes and return logits."""

import math

import keras
import numpy as np
import pytest
from keras_behaviour import MEASURES_IMAGES

import smh
from smh import zoo
from smh.errors import ArgumentError

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


def _vgg_kernels(filters, *dense):
    """Kernels of 3 x 3 convolutions one after the other, then of dense layers."""
    channels = (3, *filters)
    convolutions = 9 * sum(a * b for a, b in zip(channels, channels[1:], strict=False))
    return convolutions + sum(a * b for a, b in zip(dense, dense[1:], strict=False))


_A = (64, 128, 256, 256, 512, 512, 512, 512)  # columns A and D of table 1
_D = (64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
_ALEXNET = [(3, 64, 11), (64, 192, 5), (192, 384, 3), (384, 256, 3), (256, 256, 3)]
_ALEXNET_KERNELS = sum(a * b * size**2 for a, b, size in _ALEXNET)
_LARGE_TOP = (512 * 49, 4096, 4096, 1000)
SMALL = [
    (zoo.alexnet_small, 2_472_266, _ALEXNET_KERNELS + 256 * 10),  # 2.47 M
    (zoo.vgg_11_small, 9_492_042, _vgg_kernels(_A, 512, 512, 10)),
    (zoo.vgg_16_small, 14_987_722, _vgg_kernels(_D, 512, 512, 10)),  # 1.5 * 10^7
]
LARGE = [
    # 61,100,840 for 1000 classes; 990 times 4097 fewer for 10.
    (zoo.alexnet, 57_044_810, _ALEXNET_KERNELS + 9216 * 4096 + 4096 * 4096 + 4096 * 10),
    (zoo.vgg_11, 132_863_336, _vgg_kernels(_A, *_LARGE_TOP)),  # 133 M
    (zoo.vgg_16, 138_357_544, _vgg_kernels(_D, *_LARGE_TOP)),  # 138 M
]
COUNTS = (
    LENETS
    + SMALL
    + [
        (zoo.resnet_8, 75_290, _thin_kernels(8)),
        (zoo.resnet_20, 269_722, _thin_kernels(20)),
        (zoo.resnet_32, 464_154, _thin_kernels(32)),
        (zoo.resnet_56, 853_018, _thin_kernels(56)),
        (zoo.resnet_18, 11_173_962, 11_164_352),
        (zoo.resnet_34, 21_282_122, 21_265_088),
        (zoo.resnet_50, 23_520_842, 23_467_712),
    ]
)


def _kernel_numbers(model):
    return sum(math.prod(v.shape) for v in model.trainable_variables if len(v.shape) > 1)


@pytest.mark.parametrize("build, total, kernels", COUNTS)
def test_has_the_published_counts(build, total, kernels):
    model = build()
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == total
    assert _kernel_numbers(model) == kernels


@pytest.mark.slow
@pytest.mark.parametrize("build, total, kernels", LARGE)
def test_large_ones_have_the_published_counts(build, total, kernels):
    model = build()
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == total
    assert _kernel_numbers(model) == kernels


# For 1000 classes: the paper's figure in millions, and the `num_params` that torchvision states,
# which was counted on another implementation of the same tables.
MOBILE = {
    "mobilenet_v2": (3.4, 3_504_872),
    "mobilenet_v3_small": (2.5, 2_542_856),
    "mobilenet_v3_large": (5.4, 5_483_032),
    "efficientnet_b0": (5.3, 5_288_548),
    "efficientnet_b1": (7.8, 7_794_184),
    "efficientnet_b2": (9.2, 9_109_994),
    "efficientnet_b3": (12, 12_233_232),
    "efficientnet_b4": (19, 19_341_616),
    "efficientnet_b5": (30, 30_389_784),
    "efficientnet_b6": (43, 43_040_704),
}
_QUICK = ("mobilenet_v2",)


@pytest.mark.parametrize(
    "name", [n if n in _QUICK else pytest.param(n, marks=pytest.mark.slow) for n in MOBILE]
)
def test_mobile_networks_have_the_published_counts(name):
    paper, exact = MOBILE[name]
    model = zoo.build(name)
    total = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert total == exact and abs(total / 1e6 - paper) <= 0.03 * paper + 0.01
    assert model.output_shape == (None, 1000)


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet_b0",
        "MobileNet",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("DenseNet121", "EfficientNetV2B0", "ConvNeXtTiny", "InceptionV3")
            + ("NASNetMobile", "Xception", "ResNet50V2", "mobilenet_v3_small", "EfficientNetB1")
        ),
    ],
)
def test_applications_take_images_from_0_to_1_and_give_logits(name):
    """A network that divides by 255 once more would see next to nothing."""
    if name.startswith("NASNet") and keras.backend.backend() == "torch":
        pytest.skip("Keras refuses to build NASNet on PyTorch")
    size = 96 if name in ("InceptionV3", "Xception") else 64
    model = zoo.build(name, (size, size, 3), classes=5)
    images = np.random.default_rng(0).random((8, size, size, 3), np.float32)
    logits = keras.ops.convert_to_numpy(model(images, training=True))
    assert logits.shape == (8, 5)
    assert logits.min() < 0 and np.abs(logits.sum(1) - 1).max() > 0.01, "a softmax at the end"
    # What scales to bytes first is undone by the network itself.
    scales = [layer.scale for layer in model.layers if type(layer).__name__ == "Rescaling"]
    assert np.isclose(np.prod(scales), 1)
    assert isinstance(model.input, keras.KerasTensor), "a list of one would warn at each call"


def test_models_are_built_by_name():
    assert set(zoo.__all__) - {"build", "names"} <= set(zoo.names())
    assert {"EfficientNetB7", "DenseNet121", "VGG19"} <= set(zoo.names())
    assert "ConvNeXtBase" in zoo.names() and len(set(zoo.names())) == len(zoo.names())
    model = zoo.build("vgg_11_small", [32, 48, 1], classes=3)
    assert model.input_shape == (None, 32, 48, 1) and model.output_shape == (None, 3)
    assert zoo.build("lenet_5").output_shape == (None, 10)


WRONG = [
    (("vgg16",), "No model is called 'vgg16'. Close to it: vgg_16"),
    ((7,), "No model is called 7"),
    (("lenet_5", 28), r"input_shape must be \(height, width, channels\), each at least 1, got 28"),
    (("lenet_5", (28, 0, 1)), "input_shape must be"),
    (("lenet_5", None, 0), "classes must be a whole number, at least 1, got 0"),
    (("lenet_5", None, 2.5), "classes must be"),
    (("vgg_11_small", (16, 16, 3)), r"vgg_11_small cannot be built for images of shape \(16, 16"),
    *([(("MobileNetV2", (20, 20, 3)), "at least 32x32")] if MEASURES_IMAGES else []),
]


def test_wrong_names_and_shapes():
    for arguments, message in WRONG:
        with pytest.raises(ArgumentError, match=message):
            zoo.build(*arguments)


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
