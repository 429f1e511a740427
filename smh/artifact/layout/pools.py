"""What a file leaves out of the description of a pool, see `smh.artifact.layout.brief`.

The sides of a pool are the shapes of its factors, which the file's tensors have anyway; how its
factors were initialised matters no more, now that they have values.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smh.artifact.layout.brief import brief_weights, check, kept, whole_weights
from smh.errors import ArtifactError

_CLASS = "smh>ProductVariablePool"
_OF_A_PRODUCT = (_CLASS, "smh>HashVariablePool")
_OF_POOLS = "smh>MetaVariablePool"
_FACTORS = {
    "matrix": ["variable_left", "variable_right"],
    "blocks": ["variable_left", "variable_right"],
    "kronecker": ["variable_left", "variable_right"],
    "hash": ["hash"],
}
_RANKS = {"matrix": 2, "blocks": 2, "kronecker": 3, "hash": 1}
# Only a model that is made again without its values is initialised.
_INITIALIZER = {
    "class_name": "RandomNormal",
    "config": {"mean": 0.0, "seed": None, "stddev": 1.0},
    "module": "keras.initializers",
    "registered_name": None,
}

Shapes = Sequence[Sequence[int]]


def brief_pool(pool: Mapping[str, Any], shapes: Shapes, position: int) -> dict:
    """Returns the entry of a description's pool without what follows.

    Args:
        pool: as `smh.blueprint.describe` returns it, and `factors`, see `factors_of`.
        shapes: those of its factors.
        position: where its last weight ends.
    """
    brief = _brief(pool, iter(shapes), position)
    if usual_factors(pool):
        brief = kept(brief, {"factors": [None] * len(shapes)})
    if "inside" in pool:
        brief["inside"] = {**pool["inside"], "weights": brief_weights(pool["inside"]["weights"])}
        brief["inside"] = kept(brief["inside"], {"pools": []})
    return brief


def whole_pool(brief: Any, shapes: Shapes, position: int) -> dict:
    """Returns what `brief_pool` was given; raises `ArtifactError`.

    The factors are initialised in another way, if they ever are.
    """
    left = iter(shapes)
    pool = _whole(kept(brief, {"factors": brief.get("factors")}), left, position)
    if next(left, None) is not None:
        raise ArtifactError(f"a pool has {len(shapes)} factors, more than it needs")
    if "inside" in pool:
        pool["inside"] = {"pools": [], **pool["inside"], "weights": weights_inside(pool)}
    return pool


def weights_inside(pool: Any) -> list[dict]:
    """The factors of a pool that are computed themselves, as weights; raises `ArtifactError`."""
    check(pool, "a pool")
    inside = pool.get("inside", {"weights": []})
    check(inside, "what is inside of a pool", weights=list)
    return whole_weights(inside["weights"])


def factors_of(brief: Any) -> list[int | None]:
    """For each factor the weight inside of the pool that it is, or `None`; raises `ArtifactError`.

    Args:
        brief: what `brief_pool` returned, with `factors` where one is not `None`, or where the pool
            is of a class of the user's own.
    """
    check(brief, "a pool")
    if "factors" not in brief:
        return [None] * len(factor_names(brief))
    check(brief, "a pool", factors=list)
    if any(n is not None and (type(n) is not int or n < 0) for n in brief["factors"]):
        raise ArtifactError(f"factors are null or a number, got {brief['factors']!r:.100}")
    return brief["factors"]


def usual_factors(pool: Mapping[str, Any]) -> bool:
    """Whether `factors_of` knows without `factors` how many there are."""
    if pool["class"] == _OF_POOLS:
        return all(map(usual_factors, pool["config"]["pools"]))
    return pool["class"] in _OF_A_PRODUCT


def factor_names(brief: Any) -> list[str]:
    """What the factors are called; by their numbers, in a pool of a class of the user's own."""
    check(brief, "a pool")
    if "factors" in brief and brief.get("class", _CLASS) not in (*_OF_A_PRODUCT, _OF_POOLS):
        return [str(i) for i in range(len(factors_of(brief)))]
    config = brief.get("config", {})
    check(config, "the config of a pool")
    if brief.get("class") == _OF_POOLS:
        check(config, "a pool", pools=list)
        return [name for inner in config["pools"] for name in factor_names(inner)]
    product = config.get("product", {})
    check(product, "the product of a pool")
    return _names(product.get("kind", "matrix"))


def _brief(pool: Mapping[str, Any], shapes: Iterator, position: int) -> dict:
    brief = kept(pool, {"class": _CLASS})
    config = dict(pool["config"])
    if pool["class"] == _OF_POOLS:
        config["pools"] = [_brief(inner, shapes, 0) for inner in config["pools"]]
        config = kept(config, _usual(position))
    elif pool["class"] in _OF_A_PRODUCT:
        names, known = _of(config["product"]["kind"], shapes)
        config["product"] = kept(config["product"], known)
        config = kept(config, {**_usual(position), **_usual_factors(names), "product": {}})
        config.pop("factors", None)
    brief["config"] = config
    return kept(brief, {"config": {}})


def _whole(brief: Any, shapes: Iterator, position: int) -> dict:
    check(brief, "a pool")
    pool: dict = {"class": _CLASS, "config": {}, **brief}
    check(pool, "a pool", config=dict)
    config = pool["config"]
    if pool["class"] == _OF_POOLS:
        check(config, "a pool", pools=list)
        inner = [_whole(one, shapes, 0) for one in config["pools"]]
        config = {**_usual(position), **config, "pools": inner}
    elif pool["class"] in _OF_A_PRODUCT:
        product = config.get("product", {})
        check(product, "the product of a pool")
        names, known = _of(product.get("kind", "matrix"), shapes)
        usual = {**_usual(position), **_usual_factors(names)}
        config = {**usual, **config, "product": {**known, **product}}
    else:  # of the user's own: its factors are its own business
        for _ in shapes:
            pass
    return {**pool, "config": config}


def _usual(position: int) -> dict:
    return {"index_store_type": "basic", "position": position, "trainable": True}


def _usual_factors(names: Sequence[str]) -> dict:
    factors = [{"name": name, "initializer": _INITIALIZER} for name in names]
    return {"factors": factors, "wrappings": [None] * len(names)}


def _of(kind: Any, shapes: Iterator) -> tuple[list[str], dict]:
    """The names of a product's factors, and what their shapes say of it."""
    names = _names(kind)
    found: list[Sequence[int]] = [next(shapes, ()) for _ in names]
    if any(len(shape) != _RANKS[kind] for shape in found):
        raise ArtifactError(f"a pool of kind {kind} has factors of shapes {found!r:.100}")
    first, last = found[0], found[-1]
    if kind == "matrix":
        return names, {"kind": kind, "rows": first[0], "replicas": first[1], "cols": last[1]}
    if kind == "blocks":  # `[blocks * rows, replicas]` and `[blocks * replicas, cols]`
        (high, replicas), (low, cols) = first, last
        blocks = low // max(1, replicas)
        rows = high // max(1, blocks)
        return names, {"blocks": blocks, "rows": rows, "replicas": replicas, "cols": cols}
    if kind == "kronecker":
        return names, {"replicas": first[0], "side": first[1]}
    return names, {"buckets": first[0]}


def _names(kind: Any) -> list[str]:
    if not isinstance(kind, str) or kind not in _FACTORS:
        raise ArtifactError(f"a pool's product is of kind {', '.join(_FACTORS)}, got {kind!r:.80}")
    return _FACTORS[kind]
