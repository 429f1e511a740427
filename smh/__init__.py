"""smh makes Keras 3 models small: in training, on disk and in memory.

The names below are loaded when they are first used, so that `import smh` costs nothing and
modules without Keras (`smh.index_store`) stay without it.
"""

import importlib
from typing import TYPE_CHECKING

from smh.blueprint import keras_files as _keras_files
from smh.blueprint import keras_version as _keras_version

__version__ = "0.1.0"

_HOME = {
    "compress": "smh.doors.compression",
    "materialize": "smh.doors.materialization",
    "deploy": "smh.doors.deployment",
    "inspect": "smh.artifact.inspection",
    "save": "smh.artifact.files",
    "load": "smh.artifact.files",
    "load_weights": "smh.artifact.files",
    "export": "smh.exporting",
    "shrink": "smh.shrinking",
    "ShrinkReport": "smh.shrinking",
    "report": "smh.sizes.size_report",
    "plan": "smh.sizes.planning",
    "search_size": "smh.shrinking.searching",
    "search_drop": "smh.shrinking.searching",
    "distill": "smh.recipes.distillation",
    "quantize_factors": "smh.doors.quantization",
    "quantize_weights": "smh.doors.weight_quantization",
    "prune": "smh.doors.pruning",
    "slim": "smh.doors.slimming",
    "LevelPruner": "smh.doors.pruning",
    "PruningSchedule": "smh.doors.pruning_schedule",
    "cluster": "smh.doors.clustering",
    "Quantizer": "smh.doors.clustering",
    "sensitivity_scan": "smh.sensitivity",
    "bits_scan": "smh.sensitivity",
    "ScanResult": "smh.sensitivity",
    "SizeReport": "smh.sizes.rows",
    "Modifier": "smh.modifiers",
    "VariableFactory": "smh.variable_factory",
    "ProductVariablePool": "smh.variable_pool",
    "HashVariablePool": "smh.variable_pool",
    "MetaVariablePool": "smh.variable_pool",
    "IndexStoreType": "smh.index_store",
    "VirtualVariable": "smh.virtual_variable",
}

# Modules that are used by name: `smh.variable_pool.ProductVariablePool`, `smh.zoo.lenet_5`.
_MODULES = (
    "runtime",
    "data_parallel",
    "datasets",
    "errors",
    "modifiers",
    "plots",
    "progress",
    "recipes",
    "sensitivity",
    "variable_factory",
    "variable_pool",
    "zoo",
)
# Two more, of which users need a function now and then, and that live in a room.
_INSIDE = {"kmeans": "smh.doors.kmeans", "quantization": "smh.doors.quantization"}

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from smh.artifact.files import load as load
    from smh.artifact.files import load_weights as load_weights
    from smh.artifact.files import save as save
    from smh.artifact.inspection import inspect as inspect
    from smh.doors.clustering import Quantizer as Quantizer
    from smh.doors.clustering import cluster as cluster
    from smh.doors.compression import compress as compress
    from smh.doors.deployment import deploy as deploy
    from smh.doors.materialization import materialize as materialize
    from smh.doors.pruning import LevelPruner as LevelPruner
    from smh.doors.pruning import prune as prune
    from smh.doors.pruning_schedule import PruningSchedule as PruningSchedule
    from smh.doors.quantization import quantize_factors as quantize_factors
    from smh.doors.slimming import slim as slim
    from smh.doors.weight_quantization import quantize_weights as quantize_weights
    from smh.exporting import export as export
    from smh.index_store import IndexStoreType as IndexStoreType
    from smh.modifiers import Modifier as Modifier
    from smh.recipes.distillation import distill as distill
    from smh.sensitivity import ScanResult as ScanResult
    from smh.sensitivity import bits_scan as bits_scan
    from smh.sensitivity import sensitivity_scan as sensitivity_scan
    from smh.shrinking import ShrinkReport as ShrinkReport
    from smh.shrinking import shrink as shrink
    from smh.shrinking.searching import search_drop as search_drop
    from smh.shrinking.searching import search_size as search_size
    from smh.sizes.planning import plan as plan
    from smh.sizes.rows import SizeReport as SizeReport
    from smh.sizes.size_report import report as report
    from smh.variable_factory import VariableFactory as VariableFactory
    from smh.variable_pool import HashVariablePool as HashVariablePool
    from smh.variable_pool import MetaVariablePool as MetaVariablePool
    from smh.variable_pool import ProductVariablePool as ProductVariablePool
    from smh.virtual_variable import VirtualVariable as VirtualVariable


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"smh.{name}")
    if name in _INSIDE:
        return importlib.import_module(_INSIDE[name])
    if name not in _HOME:
        raise AttributeError(f"module 'smh' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted([*__all__, *_MODULES, *_INSIDE])


_keras_version.refuse_older_keras()
_keras_files.register_with_keras()  # so that Keras can load compressed models from its files
