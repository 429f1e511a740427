"""A weight whose numbers share a few values: the parametrization."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from smh.errors import ArtifactError
from smh.parametrizations import counting
from smh.parametrizations.own_numbers import OwnNumbers
from smh.virtual_variable import stored_variable


@keras.saving.register_keras_serializable(package="smh")
class Clustered(OwnNumbers):
    """`codebook[index]`; training changes the codebook.

    The gradient of a codebook value is the sum of its members' gradients, as in Deep Compression.

    Args:
        codebook: float32 `[k]`.
        index: unsigned integers of the weight's shape, not trained.
        pruned: whether index 0 stands for zero, which is not in the codebook and stays; the first
            value of the codebook then has index 1.

    Cost: a gather per call; its gradient adds up as many numbers as the weight has.

    Reference: Han, Mao, Dally, "Deep Compression", ICLR 2016, section 3.
    """

    def __init__(self, codebook: keras.Variable, index: keras.Variable, pruned: bool):
        self.codebook, self.index, self.pruned = codebook, index, pruned

    @classmethod
    def of(cls, path: str, codebook: np.ndarray, index: np.ndarray, pruned: bool) -> Clustered:
        """Makes the variables; their paths begin with that of the weight."""
        kind = "uint8" if codebook.size + pruned <= 256 else "uint16"
        return cls(
            stored_variable(f"{path}/codebook", codebook.astype("float32")),
            stored_variable(f"{path}/index", index.astype(kind), trainable=False),
            pruned,
        )

    @property
    def parts(self):
        """The codebook and the indices."""
        return self.codebook, self.index

    def get_config(self):
        """Says what index 0 means."""
        return {"pruned": self.pruned}

    @classmethod
    def from_config(cls, config, spec, parts, source=None, slot=None):
        """Makes it again, on new `parts`; raises `ArtifactError`."""
        if not isinstance(config["pruned"], bool) or len(parts["codebook"].shape) != 1:
            raise ArtifactError(f"'{spec.path}' has a malformed codebook: {config!r:.80}.")
        return cls(parts["codebook"], parts["index"], config["pruned"])

    def value(self, piece):
        """Returns for each place the value that its index means."""
        del piece
        table = self.codebook.value
        if self.pruned:
            table = ops.concatenate([ops.zeros((1,), table.dtype), table])
        return ops.take(table, ops.cast(self.index.value, "int32"))

    def counted(self) -> counting.Counted:
        """Counts what is not pruned, and bits of an index."""
        index = ops.convert_to_numpy(self.index.value)
        return counting.shared(index, int(self.codebook.shape[0]), self.pruned)
