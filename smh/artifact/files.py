"""One small file for a model, or for several that share pools: `smh.save`, `smh.load`.

What a model is made of and its variables go into a `smh.container`, each variable once.
`docs/format.md` is the specification.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from smh import container
from smh.artifact.layout.reading import read_layout
from smh.artifact.loading import build, fill
from smh.artifact.saving import encode_models
from smh.artifact.tensors import Options
from smh.errors import ArgumentError, UnbuiltModelError
from smh.errors.limits import FILE_BITS
from smh.virtual_variable import Source
from smh.virtual_variable.given import check_is_model
from smh.virtual_variable.inside_keras.traces import take_numbers_back
from smh.virtual_variable.inside_keras.undoing import undone_on_errors

_FLOATS = ("float32", "float16", "bfloat16")


def save(
    model: keras.Model | Sequence[keras.Model],
    path: str | os.PathLike,
    *,
    bits: int | None = None,
    rest: str = "float32",
    architecture: bool = True,
    coder: str = "range",
) -> None:
    """Writes a model, or several that share pools, into one small file.

    The file holds the factors, the variables that belong to one weight (scales) and those left
    dense, each once; no optimizer state (for that, `model.save("m.keras")`). An existing file is
    replaced only when the new one is whole.

    Args:
        model: a built Keras 3 model, compressed or not, or a list of models.
        path: the file, by custom `*.smh`.
        bits: 2 to 8: the factors as integers of so many bits times scales, entropy-coded; 16:
            as float16; `None`: as they are. Factors that `smh.quantize_factors` rounds are always
            stored as the integers they are rounded to.
        rest: dtype in which the other float32 variables are stored: `"float32"`, `"float16"` or
            `"bfloat16"`.
        architecture: whether `smh.load` shall be able to build the model. Without it the file is
            some kilobytes smaller, and only `smh.load_weights(model, path)` reads it.
        coder: for integers `"range"`, `"huffman"` or `"packed"`.

    Raises:
        ArgumentError: a value that cannot work, a number that does not fit into the chosen dtype, a
            modifier or layer that a file cannot name, or a model that `load` could not make again
            from its configuration. Nothing was written then.
        OSError: from the file system; an old file is whole.

    Cost: memory of the file, twice. With the architecture, the layers are made once more to see
    that `load` will find all of them; without values, where no layer needs them for that.

    Example:
        >>> smh.save(smh.compress(model, fraction=0.1), "model.smh", bits=8)
    """
    models = list(model) if isinstance(model, Sequence) else [model]
    _check_arguments(models, rest, architecture)
    bits = None if bits is None else FILE_BITS.checked(bits, "bits")
    write(models, path, Options(bits, rest, coder), architecture, checked=True)


def write(
    models: Sequence[keras.Model],
    path: str | os.PathLike,
    options: Options,
    architecture: bool = True,
    checked: bool = False,
) -> None:
    """Writes models into a file, if asked to (`checked`) after trying that they can be made."""
    meta, tensors = encode_models(models, options, architecture, checked)
    container.write(path, meta, tensors, deflate_header=True)


def saved_bytes(
    model: keras.Layer, rest: str = "float32", architecture: bool = True, checked: bool = True
) -> int:
    """The bytes of the file that `save` writes of a model; the rest as in `write`."""
    return saved_parts(model, rest, architecture, checked)[0]


def saved_parts(
    model: keras.Layer, rest: str = "float32", architecture: bool = True, checked: bool = True
) -> tuple[int, int]:
    """The bytes of the file that `save` writes of a model, and how many of them are its numbers."""
    meta, tensors = encode_models([model], Options(None, rest, "range"), architecture, checked)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.smh")
        container.write(path, meta, tensors, deflate_header=True)
        return os.path.getsize(path), sum(len(tensor.payload) for tensor in tensors)


def load(
    path: str | os.PathLike,
    custom_objects: Mapping[str, Any] | None = None,
    safe_mode: bool = True,
) -> keras.Model | list[keras.Model]:
    """Builds the model that `smh.save` wrote, ready to use or to train on.

    Args:
        path: the file.
        custom_objects: your own layers by name, where they are not registered with Keras.
        safe_mode: whether to refuse code in the file (a `Lambda`), as Keras does.

    Returns:
        The compressed model, uncompiled; of a file with several models, a list of them, which
        share their pools as they did.

    Raises:
        ArtifactError: the file is damaged, or needs what this process does not know.

    Cost: the dense weights are allocated once while the model is built.

    Example:
        >>> model = smh.load("model.smh")
    """
    opened = container.read(path)
    stored = read_layout(opened)
    pools: dict[tuple, Source] = {}
    models = []
    for entry in stored.models:
        model = build(opened.path, entry, custom_objects, safe_mode)
        fill(model, entry, stored, opened.path, pools)
        models.append(model)
    return models[0] if len(models) == 1 else models


def load_weights(model: keras.Model, path: str | os.PathLike) -> keras.Model:
    """Fills a model that your own code built with what `smh.save` wrote.

    Args:
        model: of the architecture that was saved; compressed in the same way, or still dense:
            then it is compressed as the saved one was.
        path: the file, of one model.

    Returns:
        The same model.

    Raises:
        ArtifactError: the file is damaged.
        ArgumentError: the file's model is another one, or a layer cannot load what it needs.
        In every case, Ctrl-C too, the model is as it was.

    Cost: the model's numbers once more in memory, until it is filled.

    Example:
        >>> smh.load_weights(build_my_model(), "model.smh")
    """
    check_is_model(model)
    if not model.built:
        raise UnbuiltModelError(f"'{model.name}' is not built. Call it once on data.")
    opened = container.read(path)
    stored = read_layout(opened)
    if len(stored.models) != 1:
        raise ArgumentError(f"{opened.path} holds {len(stored.models)} models; use smh.load(path).")
    with undone_on_errors(model):
        fill(model, stored.models[0], stored, opened.path, {})
    return model


def _check_arguments(models, rest, architecture) -> None:
    if not models:
        raise ArgumentError("There is no model to save.")
    take_numbers_back()
    for one in models:
        if not isinstance(one, keras.Layer):
            raise ArgumentError(
                f"model must be a Keras 3 model or a list of them, got {type(one).__name__}."
            )
        if not one.built:
            raise UnbuiltModelError(f"'{one.name}' is not built: there are no weights to save.")
    if rest not in _FLOATS:
        raise ArgumentError(f"rest must be one of {', '.join(_FLOATS)}, got {rest!r}.")
    if not isinstance(architecture, bool):
        raise ArgumentError(f"architecture must be True or False, got {architecture!r}.")
