"""What computes the value of a virtual variable."""

from __future__ import annotations

import abc
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh.index_store import Slot
from smh.typing import Tally, Tensor
from smh.virtual_variable.inside_keras import torch_storage, traces
from smh.virtual_variable.weight_spec import WeightSpec


class Source(keras.Layer):
    """Something that several virtual variables compute together: a pool.

    It is a Keras layer, so that its variables are tracked, trained and saved by whatever model
    uses it, once.
    """

    def __init__(self, name=None, **kwargs):
        super().__init__(name=torch_storage.unique_name(name), **kwargs)
        # A plain list behind Keras' tracker: the users are virtual variables, and tracking them
        # here would list them as variables of the model.
        self.__dict__["_users"] = []
        # Relies on: a layer's name scope begins at `_parent_path` if it is set. A pool belongs to
        # no layer, so its factors have the same path wherever it is first used.
        self._parent_path = ""

    @property
    def users(self) -> list:
        """The virtual variables that take their value from here and are still alive."""
        return [user for ref in self.__dict__["_users"] if (user := ref()) is not None]

    def add_user(self, virtual) -> None:
        """Registers a virtual variable."""
        self.__dict__["_users"].append(weakref.ref(virtual))

    def load_own_variables(self, store):
        """Loads the trained variables, for every model that uses them, deployed or not."""
        super().load_own_variables(store)
        self.changed()

    def models(self) -> list[keras.Model]:
        """The models that use this, those inside others as well, each once.

        Relies on: what saves a layer follows its properties, and would go around in circles.
        """
        holders = (holder for user in self.users for holder in user._holders)
        above = {id(layer): layer for holder in holders for layer in holder.above}
        return [layer for layer in above.values() if isinstance(layer, keras.Model)]

    def changed(self, retrace: bool = False) -> None:
        """Has to be called after numbers changed: deployed models keep copies of what they compute.

        Args:
            retrace: whether what changed is a constant in what Keras compiled for the models.
        """
        if retrace:
            traces.forget_traces(self.models())
        for user in self.users:
            user.refresh_cache()

    @abc.abstractmethod
    def slot_at(self, begin: int, length: int) -> Slot:
        """Returns the slot of `length` elements that begins at `begin`, without allocating it."""

    @abc.abstractmethod
    def pieces(
        self, slots: Sequence[Slot], scales: Sequence[Tensor | None] | None = None
    ) -> list[Tensor]:
        """Returns the flat values of `slots`, computed together.

        Args:
            slots: what to compute.
            scales: for each slot a number to multiply it by, or `None`.
        """

    @abc.abstractmethod
    def piece(self, slot: Slot, scale: Tensor | None = None) -> Tensor:
        """Returns the flat values of `slot`, times `scale`, from nothing but what it needs."""


class Parametrization(abc.ABC):
    """Computes one weight from trained parts.

    Attributes:
        source: what the weight is computed from together with others, or `None`.
        slot: where it lies there.

    To be saved with a whole model, and made again in another process, a subclass

    - is registered: `@keras.saving.register_keras_serializable()` above its definition;
    - returns from `get_config` whatever decides how it computes, as plain JSON: nothing that is in
      its spec, its source, its slot or the values of its parts;
    - has a `from_config` that makes it from that and from new `parts`, which have the names,
      shapes and dtypes of the old ones, and get their values afterwards. It must look at neither
      the layer's variable nor the values of the parts.

    The parts of one weight need different names (`part.name`).

    Example:
        A gate before a weight::

            @keras.saving.register_keras_serializable(package="mine")
            class Gated(Parametrization):
                def __init__(self, weight, gate):
                    self.weight, self.gate = weight, gate

                @property
                def parts(self):
                    return self.weight, self.gate

                def value(self, piece):
                    return self.gate.value * self.weight.value

                def describe(self):
                    return "gated"

                @classmethod
                def from_config(cls, config, spec, parts, source=None, slot=None):
                    return cls(parts["weight"], parts["gate"])
    """

    source: Any = None  # a Source
    slot: Any = None  # a Slot

    @property
    def parts(self) -> tuple[keras.Variable, ...]:
        """The variables that belong to this weight alone."""
        return ()

    @property
    def scale(self) -> Tensor | None:
        """A number to multiply the piece by before `value` gets it; default: none."""
        return None

    @abc.abstractmethod
    def value(self, piece: Tensor | None) -> Tensor:
        """Returns the weight.

        Args:
            piece: the flat values of `slot` times `scale`, or `None` without a `source`.
        """

    def get_config(self) -> dict[str, Any]:
        """Returns what decides how the weight is computed, as plain JSON; default: nothing."""
        return {}

    @classmethod
    def from_config(
        cls,
        config: dict[str, Any],
        spec: WeightSpec,
        parts: Mapping[str, keras.Variable],
        source: Source | None = None,
        slot: Slot | None = None,
    ) -> Parametrization:
        """Makes the parametrization again.

        Args:
            config: what `get_config` returned.
            spec: the weight.
            parts: new variables in place of the old `parts`, by name, in the same order.
            source: a source of the same layout, or `None`.
            slot: where the weight lies in it.
        """
        raise NotImplementedError(
            f"{cls.__name__} cannot be made from a description: it has no from_config()."
        )

    def tally(self) -> Tally | None:
        """Returns how large the weight is, or `None` if all its parts are trained and stored."""
        return None

    def state(self) -> np.ndarray | None:
        """What a file of weights holds beside the variables of a `wrap`ping; default: nothing."""
        return None

    def check_state(self, state: np.ndarray | None) -> None:
        """Raises if `restore` could not take this; `None`: the file has none."""
        del state

    def restore(self, state: np.ndarray | None) -> None:
        """Takes what `state` returned, once the variables are loaded."""
        del state

    @abc.abstractmethod
    def describe(self) -> str:
        """One line for tables and messages: where the weight comes from."""
