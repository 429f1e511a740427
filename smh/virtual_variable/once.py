"""Computes every virtual variable once per outermost call.

The law: inside the outermost call of a layer that has virtual variables below it, each of them is
computed once, all of one pool by one product and one split; and nothing computed outlives that
call, so that an optimizer step, another tape or another step of an unrolled loop sees fresh
values.

How: each such layer's `call` is wrapped. On entry the wrapper computes what lies below the layer
and is not there yet, before any loop of the layer starts, and puts it where reads look first; on
exit it takes it away again. Values are therefore only ever used inside the graph or trace in
which they were computed, or one nested in it (the body of an LSTM's loop).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import keras

from smh.typing import Tensor

_values: ContextVar[Mapping[int, Tensor] | None] = ContextVar("smh_values", default=None)


def read(virtual) -> Tensor:
    """Returns the value of a virtual variable, from the call in progress or computed now."""
    values = _values.get()
    if values is not None and id(virtual) in values:
        return values[id(virtual)]
    return _compute([virtual], caller=None)[id(virtual)]


def wrap_call(layer: keras.Layer, virtuals: Sequence[Any]) -> None:
    """Makes `layer` compute `virtuals`, which lie in it or below it, when it is called.

    Relies on: `Layer.__call__`, `stateless_call` and `compute_output_spec` look `call` up on the
    instance; Keras itself shadows `build` and `quantize` on the instance in the same way.
    """
    if "_smh_virtuals" not in layer.__dict__:
        layer.__dict__["call"] = _computing_first(layer, layer.call)
        layer.__dict__["rematerialized_call"] = _rematerializing_anew(layer)
    layer.__dict__["_smh_virtuals"] = tuple(virtuals)


def virtuals_below(layer: keras.Layer) -> tuple:
    """The virtual variables that `layer` computes when it is called."""
    return layer.__dict__.get("_smh_virtuals", ())


def _computing_first(layer: keras.Layer, call: Callable) -> Callable:
    @functools.wraps(call)
    def computing_call(*args, **kwargs):
        with _computed(layer):
            return call(*args, **kwargs)

    return computing_call


def _rematerializing_anew(layer: keras.Layer) -> Callable:
    """Gives each rematerialised call a function of its own.

    Relies on: Keras passes `layer.call` to `jax.checkpoint`, which caches traces by the function's
    identity. A bound method is a new object each time; the wrapper above would be the same one,
    and the cached trace of an earlier call holds values that are gone.
    """

    def rematerialized_call(call, *args, **kwargs):
        # Out here, because a loss that is added inside would leak from the rematerialised trace.
        known = _values.get() or {}
        penalised = [v for v in virtuals_below(layer) if v.regularizer and id(v) not in known]
        _add_penalties(layer, penalised, _compute(penalised, caller=layer))

        def call_once(*a, **k):
            return call(*a, **k)

        return type(layer).rematerialized_call(layer, call_once, *args, **kwargs)

    return rematerialized_call


@contextlib.contextmanager
def _computed(layer: keras.Layer):
    # A rematerialised layer runs under `tf.recompute_grad` or `jax.checkpoint`, which pass no
    # gradient to tensors from outside (TensorFlow) or keep them alive: compute anew inside.
    anew = getattr(layer, "_remat_mode", None) is not None
    known = {} if anew else (_values.get() or {})
    missing = [v for v in virtuals_below(layer) if id(v) not in known]
    if not missing:
        yield
        return
    computed = _compute(missing, caller=layer)
    if not anew:
        _add_penalties(layer, missing, computed)
    token = _values.set({**known, **computed})
    try:
        yield
    finally:
        _values.reset(token)


def _compute(virtuals: Sequence[Any], caller: keras.Layer | None) -> dict[int, Tensor]:
    """Computes `virtuals` together, those of one source by one call of its `pieces`."""
    values: dict[int, Tensor] = {}
    by_source: dict[int, tuple[Any, list[Any]]] = {}
    for virtual in virtuals:
        if virtual._snapshot is not None:
            values[id(virtual)] = virtual._snapshot.value
        else:
            source = virtual._parametrization.source
            by_source.setdefault(id(source), (source, []))[1].append(virtual)
    for source, group in by_source.values():
        for virtual, piece in zip(group, _pieces(source, group, caller), strict=True):
            value = virtual._parametrization.value(piece)
            values[id(virtual)] = keras.ops.cast(value, virtual._dtype)
    return values


def _pieces(source, group: Sequence[Any], caller: keras.Layer | None) -> list[Tensor | None]:
    if source is None:
        return [None] * len(group)
    slots = [virtual._parametrization.slot for virtual in group]
    shared = _shared_between_siblings(caller)
    if shared is None:
        return source.pieces(slots)
    # The outermost call is of a layer that smh does not know (a model built from wrapped layers):
    # its other layers will ask next, so compute all of the pool now, once.
    if source not in shared:
        every = [user._parametrization.slot for user in source.users]
        shared[source] = dict(zip(every, source.pieces(every), strict=True))
    return [shared[source][slot] for slot in slots]


def _shared_between_siblings(caller: keras.Layer | None) -> dict | None:
    """What the wrapped layers under one outermost call share, or `None` if they may not.

    Relies on: `Layer.__call__` keeps one `CallContext` in the global attribute
    `current_call_ctx` from the outermost call's begin to its end, and none between two.
    """
    context = _call_context()
    graph = _current_graph()
    if caller is None or context is None or context.entry_layer is caller or graph is None:
        return None
    by_graph = context.__dict__.setdefault("_smh_shared", {})
    return by_graph.setdefault(graph, {})


def _call_context():
    from keras.src.backend.common import global_state

    return global_state.get_global_attribute("current_call_ctx")


def _current_graph() -> Any | None:
    """Names the graph that operations are being added to; `None` if that cannot be known.

    JAX has no public name for a trace, and a tracer that leaves its trace is an error: nothing is
    shared there between sibling layers (within one wrapped layer everything still is).
    """
    if keras.backend.backend() != "tensorflow":
        return "eager" if keras.backend.backend() == "torch" else None
    import tensorflow as tf

    return "eager" if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _add_penalties(layer: keras.Layer, virtuals: Sequence[Any], values: Mapping[int, Tensor]):
    """Adds the regularisation losses of the computed weights, once per outermost call.

    Keras collects a regulariser from tracked variables only, and a virtual variable is not
    tracked. The loss goes to the layer that was entered, so that it is created in the outermost
    graph and cleared by the same call that clears the layer's other losses.
    """
    context = _call_context()
    done = set() if context is None else context.__dict__.setdefault("_smh_penalised", set())
    for virtual in virtuals:
        if virtual.regularizer is not None and virtual.trainable and id(virtual) not in done:
            done.add(id(virtual))
            # Not `layer.add_loss`: a functional model refuses it.
            keras.Layer.add_loss(layer, virtual.regularizer(values[id(virtual)]))
