"""A weight of which some numbers are pruned: the parametrization.

The mask is a variable, not a constant: it may change while compiled functions go on, on every
backend, and it is in every file. Whatever an optimizer does to the numbers behind it (momentum,
weight decay, averages), what the layer sees there is zero, exactly.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from smh.parametrizations import counting
from smh.parametrizations.own_numbers import OwnNumbers
from smh.virtual_variable import stored_variable


@keras.saving.register_keras_serializable(package="smh")
class Masked(OwnNumbers):
    """`weight` where `mask` is true, else zero. The gradient is zero there as well.

    Args:
        weight: the dense weight; it is what training changes.
        mask: bool, of the weight's shape; not trained.

    Reference: Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural
    Networks", NIPS 2015.
    """

    def __init__(self, weight: keras.Variable, mask: keras.Variable):
        self.weight, self.mask = weight, mask

    @classmethod
    def of(cls, path: str, weight: np.ndarray, mask: np.ndarray) -> Masked:
        """Makes the variables; their paths begin with that of the weight."""
        return cls(
            stored_variable(f"{path}/weight", weight),
            stored_variable(f"{path}/mask", mask.astype(bool), trainable=False),
        )

    @property
    def parts(self):
        """The dense weight and the mask."""
        return self.weight, self.mask

    @classmethod
    def from_config(cls, config, spec, parts, source=None, slot=None):
        """Makes it again, on new `parts`."""
        return cls(parts["weight"], parts["mask"])

    def value(self, piece):
        """Returns the weight with zeros where it is pruned."""
        del piece
        weight = self.weight.value
        return ops.where(self.mask.value, weight, ops.zeros((), weight.dtype))

    def counted(self) -> counting.Counted:
        """Counts what is not pruned; one bit more for each place."""
        return counting.pruned(
            ops.convert_to_numpy(self.mask.value), np.dtype(self.weight.dtype).itemsize
        )
