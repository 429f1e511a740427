"""The grids of rounded weights and factors, which are loaded with the numbers on them."""

from __future__ import annotations

import keras

from smh.artifact.order import factors
from smh.blueprint.describe import sources
from smh.parametrizations.masked import Masked
from smh.parametrizations.rounded import FakeQuantized
from smh.virtual_variable import virtual_variables, wrap, wrapping_of


def roundings(model: keras.Layer) -> dict[int, FakeQuantized]:
    """Returns what rounds a variable of which a file has the rounded numbers, by the `id` of it.

    Those of factors are put anew in the place of the old ones: what is loaded into them is undone
    with their variables.
    """
    weights = [virtual.parametrization for virtual in virtual_variables(model)]
    found = {id(w.factor): w for w in weights if isinstance(w, FakeQuantized)}
    for factor in (factor for source in sources(model) for factor in factors(source)):
        old = wrapping_of(factor)
        if isinstance(old, FakeQuantized):
            own = FakeQuantized(old.factor, old.grid)
            wrap(factor, own)
            found[id(_stored(factor))] = own
    return found


def _stored(factor: keras.Variable) -> keras.Variable:
    """The variable that is loaded: of a pruned factor, its numbers."""
    inside = getattr(factor, "parametrization", None)
    return inside.weight if isinstance(inside, Masked) else factor
