"""smh makes Keras 3 models small: in training, on disk and in memory.

The names below are loaded when they are first used, so that `import smh` costs nothing and
modules without Keras (`smh.index_store`) stay without it.
"""

import importlib
from typing import TYPE_CHECKING

from smh import keras_files as _keras_files
from smh import keras_version as _keras_version

__version__ = "0.1.0"

_HOME = {
    "compress": "smh.compression",
    "materialize": "smh.materialization",
    "deploy": "smh.deployment",
    "inspect": "smh.inspection",
    "save": "smh.artifact",
    "load": "smh.artifact",
    "load_weights": "smh.artifact",
    "export": "smh.exporting",
    "report": "smh.size_report",
    "plan": "smh.planning",
    "search_size": "smh.searching",
    "search_drop": "smh.searching",
    "distill": "smh.distillation",
    "quantize_factors": "smh.quantization",
    "quantize_weights": "smh.weight_quantization",
    "prune": "smh.pruning",
    "LevelPruner": "smh.pruning",
    "PruningSchedule": "smh.pruning_schedule",
    "cluster": "smh.clustering",
    "Quantizer": "smh.clustering",
    "sensitivity_scan": "smh.sensitivity",
    "bits_scan": "smh.sensitivity",
    "ScanResult": "smh.sensitivity",
    "SizeReport": "smh.size_report",
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
    "kmeans",
    "modifiers",
    "plots",
    "progress",
    "quantization",
    "recipes",
    "sensitivity",
    "variable_factory",
    "variable_pool",
    "zoo",
)

__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from smh.artifact import load as load
    from smh.artifact import load_weights as load_weights
    from smh.artifact import save as save
    from smh.clustering import Quantizer as Quantizer
    from smh.clustering import cluster as cluster
    from smh.compression import compress as compress
    from smh.deployment import deploy as deploy
    from smh.distillation import distill as distill
    from smh.exporting import export as export
    from smh.index_store import IndexStoreType as IndexStoreType
    from smh.inspection import inspect as inspect
    from smh.materialization import materialize as materialize
    from smh.modifiers import Modifier as Modifier
    from smh.planning import plan as plan
    from smh.pruning import LevelPruner as LevelPruner
    from smh.pruning import prune as prune
    from smh.pruning_schedule import PruningSchedule as PruningSchedule
    from smh.quantization import quantize_factors as quantize_factors
    from smh.searching import search_drop as search_drop
    from smh.searching import search_size as search_size
    from smh.sensitivity import ScanResult as ScanResult
    from smh.sensitivity import bits_scan as bits_scan
    from smh.sensitivity import sensitivity_scan as sensitivity_scan
    from smh.size_report import SizeReport as SizeReport
    from smh.size_report import report as report
    from smh.variable_factory import VariableFactory as VariableFactory
    from smh.variable_pool import HashVariablePool as HashVariablePool
    from smh.variable_pool import MetaVariablePool as MetaVariablePool
    from smh.variable_pool import ProductVariablePool as ProductVariablePool
    from smh.virtual_variable import VirtualVariable as VirtualVariable
    from smh.weight_quantization import quantize_weights as quantize_weights


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"smh.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'smh' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__():
    return sorted([*__all__, *_MODULES])


_keras_version.refuse_older_keras()
_keras_files.register_with_keras()  # so that Keras can load compressed models from its files
