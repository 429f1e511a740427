"""Which rule each kind of layer has: the one table of it."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from smh.doors.slimming import attention, elementwise, mixing, recurrent, shaping
from smh.doors.slimming.seen import Rule
from smh.virtual_variable import calls_as_keras

# Names are those of layers inside `keras.applications`, which Keras does not export.
_RULES: tuple[tuple[tuple[type | str, ...], Rule], ...] = (
    ((layers.Dense,), mixing.dense),
    ((layers.EinsumDense,), mixing.einsum),
    ((layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose), mixing.transposed),
    ((layers.DepthwiseConv1D, layers.DepthwiseConv2D), mixing.depthwise),
    ((layers.SeparableConv1D, layers.SeparableConv2D), mixing.separable),
    ((layers.Conv1D, layers.Conv2D, layers.Conv3D), mixing.convolution),
    ((layers.Embedding,), mixing.embedding),
    ((layers.MultiHeadAttention,), attention.multi_head),
    ((layers.LSTM, layers.GRU, layers.SimpleRNN, layers.RNN), recurrent.recurrent),
    ((layers.Bidirectional,), recurrent.bidirectional),
    ((layers.BatchNormalization,), elementwise.batch_normalization),
    ((layers.Activation,), elementwise.activation),
    ((layers.ReLU, layers.LeakyReLU, layers.ELU), elementwise.function),
    ((layers.PReLU,), elementwise.prelu),
    ((layers.Rescaling,), elementwise.rescaling),
    (
        (
            layers.Dropout,
            layers.SpatialDropout1D,
            layers.SpatialDropout2D,
            layers.SpatialDropout3D,
            layers.GaussianDropout,
            layers.GaussianNoise,
            layers.AlphaDropout,
            layers.ActivityRegularization,
            layers.Identity,
            "StochasticDepth",
        ),
        elementwise.unchanged,
    ),
    ((layers.Add,), elementwise.merging("Add")),
    ((layers.Subtract,), elementwise.merging("Subtract")),
    ((layers.Multiply,), elementwise.merging("Multiply")),
    ((layers.Average,), elementwise.merging("Average")),
    ((layers.Maximum,), elementwise.merging("Maximum")),
    ((layers.Minimum,), elementwise.merging("Minimum")),
    ((layers.Concatenate,), elementwise.concatenate),
    (("LayerScale",), elementwise.layer_scale),
    (("CustomScaleLayer",), elementwise.custom_scale),
    (
        (
            layers.MaxPooling1D,
            layers.MaxPooling2D,
            layers.MaxPooling3D,
            layers.UpSampling1D,
            layers.UpSampling2D,
            layers.UpSampling3D,
            layers.Cropping1D,
            layers.Cropping2D,
            layers.Cropping3D,
        ),
        shaping.by_place,
    ),
    (
        (
            layers.AveragePooling1D,
            layers.AveragePooling2D,
            layers.AveragePooling3D,
            layers.ZeroPadding1D,
            layers.ZeroPadding2D,
            layers.ZeroPadding3D,
        ),
        shaping.padding,
    ),
    (
        (
            layers.GlobalAveragePooling1D,
            layers.GlobalAveragePooling2D,
            layers.GlobalAveragePooling3D,
            layers.GlobalMaxPooling1D,
            layers.GlobalMaxPooling2D,
            layers.GlobalMaxPooling3D,
        ),
        shaping.global_pooling,
    ),
    ((layers.Flatten,), shaping.flatten),
    ((layers.Reshape,), shaping.reshape),
    ((layers.Permute,), shaping.permute),
    ((layers.RepeatVector,), shaping.repeat_vector),
    ((layers.Normalization,), shaping.at_input),
)
# Of `keras.ops`, beside those that look at each number by itself.
_OPERATIONS: dict[str, Rule] = {
    "Concatenate": elementwise.concatenate,
    "GetItem": shaping.get_item,
    "Pad": shaping.pad,
}
# Without a rule for a reason: each number depends on all channels.
MIXES = (
    layers.Softmax,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.RMSNormalization,
    layers.UnitNormalization,
)


def rule_of(operation: keras.Operation) -> Rule | None:
    """Returns the rule of a layer or an operation, or `None` if there is none.

    A class of one's own has that of the class it comes from, unless it has a `call` of its own, or
    is made from other arguments.
    """
    kind = type(operation)
    if not calls_as_keras(operation) or _has_other_weights(operation):
        return None
    if not _is_configured_as_keras(operation):
        return None
    if not isinstance(operation, keras.Layer):
        alone = elementwise.operation if kind.__name__ in elementwise.ALONE else None
        return _OPERATIONS.get(kind.__name__, alone) if _of_keras(kind.__module__) else None
    return next((rule for kinds, rule in _RULES if any(_is(kind, k) for k in kinds)), None)


def _is(kind: type, wanted: type | str) -> bool:
    if isinstance(wanted, type):
        return issubclass(kind, wanted)
    return any(c.__name__ == wanted and _of_keras(c.__module__) for c in kind.__mro__)


def _of_keras(module: str) -> bool:
    return module.split(".")[0] == "keras"


def _is_configured_as_keras(operation: Any) -> bool:
    """Whether its configuration has what that of the class of Keras has, which the rules change."""
    kind = type(operation)
    base: Any = next(c for c in kind.__mro__ if _of_keras(c.__module__))
    if kind is base or not isinstance(operation, keras.Layer):
        return True
    try:
        return base.get_config(operation).keys() <= operation.get_config().keys()
    except Exception:  # its own; of one that has none Keras raises, too
        return False


def _has_other_weights(operation: Any) -> bool:
    """Whether Keras put integers or adapters in the place of a layer's weights."""
    quantized = getattr(operation, "quantization_mode", None)
    return bool(quantized or getattr(operation, "lora_enabled", False))
