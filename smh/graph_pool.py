"""A pool inside a TF1 graph, where weights are asked for one by one while the graph is built.

There the slots are not known when the product is made. The flat pool is therefore split once into
blocks, and a slot is joined from the blocks it covers. The gradient is one concatenation of the
blocks; what is padded with zeros is at most the two blocks at a slot's ends.
"""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import keras
import tensorflow as tf

from smh.errors import GraphModeError
from smh.index_store import PADDING_VALUE, Slot
from smh.variable_pool import VariablePool

_MOST_BLOCKS = 256


class GraphPool:
    """The factors, the product and the blocks of one pool in one graph.

    Args:
        pool: the pool, not used anywhere else before.
        graph: the graph.
        getter: creates a variable under an absolute name, as TF1 passes it to a custom getter.
    """

    def __init__(self, pool: VariablePool, graph: tf.Graph, getter: Any):
        self.graph = graph
        self._pool = pool
        with outside_control_flow(graph):
            factors = [
                getter(
                    name=f"{pool.scope_name}/{name}",
                    shape=list(shape),
                    dtype=tf.float32,
                    initializer=functools.partial(_initial_value, initializer),
                    trainable=pool.trainable,
                )
                for (name, initializer), shape in zip(
                    pool.factor_initializers(), pool.factor_shapes(), strict=True
                )
            ]
            with tf.name_scope(f"{pool.scope_name}/product/"):
                values = [tf.convert_to_tensor(factor) for factor in factors]
                flat = pool.entries(values, 0, pool.pool_size)
                self._length = -(-pool.pool_size // min(_MOST_BLOCKS, pool.pool_size))
                full, rest = divmod(pool.pool_size, self._length)
                self._blocks = tf.split(flat, [self._length] * full + [rest] * bool(rest))
        pool.__dict__["graph_factors"] = factors

    def piece(self, slot: Slot) -> tf.Tensor:
        """Returns the flat value of `slot`."""
        parts = [part for start, stop in slot.segments for part in self._covering(start, stop)]
        if slot.padding or not parts:
            parts.append(tf.fill([slot.padding], tf.constant(PADDING_VALUE, tf.float32)))
        return parts[0] if len(parts) == 1 else tf.concat(parts, 0)

    def _covering(self, start: int, stop: int):
        for number in range(start // self._length, -(-stop // self._length)):
            origin = number * self._length
            low, high = max(start - origin, 0), min(stop - origin, self._length)
            block = self._blocks[number]
            yield block if (low, high) == (0, block.shape[0]) else block[low:high]


def graph_pool(pool: VariablePool, getter: Any) -> GraphPool:
    """Returns the pool's one `GraphPool`, in the graph being built.

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
    graph = tf.compat.v1.get_default_graph()
    known = pool.__dict__.get("graph_pool")
    if known is None and not pool.built:
        known = pool.__dict__["graph_pool"] = GraphPool(pool, graph, getter)
    if known is None or known.graph is not graph:
        raise GraphModeError(
            f"This {pool.scope_name} already has its factors elsewhere (another graph, or a Keras "
            "model). Create one pool per graph."
        )
    return known


@contextlib.contextmanager
def outside_control_flow(graph: tf.Graph):
    """Adds operations at the graph's top level, so that a loop's body does not own them."""
    # `init_scope` leaves a function's graph altogether, which would lose the gradient.
    scope = tf.control_dependencies(None) if graph.building_function else tf.init_scope()
    with scope:
        yield


def _initial_value(initializer: Any, shape, dtype=None, partition_info=None):
    del partition_info
    return initializer(tuple(shape), dtype=tf.as_dtype(dtype or tf.float32).name)
