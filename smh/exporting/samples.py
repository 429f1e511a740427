"""Small inputs on which a written file is compared with its model, and what the model says."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from smh.errors import ArgumentError
from smh.exporting.signatures import Signature
from smh.virtual_variable import own_layers
from smh.virtual_variable.inside_keras.random_state import generator_states

_BATCH = 2  # where the signature leaves it free; more than one, so that mixing examples shows
_EXAMPLES = 16  # of a user's, which a file is compared on
# For the other free sizes: of the first and second one of an input. Unequal ones show a file that
# takes one for the other; but many models want equal ones, of some least size, or powers of two.
_SIZES = ((16, 24), (7, 7), (16, 16), (32, 32), (64, 64), (128, 128), (224, 224), (256, 256))
_WORDS = ("", "a", "the", "the quick brown fox", "1", "2.5", "no word of any vocabulary", "ÄÖ")


@dataclasses.dataclass(frozen=True)
class Sample:
    """Inputs of a model, and its outputs.

    Attributes:
        arguments: one structure of arrays for each positional argument.
        outputs: what the live model answers, flat.
    """

    arguments: list[Any]
    outputs: list[np.ndarray]

    @property
    def inputs(self) -> list[np.ndarray]:
        """The arrays of all arguments, flat."""
        return keras.tree.flatten(self.arguments)


def sample_of(model: keras.Layer, signature: Signature, given: Sequence[Any] | None) -> Sample:
    """Returns inputs that `model` takes, and its outputs.

    Generated ones are tried until the model answers with finite numbers: floats from a normal
    distribution and then from [0, 1), integers below the size of the smallest embedding, words of
    the model's vocabularies. Nothing about the model changes, no seed either.

    Args:
        model: a model, or a layer.
        signature: what it is called with.
        given: such inputs, from a user; one structure of arrays for each positional argument.

    Raises:
        ArgumentError: it cannot be called with what was given, or with anything generated.
    """
    if given is not None:
        return _given(model, signature, given)
    best, refused = None, None
    for arguments in _generated(model, signature):
        try:
            outputs = answer(model, arguments)
        except Exception as error:  # the model's own, of any kind
            refused = refused or error
            continue
        if not all(output.size for output in outputs):
            continue
        if all(_finite(output) for output in outputs):
            return Sample(arguments, outputs)
        best = best or Sample(arguments, outputs)
    if best is None:
        raise ArgumentError(
            f"'{model.name}' cannot be called with generated inputs of {_shapes(signature)}, so "
            "that nothing would tell whether a file computes the same. Give an example: "
            "sample=[array, ...], one for each positional argument, or another input_signature. "
            f"The model says: {shortened(refused)}"
        ) from refused
    return best


def answer(
    model: keras.Layer, arguments: Sequence[Any], other_seeds: bool = False
) -> list[np.ndarray]:
    """Returns the outputs of a live model, flat; it is as it was afterwards.

    What it assigns to inside, a seed or a counter, is dropped with the scope.

    Args:
        model: a model, or a layer.
        arguments: a structure of arrays for each positional argument.
        other_seeds: whether its random generators draw other numbers than they would.
    """
    tensors = keras.tree.map_structure(_tensor, list(arguments))
    seeds = generator_states(model) if other_seeds else []
    with keras.StatelessScope([(seed, seed.value + 1) for seed in seeds]):
        outputs = model(*tensors, training=False)
    return [as_array(output) for output in keras.tree.flatten(outputs)]


def as_array(output: Any) -> np.ndarray:
    """A tensor as an array, of float32 where NumPy has no such dtype."""
    if "bfloat16" in str(getattr(output, "dtype", "")):
        output = keras.ops.cast(output, "float32")
    if keras.ops.is_tensor(output):  # PyTorch's `numpy` refuses one that gradients reach
        return keras.ops.convert_to_numpy(output)
    return np.asarray(output.numpy() if hasattr(output, "numpy") else output)


def shortened(error: Any) -> str:
    """The first lines of a message, without what Keras and MLIR list after them."""
    return " ".join(str(error).split("\n\nArguments received")[0].split())[:400]


def _tensor(array: np.ndarray) -> Any:
    if array.dtype.kind not in "SUO":
        return keras.ops.convert_to_tensor(array)
    import tensorflow as tf  # only its tensors hold text

    return tf.constant(array.tolist(), shape=array.shape, dtype=tf.string)


def _given(model: keras.Layer, signature: Signature, given: Any) -> Sample:
    _check_structure(signature, given, "sample")
    flat, specs = keras.tree.flatten(list(given)), keras.tree.flatten(signature)
    arrays = [_fitting(array, spec) for array, spec in zip(flat, specs, strict=True)]
    arguments = list(keras.tree.pack_sequence_as(signature, arrays))
    try:
        return Sample(arguments, answer(model, arguments))
    except Exception as error:
        raise ArgumentError(
            f"'{model.name}' cannot be called with sample: {shortened(error)}"
        ) from error


def examples_of(signature: Signature, given: Any) -> list[np.ndarray]:
    """Returns examples from a user as arrays, one for each input.

    Raises:
        ArgumentError: they are not of the shapes that the model takes, are not equally many, or
            not one batch.
    """
    _check_structure(signature, given, "calibration")
    specs = keras.tree.flatten(signature)
    free = [keras.KerasTensor((None, *s.shape[1:]), dtype=s.dtype, name=s.name) for s in specs]
    flat = keras.tree.flatten(list(given))
    arrays = [_fitting(a, spec, "calibration") for a, spec in zip(flat, free, strict=True)]
    least = max([spec.shape[0] or 1 for spec in specs if spec.shape] or [1])
    counts = {len(array) for array in arrays}
    if len(counts) != 1 or min(counts) < least:
        raise ArgumentError(
            f"calibration must have the same number of examples for each input, at least {least}, "
            f"got {sorted(counts)}."
        )
    for array, spec in zip(arrays, specs, strict=True):
        if not _finite(array):
            rows = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
            number = int(np.argmin(rows))
            check_finite(array[number], f"calibration, input '{spec.name}'", number)
    return arrays


def check_finite(array: np.ndarray, name: str, number: int) -> None:
    """Raises if an example that ranges are chosen by has numbers that are not finite."""
    if not _finite(array):
        raise ArgumentError(
            f"{name}: example {number} has numbers that are not finite, and there is no range with "
            "those in it. Leave such examples out, or clean them as the model's inputs are in use."
        )


def check_answers(model: keras.Layer, signature: Signature, examples: Sequence[np.ndarray]) -> None:
    """Raises if `model` does not answer each of a user's examples with finite numbers.

    Else a converter or runtime would fail with them, and the fault be looked for in the model.
    """
    fixed = next((s.shape[0] for s in keras.tree.flatten(signature) if s.shape and s.shape[0]), 0)
    size = fixed or _EXAMPLES
    for first in range(0, len(examples[0]) - max(1, fixed) + 1, size):  # no empty batch
        last = min(first + size, len(examples[0]))
        wrong = _wrong_answer(model, signature, examples, first, last)
        if wrong is not None:
            alone = () if fixed else range(first, last)
            single = ((i, _wrong_answer(model, signature, examples, i, i + 1)) for i in alone)
            number, wrong = next((pair for pair in single if pair[1]), (first, wrong))
            which = f"examples {first} to {last - 1}" if fixed > 1 else f"example {number}"
            raise ArgumentError(
                f"'{model.name}' cannot be called with calibration, {which}: {wrong}"
            )


def _wrong_answer(
    model: keras.Layer, signature: Signature, examples: Sequence[np.ndarray], first: int, last: int
) -> str | None:
    """What is wrong with some examples, in the model's words, or `None`."""
    batch = keras.tree.pack_sequence_as(signature, [array[first:last] for array in examples])
    try:
        outputs = answer(model, list(batch))
    except Exception as error:  # the model's own, of any kind
        return shortened(error)
    return None if all(map(_finite, outputs)) else "it answers with numbers that are not finite."


def first_of(signature: Signature, examples: Sequence[np.ndarray]) -> list[Any]:
    """The first of a user's examples, a batch for each positional argument."""
    specs = keras.tree.flatten(signature)
    sizes = [
        spec.shape[0] or min(_EXAMPLES, len(a)) for spec, a in zip(specs, examples, strict=True)
    ]
    first = [array[:size] for array, size in zip(examples, sizes, strict=True)]
    return list(keras.tree.pack_sequence_as(signature, first))


def _check_structure(signature: Signature, given: Any, name: str) -> None:
    if not isinstance(given, (list, tuple)):
        raise ArgumentError(
            f"{name} must be a list with an array (or a structure of them) for each positional "
            f"argument of the model, got {type(given).__name__}."
        )
    arrays, specs = len(keras.tree.flatten(list(given))), len(keras.tree.flatten(signature))
    if arrays != specs:
        raise ArgumentError(f"{name} has {arrays} arrays, and the model {specs} inputs.")


def _fitting(given: Any, spec: keras.KerasTensor, name: str = "sample") -> np.ndarray:
    array = np.asarray(given)
    if array.dtype == object and spec.dtype != "string":
        raise ArgumentError(
            f"{name} has a {type(given).__name__} for the input '{spec.name}', where an array is "
            "to be. Of a tf.data.Dataset of batches: np.concatenate(list(data.as_numpy_iterator()))"
            "."
        )
    fits = len(array.shape) == len(spec.shape) and all(
        size in (None, got) for size, got in zip(spec.shape, array.shape, strict=True)
    )
    if not fits:
        raise ArgumentError(
            f"{name} has an array of shape {array.shape} for the input '{spec.name}', which is of "
            f"shape {spec.shape}."
        )
    return array if spec.dtype == "string" else array.astype(_numpy_dtype(spec.dtype))


def _generated(model: keras.Layer, signature: Signature) -> Iterator[list]:
    """Arguments of `model`, the most telling ones first."""
    words, limits = _words(model), _limits(model)
    sizes = _SIZES if any(_free(spec) for spec in keras.tree.flatten(signature)) else _SIZES[:1]
    kinds = [("normal", limit) for limit in limits] + [("uniform", limits[-1])]
    for pair, (kind, limit) in itertools.product(sizes, kinds):
        make = functools.partial(_made, np.random.default_rng(0), kind, limit, words, pair)
        yield keras.tree.map_structure(make, signature)


def _made(
    rng: np.random.Generator,
    kind: str,
    limit: int,
    words: Sequence[str],
    pair: tuple[int, int],
    spec: keras.KerasTensor,
) -> np.ndarray:
    """An array for one input; see `sample_of`."""
    shape, dtype = _filled(spec, pair), spec.dtype
    if dtype == "string":
        return rng.choice(np.array(words), shape)
    if dtype == "bool":
        return rng.uniform(size=shape) < 0.5
    if "int" in dtype:
        high = 256 if dtype == "uint8" and kind == "normal" else limit
        return rng.integers(0, min(high, int(np.iinfo(dtype).max)), shape).astype(dtype)
    values = rng.normal(size=shape) if kind == "normal" else rng.uniform(size=shape)
    return values.astype(_numpy_dtype(dtype))


def _numpy_dtype(dtype: str) -> Any:
    if dtype != "bfloat16":
        return dtype
    import ml_dtypes  # what every backend of Keras depends on

    return ml_dtypes.bfloat16


def _filled(spec: keras.KerasTensor, pair: tuple[int, int]) -> tuple[int, ...]:
    sizes = itertools.cycle(pair)
    first = [_BATCH if size is None else size for size in spec.shape[:1]]
    return (*first, *(next(sizes) if size is None else size for size in spec.shape[1:]))


def _free(spec: keras.KerasTensor) -> bool:
    return None in spec.shape[1:]


def _limits(model: keras.Layer) -> list[int]:
    """Upper bounds of integers to try: a token is below the number of rows of an embedding."""
    rows = [
        layer.input_dim for layer in own_layers(model) if isinstance(layer, keras.layers.Embedding)
    ]
    return sorted({min(rows, default=10), 2, 1}, reverse=True)


def _words(model: keras.Layer) -> list[str]:
    """Some that the model knows, and some that it may not."""
    known: list[str] = []
    for layer in own_layers(model):
        if hasattr(layer, "get_vocabulary"):
            known += [str(word) for word in layer.get_vocabulary()[:20]]
    return [*known, " ".join(known[:9]), *_WORDS]


def _finite(array: np.ndarray) -> bool:
    floats = array.dtype.kind in "fc" or array.dtype.name == "bfloat16"
    return not floats or bool(np.isfinite(array).all())


def _shapes(signature: Signature) -> str:
    specs = keras.tree.flatten(signature)
    return ", ".join(f"{spec.dtype}{list(spec.shape)}" for spec in specs)
