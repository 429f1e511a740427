"""Networks that are really smaller: `smh.slim`, and which channels `smh.prune` can take.

`labels` says which channels are one, the rules (`rules` lists them) what each layer does to them,
`walking` asks them, `removable` finds what can go, `cutting` makes the model without it,
`choosing` finds what is best taken, `folding` takes normalisations into the layers before them.
"""

from __future__ import annotations

from typing import Literal, overload

import keras

from smh.doors.built import check_is_built
from smh.doors.slimming.cutting import cut
from smh.doors.slimming.folding import folded, pairs_of
from smh.doors.slimming.removable import removable
from smh.doors.slimming.report import SlimReport, SlimRow, report_of
from smh.doors.slimming.walking import walk

__all__ = ["SlimReport", "SlimRow", "slim"]


@overload
def slim(
    model: keras.Model, *, fold_normalization: bool = False, return_report: Literal[False] = False
) -> keras.Model: ...


@overload
def slim(
    model: keras.Model, *, fold_normalization: bool = False, return_report: Literal[True]
) -> tuple[keras.Model, SlimReport]: ...


def slim(model: keras.Model, *, fold_normalization: bool = False, return_report: bool = False):
    """Returns a smaller plain Keras model that gives the same: what pruning made zero is gone.

    Use it when `smh.prune(model, 0.5, structure="channels")` and training are done: the new model
    has fewer filters, units and heads, so it is smaller and faster in every runtime. Anything else
    that made whole channels zero, or that nothing reads, goes as well.

    A channel goes if all layers that read it can do without: they find zeros there, or a constant
    that goes into their bias exactly, or have only zeros for it. What a layer without a rule takes
    and gives stays, and the report names the layer. At least one channel of each layer stays (of
    the size of attention heads two), and so does the shape of the model's inputs and outputs.

    Args:
        model: a built sequential or functional model, with others inside it or not, pruned or
            compressed by smh or not. It is not changed. Neither optimizer nor compilation is
            carried over.
        fold_normalization: whether batch normalisations that follow a dense layer or a convolution
            become part of it, which makes each call of the model in Keras shorter; other runtimes
            do that on their own. For a model that is done: it trains on without normalising and
            without penalties of the normalisations, and a layer stays frozen if it was.
        return_report: whether to return a `SlimReport` as well.

    Returns:
        A model of the same class and layers, whose predictions are equal up to rounding (1e-5 of
        float32 numbers of size 1); with `return_report` also what went and what stayed.

    Raises:
        ArgumentError: the model is no graph of layers (a subclassed model), or cannot be rebuilt
            from its own configuration.
        UnbuiltModelError: the model has no weights yet.

    Cost: the weights twice in memory, and a pass over them for each layer of depth at worst.

    Example:
        >>> model = smh.prune(model, 0.5, structure="channels")
        >>> model.fit(x, y)
        >>> small = smh.slim(model)
        >>> small.save("small.keras")

    Reference: the dependencies are those of Fang et al., "DepGraph: Towards Any Structural
    Pruning", CVPR 2023.
    """
    check_is_built(model)
    net = walk(model)
    gone = removable(net)
    plain = cut(model, net, gone)
    pairs = pairs_of(plain) if fold_normalization else []
    plain = folded(plain, pairs) if pairs else plain
    if not return_report:
        return plain
    return plain, report_of(model, plain, net, gone, [pair.norm.path for pair in pairs])
