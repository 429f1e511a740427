"""A `keras.Variable` without storage."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import keras
import numpy as np

from smh.errors import VirtualVariableError
from smh.typing import Shape
from smh.virtual_variable import once
from smh.virtual_variable.inside_keras import torch_storage
from smh.virtual_variable.parametrization import Parametrization

_numbers = itertools.count()
_assigned: ContextVar[dict | None] = ContextVar("smh_assigned_while_loading", default=None)


@contextlib.contextmanager
def loading_around_computed() -> Iterator[dict]:
    """Inside, what is assigned to a computed weight is left aside.

    A layer that loads itself assigns to all of its weights, and knows not which are computed.

    Yields:
        A dictionary that will have what was assigned: `(variable, value)` by the variable's `id`.
    """
    assigned: dict = {}
    token = _assigned.set(assigned)
    try:
        yield assigned
    finally:
        _assigned.reset(token)


class VirtualVariable(keras.Variable):
    """A variable whose value is computed from other variables.

    It is never constructed: `virtualize` turns a live variable of a layer into one, so that every
    reference that the layer holds to it stays good. Everything Keras does with a variable goes
    through `value`, which is overridden here.
    """

    _parametrization: Parametrization
    _trainable: bool
    _snapshot: keras.Variable | None  # the value at the time at which it was frozen
    _cached: keras.Variable | None  # the value in a deployed model
    _holders: list
    _number: int  # in which order the variables became virtual

    # Relies on: Keras keeps the stored tensor in `_value`, and sets it even after a creator scope
    # has made the variable virtual.
    _value = property(lambda self: None, lambda self, stored: None)

    @property
    def parametrization(self) -> Parametrization:
        """What computes the value."""
        return self._parametrization

    @property
    def is_computed(self) -> bool:
        """Whether the value is computed now: a frozen or deployed model may keep it dense."""
        return self._snapshot is None and self._cached is None

    @property
    def value(self):
        """The computed weight, in the compute dtype if a mixed policy is active."""
        return self._maybe_autocast(once.read(self))

    def numpy(self) -> np.ndarray:
        """The value as an array; Keras' own takes only tensors that NumPy itself can read."""
        return keras.ops.convert_to_numpy(self.value)

    @property
    def trainable(self):
        """Whether training may change this weight."""
        return self._trainable

    @trainable.setter
    def trainable(self, value):
        if bool(value) != self._trainable:
            self._trainable = bool(value)
            for holder in self._holders[:1]:
                holder.settle(self)

    def refresh_cache(self) -> None:
        """Computes the value that a deployed model keeps once more, if it keeps one."""
        cached, self._cached = self._cached, None
        if cached is not None:
            cached.assign(self.numpy())
            self._cached = cached

    def assign(self, value):
        """Raises: there is nothing to assign to."""
        assigned = _assigned.get()
        if assigned is not None:
            assigned[id(self)] = self, value
            return value
        raise VirtualVariableError(
            f"'{self.path}' is a virtual variable: its value is computed from "
            f"{self._origin()}, so nothing can be assigned to it. Assign to "
            "the trained parts (`model.trainable_variables`), or call "
            "`plain = smh.materialize(model)` and assign to the plain model's variable. If it is "
            "the layer that assigns while it is called, leave this weight as it was, with "
            "`exclude=` in the call that changed it."
        )

    def _origin(self) -> str:
        """What computes the value, in words; less of it while a function is being traced.

        A message must not fail, and a description may look at numbers, which are not there then.
        """
        try:
            return self._parametrization.describe()
        except Exception:
            return f"a {type(self._parametrization).__name__}"

    def _direct_assign(self, value):
        return self.assign(value)

    def __repr__(self):
        return (
            f"<VirtualVariable path={self.path}, shape={tuple(self._shape)}, "
            f"dtype={self._dtype}, from={self._origin()}>"
        )

    # The TensorFlow backend's Variable is a Trackable that TensorFlow's checkpoints and
    # SavedModels find by the layer's attribute; it has nothing to save.
    @property
    def handle(self):
        """Raises: the TensorFlow backend asks here for the resource of a stored variable."""
        raise VirtualVariableError(
            f"'{self.path}' is a virtual variable and has no storage of its own. For gradients, "
            "use `model.trainable_variables` as the sources."
        )

    def _serialize_to_tensors(self):
        return {}

    def _restore_from_tensors(self, restored_tensors):
        del restored_tensors

    def _copy_trackable_to_cpu(self, object_map):
        object_map[self] = self

    def _export_to_saved_model_graph(self, object_map, tensor_map, options, **kwargs):
        del object_map, tensor_map, options, kwargs
        return []

    def _write_object_proto(self, proto, options):
        # In a SavedModel it is a plain object: the functions read the factors.
        del options
        proto.user_object.identifier = "_generic_user_object"
        proto.user_object.version.producer = proto.user_object.version.min_consumer = 1


def virtualize(variable: keras.Variable, parametrization: Parametrization) -> VirtualVariable:
    """Turns a live variable into a virtual one, in place, and frees its storage.

    Relies on: Keras reads a variable through `value`, `_maybe_autocast`, `shape` and `dtype`
    only, and nothing but `_value` owns the storage.
    """
    torch_storage.give_up(variable.__dict__.pop("_value", None))
    variable.__class__ = VirtualVariable
    variable._number = next(_numbers)
    variable._initializer = None
    variable._parametrization = parametrization
    variable._snapshot = None
    variable._cached = None
    variable._holders = []
    if parametrization.source is not None:
        parametrization.source.add_user(variable)
    return variable


def view_of(variable: keras.Variable) -> np.ndarray:
    """A variable's numbers, stored or computed; where the backend can, without copying them."""
    return np.asarray(keras.ops.convert_to_numpy(variable.value))


def copy_of(variable: keras.Variable) -> np.ndarray:
    """A copy of a variable's numbers, stored or computed, which may be assigned to another one.

    On JAX an assigned array is shared, and a training step deletes what it updates.
    """
    return np.array(keras.ops.convert_to_numpy(variable.value))


def floats_of(variable: keras.Variable) -> np.ndarray:
    """A variable's numbers as `view_of`, those of half precision in float32."""
    value = view_of(variable)
    return value if value.dtype.name in ("float32", "float64") else value.astype("float32")


def stored_variable(path: str, value: np.ndarray, trainable: bool = True) -> keras.Variable:
    """Creates a variable of the value's dtype under an absolute path, wherever it is called."""

    def initializer(shape, dtype):
        return keras.ops.convert_to_tensor(value, dtype=dtype)

    return _variable(path, initializer, value.shape, str(value.dtype), trainable)


def unset_variable(path: str, shape: Shape, dtype: str, trainable: bool) -> keras.Variable:
    """Creates a variable under an absolute path whose value is to be loaded; until then, ones."""
    return _variable(path, "ones", shape, dtype, trainable)


def _variable(path: str, initializer: Any, shape: Shape, dtype: str, trainable: bool):
    name = path.rsplit("/", 1)[-1]
    variable = keras.Variable(
        initializer, shape=shape, dtype=dtype, trainable=trainable, autocast=False, name=name
    )
    rename(variable, path)
    return variable


def rename(variable: keras.Variable, path: str) -> None:
    """Gives a variable another path.

    Relies on: `Variable.path` returns `_path`, which Keras takes from the open name scopes.
    """
    variable._path = path
