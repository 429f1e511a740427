"""A pool inside a TF1 graph, where weights are asked for one by one while the graph is built.

There the slots are not known when the product is made. The flat pool is therefore split once into
blocks, and a slot is joined from the blocks it covers. The gradient is one concatenation of the
blocks; what is padded with zeros is at most the two blocks at a slot's ends.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import keras
import tensorflow as tf

from smh.errors import ArgumentError, GraphModeError
from smh.index_store import MOST_ELEMENTS, PADDING_VALUE, Slot
from smh.tf1.names import take_apart
from smh.typing import Tensor
from smh.variable_pool import VariablePool

# Few enough that splitting is cheap, many enough that a block is small beside the pool.
_MOST_BLOCKS = 256

# Set while smh or a modifier asks for variables of its own, which no getter of smh must turn into
# slices: the factors of one pool are not to be cut out of the pool of an enclosing scope.
_asking_for_own: ContextVar[bool] = ContextVar("smh_asking_for_own", default=False)


class GraphPool:
    """The factors, the product and the blocks of one pool in one graph.

    Args:
        pool: the pool, not used anywhere else before.
        getter: creates a variable under an absolute name, as TF1 passes it to a custom getter.
        use_resource: what the scope asks for.

    Attributes:
        graph: the graph in which everything of this pool is computed.
        factors: its variables.
    """

    def __init__(self, pool: VariablePool, getter: Callable, use_resource: bool | None):
        if pool.pool_size > MOST_ELEMENTS:
            raise ArgumentError(
                f"In a TF1 graph a pool is computed at once, so it can have at most "
                f"{MOST_ELEMENTS:,} (2^31 - 1) entries, got {pool.pool_size:,}. Use several pools."
            )
        self.graph = _home_graph()
        self._pool = pool
        self._getter = getter
        self._use_resource = use_resource
        with self.at_home():
            # Two pools of a kind may live in one graph; TF1 would let them share factors by name.
            self._scope = self.graph.unique_name(pool.scope_name)
            self.factors = [
                self._create_factor(name, initializer, shape)
                for (name, initializer), shape in zip(
                    pool.factor_initializers(), pool.factor_shapes(), strict=True
                )
            ]
            with tf.name_scope(f"{self._scope}/product/"):
                values = [tf.convert_to_tensor(factor) for factor in self.factors]
                self._flat = pool.entries(values, 0, pool.pool_size)
                self._length, self._blocks = _blocks(self._flat, pool.pool_size)

    @contextlib.contextmanager
    def at_home(self) -> Iterator[None]:
        """Adds operations at the top level of the pool's graph, under absolute names.

        The first request for a weight may come from the body of a loop, which must not own it.
        """
        # Not `tf.init_scope`: it leaves the graph of a `tf.function`, and stops gradient tapes.
        # Clearing the control dependencies leaves the control flow of the graph itself as well.
        with self.graph.as_default(), tf.control_dependencies(None):
            with tf.compat.v1.name_scope(None):
                yield

    def in_scope(self) -> bool:
        """Whether what is built now can use this pool's tensors."""
        return not tf.executing_eagerly() and _home_graph() is self.graph

    def create_variable(self, name: str, shape, initializer: Any, trainable: bool) -> Any:
        """Creates a variable that belongs to smh itself."""
        with own_variables():
            return self._getter(
                name=name,
                shape=list(shape),
                dtype=tf.float32,
                initializer=initializer,
                reuse=False,
                trainable=trainable,
                use_resource=self._use_resource,
            )

    def piece(self, slot: Slot) -> Tensor:
        """Returns the flat value of `slot`."""
        parts = [part for start, stop in slot.segments for part in self._covering(start, stop)]
        if slot.padding or not parts:
            parts.append(tf.fill([slot.padding], tf.constant(PADDING_VALUE, tf.float32)))
        return parts[0] if len(parts) == 1 else tf.concat(parts, 0)

    def _create_factor(self, name: str, initializer: Any, shape) -> Any:
        initial_value = functools.partial(_initial_value, initializer)
        return self.create_variable(
            f"{self._scope}/{name}", shape, initial_value, self._pool.trainable
        )

    def _covering(self, start: int, stop: int) -> Iterator[Tensor]:
        """The tensors that entries `start` to `stop` are joined from."""
        if (start, stop) == (0, self._pool.pool_size):
            yield self._flat  # once around a cyclic pool
            return
        for number in range(start // self._length, -(-stop // self._length)):
            block = self._blocks[number]
            origin = number * self._length
            low, high = max(start - origin, 0), min(stop - origin, block.shape[0])
            yield block if (low, high) == (0, block.shape[0]) else block[low:high]


def _blocks(flat: Tensor, size: int) -> tuple[int, list[Tensor]]:
    """Splits the flat pool, once; returns the length of a block (the last is shorter) and all."""
    length = -(-size // _MOST_BLOCKS)
    full, rest = divmod(size, length)
    return length, tf.split(flat, [length] * full + [rest] * bool(rest))


def known_graph_pool(pool: VariablePool) -> GraphPool | None:
    """Returns the pool's `GraphPool` in the graph being built, or `None` if it has none yet.

    Raises:
        GraphModeError: outside a graph, on another Keras backend, or if the pool's factors live
            elsewhere already.
    """
    if tf.executing_eagerly():
        raise GraphModeError(
            "custom_getter works while a TF1 graph is built: open `with tf.Graph().as_default():` "
            "around the pool and the network. For Keras 3 use "
            "`tf.variable_creator_scope(factory.custom_getter_tf2)` or `smh.compress(model)`."
        )
    if keras.backend.backend() != "tensorflow":
        raise GraphModeError(
            "custom_getter needs Keras on TensorFlow: set KERAS_BACKEND=tensorflow before the "
            f"first import (it is '{keras.backend.backend()}' now)."
        )
    known = pool.__dict__.get("graph_pool")
    if pool.built or (known is not None and known.graph is not _home_graph()):
        home = "a Keras model, or eager mode" if pool.built else "another graph"
        raise GraphModeError(
            f"This {pool.scope_name} already has its factors elsewhere ({home}). Create one pool "
            "per graph. A tf.function is traced more than once, each time into a graph of its own; "
            "tf.compat.v1.wrap_function is traced once."
        )
    return known


def graph_pool(pool: VariablePool, getter: Callable, use_resource: bool | None) -> GraphPool:
    """Returns the pool's one `GraphPool`, made now if need be. Raises as `known_graph_pool`."""
    known = known_graph_pool(pool)
    if known is None:
        known = GraphPool(pool, getter, use_resource)
        pool.__dict__["graph_pool"] = known
        pool.__dict__["graph_factors"] = known.factors
        pool.show_factors(known.factors)
    return known


def list_in(collections: Iterable[str], variables: Iterable[Any]) -> None:
    """Adds variables to these collections of the graph, each once."""
    for key in set(collections):
        listed = tf.compat.v1.get_collection_ref(key)
        listed.extend(v for v in variables if all(v is not other for other in listed))


@contextlib.contextmanager
def scratch_graph() -> Iterator[None]:
    """Operations made in here are thrown away. They may read tensors of the graph being built.

    Who asks for a variable gets a tensor of its initial value: no variable is created.
    """
    with _home_graph().as_default(), tf.control_dependencies(None):
        scratch = tf.__internal__.FuncGraph("smh_scratch")  # of all graphs only such a one may
        take_apart(scratch)
        with scratch.as_default(), tf.variable_creator_scope(_initial_tensor), own_variables():
            yield


def _initial_tensor(next_creator: Callable, **kwargs: Any) -> Tensor:
    del next_creator
    value = kwargs["initial_value"]
    value = value() if callable(value) else value
    return tf.identity(tf.convert_to_tensor(value, kwargs.get("dtype")), kwargs.get("name"))


@contextlib.contextmanager
def own_variables() -> Iterator[None]:
    """Inside, what is asked for belongs to smh, or to a modifier: no getter of smh computes it."""
    token = _asking_for_own.set(True)
    try:
        yield
    finally:
        _asking_for_own.reset(token)


def asking_for_own() -> bool:
    """Whether the variable being asked for belongs to smh itself."""
    return _asking_for_own.get()


def _home_graph() -> tf.Graph:
    """The graph to compute in: the outermost one, for loops and functions capture from it."""
    with tf.init_scope():
        if not tf.executing_eagerly():
            return tf.compat.v1.get_default_graph()
    # Under eager execution the outermost graph is that of the `tf.function` being traced.
    graph = tf.compat.v1.get_default_graph()
    while getattr(graph, "is_control_flow_graph", False):
        graph = graph.outer_graph
    return graph


def _initial_value(initializer: Any, shape, dtype=None):
    return initializer(tuple(shape), dtype=tf.as_dtype(dtype or tf.float32).name)
