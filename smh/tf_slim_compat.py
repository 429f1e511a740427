"""Makes all of tf_slim work on a TensorFlow whose Keras is Keras 3.

Import it once, before the network is built, and use `tf_slim` as ever::

    import smh.tf_slim_compat
    import tf_slim as slim

Needs Keras on TensorFlow, as all of smh's TF1 side does, and the packages `tf_slim` and `tf_keras`.
It only adds names that are missing: the package `tf_keras.legacy_tf_layers`, and to some modules of
`tensorflow.python` the names in `_MOVED`. No name that exists is changed, and no environment
variable is set.

Why: TensorFlow's own batch normalisation of TF1 loads `tf_keras.legacy_tf_layers`, and tf_keras
keeps that package at `tf_keras.src.legacy_tf_layers`. tf_slim itself looks for names where an older
TensorFlow kept them: for `ops.Tensor` in the batch normalisation of a matrix, for
`control_flow_ops.cond` where `is_training` is a tensor.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import sys

from smh.tf1.backends import require_tensorflow

_WANTED = "tf_keras.legacy_tf_layers"
_KEPT_AT = "tf_keras.src.legacy_tf_layers"

# Where tf_slim 1.1 looks in `tensorflow.python`, for what, and what `tensorflow` calls it. All
# others that it uses are there; tests/test_slim.py reads them out of its source.
_MOVED = (
    ("framework.ops", "Tensor", "Tensor"),
    ("framework.ops", "IndexedSlices", "IndexedSlices"),
    ("ops.array_ops", "stack", "stack"),
    ("ops.array_ops", "unstack", "unstack"),
    ("ops.control_flow_ops", "Assert", "debugging.Assert"),
    ("ops.control_flow_ops", "case", "compat.v1.case"),
    ("ops.control_flow_ops", "cond", "compat.v1.cond"),
    ("ops.control_flow_ops", "while_loop", "compat.v1.while_loop"),
    ("ops.variable_scope", "variable", "compat.v1.Variable"),
)


def _add_missing_names() -> None:
    import tensorflow as tf

    for place, name, public in _MOVED:
        module = importlib.import_module(f"tensorflow.python.{place}")
        if not hasattr(module, name):
            setattr(module, name, functools.reduce(getattr, public.split("."), tf))


def _alias() -> None:
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


require_tensorflow("smh.tf_slim_compat")
_alias()
_add_missing_names()
