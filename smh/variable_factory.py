"""The door at construction: variables become virtual while the layers that ask for them are built.

For a model that is built already, use `smh.compress`; both end in the same state.
"""

from __future__ import annotations

import functools
import warnings
import weakref
from contextvars import ContextVar
from typing import Any

from smh.doors.selection import make_matcher
from smh.errors import SelectionError, SmhWarning
from smh.modifiers import (
    Modifier,
    as_modifier,
    constant_fanout_scale_modifier,
    fanout_scale_modifier,
    modifier_factory,
    relu_modifier,
    sign_fw_modifier,
    variable_fanout_scale_modifier,
    variable_log_scale_modifier,
    variable_scale_modifier,
)
from smh.modifiers.checking import checked_parts, tried
from smh.parametrizations.pool_slice import PoolSlice, check_room, check_shape
from smh.tf1.backends import require_tensorflow
from smh.tf1.getter import GraphGetter
from smh.typing import Selector
from smh.variable_pool import VariablePool
from smh.virtual_variable.computable import check_not_normalised
from smh.virtual_variable.inside_keras.building import Request, adopt_while_building, request_behind
from smh.virtual_variable.weight_spec import WeightSpec, std_of

__all__ = [
    "Modifier",
    "VariableFactory",
    "constant_fanout_scale_modifier",
    "fanout_scale_modifier",
    "modifier_factory",
    "relu_modifier",
    "sign_fw_modifier",
    "variable_fanout_scale_modifier",
    "variable_log_scale_modifier",
    "variable_scale_modifier",
]

_NOTHING = object()  # what a creator returns for a variable that stores nothing; None is refused
# Set while a factory creates variables of its own, which must not come back to it.
_creating_own: ContextVar[bool] = ContextVar("smh_creating_own", default=False)


class VariableFactory:
    """Gives a network's weights out of a pool while the network is built.

    Args:
        variable_pool: the pool; `None` leaves every variable as it is.
        apply_to: which variables: a regular expression matched (`re.match`) against the full
            Keras path or TF1 name and against the bare name, the end of a path after a `/`
            (`fc1/kernel`), a function of the Keras variable, or a list of these; `None` for all.
            Variables that are not trainable or not of a float type always stay as they are.
        modifier: a function of one tensor, or a `Modifier`, applied to each slice.

    Example:
        >>> pool = ProductVariablePool(True, pool_size=7e5, fraction=0.4)
        >>> factory = VariableFactory(pool, ".*", modifier=fanout_scale_modifier)
        >>> with tf.variable_creator_scope(factory.custom_getter_tf2):
        ...     model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])

    Reference: Eban et al., "Structured Multi-Hashing for Model Compression", CVPR 2020.
    """

    def __init__(
        self,
        variable_pool: VariablePool | None,
        apply_to: Selector | None = None,
        modifier: Any = None,
    ):
        if variable_pool is not None and not isinstance(variable_pool, VariablePool):
            raise SelectionError(
                f"variable_pool must be a VariablePool or None, got {type(variable_pool).__name__}."
            )
        self._pool = variable_pool
        self._matches = make_matcher(".*" if apply_to is None else apply_to, "apply_to")
        self._apply_to = apply_to
        self._modifier = as_modifier(modifier)
        self._map: dict[str, tuple[int, int] | None] = {}
        self._graph_getter = GraphGetter(variable_pool, self._matches, self._modifier, self._map)

    @property
    def layer_name_variable_index_map(self) -> dict[str, tuple[int, int] | None]:
        """For each variable seen, its range of the pool, or `None`: left dense.

        A variable that a TF1 scope reuses has the range that it was given first.
        """
        return dict(self._map)

    @property
    def custom_getter_tf2(self):
        """The creator for `tf.variable_creator_scope` around the building of a Keras 3 model.

        Raises:
            GraphModeError: on another Keras backend, whose variables no TensorFlow scope sees.
        """
        require_tensorflow("VariableFactory.custom_getter_tf2")
        return _Creator(self)

    @property
    def custom_getter(self):
        """The getter for `tf.compat.v1.variable_scope(..., custom_getter=)` in graph mode.

        It returns a tensor, once per name: a scope that is entered again with `reuse` gets the
        same one.

        Raises:
            GraphModeError: on another Keras backend than TensorFlow.
        """
        require_tensorflow("VariableFactory.custom_getter")
        return self._graph_getter

    def _create(self, pool: VariablePool, request: Request, next_creator, kwargs) -> Any:
        variable = request.variable
        if not self._matches(variable.path, variable.name, variable):
            self._map[variable.path] = None
            return next_creator(**kwargs)
        spec = WeightSpec(
            variable.path,
            variable.name,
            tuple(variable._shape),
            variable._dtype,
            functools.cache(lambda: std_of(kwargs["initial_value"]())),
        )
        pool.check_not_in_a_graph()
        check_not_normalised(request.enclosing, spec.path)
        check_room(pool, spec)
        check_shape(tried(self._modifier, spec, checked_parts(self._modifier, spec)), spec)
        token = _creating_own.set(True)
        try:
            pool.core_variables  # noqa: B018  (builds the factors)
            slot = pool.allocate(spec.shape)
            adopt_while_building(request, PoolSlice(spec, pool, slot, self._modifier))
        finally:
            _creating_own.reset(token)
        self._map[spec.path] = (slot.begin, slot.begin + slot.length)
        return _NOTHING


class _Creator:
    """What TensorFlow calls for each variable while the scope is open.

    One is made per scope, so that the scope's end can be noticed: TensorFlow drops it then.
    """

    def __init__(self, factory: VariableFactory):
        self._factory = factory
        self._seen: list[str] = []
        weakref.finalize(self, _warn_if_idle, self._seen, factory._map, factory._apply_to)

    def __call__(self, next_creator, **kwargs):
        pool = self._factory._pool
        if pool is None or _creating_own.get():
            return next_creator(**kwargs)
        request = request_behind(kwargs)
        if request is None:
            return next_creator(**kwargs)
        self._seen.append(request.variable.path)
        return self._factory._create(pool, request, next_creator, kwargs)


def _warn_if_idle(seen: list[str], given: dict, apply_to) -> None:
    if not seen:
        warnings.warn(
            "A variable_creator_scope of a VariableFactory was closed and no layer was built "
            "inside it, so nothing was compressed: a layer that is built later is dense. Start "
            "the model with keras.Input(shape), or call it on data, inside the scope; or build "
            "it and call smh.compress(model, ...).",
            SmhWarning,
            stacklevel=2,
        )
    elif not any(given.get(path) for path in seen):
        warnings.warn(
            f"apply_to={apply_to!r} matched none of the variables built inside the "
            f"variable_creator_scope: {', '.join(seen)}.",
            SmhWarning,
            stacklevel=2,
        )
