"""What a layer owns in place of the variables that became virtual."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError, SmhWarning
from smh.virtual_variable.variable import VirtualVariable, stored_variable


class VirtualWeights(keras.Layer):
    """Tracks the parts and sources of one layer's virtual variables.

    As a sublayer it is found by everything that walks a model (training, saving, `summary`), and
    it is told when its layer is frozen. Freezing a layer must not freeze the pool, which belongs
    to other layers as well: `settle` decides that for the pool as a whole.
    """

    def __init__(self):
        super().__init__(name="virtual_weights")
        # Behind Keras' tracker, which would list virtual variables as variables of the model.
        self.__dict__["order"] = []  # (position among the trainable variables, virtual variable)
        self.built = True

    @property
    def virtuals(self) -> list[VirtualVariable]:
        """The virtual variables of the layer."""
        return [virtual for _, virtual in self.__dict__["order"]]

    def virtuals_index(self, virtual: VirtualVariable) -> int:
        """Which of the layer's virtual variables `virtual` is."""
        return [id(v) for v in self.virtuals].index(id(virtual))

    def hold(self, virtual: VirtualVariable, position: int) -> None:
        """Takes over a variable that its layer tracked at `position`."""
        self.__dict__["order"].append((position, virtual))
        virtual._holders.append(self)
        if virtual.constraint is not None:
            warnings.warn(
                f"The constraint {type(virtual.constraint).__name__} of '{virtual.path}' is "
                "dropped: a constraint assigns to the weight after each step, and a computed "
                "weight cannot be assigned. Use a regularizer, or keep the weight dense with "
                "`exclude=`.",
                SmhWarning,
                stacklevel=2,
            )
            virtual.constraint = None
        for part in virtual._parametrization.parts:
            # As an attribute as well: TensorFlow's checkpoints find a variable by its attribute.
            setattr(self, f"part_{len(self._trainable_variables)}", part)
        source = virtual._parametrization.source
        if source is not None and not any(source is layer for layer in self._layers):
            setattr(self, f"source_{len(self._layers)}", source)
        if not self.trainable:
            virtual.trainable = False

    @property
    def trainable(self):
        """Whether the layer is trained; set by Keras when the layer is frozen or unfrozen."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        # Relies on: the setter of `Layer.trainable` sets that of every sublayer. The inherited
        # one would go on to the pool.
        self._trainable = bool(value)
        for virtual in self.virtuals:
            virtual.trainable = value

    def save_own_variables(self, store):
        """Saves the parts, and where in its pool each weight lies."""
        super().save_own_variables(store)
        slots = [(s.begin, s.length) for s in self._slots() if s is not None]
        if slots:
            store["slots"] = np.array(slots, "int64")

    def load_own_variables(self, store):
        """Loads the parts, and takes the weights from where they lay when they were saved.

        A model that is built again may list its layers in another order (on another backend,
        through the other door); its slots then differ, and the file's are right.
        """
        if not self.virtuals:
            return
        saved = np.array(store["slots"]).tolist() if "slots" in store else []
        expected = [s for s in self._slots() if s is not None]
        if [length for _, length in saved] != [slot.length for slot in expected]:
            raise ArgumentError(
                f"The file has no weights that fit '{self.virtuals[0].path}': expected slots of "
                f"lengths {[slot.length for slot in expected]}, found "
                f"{[length for _, length in saved]}. Load it into a model that was compressed by "
                "the same call."
            )
        super().load_own_variables({key: store[key] for key in store.keys() if key != "slots"})
        held = [v._parametrization for v in self.virtuals if v._parametrization.slot is not None]
        for parametrization, (begin, length) in zip(held, saved, strict=True):
            parametrization.slot = parametrization.source.slot_at(begin, length)

    def _slots(self):
        return [virtual._parametrization.slot for virtual in self.virtuals]

    def settle(self, virtual: VirtualVariable) -> None:
        """Carries through that `virtual` was frozen or unfrozen.

        A frozen weight must not move while other layers still train the pool, so it keeps a dense
        snapshot for as long as that may happen. Once nothing of the pool is trained the factors
        stand still by themselves, and a snapshot that still equals its slice is dropped.
        """
        for part in virtual._parametrization.parts:
            part.trainable = virtual.trainable
        source = virtual._parametrization.source
        if source is None:
            return
        if virtual.trainable:
            _drop_snapshot(virtual)
        users = source.users
        in_training = any(user.trainable for user in users)
        for user in users:
            if user.trainable:
                continue
            if in_training and user._snapshot is None:
                _take_snapshot(user)
            elif not in_training and user._snapshot is not None and _is_current(user):
                _drop_snapshot(user)
        for factor in source._trainable_variables:
            factor.trainable = source.trainable and in_training


def _take_snapshot(virtual: VirtualVariable) -> None:
    snapshot = stored_variable(f"{virtual.path}/frozen", virtual.numpy(), trainable=False)
    virtual._snapshot = snapshot
    for holder in virtual._holders:
        setattr(holder, f"frozen_{holder.virtuals_index(virtual)}", snapshot)


def _drop_snapshot(virtual: VirtualVariable) -> None:
    snapshot, virtual._snapshot = virtual._snapshot, None
    if snapshot is not None:
        for holder in virtual._holders:
            delattr(holder, f"frozen_{holder.virtuals_index(virtual)}")


def _is_current(virtual: VirtualVariable) -> bool:
    """Whether the snapshot still equals what would be computed."""
    snapshot: Any = virtual._snapshot
    virtual._snapshot = None
    current = virtual.numpy()
    virtual._snapshot = snapshot
    return bool((current == snapshot.numpy()).all())
