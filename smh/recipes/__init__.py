"""How compressed models are trained well, with unmodified `fit`.

What goes wrong otherwise: the decay of factors is not the decay of weights (`penalise_weights` is);
the step in a weight grows with the square of its layer's scale, so one rate does not suit all
(Adam, `with_rates`, and `one_cycle` with its warm-up help).

The names are loaded when they are first used: Keras' registry needs `losses` and `rates` as soon as
Keras is imported, which may be in the middle of the import of what the others stand on.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from smh.recipes.coded_bits import penalise_bits as penalise_bits
    from smh.recipes.losses import SmoothedCrossentropy as SmoothedCrossentropy
    from smh.recipes.penalty import penalise_weights as penalise_weights
    from smh.recipes.rates import with_rates as with_rates
    from smh.recipes.recipe import compile_for_training as compile_for_training
    from smh.recipes.recipe import one_cycle as one_cycle

_HOME = {
    "SmoothedCrossentropy": "losses",
    "compile_for_training": "recipe",
    "one_cycle": "recipe",
    "penalise_bits": "coded_bits",
    "penalise_weights": "penalty",
    "with_rates": "rates",
}
__all__ = [*_HOME]


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module 'smh.recipes' has no attribute {name!r}")
    return getattr(importlib.import_module(f"smh.recipes.{_HOME[name]}"), name)


def __dir__():
    return __all__
