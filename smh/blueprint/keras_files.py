"""What Keras finds when a file has a compressed layer in it.

Keras looks in its registry for the classes that a file names. `import smh` alone must be enough to
load a model, and must not import Keras: so the class registers itself once Keras is imported.
"""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from smh.virtual_variable import Source


class Compressed:
    """Stands for a compressed layer or model in the configurations that Keras stores.

    Never made: `from_config` returns the layer itself.
    """

    @staticmethod
    def describe(layer: keras.Layer) -> dict[str, Any]:
        """Returns what a configuration has to say about a compressed layer.

        Raises:
            ArgumentError: if a part of it has no name that another process knows.
        """
        from smh.blueprint.describe import describe, sources
        from smh.virtual_variable import virtual_variables
        from smh.virtual_variable.inside_keras.members import members, names_of
        from smh.virtual_variable.inside_keras.random_state import random_state

        pools = sources(layer)
        inside = {id(virtual) for virtual in virtual_variables(layer)}
        return {
            "compressed": {**describe(layer), "layers": names_of(members(layer), layer)},
            "pools": [id(pool) for pool in pools],
            "random_state": random_state(layer),
            "complete": all(id(user) in inside for pool in pools for user in pool.users),
        }

    @staticmethod
    def check(layer: keras.Layer) -> None:
        """Raises `ArgumentError` unless a file of the layer could be read."""
        from smh.blueprint.checking import check_made_again

        check_made_again(layer)

    def get_config(self) -> dict[str, Any]:
        """Needed to be registered; the layers have configurations of their own."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.Layer:
        """Makes the layer again, compressed as it was; its values are loaded afterwards.

        Raises:
            ArtifactError: if the configuration is malformed.
            ArgumentError: if it does not fit the layer that it describes.
        """
        import keras

        from smh.blueprint.describe import sources
        from smh.blueprint.restore import restore
        from smh.errors import ArtifactError
        from smh.virtual_variable.inside_keras.random_state import set_random_state
        from smh.virtual_variable.inside_keras.rebuilding import (
            freeze_made_by_frozen,
            naming_what_is_unknown,
        )
        from smh.virtual_variable.inside_keras.serialization import (
            ENTRY,
            has_presets,
            objects_being_loaded,
        )

        own = config.get(ENTRY)
        if not isinstance(own, dict) or not all(
            isinstance(own.get(name), dict) for name in ("layer", "compressed")
        ):
            raise ArtifactError(
                f"The configuration of a compressed layer needs '{ENTRY}' with 'layer' and "
                f"'compressed', got {own!r:.200}."
            )
        plain = {name: value for name, value in config.items() if name != ENTRY}
        dense = {**own["layer"], "config": plain}
        with naming_what_is_unknown(dense, {}):
            layer = keras.saving.deserialize_keras_object(dense)
        if not isinstance(layer, keras.Layer):
            raise ArtifactError(f"A compressed layer is described as {own['layer']!r:.200}.")
        _check_is_built(layer)
        freeze_made_by_frozen(layer)
        known = objects_being_loaded()
        if known is None and not own.get("complete") and not has_presets(type(layer)):
            raise ArtifactError(_incomplete(layer))
        known = {} if known is None else known
        keys = [f"smh pool {number!r:.40}" for number in own.get("pools") or []]
        existing: list[Source | None] = [known.get(key) for key in keys]
        restore(layer, own["compressed"], existing)
        known.update(zip(keys, sources(layer), strict=True))
        set_random_state(layer, own.get("random_state"))
        return layer


def register_with_keras() -> None:
    """Registers `Compressed` now, or as soon as Keras is imported."""
    if "keras" in sys.modules:
        _register()
    else:
        sys.meta_path.insert(0, _AfterKeras())


class _AfterKeras(importlib.abc.MetaPathFinder):
    """Waits for the import of Keras; finds nothing by itself.

    It stays until Keras is executed: some only look whether there is a Keras, and import it later.
    """

    def __init__(self):
        self._asks_others = False

    def find_spec(self, fullname, path, target=None):
        if fullname != "keras" or self._asks_others:
            return None
        self._asks_others = True
        try:
            spec = importlib.util.find_spec(fullname)
        finally:
            self._asks_others = False
        if spec is not None and spec.loader is not None:
            self._call_after_execution(spec.loader)
        return spec

    def _call_after_execution(self, loader: Any) -> None:
        execute = loader.exec_module

        def exec_module(module):
            del loader.exec_module
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
                _register()

        loader.exec_module = exec_module


def _register() -> None:
    import keras

    from smh.virtual_variable.inside_keras.serialization import read_described_by

    keras.saving.register_keras_serializable(package="smh")(Compressed)
    read_described_by(Compressed)
    # The loss and the optimizers of `recipes` register themselves. These two stand on nothing that
    # imports Keras, whose import this may be in the middle of.
    for name in ("losses", "rates"):
        importlib.import_module(f"smh.recipes.{name}")


def _check_is_built(layer: keras.Layer) -> None:
    from smh.errors import UnbuiltModelError

    if not layer.built:
        raise UnbuiltModelError(
            f"'{layer.name}' ({type(layer).__name__}) was saved without the shapes that it was "
            "built with, so it has no weights to compress. Give it a build() that creates its "
            "layers' weights, or get_build_config() and build_from_config()."
        )


def _incomplete(layer: keras.Layer) -> str:
    return (
        f"'{layer.name}' shares its pool with layers outside of it, and is made again by itself, "
        "which would give it a pool of its own. `copy.deepcopy(model)` copies the whole model "
        "with its values, `keras.models.clone_model(smh.materialize(model))` makes a dense one "
        "with new values, and `model.save(path)` writes a file with everything in it."
    )
