"""Makes `tf_slim.batch_norm` work on a TensorFlow whose Keras is Keras 3.

Import it once, before the network is built, and use `tf_slim` as ever::

    import smh.tf_slim_compat
    import tf_slim as slim

Everything else in tf_slim works without it. Needs Keras on TensorFlow, as all of smh's TF1 side
does, and the packages `tf_slim` and `tf_keras`; nothing but the two module names below is changed,
and no environment variable is set.

Why: TensorFlow's own batch normalisation of TF1 loads `tf_keras.legacy_tf_layers`, and tf_keras
keeps that package at `tf_keras.src.legacy_tf_layers`.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys

from smh.tf1.backends import require_tensorflow

_WANTED = "tf_keras.legacy_tf_layers"
_KEPT_AT = "tf_keras.src.legacy_tf_layers"


def _alias() -> None:
    require_tensorflow("smh.tf_slim_compat")
    if importlib.util.find_spec("tf_keras") is None:
        raise ImportError(
            "tf_slim's batch_norm needs the package tf_keras: pip install tf_keras, in the version "
            "of your TensorFlow."
        )
    if importlib.util.find_spec(_WANTED) is not None:
        return  # a tf_keras that keeps the package where TensorFlow looks for it
    package = importlib.import_module(_KEPT_AT)
    sys.modules[_WANTED] = package
    for module in pkgutil.iter_modules(package.__path__):
        name = module.name
        sys.modules[f"{_WANTED}.{name}"] = importlib.import_module(f"{_KEPT_AT}.{name}")


_alias()
