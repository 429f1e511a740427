"""What users pass as `evaluate=`: a function of the model, or examples with their labels.

Examples are measured by Keras' own `evaluate`, which takes what it takes. What it does not take is
looked into as the examples of other functions are, so that the error says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.examples import batches_of, is_batch, values
from smh.sensitivity.inputs import MOST_PARTS, Inputs, told

_NAMES = ("x", "y", "sample_weight")
_COPY = "Train or prune a copy in it: smh.materialize(model) makes one."


def checked(model: keras.Layer, evaluate: Any) -> Callable[[keras.Layer], Any] | tuple:
    """Returns a function as it is, and data as `(x, y)`, `(x, y, weights)`, `(x,)` or `(dataset,)`.

    Batches in a list are put together.

    Raises:
        ArgumentError: it is nothing that can be evaluated again and again.
    """
    if isinstance(evaluate, keras.Layer) or not _is_usable(evaluate):
        raise ArgumentError(
            "evaluate must be a function of the model that returns numbers, a pair (x, y), or a "
            f"dataset that can be read again and again, got {type(evaluate).__name__}."
        )
    if callable(evaluate):
        return evaluate
    if not getattr(model, "compiled", False):
        raise ArgumentError(
            f"'{model.name}' is not compiled, so data alone does not say what to measure. Call "
            "model.compile(loss=..., metrics=[...]) first, or pass a function: evaluate(model) -> "
            "accuracy."
        )
    if isinstance(evaluate, tuple | list):
        return _parts(Inputs(model), evaluate)
    if _is_endless(evaluate):
        raise ArgumentError(
            "evaluate is a dataset without an end, and all of it is measured: leave .repeat() out, "
            "or take some batches of it, dataset.take(100)."
        )
    return (evaluate,)


class Unchanging:
    """A function of a model that has to leave its weights as they are: the first call is watched.

    Args:
        evaluate: the function.
    """

    def __init__(self, evaluate: Callable[[keras.Layer], Any]):
        self._evaluate, self._is_known = evaluate, False

    def __call__(self, model: keras.Layer) -> Any:
        """Returns what the function returns.

        Raises:
            ArgumentError: it changed the model. Its numbers are put back.

        Cost: a copy of the weights during the first call.
        """
        if self._is_known:
            return self._evaluate(model)
        before = {id(v): values(v.value).copy() for v in _float_weights(model)}
        moved: list[str] = []
        try:
            returned = self._evaluate(model)
        finally:  # of a call that was stopped, too
            now = _float_weights(model)
            for variable in now:
                numbers = before.get(id(variable))
                if numbers is not None and not np.array_equal(
                    values(variable.value), numbers, equal_nan=True
                ):
                    variable.assign(numbers)
                    moved.append(variable.path)
        if list(map(id, now)) != list(before):
            raise ArgumentError(
                f"evaluate gave '{model.name}' other weights, which it still has: it is called "
                f"again and again, and must only measure. {_COPY}"
            )
        if moved:
            raise ArgumentError(
                f"evaluate changed '{moved[0]}'{f' and {len(moved) - 1} more' * (len(moved) > 1)}, "
                f"which have been put back: it must only measure what the model is. {_COPY}"
            )
        self._is_known = True
        return returned


def _float_weights(model: keras.Layer) -> list[keras.Variable]:
    return [v for v in model.weights if keras.backend.is_float_dtype(v.dtype)]


def of_keras(model: keras.Model, data: tuple) -> dict[str, Any]:
    """What `model.evaluate` gives for data as `checked` returns them."""
    arguments = dict(zip(_NAMES, data, strict=False))
    return model.evaluate(**arguments, verbose=0, return_dict=True)


def evaluated(model: keras.Model, data: tuple) -> dict[str, Any]:
    """As `of_keras`, with an error that says what is wrong with the data.

    Raises:
        ArgumentError: the model does not take them, or there are none.
    """
    try:
        found = of_keras(model, data)
    except Exception as error:  # whatever Keras, its backend or a layer raises
        _check_examples(model, data)
        raise ArgumentError(
            f"'{model.name}' cannot be evaluated on these data{_described(data)}. "
            f"{_hint(data)}The model says: {told(error)}"
        ) from error
    if not found:
        if isinstance(data[0], np.ndarray):
            _check_examples(model, data)
        raise ArgumentError(
            "evaluate gives no batch, or none any more: it is measured many times, so it must be a "
            "dataset that can be read again and again, or a pair (x, y) of arrays."
        )
    return found


def _is_usable(evaluate: Any) -> bool:
    if callable(evaluate):
        return True
    if isinstance(evaluate, tuple | list):
        return len(evaluate) > 0
    readable = hasattr(evaluate, "__iter__") or hasattr(evaluate, "__getitem__")
    no_data = isinstance(evaluate, Iterator | Mapping | str | bytes) or hasattr(evaluate, "shape")
    return readable and not no_data


def _is_endless(data: Any) -> bool:
    if isinstance(data, keras.utils.PyDataset):
        return data.num_batches is None
    cardinality = getattr(data, "cardinality", None)  # of `tf.data`: -1 is without an end
    return callable(cardinality) and int(cardinality()) == -1


def _parts(inputs: Inputs, given: tuple | list) -> tuple:
    """Examples, labels and weights, of what is that already or a list of batches."""
    parts = _joined(inputs, given) if _are_batches(inputs, given) else tuple(given)
    if len(parts) > MOST_PARTS:
        raise ArgumentError(
            f"evaluate has {len(parts)} parts; it must be a pair (x, y), or (x, y, sample_weight), "
            "or a list of such batches."
        )
    if isinstance(parts[0], Mapping):  # with more in it than the inputs, or names of their layers
        return (inputs.of(parts[0]), *parts[1:])
    return parts


def _are_batches(inputs: Inputs, given: tuple | list) -> bool:
    is_pair = len(given) == 2 and all(hasattr(one, "shape") for one in given)
    if (isinstance(given, tuple) or is_pair) and inputs.fit(given[0]) == 2:
        return False  # the examples, and what is beside them
    if not all(is_batch(inputs, one) for one in given):
        return False
    return len({tuple(one.shape[1:]) for one in given if hasattr(one, "shape")}) < 2


def _joined(inputs: Inputs, batches: tuple | list) -> tuple:
    try:
        whole = keras.tree.map_structure(_concatenated, *batches)
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            f"evaluate is a list of batches that cannot be put together: {told(error)}"
        ) from error
    is_labelled = isinstance(whole, tuple | list) and inputs.fit(whole) < 2
    return tuple(whole) if is_labelled else (whole,)


def _concatenated(*arrays: Any) -> Any:
    if arrays[0] is None:
        return None
    return np.concatenate([np.asarray(keras.ops.convert_to_numpy(one)) for one in arrays])


def _check_examples(model: keras.Model, data: tuple) -> None:
    """Raises `ArgumentError` where the model cannot even be called, or where lengths differ."""
    batches_of(model, data[0], most=1)
    lengths = [{len(x) for x in _arrays(part)} for part in data]
    if len(data) > 1 and len(set().union(*lengths)) > 1:
        counts = ", ".join(
            f"{name} has {' and '.join(map(str, sorted(found)))}"
            for name, found in zip(_NAMES, lengths, strict=False)
        )
        raise ArgumentError(f"evaluate needs as many labels as examples: {counts}.")


def _arrays(part: Any) -> list[Any]:
    return [x for x in keras.tree.flatten(part) if getattr(x, "shape", ())]


def _hint(data: tuple) -> str:
    has_labels = len(data) > 1 and data[1] is not None
    if has_labels or not _arrays(data[0]):
        return ""
    return "Labels are missing: give a pair (x, y), of a model of its own examples (x, x). "


def _described(data: tuple) -> str:
    """The arrays' types and shapes, for an error."""
    words = [
        f"{name}: {', '.join(f'{x.dtype} {tuple(x.shape)}' for x in _arrays(part)[:5])}"
        for name, part in zip(_NAMES, data, strict=False)
        if _arrays(part)
    ]
    return f" ({'; '.join(words)})" if words else ""
