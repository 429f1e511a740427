"""The door for TF1 graphs: what `VariableFactory.custom_getter` is.

TF1 code asks for its variables through `tf.compat.v1.get_variable`, which hands each request to the
custom getter of the variable scope. For a selected variable the getter returns a tensor computed
from the pool; no variable is created.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from smh.doors.selection import Matcher
from smh.errors import ArgumentError, SelectionError, SmhWarning
from smh.modifiers import Modifier
from smh.modifiers.checking import checked_parts, tried
from smh.parametrizations.pool_slice import check_room, check_shape
from smh.typing import Shape, Tensor
from smh.variable_pool import VariablePool
from smh.virtual_variable.weight_spec import FLOATS, WeightSpec, std_of

if TYPE_CHECKING:
    from smh.tf1.pool import GraphPool


@dataclass(frozen=True)
class Asked:
    """What the network asked TF1 for: the arguments of `get_variable` that matter here."""

    name: str
    shape: Any
    dtype: Any
    initializer: Any
    regularizer: Callable[[Tensor], Tensor | None] | None
    reuse: Any
    trainable: bool | None
    collections: Any
    use_resource: bool | None
    constraint: Any


def _asked(
    name,
    shape=None,
    dtype=None,
    initializer=None,
    regularizer=None,
    reuse=None,
    trainable=None,
    collections=None,
    caching_device=None,
    partitioner=None,
    validate_shape=True,
    use_resource=None,
    constraint=None,
    **others,
) -> Asked:
    # The order is TF1's: an inner custom getter may pass its arguments on by position. Where and
    # in which parts a variable would be stored means nothing for one that is not stored.
    del caching_device, partitioner, validate_shape, others
    return Asked(
        name,
        shape,
        dtype,
        initializer,
        regularizer,
        reuse,
        trainable,
        [] if collections is None else collections,
        use_resource,
        constraint,
    )


class GraphGetter:
    """Gives out slices of a pool where a TF1 graph asks for variables.

    Args:
        pool: the pool, or `None`: every variable stays as it is.
        matches: which variables to take from it.
        modifier: applied to each slice.
        ranges: filled with the range of the pool that each variable was given; `None` if none.
    """

    def __init__(
        self,
        pool: VariablePool | None,
        matches: Matcher,
        modifier: Modifier,
        ranges: dict[str, tuple[int, int] | None],
    ):
        self._pool = pool
        self._matches = matches
        self._modifier = modifier
        self._ranges = ranges

    def __call__(self, getter: Callable, *args: Any, **kwargs: Any) -> Any:
        """Returns the tensor for a selected variable, and what `getter` returns for another.

        Raises:
            ArgumentError: the modifier or `collections` cannot work.
            SelectionError: the name is taken and the scope does not reuse, or it is reused with
                another shape or dtype, or is that of a slice of another pool, or the shape is not
                known.
            PoolExhaustedError: the pool is too small.
            GraphModeError: see `known_graph_pool`.
            In every case nothing was created or allocated.
        """
        from smh.tf1.names import Computed, known
        from smh.tf1.pool import asking_for_own

        pool = self._pool
        if pool is None or asking_for_own():
            return getter(*args, **kwargs)
        asked = _asked(*args, **kwargs)
        spec = _spec(asked)
        given = None
        if spec is not None and self._selects(asked, spec):
            given = self._given(pool, asked, spec, getter)
        if given is None:
            given = getter(*args, **kwargs)  # dense, or TF1's own error
        has = known(asked.name)
        own = isinstance(has, Computed) and has.pool is pool
        self._ranges[asked.name] = has.place if own else None
        return given

    def _selects(self, asked: Asked, spec: WeightSpec) -> bool:
        return (
            asked.trainable is not False
            and spec.dtype in FLOATS
            and self._matches(spec.path, spec.name, spec)
        )

    def _given(
        self, pool: VariablePool, asked: Asked, spec: WeightSpec, getter: Callable
    ) -> Tensor | None:
        """The tensor for a selected variable; `None` for one that was made without smh."""
        from smh.tf1.names import Computed, check_may_share, known
        from smh.tf1.pool import known_graph_pool

        known_graph_pool(pool)
        has = known(spec.path)
        if isinstance(has, Computed):
            _check_pool(has.pool, pool, spec)
            return has.shared(spec.path, asked.reuse, spec.shape, spec.dtype)
        if has is not None:
            check_may_share(spec.path, asked.reuse)
            return None
        return None if asked.reuse is True else self._new(pool, asked, spec, getter)

    def _new(self, pool: VariablePool, asked: Asked, spec: WeightSpec, getter: Callable) -> Tensor:
        from smh.tf1.names import Computed, remember
        from smh.tf1.pool import graph_pool, list_in

        _check_known_shape(spec)
        _check_collections(asked)
        check_room(pool, spec)
        parts = _checked_parts(self._modifier, spec)
        in_graph = graph_pool(pool, getter, asked.use_resource)
        slot = pool.allocate(spec.shape)
        with in_graph.at_home():
            variables = _create_parts(in_graph, spec, parts)
            tensor = self._compute(in_graph, spec, slot, variables)
            list_in(asked.collections, [*in_graph.factors, *variables.values()])
            _add_penalty(asked, tensor)
        if asked.constraint is not None:
            _warn_about_constraint(asked)
        remember(spec.path, Computed(tensor, pool, (slot.begin, slot.begin + slot.length)))
        return tensor

    def _compute(self, pool: GraphPool, spec: WeightSpec, slot, variables) -> Tensor:
        import tensorflow as tf

        from smh.tf1.pool import own_variables

        with tf.name_scope(f"{spec.path}/"), own_variables():
            parts = {part: tf.convert_to_tensor(v) for part, v in variables.items()}
            tensor = self._modifier.apply(tf.reshape(pool.piece(slot), spec.shape), parts)
            return tf.identity(tf.cast(check_shape(tensor, spec), spec.dtype), name="virtual")


def _checked_parts(modifier: Modifier, spec: WeightSpec) -> dict[str, np.ndarray]:
    """What the modifier's variables start from, after it was tried on the weight's shape."""
    from smh.tf1.names import check_free
    from smh.tf1.pool import scratch_graph

    parts = checked_parts(modifier, spec)
    for part in parts:
        check_free(f"{spec.path}/{part}", spec.path)
    with scratch_graph():
        check_shape(tried(modifier, spec, parts), spec)
    return parts


def _create_parts(pool: GraphPool, spec: WeightSpec, parts: Mapping[str, np.ndarray]) -> dict:
    import tensorflow as tf

    initial = {part: tf.compat.v1.constant_initializer(value) for part, value in parts.items()}
    return {
        part: pool.create_variable(f"{spec.path}/{part}", value.shape, initial[part], True)
        for part, value in parts.items()
    }


def _spec(asked: Asked) -> WeightSpec | None:
    """What is asked for, or `None` if TF1 itself will refuse it."""
    import tensorflow as tf

    shape, dtype = asked.shape, asked.dtype or tf.float32
    if shape is None:
        if asked.initializer is None:
            return None
        # The initial value itself was given, or a function of no arguments that returns it.
        value = _initial_value(asked)
        shape, dtype = value.shape, value.dtype
    shape = tf.TensorShape(shape)
    dimensions = tuple(shape.as_list()) if shape.rank is not None else (None,)
    return WeightSpec(
        asked.name,
        asked.name.rsplit("/", 1)[-1],
        dimensions,
        tf.as_dtype(dtype).base_dtype.name,
        functools.cache(lambda: _initial_std(asked, dimensions)),
    )


def _initial_value(asked: Asked, shape: Shape = ()) -> Any:
    """The value that the variable would have started from."""
    import tensorflow as tf

    initializer = asked.initializer
    if initializer is None:
        initializer = tf.compat.v1.glorot_uniform_initializer
    if isinstance(initializer, type):
        initializer = initializer()
    if not callable(initializer):
        if tf.is_tensor(initializer):
            return initializer
        return tf.constant(initializer)
    if asked.shape is None:
        return tf.convert_to_tensor(initializer())
    dtype = tf.as_dtype(asked.dtype or tf.float32)
    return tf.convert_to_tensor(initializer(list(shape), dtype=dtype))


def _initial_std(asked: Asked, shape: Shape) -> float:
    import tensorflow as tf

    given = asked.initializer
    graph = given.graph if tf.is_tensor(given) else tf.Graph()
    with tf.init_scope(), graph.as_default(), _session_for_one_run() as session:
        if not tf.is_tensor(given):
            tf.compat.v1.set_random_seed(0)  # the same scale in every run
        return std_of(session.run(_initial_value(asked, shape)))


def _session_for_one_run() -> Any:
    """A session that optimises no graph: that takes longer than a single run can win back."""
    import tensorflow as tf

    config = tf.compat.v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1  # L0: none
    return tf.compat.v1.Session(config=config)


def _check_known_shape(spec: WeightSpec) -> None:
    if None in spec.shape:
        raise SelectionError(
            f"'{spec.path}' is asked for with the shape {spec.shape}, which is not fully known, so "
            "it cannot be cut from a pool. Give every dimension, or leave it out of apply_to."
        )


def _check_collections(asked: Asked) -> None:
    if not isinstance(asked.collections, list | tuple | set):
        raise ArgumentError(
            f"collections= of '{asked.name}' must be a list of names, got "
            f"{asked.collections!r:.100}."
        )


def _check_pool(given_by: VariablePool, pool: VariablePool, spec: WeightSpec) -> None:
    if given_by is not pool:
        raise SelectionError(
            f"Variable {spec.path} already exists, as a slice of another pool "
            f"({given_by.scope_name}). Ask for it by a factory of that pool, or leave it out of "
            "apply_to, or give it another name."
        )


def _add_penalty(asked: Asked, tensor: Tensor) -> None:
    """Regularises the computed weight, which is what the network's author meant to keep small."""
    import tensorflow as tf

    if asked.regularizer is None:
        return
    with tf.name_scope(f"{asked.name}/Regularizer/"):
        penalty = asked.regularizer(tensor)
    if penalty is not None:
        key = tf.compat.v1.GraphKeys.REGULARIZATION_LOSSES
        tf.compat.v1.add_to_collection(key, penalty)


def _warn_about_constraint(asked: Asked) -> None:
    warnings.warn(
        f"The constraint of '{asked.name}' is dropped: a constraint assigns to the variable after "
        "each step, and a computed weight cannot be assigned. Use a regularizer, or leave it out "
        "of apply_to.",
        SmhWarning,
        stacklevel=2,
    )
