"""Examples to look at: from arrays, data sets, or a function that makes them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError

_BATCH = 32


def batches_of(
    model: keras.Layer, data: Any, most: int, size: int = _BATCH, least: int = 1
) -> list[Any]:
    """Returns batches of examples as NumPy arrays, nested as the model takes them.

    Args:
        model: is called on one example.
        data: an array, or arrays nested as the model's inputs; a data set of batches (labels beside
            them are left out); or a function that returns one of these.
        most: how many examples are taken, the first ones.
        size: of a batch, at most.
        least: how many batches, of as many examples or more.

    Raises:
        ArgumentError: there is no example, arrays of different lengths, numbers that are not
            finite, or the model does not take them.
    """
    if callable(data) and not _is_data_set(data):
        data = data()
    whole = _joined(model, data, most)
    flat = keras.tree.flatten(whole)
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
    _check_fits(model, keras.tree.map_structure(lambda x: x[:1], whole))
    return made


def joined(batches: list[Any], most: int) -> Any:
    """The first `most` examples as one batch."""
    flat = [keras.tree.flatten(batch) for batch in batches]
    arrays = [np.concatenate(parts)[:most] for parts in zip(*flat, strict=True)]
    return keras.tree.pack_sequence_as(batches[0], arrays)


def _is_data_set(data: Any) -> bool:
    return isinstance(data, keras.utils.PyDataset) or hasattr(data, "__iter__")


def _joined(model: keras.Layer, data: Any, most: int) -> Any:
    if hasattr(data, "shape"):
        return values(data)[:most]
    if isinstance(data, Mapping) or _is_nest_of_arrays(data):
        return keras.tree.map_structure(lambda x: values(x)[:most], data)
    if not _is_data_set(data):
        raise ArgumentError(
            "data must be arrays of examples, a data set, or a function that returns one of these; "
            f"got {type(data).__name__}."
        )
    taken: list[Any] = []
    count = 0
    for batch in _batches(data):
        batch = keras.tree.map_structure(values, without_labels(model, batch))
        taken.append(batch)
        count += len(keras.tree.flatten(batch)[0])
        if count >= most:
            break
    if not taken:
        raise ArgumentError("data has no example.")
    return joined(taken, most)


def _is_nest_of_arrays(data: Any) -> bool:
    return isinstance(data, list | tuple) and all(
        hasattr(x, "shape") and len(x.shape) > 0 for x in data
    )


def _batches(data: Any) -> Iterator[Any]:
    if isinstance(data, keras.utils.PyDataset):
        return (data[i] for i in range(data.num_batches or 0))
    return iter(data) if isinstance(data, Iterable) else iter(())


def without_labels(model: keras.Layer, batch: Any) -> Any:
    """A tuple that is longer than what the model takes begins with that."""
    if not isinstance(batch, tuple):
        return batch
    try:
        wanted = len(keras.tree.flatten(model.input))
    except (AttributeError, ValueError):  # subclassed: as `fit` sees it
        return batch[0]
    return batch[0] if wanted == 1 or len(batch) != wanted else batch


def _check_fits(model: keras.Layer, one: Any) -> None:
    try:
        model(one, training=False)
    except Exception as error:  # whatever its layers raise
        shapes = keras.tree.map_structure(lambda x: tuple(x.shape[1:]), one)
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ArgumentError(
            f"'{model.name}' cannot be called on these data, examples of shape {shapes}: "
            f"{lines[0]:.300}"
        ) from error


def values(tensor: Any) -> np.ndarray:
    """A tensor's numbers; half precision as float32."""
    array = np.asarray(keras.ops.convert_to_numpy(tensor))
    known = array.dtype.kind in "biu" or array.dtype.name in ("float32", "float64")
    return array if known else array.astype(np.float32)
