"""What is asked of a modifier before anything is changed, at every door alike."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from smh.errors import ArgumentError, SelectionError
from smh.modifiers import Modifier
from smh.typing import Tensor
from smh.virtual_variable.weight_spec import WeightSpec

_PART_NAME = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)  # a name in a TF1 graph, and in a file


def checked_parts(modifier: Modifier, spec: WeightSpec) -> dict[str, np.ndarray]:
    """Returns the initial values of the variables that `modifier` owns for a weight, in float32.

    Raises:
        ArgumentError: they are no dict of numbers, or a name cannot be one of a variable.
        SelectionError: a value is not finite.
    """
    given = modifier.parts(spec)
    if not isinstance(given, Mapping):
        raise ArgumentError(
            f"{type(modifier).__name__}.parts() must return a dict of names and initial values, "
            f"such as {{'scale': np.float32(1)}}, got {given!r:.100}."
        )
    return {name: _initial_value(modifier, spec, name, value) for name, value in given.items()}


def _initial_value(modifier: Modifier, spec: WeightSpec, name: Any, value: Any) -> np.ndarray:
    where = f"{type(modifier).__name__}.parts()"
    if not isinstance(name, str) or not _PART_NAME.fullmatch(name):
        raise ArgumentError(
            f"A variable of {where} must have a name of letters, digits, '_', '.', '-' and '/', "
            f"such as 'scale', got {name!r:.100}."
        )
    array = _as_numbers(value)
    if array is None:
        raise ArgumentError(
            f"'{name}' of {where} must start from a number or an array of numbers, such as "
            f"np.float32(1), got {value!r:.100}."
        )
    if not np.all(np.isfinite(array)):
        raise SelectionError(
            f"'{spec.path}' has weights that are not finite (NaN or infinity), or the modifier "
            f"starts its '{name}' from such a number by itself. Repair the weights, leave it out "
            "of what is selected, or pass a `modifier=` that does not look at the weights."
        )
    return array


def _as_numbers(value: Any) -> np.ndarray | None:
    """The value in float32; `None` if it is not made of real numbers."""
    try:
        array = np.asarray(value)
        with np.errstate(over="ignore"):  # what is too large is infinite, and refused
            return None if array.dtype.kind in "OUSc" else array.astype("float32")
    except (TypeError, ValueError, NotImplementedError):
        return None


def tried(modifier: Modifier, spec: WeightSpec, parts: Mapping[str, np.ndarray]) -> Tensor:
    """Returns what `modifier` makes of zeros of the weight's shape.

    Raises:
        ArgumentError: if it fails.
    """
    try:
        tensors = {name: ops.convert_to_tensor(value) for name, value in parts.items()}
        zeros = ops.zeros(spec.shape, "float32")
        return ops.convert_to_tensor(modifier.apply(zeros, tensors))
    except Exception as error:
        raise ArgumentError(
            f"The modifier failed on a tensor of shape {spec.shape}: {error}"
        ) from error
