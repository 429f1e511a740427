"""What a layer owns in place of the variables that became virtual."""

from __future__ import annotations

import contextlib
import itertools
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError, SmhWarning
from smh.virtual_variable.inside_keras import torch_storage
from smh.virtual_variable.inside_keras.traces import forget_traces
from smh.virtual_variable.variable import VirtualVariable, stored_variable, unset_variable

_STATE = "state_"  # in files, before the number of a virtual variable


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
        self.__dict__["above"] = weakref.WeakSet()  # the layers that compute the virtual variables
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
        self.track_parts(virtual)
        self.put_snapshots_last()
        source = virtual._parametrization.source
        if source is not None and not any(source is layer for layer in self._layers):
            setattr(self, f"source_{len(self._layers)}", source)
        if not self.trainable:
            virtual.trainable = False

    def track_parts(self, virtual: VirtualVariable) -> None:
        """Makes the parts of a virtual variable, which the holder has, variables of the layer.

        As attributes as well: TensorFlow's checkpoints find a variable by its attribute.
        """
        names = (f"part_{i}" for i in itertools.count())
        free = (name for name in names if name not in self.__dict__)
        for part in virtual._parametrization.parts:
            setattr(self, next(free), part)

    @contextlib.contextmanager
    def parts_let_go(self) -> Iterator[None]:
        """Lets go of all parts inside the block, and takes those that there are at its end.

        Of all virtual variables, in their order: so a model that is made again has them, whose
        weights and slots of an optimizer are taken one after the other.
        """
        trained = {id(part) for part in self._trainable_variables}
        every = [part for virtual in self.virtuals for part in virtual._parametrization.parts]
        frozen = [part for part in every if id(part) in trained and not part.trainable]
        known = {id(part) for part in every}
        for name in [n for n, value in vars(self).items() if id(value) in known]:
            delattr(self, name)
        try:
            yield
        finally:
            # Relies on: a variable goes into the list that its state says when it is tracked.
            for part in frozen:
                part.trainable = True
            for virtual in self.virtuals:
                self.track_parts(virtual)
            for part in frozen:
                part.trainable = False
            self.put_snapshots_last()

    def put_snapshots_last(self) -> None:
        """Tracks the snapshots behind all parts, in order, as in a model that is made again."""
        for i, virtual in enumerate(self.virtuals):
            if hasattr(self, f"frozen_{i}"):
                delattr(self, f"frozen_{i}")
                setattr(self, f"frozen_{i}", virtual._snapshot)

    def __delattr__(self, name):
        """Lets go of a part or copy, as Keras does, but without collecting garbage each time.

        Relies on: `Layer.__delattr__` stops tracking a variable, hands the name to the next class,
        and then calls `gc.collect()`: a tenth of a second and more, for each of many variables.
        """
        value = getattr(self, name)
        if isinstance(value, keras.Variable):
            self._untrack_variable(value)
        super(keras.Layer, self).__delattr__(name)

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
        """Saves the parts, and where in its pool each weight lies; nothing that was cached."""
        for i, variable in enumerate(self._saved_variables()):
            store[str(i)] = variable
        slots = [(s.begin, s.length) for s in self._slots() if s is not None]
        if slots:
            store["slots"] = np.array(slots, "int64")
        for i, virtual in enumerate(self.virtuals):
            state = virtual._parametrization.state()
            if state is not None:
                store[f"{_STATE}{i}"] = state

    def load_own_variables(self, store):
        """Loads the parts, and takes the weights from where they lay when they were saved.

        A model that is built again may list its layers in another order (on another backend,
        through the other door); its slots then differ, and the file's are right.
        """
        if not self.virtuals:
            return
        saved = np.array(store["slots"]).tolist() if "slots" in store else []
        lengths = [slot.length for slot in self._slots() if slot is not None]
        if [length for _, length in saved] != lengths:
            raise ArgumentError(
                f"The file has no weights that fit '{self.virtuals[0].path}': expected slots of "
                f"lengths {lengths}, found "
                f"{[length for _, length in saved]}. Load it into a model that was compressed by "
                "the same call."
            )
        expected = self._saved_variables()
        before = self._constants()
        states = self._saved_states(store)
        found = len(store.keys()) - ("slots" in store) - sum(s is not None for s in states)
        if found != len(expected):
            raise ArgumentError(
                f"The file has {found} variables for '{self.virtuals[0].path}', expected "
                f"{[variable.path for variable in expected]}. Load it into a model that was "
                "compressed, and frozen, in the same way."
            )
        for virtual, state in zip(self.virtuals, states, strict=True):
            virtual._parametrization.check_state(state)
        for i, variable in enumerate(expected):
            variable.assign(store[str(i)])
        for virtual, state in zip(self.virtuals, states, strict=True):
            virtual._parametrization.restore(state)
        held = [v._parametrization for v in self.virtuals if v._parametrization.slot is not None]
        for parametrization, (begin, length) in zip(held, saved, strict=True):
            parametrization.slot = parametrization.source.slot_at(begin, length)
        for virtual in self.virtuals:
            virtual.refresh_cache()
        if self._constants() != before:
            forget_traces(self.__dict__["above"])
        self.__dict__.pop("then", _nothing)()

    def _constants(self) -> list[Any]:
        """What decides about the weights and is no variable, so that traces have it as it was."""
        states = [virtual._parametrization.state() for virtual in self.virtuals]
        return [self._slots(), [None if state is None else state.tolist() for state in states]]

    def after_loading(self, then: Callable[[], None]) -> None:
        """Calls `then` once, as soon as the parts have been loaded."""
        self.__dict__["then"] = then

    def cache(self) -> None:
        """Keeps the value of each virtual variable, dense, until `forget`."""
        for i, virtual in enumerate(self.virtuals):
            if virtual._cached is None:
                virtual._cached = dense_copy(virtual)
            setattr(self, f"cached_{i}", virtual._cached)

    def forget(self) -> None:
        """Frees what `cache` keeps."""
        for i, virtual in enumerate(self.virtuals):
            if hasattr(self, f"cached_{i}"):
                delattr(self, f"cached_{i}")
            virtual._cached = None

    def _saved_variables(self):
        """The parts of each virtual variable, then the snapshots of those that have one."""
        parts = [part for virtual in self.virtuals for part in virtual._parametrization.parts]
        snapshots = [v._snapshot for v in self.virtuals if v._snapshot is not None]
        return list({id(variable): variable for variable in [*parts, *snapshots]}.values())

    def _saved_states(self, store) -> list[np.ndarray | None]:
        names = [f"{_STATE}{i}" for i in range(len(self.virtuals))]
        return [np.array(store[name]) if name in store else None for name in names]

    def _slots(self):
        return [virtual._parametrization.slot for virtual in self.virtuals]

    def settle(self, virtual: VirtualVariable) -> None:
        """Carries through that `virtual` was frozen or unfrozen.

        A frozen weight must not move while other layers still train the pool, so it keeps a dense
        snapshot for as long as that may happen. Once nothing of the pool is trained the factors
        stand still by themselves, and a snapshot that still equals its slice is dropped.
        """
        for part in trained_parts(virtual):
            part.trainable = virtual.trainable
        source = virtual._parametrization.source
        if source is None:
            return
        if virtual.trainable:
            drop_snapshot(virtual)
        settle_pool(source)


def settle_pool(source: Any) -> None:
    """Gives the frozen weights of a pool snapshots, or takes them, as `settle` says."""
    users = source.users
    in_training = any(user.trainable for user in users)
    for user in users:
        if user.trainable:
            continue
        if in_training and user._snapshot is None:
            _take_snapshot(user)
        elif not in_training and user._snapshot is not None and not has_own_value(user):
            drop_snapshot(user)
    _set_trained(source, in_training)
    torch_storage.list_stored(layer for user in users for layer in _above(user))


def dense_copy(virtual: VirtualVariable) -> keras.Variable:
    """What a deployed model keeps in the place of a weight that it would compute."""
    return stored_variable(f"{virtual.path}/cached", virtual.numpy(), trainable=False)


def _nothing() -> None:
    """What there is to do after loading, by default."""


def trained_parts(virtual: VirtualVariable) -> list[keras.Variable]:
    """The parts that are trained while the weight is: not masks, not indices.

    Relies on: a variable stays in the list in which it was tracked, frozen or not.
    """
    trained = {id(v) for holder in virtual._holders for v in holder._trainable_variables}
    return [part for part in virtual._parametrization.parts if id(part) in trained]


def _set_trained(source, in_training: bool) -> None:
    """Lets the factors of a pool be trained or not; those that are virtual as well."""
    for layer in source._flatten_layers():
        inside = isinstance(layer, VirtualWeights)
        for factor in layer.virtuals if inside else layer._trainable_variables:
            factor.trainable = source.trainable and in_training


def _above(virtual: VirtualVariable) -> list[keras.Layer]:
    return [layer for holder in virtual._holders for layer in holder.above]


def resume(virtual: VirtualVariable, trainable: bool, frozen: bool) -> None:
    """Puts a variable that has just become virtual into the state that another one was in.

    Args:
        virtual: the variable.
        trainable: whether that one was trained.
        frozen: whether that one kept a snapshot, whose value is to be loaded.
    """
    virtual._trainable = trainable
    for part in trained_parts(virtual):
        part.trainable = trainable
    if frozen:
        path = f"{virtual.path}/frozen"
        _keep_snapshot(virtual, unset_variable(path, tuple(virtual._shape), virtual._dtype, False))
    source = virtual._parametrization.source
    if source is not None:
        _set_trained(source, any(user.trainable for user in source.users))


def _take_snapshot(virtual: VirtualVariable) -> None:
    path = f"{virtual.path}/frozen"
    _keep_snapshot(virtual, stored_variable(path, virtual.numpy(), trainable=False))


def _keep_snapshot(virtual: VirtualVariable, snapshot: keras.Variable) -> None:
    virtual._snapshot = snapshot
    for holder in virtual._holders:
        setattr(holder, f"frozen_{holder.virtuals_index(virtual)}", snapshot)
        holder.put_snapshots_last()


def drop_snapshot(virtual: VirtualVariable) -> None:
    """Lets a weight be computed again, if it has a snapshot."""
    snapshot, virtual._snapshot = virtual._snapshot, None
    if snapshot is not None:
        for holder in virtual._holders:
            delattr(holder, f"frozen_{holder.virtuals_index(virtual)}")


def has_own_value(virtual: VirtualVariable) -> bool:
    """Whether a weight has a snapshot that says more than what would be computed."""
    snapshot: Any = virtual._snapshot
    if snapshot is None:
        return False
    virtual._snapshot = None
    try:
        current = virtual.numpy()
    finally:
        virtual._snapshot = snapshot
    return not bool((current == keras.ops.convert_to_numpy(snapshot)).all())
