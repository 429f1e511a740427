"""Every error that smh raises on purpose.

Each is also the built-in error that a caller would expect (`ValueError`, `TypeError`), so that
code which knows nothing of smh still catches it.
"""


class SmhError(Exception):
    """Base class of all errors raised by smh."""


class ArgumentError(SmhError, ValueError):
    """An argument has a value that cannot work; the message names one that does."""


class SelectionError(SmhError, ValueError):
    """The selection of variables is empty or contains one that cannot be compressed."""


class PoolExhaustedError(SmhError, ValueError):
    """A pool has fewer free entries than were asked for."""


class UnbuiltModelError(SmhError, ValueError):
    """The model has no variables yet."""


class VirtualVariableError(SmhError, TypeError):
    """An operation needs stored numbers, and a virtual variable stores none."""


class DeployedModelError(SmhError, RuntimeError):
    """An operation needs a model that trains, and the model is deployed."""


class GraphModeError(SmhError, RuntimeError):
    """A TF1 function was called outside a graph or without TensorFlow, or a Keras one inside."""


class MissingPackageError(SmhError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class ArtifactError(SmhError, ValueError):
    """A file, or a part of one, is not what the format says; the message names the place."""


class MissingDataError(SmhError, FileNotFoundError):
    """A data set is nowhere on this machine; the message lists the ways to get it."""


class DataFormatError(SmhError, ValueError):
    """A file of a data set is damaged or is something else; the message names the file."""


class DivergedError(SmhError, ArithmeticError):
    """The loss or the weights of a model became NaN or infinite in training."""


class SmhWarning(UserWarning):
    """Something stays as it was, or is dropped, that the caller may have expected otherwise."""
