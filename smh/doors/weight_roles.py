"""What a weight is for its layer: a kernel, a bias, a scale, ... and which of these calls take.

Rank alone does not say it: the bias of a GRU is `[2, 3 * units]`, that of an attention projection
`[heads, dim]`, the slopes of a PReLU have the shape of its inputs, and quantisers train bit widths
of the shape of the kernel. What says it is how the layer calls it: the attribute under which the
layer holds the variable, the variable's own name, and the kind of the layer.

| role | what has it | by default |
| --- | --- | --- |
| `KERNEL` | `kernel`, `depthwise_kernel`, `weights`, `..._matrix` | taken |
| `RECURRENT_KERNEL` | `recurrent_kernel` | taken |
| `EMBEDDING` | `embeddings`, `position_embedding` | taken |
| `OTHER` | what no rule knows: `w`, `mat0`, `class_token` | taken |
| `ADAPTER` | `lora_...`: what `enable_lora` adds | refused |
| `BIAS` | `bias`, `beta`, `offset`, `shift`, `relative_position_bias_table` | stays |
| `SCALE` | `gamma`, `scale`, slopes of a `PReLU` | stays |
| `QUANTISER` | all of a layer whose class is called a quantizer; `bits`, `bit_width` | stays |

Only of rank 2 or more: a vector of any role stays. What is not trained (moving averages, counters,
seeds) is never taken. `apply_to=` takes whatever it names, of any role and rank.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

import keras

from smh.errors import SelectionError
from smh.virtual_variable.inside_keras.own import BOOKS

BY_DEFAULT = "kernels, embeddings and other weights of rank 2 or more"  # for messages

_KERNELS = frozenset({"kernel", "kernels", "weight", "weights", "matrix", "matrices"})
_EMBEDDINGS = frozenset({"embedding", "embeddings"})
_BIASES = frozenset({"bias", "biases", "beta", "betas", "intercept", "offset", "offsets", "shift"})
_SCALES = frozenset({"gamma", "gammas", "scale", "scales", "slope", "slopes"})
_BITS = frozenset({"bits", "bitwidth", "bitwidths"})
_QUANTISERS = frozenset({"quantizer", "quantiser"})


class Role(Enum):
    """What a weight is for its layer; see the top of this file."""

    ADAPTER = "adapter"
    QUANTISER = "quantiser"
    RECURRENT_KERNEL = "recurrent kernel"
    KERNEL = "kernel"
    EMBEDDING = "embedding"
    BIAS = "bias"
    SCALE = "scale"
    OTHER = "other"


_TAKEN = frozenset({Role.KERNEL, Role.RECURRENT_KERNEL, Role.EMBEDDING, Role.OTHER})


def role_of(variable: keras.Variable, owners: Sequence[keras.Layer]) -> Role:
    """Returns the role of a variable.

    Args:
        variable: stored or virtual.
        owners: the layers that track it. Where they differ (a table that is the embedding of one
            and the kernel of another) the first in the order of `Role` counts.
    """
    roles = {_role_in(owner, variable) for owner in owners} or {
        _role_of_name(variable, variable.name)
    }
    return next(role for role in Role if role in roles)


def is_taken(variable: keras.Variable, owners: Sequence[keras.Layer]) -> bool:
    """Whether calls take a trained variable where no `apply_to` says which."""
    is_matrix = len(variable._shape) >= 2 and math.prod(variable._shape) > 0
    return is_matrix and role_of(variable, owners) in _TAKEN


def check_no_adapters(
    pairs: Iterable[tuple[keras.Variable, Sequence[keras.Layer]]], model: keras.Layer
) -> None:
    """Raises `SelectionError` if one of the variables, which come with their owners, is an adapter.

    With `enable_lora` the kernel is frozen, and the small matrices beside it are what is trained:
    to prune or compress these alone would say nothing true of the kernel.
    """
    for variable, owners in pairs:
        if role_of(variable, owners) is Role.ADAPTER:
            raise SelectionError(
                f"'{variable.path}' is a LoRA adapter: the kernel beside it is frozen, and what "
                "counts is their sum. Merge them first: Keras does so when it saves, "
                f"`{model.name}.save_weights('merged.weights.h5')`; load that into the model as it "
                "is built without enable_lora. Or leave such layers as they are, "
                "exclude='.*lora_', or name the adapters in apply_to."
            )


def held_as(layer: keras.Layer, variable: keras.Variable) -> list[str]:
    """Returns the names under which a layer holds a variable, without leading underscores.

    An attribute, or one that is a list or dictionary with the variable in it.
    """
    return [
        name.lstrip("_")
        for name, value in vars(layer).items()
        if _is_or_has(value, variable) and name not in BOOKS
    ]


def _is_or_has(value: Any, variable: keras.Variable) -> bool:
    if isinstance(value, list | tuple):
        return any(held is variable for held in value)
    if isinstance(value, dict):
        return any(held is variable for held in value.values())
    return value is variable


def _role_in(layer: keras.Layer, variable: keras.Variable) -> Role:
    if _words(layer.name)[:1] == ("lora",):
        return Role.ADAPTER
    if isinstance(layer, keras.layers.PReLU):
        return Role.SCALE
    roles = [_role_of_name(variable, name) for name in held_as(layer, variable)]
    roles.append(_role_of_name(variable, variable.name))
    role = next((role for role in roles if role is not Role.OTHER), Role.OTHER)
    kinds = {word for kind in type(layer).__mro__ for word in _words(kind.__name__)}
    # The codebook of a vector quantizer is an embedding; its other numbers are its settings.
    if kinds & _QUANTISERS and role in (Role.OTHER, Role.BIAS, Role.SCALE):
        return Role.QUANTISER
    return role


def _role_of_name(variable: keras.Variable, name: str) -> Role:
    """The role that a name tells; its last word is what it is: a `bias_kernel` is a kernel."""
    words = _words(name) or ("",)
    found = set(words)
    if words[0] == "lora":
        return Role.ADAPTER
    if words[-1] in _KERNELS:
        return Role.RECURRENT_KERNEL if "recurrent" in found else Role.KERNEL
    if words[-1] in _EMBEDDINGS:
        return Role.EMBEDDING
    if found & _BIASES or (words == ("b",) and _is_vector(variable)):
        return Role.BIAS
    if found & _SCALES:
        return Role.SCALE
    if found & _BITS or {"bit", "width"} <= found or {"bit", "widths"} <= found:
        return Role.QUANTISER
    return Role.OTHER


def _is_vector(variable: keras.Variable) -> bool:
    """Whether it has one axis, not counting those of length 1."""
    return sum(n > 1 for n in variable._shape) <= 1


@functools.lru_cache(maxsize=10_000)
def _words(name: str) -> tuple[str, ...]:
    """`LoRAKernel_a0`, `lora_kernel_a` -> lora, kernel, a. Digits are no words."""
    name = name.replace("LoRA", "Lora")
    return tuple(word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name))
