"""Which models have a name. Needs no Keras, so that a wrong name is answered at once."""

from __future__ import annotations

import ast
import difflib
import functools
from importlib.machinery import PathFinder
from pathlib import Path

from smh.errors import ArgumentError

ROOMS = {
    "lenet": ("lenet_300_100", "lenet_5"),
    "alexnets": ("alexnet", "alexnet_small"),
    "vgg": ("vgg_11", "vgg_16", "vgg_11_small", "vgg_16_small"),
    "resnet": (
        "resnet_8",
        "resnet_20",
        "resnet_32",
        "resnet_56",
        "resnet_18",
        "resnet_34",
        "resnet_50",
    ),
    "mobile": (
        "mobilenet_v2",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        *(f"efficientnet_b{number}" for number in range(7)),
    ),
}
# The file's name for each model that is smh's own.
OWN = {name: room for room, members in ROOMS.items() for name in members}


def names() -> tuple[str, ...]:
    """Returns the names that `build` knows: the zoo's own, then those of `keras.applications`.

    Beware of near namesakes: `resnet_50` is made for small images (3 x 3 in front), `ResNet50` is
    Keras' one for ImageNet.
    """
    return (*OWN, *application_names())


def check_name(name: object) -> None:
    """Raises `ArgumentError` unless a model is called so."""
    if not isinstance(name, str) or name not in names():
        near = difflib.get_close_matches(str(name).lower(), names(), 3, 0.4)
        raise ArgumentError(
            f"No model is called {name!r}. Close to it: {', '.join(near) or 'none'}. "
            f"smh.zoo.names() lists all {len(names())}."
        )


def find_name(name: str) -> str:
    """Returns the zoo's name for `resnet32`, `ResNet-32` or `resnet_32`.

    Raises:
        ArgumentError: no model is called so.
    """
    plain = {known.replace("_", "").lower(): known for known in reversed(names())}
    found = name
    if name not in names():
        found = plain.get(name.replace("_", "").replace("-", "").lower(), name)
    check_name(found)
    return found


@functools.cache
def application_names() -> tuple[str, ...]:
    """Returns the names of the models that `keras.applications` has.

    Read from the file that lists them: importing Keras takes seconds.
    """
    spec = PathFinder.find_spec("keras")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        listing = Path(folder) / "applications" / "__init__.py"
        tree = ast.parse(listing.read_text("utf-8") if listing.is_file() else "")
        imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
        found = {alias.asname or alias.name for node in imports for alias in node.names}
        models = sorted(name for name in found if name[0].isupper())
        if models:
            return tuple(models)
    import keras  # installed in another way

    return tuple(sorted(name for name in dir(keras.applications) if name[0].isupper()))
