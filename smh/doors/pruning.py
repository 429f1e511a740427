"""Weights of which most are zero: `smh.prune`, `smh.LevelPruner`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from smh.doors.candidates import (
    Candidate,
    by_pattern,
    candidates,
    changed,
    pairs_of,
    reparametrize,
)
from smh.doors.importance import Importance, importance_of, magnitude
from smh.doors.output_units import Units, units_of
from smh.doors.slimming.choosing import SHARES, Wish, take_channels
from smh.errors import ArgumentError, SelectionError
from smh.errors.limits import COUNT, SPARSITY, checked_seed
from smh.parametrizations.clustered import Clustered
from smh.parametrizations.masked import Masked
from smh.parametrizations.rounded import FakeQuantized
from smh.parametrizations.stepped import Stepped
from smh.progress import track
from smh.typing import Selector

Sparsity = float | Mapping[str, float] | Sequence[tuple[str, float]]

_SCOPES = ("layer", "global")
_STRUCTURES = ("weights", "filters", "channels")


def prune(
    model: keras.Model,
    sparsity: Sparsity = 0.9,
    *,
    scope: str = "layer",
    structure: str = "weights",
    of: str = "channels",
    round_to: int = 1,
    importance: Callable[[keras.Variable], Any] | None = None,
    apply_to: Selector | None = None,
    exclude: Selector | None = None,
    seed: int | None = 0,
) -> keras.Model:
    """Sets the smallest weights of a model to zero, in place, and keeps them there.

    The model then goes on training as before: `fit` needs no callback. What is pruned is zero to
    the last bit, whatever the optimizer does (momentum, weight decay, averages of weights), and
    `smh.save` stores only the rest. Called again it prunes further, beginning with what is pruned
    already; a lower sparsity gives the largest of those back. Of a compressed model the factors
    are pruned.

    Pruning makes neither training nor prediction faster: the layers compute with zeros. With
    `structure="channels"` they are zeros that `smh.slim` takes out of the network.

    Args:
        model: a built Keras 3 model of any kind, or a layer.
        sparsity: the share of zeros, from 0 to below 1: one number, or (pattern, number) pairs,
            or a mapping of these; a pattern is one of `apply_to`, the first that fits counts,
            and what none fits is left alone.
        scope: `"layer"`: each weight gets that share. `"global"`: all together, so that weights
            of larger numbers keep more; needs one number.
        structure: `"weights"`: each number by its magnitude. `"filters"`: whole output units of
            layers, by the L2 norm of their weights. What a unit is made of in each kind of layer
            is in `smh.doors.output_units`: (channel, multiplier) of a depthwise kernel, all gates
            of an LSTM's unit, in the kernel and the recurrent kernel at once. No level takes all
            units of a layer. `"channels"`: whole channels of the network, with all that makes them
            in any layer (what a sum adds to them, batch normalisation, biases), chosen over all
            layers. Only those that `smh.slim` can take out; needs one number, and a graph of
            layers.
        of: with `structure="channels"`: `sparsity` is the share of the `"channels"` that can go,
            or of the model's `"multiply_adds"`, or of the `"numbers"` in its weights (so of its
            bytes as a plain model).
        round_to: with `structure="channels"`: of each layer's channels a multiple of this stays.
            Runtimes compute in blocks of 8 or 16 channels, and some are slower with fewer.
        importance: what counts least goes: by default what is smallest. Or a function from a weight
            to what each of its numbers counts, zero or more, in its shape:
            `smh.sensitivity.fisher(model, x)` says what the outputs depend on.
        apply_to: what to select, as in `smh.compress`. Default: kernels, embeddings and other
            trained weights of rank 2 or more; biases and scales stay (`smh.doors.weight_roles`).
        exclude: what to leave alone.
        seed: decides among equal magnitudes, so that no place is favoured; `None`: by chance.

    Returns:
        The same model.

    Raises:
        ArgumentError: a value that cannot work.
        SelectionError: nothing is selected, or a weight with NaN in it, or one that its layer
            assigns to (`SpectralNormalization`), or LoRA adapters.
        UnbuiltModelError: the model has no weights yet.
        DeployedModelError: the model is deployed.
        In every case the model is as it was.

    Cost: a partial sort of each weight; in memory one byte more for each number. The first call
    resets the optimizer's state, later ones do not.

    Example:
        >>> model = smh.prune(model, [("conv.*", 0.6), ("dense/kernel", 0.95)])
        >>> model.fit(x, y)

    Reference: Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural
    Networks", NIPS 2015; filters: Li et al., "Pruning Filters for Efficient ConvNets", ICLR 2017;
    channels: Fang et al., "DepGraph: Towards Any Structural Pruning", CVPR 2023.
    """
    check_way(sparsity, scope, structure, seed)
    check_choice("of", of, SHARES)
    COUNT.checked(round_to, "round_to")
    items = candidates(model, apply_to, exclude)
    if structure == "channels":
        return _prune_channels(model, sparsity, of, round_to, importance, items, exclude, seed)
    if of != "channels" or round_to != 1:
        raise ArgumentError("of and round_to go with structure='channels' only.")
    levels = by_pattern(model, items, sparsity, "sparsity", checked_sparsity)
    items = [items[i] for i in levels]
    check_may_be_pruned(items)
    random = np.random.default_rng(seed)
    counts = importance_of(importance)
    if scope == "global":
        masks = _global_masks(items, float(next(iter(levels.values()))), random, counts)
    else:
        pairs = list(zip(items, levels.values(), strict=True))
        masks = (_unit_masks if structure == "filters" else _weight_masks)(pairs, random, counts)
    _apply(model, items, masks)
    return model


class LevelPruner:
    """Prunes given weights to given levels, in a training loop of your own.

    Args:
        options: (path or pattern, sparsity) pairs, as in `smh.prune`.
        seed: decides among equal magnitudes.

    Raises:
        ArgumentError: malformed options.

    Example:
        >>> pruner = smh.LevelPruner([("conv/kernel", 0.35), ("dense/kernel", 0.8)])
        >>> pruner.prune(model)
        >>> for x, y in batches:
        ...     train_step(x, y)
        ...     pruner.prune(model, update_masks=False)

    The interface is that of Distiller's level pruner; there, weights have to be set to zero again
    after every step. Here the masks hold by themselves, and that call only looks whether there are
    any.
    """

    def __init__(self, options: Mapping[str, float] | Sequence[Sequence], *, seed: int | None = 0):
        self.options = pairs_of(options, "('dense/kernel', 0.8)", checked_sparsity)
        self.seed = checked_seed(seed)

    def prune(self, model: keras.Model, update_masks: bool = True) -> keras.Model:
        """Prunes `model` to the levels; see `smh.prune` for what it raises.

        Args:
            model: a built model.
            update_masks: whether the masks are chosen anew from the present weights. Without it
                they stay; a model that has none yet gets them.
        """
        if update_masks or not any(_is_masked(item) for item in candidates(model)):
            prune(model, self.options, apply_to=lambda variable: True, seed=self.seed)
        return model


def sparsity_of(model: keras.Model) -> dict[str, float]:
    """Returns the share of zeros of each pruned weight, `{"sparsity/PATH": share}`.

    `"sparsity"` is that of all of them together. A model without pruned weights gives nothing.
    """
    try:
        items = [item for item in candidates(model, lambda variable: True) if _is_pruned(item)]
    except SelectionError:  # nothing is trained
        return {}
    kept = {item.path: (int(np.count_nonzero(item.mask())), item.size) for item in items}
    shares = {f"sparsity/{path}": 1 - count / size for path, (count, size) in kept.items()}
    if shares:
        total = sum(size for _, size in kept.values())
        shares["sparsity"] = 1 - sum(count for count, _ in kept.values()) / total
    return shares


def magnitude_mask(
    magnitude: np.ndarray, kept: np.ndarray, zeros: int, random: np.random.Generator
) -> np.ndarray:
    """Returns which numbers stay if `zeros` of them are to go.

    Those that are gone already go first. Among equal magnitudes chance decides, not the place.

    Args:
        magnitude: at least 0, any shape.
        kept: bool, of the same shape: what is not pruned yet.
        zeros: how many go, 0 to the size.
        random: the source of chance.
    """
    pruned = kept.size - int(np.count_nonzero(kept))
    mask = kept.copy()
    if zeros > pruned:
        where, count, value = kept, zeros - pruned, False
    else:
        where, count, value = ~kept, pruned - zeros, True
    if count:
        among = np.flatnonzero(where)
        # Those to change come first: the smallest to prune, the largest to give back.
        order = magnitude.ravel()[among] * (-1 if value else 1)
        edge = np.partition(order, count - 1)[count - 1]
        below, equal = among[order < edge], among[order == edge]
        chosen = random.choice(equal, count - below.size, replace=False, shuffle=False)
        mask.ravel()[below] = value
        mask.ravel()[chosen] = value
    return mask


def _weight_masks(
    pairs: Sequence[tuple[Candidate, float]], random, counts: Importance = magnitude
) -> list[np.ndarray]:
    return [
        magnitude_mask(counts(item), item.mask(), round(level * item.size), random)
        for item, level in track(pairs, "pruning")
    ]


def _unit_masks(
    pairs: Sequence[tuple[Candidate, float]], random, counts: Importance
) -> list[np.ndarray]:
    """Masks of whole units; weights that make the same units up, at the same level, go together."""
    groups: dict[Any, list[tuple[int, Units]]] = {}
    for number, (item, level) in enumerate(pairs):
        units = units_of(item.variable, item.owners)
        key = (id(item.owners[0]), units.count, level) if units.of_output else number
        groups.setdefault(key, []).append((number, units))
    masks: dict[int, np.ndarray] = {}
    for group in track(list(groups.values()), "pruning"):
        kept = _kept_units(
            [(pairs[n][0], units) for n, units in group], pairs[group[0][0]][1], random, counts
        )
        for number, units in group:
            masks[number] = units.spread(kept, tuple(pairs[number][0].variable._shape))
    return [masks[number] for number in range(len(pairs))]


def _kept_units(
    made_of: Sequence[tuple[Candidate, Units]], level: float, random, counts: Importance
) -> np.ndarray:
    """Which units stay, bool: those of largest norm over all weights that they are made of."""
    squares = [units.sums(np.square(counts(item))) for item, units in made_of]
    norms = np.sqrt(np.sum(squares, axis=0))
    kept = np.sum([units.sums(item.mask()) for item, units in made_of], axis=0) > 0
    return magnitude_mask(norms, kept, min(round(level * norms.size), norms.size - 1), random)


def _prune_channels(
    model, sparsity: Any, of: str, round_to: int, importance, items, exclude, seed: int | None
) -> keras.Model:
    if isinstance(sparsity, Mapping | Sequence):
        raise ArgumentError("structure='channels' needs one number as sparsity.")
    level = checked_sparsity(sparsity, "sparsity")
    every = candidates(model, lambda variable: True, exclude)
    check_may_be_pruned(every)
    random = np.random.default_rng(seed)
    counts = importance_of(importance)
    wish = Wish(level, of, round_to, relative=importance is None)
    taken = take_channels(model, wish, every, items, counts, random)
    _apply(model, [item for item, _ in taken.masks], [mask for _, mask in taken.masks])
    for variable, value in taken.zeroed:
        variable.assign(value)
    return model


def _global_masks(
    items: Sequence[Candidate], level: float, random, counts: Importance
) -> list[np.ndarray]:
    edges = np.cumsum([item.size for item in items])
    sizes = np.concatenate([counts(item).ravel() for item in items])
    kept = np.concatenate([item.mask().ravel() for item in items])
    mask = magnitude_mask(sizes, kept, round(level * edges[-1]), random)
    parts = np.split(mask, edges[:-1])
    return [m.reshape(item.variable._shape) for m, item in zip(parts, items, strict=True)]


def add_masks(model: keras.Model, items: Sequence[Candidate]) -> bool:
    """Gives those of `items` that have none a mask that prunes nothing; says if there were any."""
    new = [item for item in items if not _is_masked(item)]
    _apply(model, new, [item.mask() for item in new])
    return bool(new)


def _apply(model: keras.Model, items: Sequence[Candidate], masks: Sequence[np.ndarray]) -> None:
    new = []
    for item, mask in zip(items, masks, strict=True):
        if _is_masked(item):
            item.parametrization.mask.assign(mask)
        else:
            new.append((item, functools.partial(item.masked, mask)))
    reparametrize(model, new)
    changed(items)


def _is_masked(item: Candidate) -> bool:
    return isinstance(item.parametrization, Masked)


def _is_pruned(item: Candidate) -> bool:
    p = item.parametrization
    return isinstance(p, Masked) or (isinstance(p, Clustered) and p.pruned)


def check_may_be_pruned(items: Sequence[Candidate]) -> None:
    """Raises `ArgumentError` if one is rounded, or shares its values."""
    for item in items:
        if isinstance(item.parametrization, Clustered):
            raise ArgumentError(
                f"'{item.path}' shares its values already; prune first, then share. "
                "smh.cluster(model, bits=None) gives every weight a number of its own again."
            )
        if isinstance(item.parametrization, FakeQuantized | Stepped):
            raise ArgumentError(
                f"'{item.path}' is rounded by smh.quantize_weights or smh.shrink; prune first, "
                "then round or share values. Begin with smh.materialize(model)."
            )


def checked_sparsity(value: Any, name: str) -> float:
    """Returns a sparsity as a float, or raises `ArgumentError`."""
    return SPARSITY.checked(value, name)


def check_way(sparsity: Any, scope: str, structure: str, seed: Any) -> None:
    """Raises `ArgumentError` for whatever of `smh.prune` is wrong whatever the model is."""
    check_choice("scope", scope, _SCOPES)
    check_choice("structure", structure, _STRUCTURES)
    checked_seed(seed)
    several = isinstance(sparsity, Mapping | Sequence) and not isinstance(sparsity, str)
    if scope == "global" and (structure == "filters" or several):
        raise ArgumentError("scope='global' needs one number as sparsity, and structure='weights'.")
    if not several:
        checked_sparsity(sparsity, "sparsity")


def check_choice(name: str, value: Any, choices: Sequence[str]) -> None:
    """Raises `ArgumentError` unless `value` is one of `choices`."""
    if value not in choices:
        known = ", ".join(map(repr, choices))
        raise ArgumentError(f"{name} must be one of {known}, got {value!r}.")
