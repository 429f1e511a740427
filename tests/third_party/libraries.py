"""The table of other people's libraries: small models with random weights, and their inputs.

`run.py` shows what smh does with them. A library is imported when its `cases` are asked for. A new
one needs a line in `LIBRARIES` and in `requirements.txt`.
"""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from doors import Case
from keras import layers

BATCH = 2


@dataclasses.dataclass(frozen=True)
class Library:
    """`cases()` imports the library and returns its models."""

    cases: Callable[[], list[Case]]


def numbers(*shape, seed=0):
    """Returns what makes a batch of float32 numbers of this shape."""
    return lambda: np.random.default_rng(seed).normal(size=(BATCH, *shape)).astype("float32")


def tokens(length=8, vocabulary=60, **more):
    """Returns what makes a batch of token ids with their mask, and more arrays of ones or zeros."""

    def make():
        ids = np.random.default_rng(0).integers(1, vocabulary, (BATCH, length)).astype("int32")
        own = {name: np.full((BATCH, length), value, "int32") for name, value in more.items()}
        return {"token_ids": ids, "padding_mask": np.ones_like(ids), **own}

    return make


def within(layer, *shape):
    """Returns a functional model around a layer that is none."""
    x = keras.Input(shape)
    return keras.Model(x, layer(x))


# keras-hub


def keras_hub():
    from keras_hub import models as hub

    small = {"vocabulary_size": 60, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32}
    plain = {**small, "num_heads": 2, "max_sequence_length": 8}
    grouped = {**small, "num_query_heads": 4, "num_key_value_heads": 2}

    def gpt2():
        return hub.GPT2Backbone(**plain)

    def llama():
        return hub.LlamaBackbone(**grouped)

    def gemma():
        return hub.GemmaBackbone(**grouped, head_dim=4)

    def vit():
        return hub.ViTBackbone(
            image_shape=(16, 16, 3), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16,
            mlp_dim=32,
        )  # fmt: skip

    def resnet():
        return hub.ResNetBackbone(
            input_conv_filters=[8], input_conv_kernel_sizes=[3], stackwise_num_filters=[8, 16],
            stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2],
            block_type="basic_block", image_shape=(16, 16, 3),
        )  # fmt: skip

    def t5():
        return hub.T5Backbone(**small, num_heads=2)

    def classifier():
        return hub.ViTImageClassifier(backbone=vit(), num_classes=3, preprocessor=None)

    return [
        Case("BertBackbone", lambda: hub.BertBackbone(**plain), tokens(segment_ids=0)),
        Case("GPT2CausalLM", lambda: hub.GPT2CausalLM(gpt2(), preprocessor=None), tokens()),
        Case("LlamaCausalLM", lambda: hub.LlamaCausalLM(llama(), preprocessor=None), tokens()),
        Case("GemmaBackbone", gemma, tokens()),
        Case("T5Backbone", t5, _t5_tokens),
        Case("ResNetBackbone", resnet, numbers(16, 16, 3)),
        Case("ViTImageClassifier", classifier, numbers(16, 16, 3)),
    ]


def _t5_tokens():
    one = tokens()()
    return {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in one.items()}
