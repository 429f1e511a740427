"""Evaluation that goes on from the layer that was changed: what lies before it is computed once.

A scan changes one layer at many levels. In a graph of layers, whatever does not depend on that
layer stays as it is: its outputs are kept, and of each row only what comes behind is computed. On
average that is half of a network. The metrics are those that the model was compiled with, of Keras'
own `evaluate`.

It is done only where nothing else can come out: for a functional or sequential model of Keras' own
layers with one output, of which nothing adds to the loss, on arrays. The first part that goes on is
held against the evaluation of the whole. Anything else is evaluated as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import keras
import numpy as np

from smh.sensitivity.evaluating import of_keras
from smh.sensitivity.scanned import Scanned, layers_that_use
from smh.virtual_variable import own_layers
from smh.virtual_variable.inside_keras.graph import Call, Graph, graph_of
from smh.virtual_variable.inside_keras.ordering import has_mask

MOST_KEPT = 1 << 30  # bytes of outputs that are kept at a time

_BATCH = 32  # as of `evaluate`
_CLOSE = 1e-5  # relative, of the metrics of the whole and of a part
_HOMES = ("keras", "keras_hub")  # whose layers use no variable that they do not track

Part = TypeVar("Part")
Measure = Callable[[], dict[str, float]]
Outputs = Callable[[], Any]
GoesOn = Callable[[Sequence[Scanned]], Outputs | None]


def resuming(
    model: Any, evaluate: Any, measure: Measure, baseline: dict[str, float]
) -> Callable[[Sequence[Scanned]], Measure]:
    """Returns what gives, for variables that are about to change, a function that evaluates.

    Args:
        model: a model.
        evaluate: arrays as `smh.sensitivity.evaluating.checked` returns them, or anything else.
        measure: evaluates the whole model.
        baseline: what it gave for the unchanged model.

    Returns:
        A function to be called while nothing is changed.
    """
    graph = graph_of(model)
    inputs = None if graph is None else _arrays(graph, evaluate)
    if graph is None or inputs is None or not _is_simple(model, graph):
        return lambda group: measure
    return _Resuming(model, graph, inputs, evaluate[1:], measure, baseline)


def _arrays(graph: Graph, evaluate: Any) -> list[np.ndarray] | None:
    """The arrays that the graph takes, or `None`."""
    if not isinstance(evaluate, tuple) or len(graph.outputs) != 1:
        return None
    x, *others = evaluate
    given = list(x) if isinstance(x, tuple | list) else [x]
    if not all(isinstance(one, np.ndarray) for one in (*given, *others)):
        return None
    if len(given) != len(graph.inputs):
        return None
    for array, tensor in zip(given, graph.inputs, strict=True):
        if array.ndim != len(tensor.shape) or array.dtype.name != tensor.dtype or not array.size:
            return None
    return given


def _is_simple(model: keras.Model, graph: Graph) -> bool:
    """Whether the outputs decide all that is measured, and Keras' own rules say how."""
    own = (keras.Model, keras.Sequential)
    for name in ("test_step", "compute_loss", "compute_metrics", "evaluate"):
        if getattr(type(model), name) not in {getattr(kind, name) for kind in own}:
            return False
    layers = [layer for call in graph.calls for layer in _layers_of(call.operation)]
    if model.losses or any(getattr(layer, "activity_regularizer", None) for layer in layers):
        return False
    known = [*(call.operation for call in graph.calls), *layers]
    homes = {type(operation).__module__.split(".")[0] for operation in known}
    return homes <= set(_HOMES) and not any(isinstance(o, keras.layers.Lambda) for o in known)


def _layers_of(operation: Any) -> list[keras.Layer]:
    return list(own_layers(operation)) if isinstance(operation, keras.Layer) else []


def goes_on(model: keras.Layer, x: Any) -> GoesOn:
    """Returns what calls a model on arrays `x` again and again, with one part of it changed."""
    graph = graph_of(model)
    inputs = None if graph is None else _arrays(graph, (x,))
    if graph is None or inputs is None or not _is_simple(model, graph):
        return lambda group: None
    kept = _Kept(model, graph, inputs)

    def of(group: Sequence[Scanned]) -> Outputs | None:
        found = kept.part(group)
        if found is None:
            return None
        part, arrays = found
        batch = [keras.ops.convert_to_tensor(a) for a in arrays]
        return lambda: part.outputs_of(batch)

    return of


class InPlaceOfTheWhole(Generic[Part]):
    """Makes parts of a model that stand for the whole; the first is held against it.

    Args:
        make: makes the part for variables that are about to change; `None` where there is none.
        agrees: whether a part of the unchanged model gives what the whole gives.
    """

    def __init__(
        self,
        make: Callable[[Sequence[Scanned]], Part | None],
        agrees: Callable[[Part], bool],
    ):
        self._make, self._agrees = make, agrees
        self._is_right: bool | None = None  # not known yet

    def __call__(self, group: Sequence[Scanned]) -> Part | None:
        """Returns the part, or `None`: the whole has to do."""
        if self._is_right is False:
            return None
        try:
            part = self._make(group)
            if part is not None:
                self._is_right = self._is_right or self._agrees(part)
        except Exception:  # whatever a part cannot do, the whole model can
            self._is_right = False
        return part if self._is_right else None


class _Resuming:
    """Measures by parts, as long as these give what the whole gave."""

    def __init__(self, model, graph: Graph, inputs, targets, measure: Measure, baseline):
        self._model, self._targets = model, targets
        self._kept = _Kept(model, graph, inputs)
        self._whole, self._baseline = measure, baseline
        self._in_place = InPlaceOfTheWhole(self._behind, lambda part: self._agrees(part()))

    def __call__(self, group: Sequence[Scanned]) -> Measure:
        return self._in_place(group) or self._whole

    def _behind(self, group: Sequence[Scanned]) -> Measure | None:
        found = self._kept.part(group)
        if found is None:
            return None
        part, x = found
        config = self._model.get_compile_config()
        part.compile_from_config({**config, "optimizer": "sgd"})
        data = (x, *self._targets)
        return lambda: {name: float(value) for name, value in of_keras(part, data).items()}

    def _agrees(self, found: dict[str, float]) -> bool:
        return found.keys() == self._baseline.keys() and all(
            math.isclose(found[name], self._baseline[name], rel_tol=_CLOSE, abs_tol=_CLOSE)
            for name in found
        )


class _Kept:
    """Keeps the outputs that the last part went on from: the next ones are near them."""

    def __init__(self, model: keras.Layer, graph: Graph, inputs: Sequence[np.ndarray]):
        self._model, self._graph = model, graph
        self._inputs = {id(t): a for t, a in zip(graph.inputs, inputs, strict=True)}
        self._kept: dict[int, np.ndarray] = {}

    def part(self, group: Sequence[Scanned]) -> tuple[_Part, list[np.ndarray]] | None:
        """What lies behind variables that are about to change, and what goes into it.

        `None` where that is the whole model, or more than may be kept.
        """
        behind = self._behind(
            {id(layer) for c in group for layer in layers_that_use(self._model, c)}
        )
        if behind is None or len(behind) == len(self._graph.calls):
            return None
        needed = _taken(behind)
        if not self._keep(needed):
            return None
        part = _Part(behind, needed, [id(self._graph.outputs[0])])
        return part, [self._kept[i] if i in self._kept else self._inputs[i] for i in needed]

    def _behind(self, changed: set[int]) -> list[Call] | None:
        """The calls whose outputs may change, in order; `None` if the model's do not."""
        outputs: set[int] = set()
        found = []
        for call in self._graph.calls:
            is_changed = any(id(one) in changed for one in _layers_of(call.operation))
            if is_changed or any(id(tensor) in outputs for tensor in call.inputs):
                found.append(call)
                outputs |= {id(tensor) for tensor in call.outputs}
        return found if id(self._graph.outputs[0]) in outputs else None

    def _keep(self, needed: list[int]) -> bool:
        """Computes what is needed, from what is kept; `False` if it cannot be kept."""
        calls = self._between(needed)
        tensors = {id(t): t for call in calls for t in call.outputs}
        new = [i for i in needed if i in tensors]
        count = len(next(iter(self._inputs.values())))
        if any(None in tensors[i].shape[1:] for i in new):
            return False
        sizes = [math.prod(tensors[i].shape[1:]) * 4 for i in new]
        sizes += [self._kept[i].nbytes // count for i in needed if i in self._kept]
        if sum(sizes) * count > MOST_KEPT:
            return False
        found = self._run(calls, new, count)
        if found is None:
            return False
        self._kept = {i: self._kept[i] for i in needed if i in self._kept} | found
        return True

    def _between(self, needed: list[int]) -> list[Call]:
        """The calls that make what is needed of what is there."""
        wanted = {i for i in needed if i not in self._inputs and i not in self._kept}
        found = []
        for call in reversed(self._graph.calls):
            if any(id(tensor) in wanted for tensor in call.outputs):
                found.append(call)
                wanted |= {
                    id(t)
                    for t in call.inputs
                    if id(t) not in self._inputs and id(t) not in self._kept
                }
        return found[::-1]

    def _run(self, calls: list[Call], new: list[int], count: int) -> dict[int, np.ndarray] | None:
        if not new:
            return {}
        given = _taken(calls)
        arrays = [self._kept[i] if i in self._kept else self._inputs[i] for i in given]
        part = _Part(calls, given, new)
        found: list[list[np.ndarray]] = [[] for _ in new]
        for start in range(0, count, _BATCH):
            batch = [keras.ops.convert_to_tensor(a[start : start + _BATCH]) for a in arrays]
            with keras.StatelessScope():
                outputs = part.outputs_of(batch)
            if any(map(has_mask, outputs)):
                return None
            for place, output in zip(found, outputs, strict=True):
                place.append(np.asarray(keras.ops.convert_to_numpy(output)))
        return {i: np.concatenate(pieces) for i, pieces in zip(new, found, strict=True)}


def _taken(calls: Iterable[Call]) -> list[int]:
    """The tensors that calls take and do not make, in order."""
    made: set[int] = set()
    taken: dict[int, None] = {}
    for call in calls:
        taken |= {id(tensor): None for tensor in call.inputs if id(tensor) not in made}
        made |= {id(tensor) for tensor in call.outputs}
    return list(taken)


class _Part(keras.Model):
    """Some calls of a graph, as a model of the tensors that they take."""

    def __init__(self, calls: Sequence[Call], given: list[int], made: list[int]):
        super().__init__(name="part")  # TensorFlow takes no underscore at its beginning
        self.autocast = False  # each layer does so itself
        self.used = list({id(layer): layer for c in calls for layer in _top(c)}.values())
        self._calls_of_part, self._given, self._made = tuple(calls), tuple(given), tuple(made)
        self.built = True

    def call(self, inputs, training=None):
        outputs = self._computed(inputs, training)
        return outputs[0] if len(outputs) == 1 else outputs

    def outputs_of(self, batch: list[Any]) -> list[Any]:
        """The outputs of one batch, as a list."""
        outputs = self(batch, training=False)
        return [outputs] if len(self._made) == 1 else list(outputs)

    def _computed(self, inputs, training) -> list[Any]:
        tensors = dict(zip(self._given, inputs, strict=True))

        def filled(value):
            return tensors[id(value)] if isinstance(value, keras.KerasTensor) else value

        for call in self._calls_of_part:
            args, kwargs = keras.tree.map_structure(filled, (call.args, call.kwargs))
            if "training" in kwargs and training is not None:  # as in Keras' own graphs
                kwargs["training"] = training
            outputs = call.operation(*args, **kwargs)
            flat = keras.tree.flatten(outputs)
            tensors |= {id(t): o for t, o in zip(call.outputs, flat, strict=True)}
        return [tensors[i] for i in self._made]


def _top(call: Call) -> list[keras.Layer]:
    return [call.operation] if isinstance(call.operation, keras.Layer) else []
