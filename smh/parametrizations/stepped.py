"""A weight that is whole numbers times a step: the parametrization of `smh.shrink`.

The grid of `smh.coding.Stepped`: it has no end, zero is on it, and the steps are the weight's own
variables, not trained, so that every file keeps them. A step is of the whole weight, or of each
channel: then `step * 2 ** (exponent / 4)`. Training goes on behind the rounding, straight through.

Reference: Bengio, Leonard, Courville, "Estimating or Propagating Gradients Through Stochastic
Neurons for Conditional Computation" (2013), for the gradient.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from smh import coding
from smh.coding.axes import along
from smh.errors import ArtifactError
from smh.parametrizations import counting
from smh.parametrizations.counting import Steps
from smh.parametrizations.own_numbers import OwnNumbers
from smh.typing import Shape, Tensor
from smh.virtual_variable import stored_variable

_EXPONENTS = 256


@keras.saving.register_keras_serializable(package="smh")
class Stepped(OwnNumbers):
    """`step * round(weight / step)`; pruned numbers stay zero. The gradient goes straight through.

    Args:
        weight: float32; it is what training changes.
        step: float32, of shape `()`, not trained.
        exponents: uint8 `[channels]`, not trained, or `None`.
        mask: bool, of the weight's shape: what is not pruned; not trained; or `None`.
        axis: that the channels lie along, or `None`.
    """

    def __init__(
        self,
        weight: keras.Variable,
        step: keras.Variable,
        exponents: keras.Variable | None = None,
        mask: keras.Variable | None = None,
        axis: int | None = None,
    ):
        self.weight, self.step, self.exponents = weight, step, exponents
        self.mask, self.axis = mask, axis

    @classmethod
    def of(
        cls, path: str, weight: np.ndarray, steps: Steps, mask: np.ndarray | None = None
    ) -> Stepped:
        """Makes the variables; their paths begin with that of the weight."""

        def fixed(name: str, value: np.ndarray) -> keras.Variable:
            return stored_variable(f"{path}/{name}", value, trainable=False)

        exponents = steps.exponents
        return cls(
            stored_variable(f"{path}/weight", weight.astype("float32")),
            fixed("step", coding.steps(steps.step)),
            None if exponents is None else fixed("exponents", exponents.astype("uint8")),
            None if mask is None else fixed("mask", mask.astype(bool)),
            steps.axis,
        )

    @property
    def parts(self):
        """The weight, its steps and its mask."""
        every = (self.weight, self.step, self.exponents, self.mask)
        return tuple(part for part in every if part is not None)

    def get_config(self):
        """Says where the channels lie."""
        return {"axis": self.axis}

    @classmethod
    def from_config(cls, config, spec, parts, source=None, slot=None):
        """Makes it again, on new `parts`; raises `ArtifactError`."""
        axis, exponents = config["axis"], parts.get("exponents")
        fits = axis is None if exponents is None else _fits(axis, exponents, spec.shape)
        if not fits or tuple(parts["step"].shape) != ():
            raise ArtifactError(f"'{spec.path}' has malformed steps: {config!r:.80}.")
        return cls(parts["weight"], parts["step"], exponents, parts.get("mask"), axis)

    def value(self, piece):
        """Returns the rounded weight."""
        del piece
        latent = self.weight.value
        steps, fixed = self._steps(), ops.stop_gradient(latent)
        rounded = ops.round(fixed / steps) * steps
        # Not `latent + stop_gradient(rounded - latent)`, whose sum is off by a bit.
        value = rounded + (latent - fixed)
        return value if self.mask is None else ops.where(self.mask.value, value, 0.0)

    def step_sizes(self, latent: Tensor) -> Tensor:
        """The step of each number, in a shape that broadcasts against the weight."""
        del latent
        return self._steps()

    def _steps(self) -> Tensor:
        """As `smh.coding.steps`, to the last bit: powers of two change no digit."""
        if self.exponents is None:
            return self.step.value
        steps = self.step.value * ops.take(_table(), ops.cast(self.exponents.value, "int32"))
        return ops.reshape(steps, along(self.axis, len(self.weight.shape)))

    def steps(self) -> Steps:
        """The steps, as a file holds them."""
        step = float(ops.convert_to_numpy(self.step.value))
        if self.exponents is None:
            return Steps(step)
        exponents = np.asarray(ops.convert_to_numpy(self.exponents.value)).astype(np.int64)
        return Steps(step, exponents, self.axis)

    def integers(self) -> np.ndarray:
        """The whole numbers, int32."""
        steps = self.steps().spread(len(self.weight.shape))
        return np.rint(ops.convert_to_numpy(self.value(None)) / steps).astype(np.int32)

    def counted(self) -> counting.Counted:
        """Counts the bits that the largest whole number takes, and the steps."""
        exponents = 0 if self.exponents is None else math.prod(self.exponents.shape)
        mask = None if self.mask is None else ops.convert_to_numpy(self.mask.value)
        return counting.stepped(self.integers(), exponents, mask)


def _table() -> np.ndarray:
    """float32 `[256]`: `2 ** (exponent / 4)`; steps of 1 are a bfloat16 exactly."""
    return coding.steps(1.0, np.arange(_EXPONENTS))


def _fits(axis: object, exponents: keras.Variable, shape: Shape) -> bool:
    if type(axis) is not int or not 0 <= axis < len(shape):
        return False
    return tuple(exponents.shape) == (shape[axis],)
