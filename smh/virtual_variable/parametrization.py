"""What computes the value of a virtual variable."""

from __future__ import annotations

import abc
import weakref
from collections.abc import Sequence
from typing import Any

import keras

from smh.index_store import Slot
from smh.typing import Tensor


class Source(keras.Layer):
    """Something that several virtual variables compute together: a pool.

    It is a Keras layer, so that its variables are tracked, trained and saved by whatever model
    uses it, once.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
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

    @abc.abstractmethod
    def slot_at(self, begin: int, length: int) -> Slot:
        """Returns the slot of `length` elements that begins at `begin`, without allocating it."""

    @abc.abstractmethod
    def pieces(self, slots: Sequence[Slot]) -> list[Tensor]:
        """Returns the flat values of `slots`, computed together."""


class Parametrization(abc.ABC):
    """Computes one weight from trained parts.

    Attributes:
        source: what the weight is computed from together with others, or `None`.
        slot: where it lies there.
    """

    source: Any = None  # a Source
    slot: Any = None  # a Slot

    @property
    def parts(self) -> tuple[keras.Variable, ...]:
        """The variables that belong to this weight alone."""
        return ()

    @abc.abstractmethod
    def value(self, piece: Tensor | None) -> Tensor:
        """Returns the weight.

        Args:
            piece: the flat values of `slot`, or `None` without a `source`.
        """

    @abc.abstractmethod
    def describe(self) -> str:
        """One line for tables and messages: where the weight comes from."""
