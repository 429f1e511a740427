"""Computes every virtual variable once per outermost call: the hot path.

The law: inside the outermost call of a layer that has virtual variables below it, each of them is
computed once, all of one pool by one product and one split; and nothing computed outlives that
call, so that an optimizer step, another tape or another step of an unrolled loop sees fresh
values.

How: each such layer's `call` is wrapped. On entry the wrapper computes what lies below the layer
and is not there yet, before any loop of the layer starts, and puts it where reads look first; on
exit it takes it away again. Values are therefore only ever used inside the graph or trace in
which they were computed, or one nested in it (the body of an LSTM's loop).

Why that is fast: one large product runs at the machine's full speed, and its cost does not depend
on the batch. One split has one concatenation as its gradient, so that the factors' gradients are
two more products; a slice per weight would make each gradient a zero-padded copy of the pool.

A model deployed in stream mode (`smh.deploy`) goes the other way to save memory: its outer layers
compute nothing, and each layer computes its own weights when its inputs are there.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

import keras

from smh.errors import DeployedModelError
from smh.typing import Tensor
from smh.virtual_variable.inside_keras import tapes, torch_storage
from smh.virtual_variable.inside_keras.global_state import global_attribute
from smh.virtual_variable.inside_keras.ordering import computed_after
from smh.virtual_variable.inside_keras.rematerialising import is_rematerialised


class _Values(NamedTuple):
    """What the calls in progress have computed, by the variable's id."""

    tensors: Mapping[int, Tensor]
    stopped: bool  # whether nothing was recorded for gradients meanwhile


_values: ContextVar[_Values | None] = ContextVar("smh_values", default=None)


def read(virtual) -> Tensor:
    """Returns the value of a virtual variable, from the call in progress or computed now."""
    known = _known()
    if id(virtual) in known:
        return known[id(virtual)]
    return _compute([virtual], caller=None)[id(virtual)]


def _known() -> Mapping[int, Tensor]:
    """What is computed and may be used here.

    A function that a layer gives to `tf.recompute_grad` passes no gradient to tensors from outside
    of it: there everything is computed anew, so that it reads the variables behind them itself.
    """
    values = _values.get()
    return {} if values is None or values.stopped is not tapes.is_stopped() else values.tensors


def wrap_call(layer: keras.Layer, virtuals: Sequence[Any]) -> None:
    """Makes `layer` compute `virtuals`, which lie in it or below it, when it is called.

    Relies on: `Layer.__call__`, `stateless_call` and `compute_output_spec` look `call` up on the
    instance; Keras itself shadows `build` and `quantize` on the instance in the same way.
    """
    if "_smh_virtuals" not in layer.__dict__:
        layer.__dict__["call"] = _computing_first(layer, layer.call)
        layer.__dict__["rematerialized_call"] = _rematerializing_anew(layer)
    layer.__dict__["_smh_virtuals"] = tuple(virtuals)


def stream_call(layer: keras.Layer, virtuals: Sequence[Any] | None) -> None:
    """Makes a wrapped layer compute only `virtuals`, each by itself; `None` undoes that."""
    if virtuals is None:
        layer.__dict__.pop("_smh_streamed", None)
    elif "_smh_virtuals" in layer.__dict__:
        layer.__dict__["_smh_streamed"] = tuple(virtuals)


def virtuals_below(layer: keras.Layer) -> tuple:
    """The virtual variables in `layer` and below it."""
    return layer.__dict__.get("_smh_virtuals", ())


def _streamed(layer: keras.Layer) -> tuple | None:
    """The virtual variables that `layer` streams, or `None` if it is not in stream mode."""
    return layer.__dict__.get("_smh_streamed")


def _computing_first(layer: keras.Layer, call: Callable) -> Callable:
    @functools.wraps(call)
    def computing_call(*args, **kwargs):
        with _computed(layer, args, kwargs) as (args, kwargs):
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
        known = _known()
        penalised = [v for v in _due(layer) if v.regularizer and id(v) not in known]
        _add_penalties(layer, penalised, _compute(penalised, caller=layer))

        def call_once(*a, **k):
            return call(*a, **k)

        return type(layer).rematerialized_call(layer, call_once, *args, **kwargs)

    return rematerialized_call


def _due(layer: keras.Layer) -> tuple:
    """What `layer` has to compute when it is called."""
    streamed = _streamed(layer)
    return virtuals_below(layer) if streamed is None else streamed


@contextlib.contextmanager
def _computed(layer: keras.Layer, args: Any, kwargs: Mapping[str, Any]):
    """Inside, what `layer` has to compute is there; yields the arguments to call it with."""
    # A rematerialised layer runs under `tf.recompute_grad` or `jax.checkpoint`, which pass no
    # gradient to tensors from outside (TensorFlow) or keep them alive: compute anew inside.
    anew = is_rematerialised(layer)
    known = {} if anew else _known()
    missing = [v for v in _due(layer) if id(v) not in known]
    if not missing:
        yield args, kwargs
        return
    if _in_training(kwargs):
        check_trainable(missing)
    inputs = args, kwargs
    if _streamed(layer) is None:
        computed = _compute(missing, caller=layer)
    else:
        with computed_after(inputs, _variables_of(missing)) as inputs:
            computed = _compute(missing, caller=None)
    penalties = [] if anew else _add_penalties(layer, missing, computed)
    token = _values.set(_Values({**known, **computed}, tapes.is_stopped()))
    try:
        yield inputs
    finally:
        _values.reset(token)
    _keep_penalties(layer, penalties)


def _compute(virtuals: Sequence[Any], caller: keras.Layer | None) -> dict[int, Tensor]:
    """Computes `virtuals`: those of one source together, or each alone without a `caller`."""
    values: dict[int, Tensor] = {}
    by_source: dict[int, tuple[Any, list[Any]]] = {}
    for virtual in virtuals:
        if virtual._snapshot is not None:
            values[id(virtual)] = virtual._snapshot.value
        elif virtual._cached is not None:
            values[id(virtual)] = virtual._cached.value
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
    if caller is None:
        return [_alone(source, virtual._parametrization) for virtual in group]
    shared = _shared_between_siblings(caller)
    if shared is None:
        return _scaled_pieces(source, group)
    # The outermost call is of a layer that smh does not know (a model built from wrapped layers):
    # its other layers will ask next, so compute all of the pool now, once.
    if source not in shared:
        every = source.users
        pieces = _scaled_pieces(source, every)
        shared[source] = {id(user): piece for user, piece in zip(every, pieces, strict=True)}
    return [shared[source][id(virtual)] for virtual in group]


def _alone(source, parametrization) -> Tensor:
    return source.piece(parametrization.slot, parametrization.scale)


def _scaled_pieces(source, group: Sequence[Any]) -> list[Tensor]:
    slots = [virtual._parametrization.slot for virtual in group]
    return source.pieces(slots, [virtual._parametrization.scale for virtual in group])


def _variables_of(virtuals: Sequence[Any]) -> list[keras.Variable]:
    """The stored variables that the values of `virtuals` are computed from, each once."""
    found: dict[int, keras.Variable] = {}
    for virtual in virtuals:
        parametrization = virtual._parametrization
        source = parametrization.source
        for variable in (*parametrization.parts, *(source.variables if source else ())):
            found[id(variable)] = variable
    return list(found.values())


def check_trainable(virtuals: Sequence[Any]) -> None:
    """Raises if training would not reach one of `virtuals`, because its value is cached."""
    for virtual in virtuals:
        if virtual._cached is not None and virtual.trainable:
            raise DeployedModelError(
                f"'{virtual.path}' is deployed in mode 'cached': its value is kept and its factors "
                "are not used, so training would not reach them. Call smh.deploy(model, "
                "mode='train') first, or set `trainable = False` on the part of the model that "
                "stays as it is."
            )


def _in_training(kwargs: Mapping[str, Any]) -> bool:
    """Whether a layer called with `kwargs` is part of a training step.

    Relies on: the outermost call's `training` is kept in the `CallContext`; on JAX the trainer
    calls `call` itself, without a context.
    """
    context = _call_context()
    # Compared by identity: inside a rematerialised layer `training` is a tracer.
    return kwargs.get("training") is True or (
        context is not None and context.get_value("training") is True
    )


def _shared_between_siblings(caller: keras.Layer) -> dict | None:
    """What the wrapped layers under one outermost call share, or `None` if they may not.

    Relies on: `Layer.__call__` keeps one `CallContext` in the global attribute
    `current_call_ctx` from the outermost call's begin to its end, and none between two.
    """
    context = _call_context()
    graph = _current_graph()
    if context is None or context.entry_layer is caller or graph is None:
        return None
    if is_rematerialised(caller) or is_rematerialised(context.entry_layer):
        return None  # PyTorch recomputes each rematerialised layer by itself
    by_graph = context.__dict__.setdefault("_smh_shared", {})
    return by_graph.setdefault((graph, tapes.is_stopped()), {})


def _call_context():
    return global_attribute("current_call_ctx")


def _current_graph() -> Any | None:
    """Names the graph that operations are being added to; `None` if that cannot be known.

    JAX has no public name for a trace, and a tracer that leaves its trace is an error: nothing is
    shared there between sibling layers (within one wrapped layer everything still is).
    """
    if keras.backend.backend() == "torch":
        return torch_storage.tensor_state()
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    return "eager" if tf.executing_eagerly() else tf.compat.v1.get_default_graph()


def _add_penalties(
    layer: keras.Layer, virtuals: Sequence[Any], values: Mapping[int, Tensor]
) -> list[Tensor]:
    """Adds the regularisation losses of the computed weights, once per outermost call.

    Keras collects a regulariser from tracked variables only, and a virtual variable is not
    tracked. The loss goes to the layer that was entered, so that it is created in the outermost
    graph and cleared by the same call that clears the layer's other losses.
    """
    context = _call_context()
    done = set() if context is None else context.__dict__.setdefault("_smh_penalised", set())
    penalties = []
    for virtual in virtuals:
        if virtual.regularizer is not None and virtual.trainable and id(virtual) not in done:
            done.add(id(virtual))
            penalties.append(virtual.regularizer(values[id(virtual)]))
    _add_losses(layer, penalties)
    return penalties


def _add_losses(layer: keras.Layer, penalties: list[Tensor]) -> None:
    if penalties:
        layer.__dict__["_smh_penalties"] = penalties
        # Not `layer.add_loss`: a functional model refuses it.
        keras.Layer.add_loss(layer, penalties)


def _keep_penalties(layer: keras.Layer, penalties: list[Tensor]) -> None:
    """Puts the losses of the call that ends in the place of another replica's.

    The replicas of `tf.distribute` call the same layer in turns, and change at each sum over them
    (a synchronised batch normalisation). The call of the next replica has then cleared this one's
    losses and added its own, whose gradient does not reach this replica's factors.

    Relies on: `add_loss` appends to `_losses`, which the outermost call clears, and
    `_get_own_losses` returns them (in a stateless scope: from that scope).
    """
    own = layer._get_own_losses() if penalties else []
    if all(any(loss is kept for kept in own) for loss in penalties):
        return
    others = layer.__dict__["_smh_penalties"]
    layer._losses[:] = [kept for kept in layer._losses if not any(kept is o for o in others)]
    _add_losses(layer, penalties)
