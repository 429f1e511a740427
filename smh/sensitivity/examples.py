"""Examples to look at: from arrays, data sets, or a function that makes them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.sensitivity.inputs import MOST_PARTS, Inputs, refusal, told

_BATCH = 32
_NO_AXIS = (
    "The axis of examples is missing in front: batch a data set by dataset.batch(32); one example "
    "is x[None]."
)


def batches_of(
    model: keras.Layer, data: Any, most: int, size: int = _BATCH, least: int = 1
) -> list[Any]:
    """Returns batches of examples as NumPy arrays, nested as the model takes them.

    Args:
        model: is called on some examples, or the only one.
        data: an array, or arrays nested as the model's inputs; a data set or a list of batches; or
            a function that returns one of these. Labels and weights beside the inputs, as in
            `(x, y)`, are left out.
        most: how many examples are taken, the first ones.
        size: of a batch, at most.
        least: how many batches, of as many examples or more.

    Raises:
        ArgumentError: there is no example, arrays of different lengths, numbers that are not
            finite, or the model does not take them.
    """
    if callable(data) and not _is_data_set(data):
        data = data()
    inputs = Inputs(model)
    whole = _joined(inputs, data, most)
    flat = keras.tree.flatten(whole)
    if inputs.bind and inputs.lack_an_axis(flat):
        raise ArgumentError(
            f"data has arrays of shape {_shapes(flat)}. {inputs.described()}{_NO_AXIS}"
        )
    lengths = {len(x) for x in flat}
    if len(lengths) != 1 or 0 in lengths:
        raise ArgumentError(
            f"data needs one example or more, as many in each array; got {lengths}."
        )
    for x in flat:
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise ArgumentError("data has numbers that are not finite (NaN or infinity).")
    count = min(most, lengths.pop())
    size = min(size, -(-count // least))
    made = [
        keras.tree.map_structure(lambda x, s=start: x[s : min(s + size, count)], whole)
        for start in range(0, count, size)
    ]
    some = min(3 if inputs.batch == 2 else 2, count)  # not as many as a fixed batch size has
    _check_fits(model, inputs, keras.tree.map_structure(lambda x: x[:some], whole))
    return made


def joined(batches: Sequence[Any], most: int) -> Any:
    """The first `most` examples as one batch."""
    flat = [keras.tree.flatten(batch) for batch in batches]
    arrays = [np.concatenate(parts)[:most] for parts in zip(*flat, strict=True)]
    return keras.tree.pack_sequence_as(batches[0], arrays)


def pieces_of(batches: Sequence[Any], size: int) -> list[Any]:
    """The examples of all batches, in batches of another size."""
    count = sum(map(examples_of, batches))
    whole = joined(batches, count)
    return [
        keras.tree.map_structure(lambda x, s=start: x[s : s + size], whole)
        for start in range(0, count, size)
    ]


def examples_of(batch: Any) -> int:
    """How many there are."""
    return len(keras.tree.flatten(batch)[0])


def _is_data_set(data: Any) -> bool:
    return isinstance(data, keras.utils.PyDataset) or hasattr(data, "__iter__")


def _joined(inputs: Inputs, data: Any, most: int) -> Any:
    if hasattr(data, "shape") or isinstance(data, Mapping) or _is_nest(inputs, data):
        return keras.tree.map_structure(lambda x: _array(x, most), inputs.of(data))
    if isinstance(data, str | bytes) or not _is_data_set(data):
        raise ArgumentError(
            "data must be arrays of examples, a data set, or a function that returns one of these; "
            f"got {type(data).__name__}."
        )
    taken: list[Any] = []
    count = 0
    for batch in _batches(data):
        batch = keras.tree.map_structure(_array, inputs.of(batch))
        taken.append(batch)
        first = keras.tree.flatten(batch)[0]
        count += len(first) if first.ndim else 1
        if count >= most:
            break
    if not taken:
        raise ArgumentError("data has no example.")
    _check_join(inputs, taken)
    return joined(taken, most)


def _is_nest(inputs: Inputs, data: Any) -> bool:
    """Whether it is all examples at once, labels beside them or not; else it is batches."""
    if not isinstance(data, tuple | list) or not data:
        return False
    if inputs.fit(data) == 2:
        return True
    many = len(data) > 1 and (isinstance(data, list) or len(data) > MOST_PARTS)
    if many and all(is_batch(inputs, one) for one in data):
        return False
    return inputs.fit(inputs.of(data)) > 0 or all(hasattr(x, "shape") for x in data)


def is_batch(inputs: Inputs, one: Any) -> bool:
    """Whether it is a batch, or would be with an axis of examples, of which an error tells."""
    one = inputs.of(one)
    return inputs.fit(one) == 2 or (hasattr(one, "shape") and inputs.lack_an_axis([one]))


def _check_join(inputs: Inputs, batches: list[Any]) -> None:
    """Refuses batches that are no batches of the same."""
    kinds = {tuple(x.shape[1:] for x in keras.tree.flatten(batch)) for batch in batches}
    single = any(x.ndim == 0 for x in keras.tree.flatten(batches))
    if single or inputs.bind and inputs.lack_an_axis(keras.tree.flatten(batches[0])):
        raise ArgumentError(
            f"data is a data set of single examples, of shape {_shapes(batches[0])}: make batches "
            f"of them, by dataset.batch(32) or np.stack(examples). {inputs.described()}".strip()
        )
    if len(kinds) > 1:
        raise ArgumentError(
            f"data has batches of different examples, of shapes {sorted(kinds)}: they are put "
            "together, so all need the same."
        )


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        known = data.num_batches  # `None` where there is no end
        return (data[i] for i in (itertools.count() if known is None else range(known)))
    return iter(data) if isinstance(data, Iterable) else iter(())


def _check_fits(model: keras.Layer, inputs: Inputs, one: Any) -> None:
    error = refusal(model, one)
    if error is None:
        return
    flat = keras.tree.flatten(one)
    if inputs.batch not in (None, len(flat[0])):
        raise ArgumentError(
            f"'{model.name}' takes {inputs.batch} examples at a time, as stateful layers do, and "
            "no other number, and has to be called with others here: build it once more without a "
            "fixed batch size, keras.Input(shape), and with stateful=False, and give it the same "
            f"weights. The model says: {told(error)}"
        ) from error
    hint = f" {_NO_AXIS}" if inputs.lack_an_axis(flat) else ""
    raise ArgumentError(
        f"'{model.name}' cannot be called on these data, examples of shape "
        f"{_shapes([x[0] for x in flat])}. {inputs.described()}The model says: {told(error)}{hint}"
    ) from error


def _shapes(arrays: Any) -> str:
    found = [str(tuple(x.shape)) for x in keras.tree.flatten(arrays)]
    return ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")


def _array(given: Any, most: int | None = None) -> np.ndarray:
    """What was given as an array, the first `most` of it: numbers as in `values`, or text."""
    if not hasattr(given, "shape"):
        raise ArgumentError(
            f"data has {given!r:.50} ({type(given).__name__}) where an array of examples belongs: "
            "make arrays of lists, np.asarray(examples)."
        )
    try:
        given = given if most is None or not len(given.shape) else given[:most]
        array = np.asarray(
            given if isinstance(given, np.ndarray) else keras.ops.convert_to_numpy(given)
        )
        if array.dtype.kind == "U" or _is_text(array):
            return array
        if array.dtype.kind in "biuf" or "float" in array.dtype.name:
            return values(array)
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise ArgumentError(
            f"data has a {type(given).__name__} that is no array: {error!s:.100}"
        ) from error
    raise ArgumentError(
        f"data has an array of {array.dtype.name}; it must be of numbers that are not complex, or "
        "of text for a model that takes text."
    )


def _is_text(array: np.ndarray) -> bool:
    return array.dtype.kind in "SO" and all(isinstance(x, str | bytes) for x in array.flat)


def values(tensor: Any) -> np.ndarray:
    """A tensor's numbers, to be read only: no copy where the backend needs none.

    Half precision becomes float32.

    Relies on: NumPy gives a view of a TensorFlow tensor in memory, where `convert_to_numpy` copies.
    """
    dense = hasattr(tensor, "__array__") and keras.backend.backend() == "tensorflow"
    array = np.asarray(tensor if dense else keras.ops.convert_to_numpy(tensor))
    known = array.dtype.kind in "biu" or array.dtype.name in ("float32", "float64")
    return array if known else array.astype(np.float32)
