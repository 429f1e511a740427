"""What is rounded: the weights of a model, the products they are in, and what these take in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from smh.doors.candidates import Candidate
from smh.errors import ArgumentError
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.masked import Masked
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.sensitivity.examples import values
from smh.shrinking.factors import Inputs, Outputs
from smh.shrinking.products import Diagonal, Product, products_of
from smh.virtual_variable import own_layers, wrapping_of


@dataclass(eq=False)
class Item:
    """A weight to round.

    Attributes:
        candidate: the weight.
        layer: the one whose product it is in, or `None`: no rule knows it.
        product: it as matrices.
        stored: the variable that holds its numbers.
        original: its numbers, as matrices `[groups, n, m]`.
        keep: of a pruned weight what is not pruned, likewise.
        share: of the numbers of all items.
        inputs: what the product takes in.
        weights: `[groups, m]`: what an error in each output costs.
        outputs: how errors of its outputs add up, where that was seen.
        calls: how often the layer runs in one call of the model.
        widest: bytes of its layer's input, for one example, as float32.
        places: the rows at which its outputs are compared.
        targets: `[groups, rows, m]`: its outputs there, before anything was rounded.
    """

    candidate: Candidate
    layer: keras.Layer | None
    product: Product
    stored: keras.Variable
    original: np.ndarray
    keep: np.ndarray | None
    share: float = 1.0
    inputs: Inputs | None = None
    weights: np.ndarray | None = None
    outputs: Outputs | None = None
    calls: int = 0
    widest: int = 1
    places: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    targets: np.ndarray | None = None

    @property
    def path(self) -> str:
        """The weight's."""
        return self.candidate.path

    @property
    def flows(self) -> bool:
        """Whether it can make good what its layer's inputs lost: the layer runs once, alone."""
        return self.product.whole and self.calls == 1 and self.targets is not None


def items_of(model: keras.Layer, found: list[Candidate]) -> list[Item]:
    """Returns an item for each candidate.

    Raises:
        ArgumentError: one is rounded or shares its values already.
    """
    products: dict[int, tuple[keras.Layer, Product]] = {}
    for layer in own_layers(model):
        for product in products_of(layer):
            products.setdefault(id(product.variable), (layer, product))
    items = [
        _item(candidate, *products.get(id(candidate.variable), (None, None))) for candidate in found
    ]
    numbers = sum(item.original.size for item in items)
    for item in items:
        item.share = item.original.size / max(1, numbers)
    return items


def _item(candidate: Candidate, layer: keras.Layer | None, product: Product | None) -> Item:
    stored = _stored(candidate)
    weight = candidate.numbers().astype(np.float32)
    product = _by_itself(candidate.variable) if product is None else product
    mask = candidate.mask()
    return Item(
        candidate,
        layer,
        product,
        stored,
        product.to_matrices(weight),
        None if mask.all() else product.to_matrices(mask),
    )


def _stored(candidate: Candidate) -> keras.Variable:
    p = candidate.parametrization
    if wrapping_of(candidate.variable) is not None or isinstance(p, FakeQuantized | Clustered):
        raise ArgumentError(
            f"'{candidate.path}' is rounded or shares its values already. Begin with "
            "smh.materialize(model), or leave it out by exclude=."
        )
    return p.weight if isinstance(p, Masked | Stepped) else candidate.variable


def _by_itself(variable: Any) -> Product:
    """A weight that no rule knows: each number counts for itself."""
    shape = tuple(variable._shape)
    last = shape[-1] if len(shape) > 1 else 1
    return Diagonal(
        variable,
        lambda w: w.reshape(-1, 1, last),
        lambda m: m.reshape(shape),
        lambda x: 0,
        lambda x, places: np.zeros((0, 0, 1)),
        output=len(shape) - 1,
        whole=False,
    )


def assign(item: Item, numbers: np.ndarray) -> None:
    """Gives a weight numbers `[groups, n, m]`."""
    item.stored.assign(item.product.from_matrices(numbers).astype(np.float32))


def snapshot(model: keras.Layer, items: list[Item]) -> list[tuple[keras.Variable, np.ndarray]]:
    """The numbers of all variables that rounding changes, to put back."""
    known = {id(v): v for v in [*model.variables, *(item.stored for item in items)]}
    return [(v, values(v.value).copy()) for v in known.values() if _is_plain(v)]


def states_of(model: keras.Layer) -> list[tuple[keras.Variable, np.ndarray]]:
    """What running a model changes and rounding does not, to put back: states, and counters.

    Relies on: the states of a recurrent layer are in `states`, and not in the model's variables.
    """
    states = [x.states for x in own_layers(model) if getattr(x, "stateful", False)]
    found = [v for v in keras.tree.flatten(states) if isinstance(v, keras.Variable)]
    found += [v for v in model.variables if not keras.backend.is_float_dtype(v.dtype)]
    return [(v, values(v.value).copy()) for v in found]


def _is_plain(variable: keras.Variable) -> bool:
    return type(variable) is keras.Variable and keras.backend.is_float_dtype(variable.dtype)


def put_back(saved: list[tuple[keras.Variable, np.ndarray]]) -> None:
    """The way back from a `snapshot`."""
    for variable, numbers in saved:
        variable.assign(numbers)
