"""What PyTorch lists of a layer, on Keras' torch backend; nothing happens on another.

There a layer is a `torch.nn.Module`, and next to Keras' own bookkeeping it has a `ParameterDict` of
the variables in and below it, from which `parameters()` and `state_dict()` come. It is filled when
the layer is built, by the path of each variable.

Relies on: `TorchLayer._track_variables` fills `_torch_params` anew from `variables`.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Any

import keras

_GONE = "_smh_gone"


def on_torch() -> bool:
    """Whether Keras runs on PyTorch."""
    return keras.backend.backend() == "torch"


def give_up(parameter: Any) -> None:
    """Notes that `parameter` stores no weight any more, so that `list_anew` finds who lists it."""
    if on_torch() and parameter is not None:
        setattr(parameter, _GONE, True)


def list_anew(layers: Iterable[keras.Layer]) -> None:
    """Makes `layers`, and every layer that lists a given-up parameter, list what is stored now.

    A model around a compressed layer may be none of `layers`, and no layer knows what it is in.
    If such a model went on to list the dense weights, their memory would not be freed, and an
    optimizer of PyTorch would train them in place of the factors. So all live layers are looked
    through, which takes some 0.1 s.
    """
    if not on_torch():
        return
    # By the type, not `isinstance`: some objects answer that by importing a module.
    live = [x for x in gc.get_objects() if issubclass(type(x), keras.Layer)]
    stale = [layer for layer in live if any(hasattr(p, _GONE) for p in _listed(layer))]
    list_stored([*layers, *stale])


def list_stored(layers: Iterable[keras.Layer]) -> None:
    """Makes `layers` list the variables that they have now."""
    if not on_torch():
        return
    for layer in {id(layer): layer for layer in layers}.values():
        if _is_listing(layer):
            layer._track_variables()


def unique_name(name: str | None) -> str | None:
    """Returns `name`, with a number if it was given before; on other backends `name` itself.

    Two pools in one model need paths of their own, or PyTorch's list holds one of them only.
    """
    if name is None or not on_torch():
        return name
    from keras.src.utils import naming

    return naming.uniquify(name)


def tensor_state() -> tuple:
    """Names where tensors are made now, and whether gradients can pass through them.

    Under the device `meta` only shapes are computed.
    """
    import torch
    from keras.src.backend.torch.core import get_device

    return str(get_device()), torch.is_grad_enabled(), torch.is_inference_mode_enabled()


def _is_listing(layer: Any) -> bool:
    # A layer whose constructor has not run yet, or failed, has no `_modules`.
    return "_torch_params" in layer.__dict__.get("_modules", ())


def _listed(layer: Any) -> Iterable[Any]:
    return layer._torch_params.values() if _is_listing(layer) else ()
