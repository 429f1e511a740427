"""How compressed models are trained well, with unmodified `fit`.

What goes wrong otherwise: the decay of factors is not the decay of weights (`penalise_weights` is);
the step in a weight grows with the square of its layer's scale, so one rate does not suit all
(Adam, `with_rates`, and `one_cycle` with its warm-up help).
"""

from smh.recipes.losses import SmoothedCrossentropy
from smh.recipes.penalty import penalise_weights
from smh.recipes.rates import with_rates
from smh.recipes.recipe import compile_for_training, one_cycle

__all__ = [
    "SmoothedCrossentropy",
    "compile_for_training",
    "one_cycle",
    "penalise_weights",
    "with_rates",
]
