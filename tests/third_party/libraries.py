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


def _layers_of(module):
    """Returns the classes of layers that a module defines."""
    found = (x for x in vars(module).values() if isinstance(x, type))
    return tuple(x for x in found if x.__module__ == module.__name__ and issubclass(x, keras.Layer))


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
            input_conv_filters=[64], input_conv_kernel_sizes=[3], stackwise_num_filters=[64, 64],
            stackwise_num_blocks=[1, 1], stackwise_num_strides=[1, 2],
            block_type="basic_block", image_shape=(16, 16, 3),
        )  # fmt: skip

    def t5():
        return hub.T5Backbone(**small, num_heads=2)

    def mixtral():
        return hub.MixtralBackbone(**grouped, num_experts=4)

    def albert():
        return hub.AlbertBackbone(**plain, embedding_dim=8)

    def whisper():
        return hub.WhisperBackbone(
            **small, num_heads=2, num_mels=4, max_encoder_sequence_length=8,
            max_decoder_sequence_length=8,
        )  # fmt: skip

    def bloom():
        return hub.BloomBackbone(**small, num_heads=2)

    def deberta():
        return hub.DebertaV3Backbone(**plain, bucket_size=4)

    def classifier():
        return hub.ViTImageClassifier(backbone=vit(), num_classes=3, preprocessor=None)

    return [
        Case("BertBackbone", lambda: hub.BertBackbone(**plain), tokens(segment_ids=0)),
        Case("GPT2CausalLM", lambda: hub.GPT2CausalLM(gpt2(), preprocessor=None), tokens()),
        Case("LlamaCausalLM", lambda: hub.LlamaCausalLM(llama(), preprocessor=None), tokens()),
        Case("GemmaBackbone", gemma, tokens()),
        Case("T5Backbone", t5, _t5_tokens),
        Case("AlbertBackbone", albert, tokens(segment_ids=0)),
        Case("DebertaV3Backbone", deberta, tokens()),
        Case("BloomCausalLM", lambda: hub.BloomCausalLM(bloom(), preprocessor=None), tokens()),
        Case("MixtralBackbone", mixtral, tokens()),
        Case("WhisperBackbone", whisper, _whisper_inputs),
        Case("ResNetBackbone", resnet, numbers(16, 16, 3)),
        Case("ViTImageClassifier", classifier, numbers(16, 16, 3)),
    ]


def _t5_tokens():
    one = tokens()()
    return {f"{side}_{k}": v for side in ("encoder", "decoder") for k, v in one.items()}


def _whisper_inputs():
    own = {f"decoder_{k}": v for k, v in tokens()().items()}
    return {"encoder_features": numbers(8, 4)(), **own}


# The others


def keras_rs():
    import keras_rs

    def ranking():
        ids, dense = keras.Input((4,), dtype="int32"), keras.Input((6,))
        embedded = keras_rs.layers.EmbedReduce(30, 8, combiner="mean")(ids)
        x = layers.Concatenate()([embedded, dense])
        for _ in range(2):
            x = keras_rs.layers.FeatureCross(projection_dim=6)(x, x)
        return keras.Model([ids, dense], layers.Dense(1)(x))

    def inputs():
        ids = np.random.default_rng(0).integers(0, 30, (BATCH, 4)).astype("int32")
        return [ids, numbers(6)()]

    return [Case("EmbedReduce, FeatureCross", ranking, inputs)]


def kimm():
    from kimm import models

    def case(kind):
        def build():
            return kind(input_shape=(32, 32, 3), weights=None, classes=4)

        return Case(kind.__name__, build, _picture, (kind,))

    return [case(models.MobileNetV3W050Small), case(models.GhostNetW050)]


def k3im():
    from k3im import cct as compact
    from k3im import vit_1d
    from k3im.mlp_mixer import MlpMixer

    def cct():
        return compact.CCT(
            input_shape=(16, 16, 3), num_heads=2, projection_dim=16, kernel_size=3, stride=2,
            padding=1, transformer_units=[32, 16], stochastic_depth_rate=0.1,
            transformer_layers=2, num_classes=4, positional_emb=True,
        )  # fmt: skip

    def vit():
        return vit_1d.ViT1DModel(
            seq_len=32, patch_size=8, num_classes=4, dim=16, depth=2, heads=2, mlp_dim=32,
            dim_head=8,
        )  # fmt: skip

    def mixer():
        return MlpMixer(
            img_size=16, patch_size=8, num_blocks=2, embed_dim=16, num_classes=4,
        )  # fmt: skip

    return [
        Case("CCT", cct, numbers(16, 16, 3), _layers_of(compact)),
        Case("ViT1DModel", vit, numbers(32, 3), _layers_of(vit_1d)),
        Case("MlpMixer", mixer, numbers(16, 16, 3)),
    ]


def zeromodels():
    from zeromodels.models import llama, mobilenetv3, vit

    def pictures(model, **options):
        return model(image_size=32, num_classes=4, **options)

    def language():
        return llama.LlamaModel(
            vocab_size=60, embed_dim=16, mlp_dim=32, num_layers=2, num_heads=4, num_kv_heads=2
        )

    def ids():
        one = tokens()()
        return {"input_ids": one["token_ids"], "attention_mask": one["padding_mask"]}

    small = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
    return [
        Case("ViTImageClassify", lambda: pictures(vit.ViTImageClassify, **small), _picture),
        Case(
            "MobileNetV3ImageClassify",
            lambda: pictures(mobilenetv3.MobileNetV3ImageClassify, config="small"),
            _picture,
        ),
        Case("LlamaModel", language, ids),
    ]


def kyolo():
    from kyolo.models.yolov8.yolov8_model import YOLOv8

    def yolo():
        return YOLOv8(variant="n", nc=3, input_shape=(64, 64, 3))

    return [Case("YOLOv8 n", yolo, numbers(64, 64, 3))]


def keras_tcn():
    from tcn import TCN

    def network(**options):
        return within(TCN(nb_filters=8, kernel_size=3, dilations=(1, 2, 4), **options), 12, 3)

    return [
        Case("TCN", network, numbers(12, 3)),
        Case("TCN, normalised", lambda: network(use_batch_norm=True), numbers(12, 3)),
    ]


def keras_bio():
    from keras_bio.protein.esm2 import config, modeling

    def esm2():
        small = config.ESM2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
        )
        return modeling.ESM2ForMaskedLM(small)

    def ids():
        one = tokens(vocabulary=33)()
        return {"input_ids": one["token_ids"], "attention_mask": one["padding_mask"]}

    return [Case("ESM2ForMaskedLM", esm2, ids)]


def bayesflow():
    from bayesflow import networks

    def deep_set():
        layer = networks.DeepSet(summary_dim=4, embed_dim=16, depth=1, mlp_widths=(16,))
        return within(layer, 8, 4)

    def flow():
        return within(networks.CouplingFlow(depth=2, subnet_kwargs={"widths": (16, 16)}), 6)

    return [
        Case("DeepSet", deep_set, numbers(8, 4)),
        Case("CouplingFlow", flow, numbers(6)),
    ]


def medicai():
    from medicai import models

    def vit():
        backbone = models.ViTBackbone(
            input_shape=(16, 16, 16, 1), patch_size=8, num_layers=2, num_heads=2, hidden_dim=16,
            mlp_dim=32, use_class_token=False,
        )  # fmt: skip
        return backbone

    def unet():
        return models.UNet(
            input_shape=(32, 32, 1), encoder_name="densenet121", encoder_depth=3,
            decoder_filters=(16, 8, 8),
        )  # fmt: skip

    return [
        Case("ViTBackbone, 3-D", vit, numbers(16, 16, 16, 1), (models.ViTBackbone,)),
        Case("UNet", unet, numbers(32, 32, 1)),
    ]


def hgq2():
    from hgq.layers import QConv2D, QDense

    def network():
        parts = [
            QConv2D(8, 3, activation="relu"), layers.Flatten(), QDense(12, activation="relu"),
            QDense(3),
        ]  # fmt: skip
        return keras.Sequential([keras.Input((8, 8, 1)), *parts])

    return [Case("QConv2D, QDense", network, numbers(8, 8, 1))]


def _picture():
    return numbers(32, 32, 3)()


LIBRARIES = {
    "keras-hub": Library(keras_hub),
    "keras-rs": Library(keras_rs),
    "kimm": Library(kimm),
    "k3im": Library(k3im),
    "zeromodels": Library(zeromodels),
    "kyolo": Library(kyolo),
    "keras-tcn": Library(keras_tcn),
    "keras-bio": Library(keras_bio),
    "bayesflow": Library(bayesflow),
    "medicai": Library(medicai),
    "hgq2": Library(hgq2),
}
