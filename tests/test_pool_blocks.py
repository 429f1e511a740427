"""Pools in blocks: which weights share a pool, what each pool trains, and that one is as before."""

import copy
import itertools
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops

import smh
from smh.pools.fit import fit_pool
from smh.pools.fit_blocks import fit_blocks
from smh.pools.grouping import automatic_blocks, group_weights
from smh.pools.products import BlockProduct, describe_product, make_product
from smh.pools.shape import PoolShape
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic

kernels = st.one_of(
    st.tuples(st.integers(1, 600), st.integers(1, 600)),
    st.tuples(st.just(3), st.just(3), st.integers(1, 128), st.integers(1, 128)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(kernels, min_size=1, max_size=12), st.floats(0.01, 1), st.integers(1, 40))
def test_groups(shapes, fraction, blocks):
    sizes = [math.prod(shape) for shape in shapes]
    budget = math.floor(fraction * sum(sizes))
    groups = group_weights(shapes, budget, blocks)
    members = [i for group in groups for i in group.members]
    assert sorted(members) == list(range(len(shapes)))  # each weight once
    assert all(list(group.members) == sorted(group.members) for group in groups)
    assert sum(group.shape.core_size for group in groups) <= budget
    share = sum(sizes) / blocks
    for group in groups:
        held = sum(sizes[i] for i in group.members)
        assert group.shape.size >= held
        assert group.shape.blocks == 1 or len(group.members) == 1
        assert held / group.shape.blocks <= 2.5 * share + max(sizes) * (len(group.members) > 1)
    made = sum(group.shape.blocks for group in groups)
    assert made <= 1.5 * blocks + 1
    if blocks == 1:
        assert made == 1
    # The budget is spent: no pool could have one more replica.
    left = budget - sum(group.shape.core_size for group in groups)
    spare = [g for g in groups if g.shape.replicas < min(g.shape.rows, g.shape.cols)]
    short = [g for g in spare if g.shape.replicas * g.shape.replica_size < fraction * g.shape.size]
    assert not short or left < max(g.shape.replica_size for g in short)


def test_blocks_cost_a_part_of_one_product():
    shapes = [(3, 3, 256, 256)] * 16
    cost = {}
    for blocks in (1, 4, 16):
        groups = group_weights(shapes, 900_000, blocks)
        cost[blocks] = sum(g.shape.size * g.shape.replicas for g in groups)
    for blocks in (4, 16):
        assert cost[blocks] / cost[1] == pytest.approx(1 / math.sqrt(blocks), rel=0.05)


@pytest.mark.parametrize("fraction, least", [(0.1, 20), (0.02, 5), (0.001, 1)])
def test_automatic_blocks_leave_each_enough_replicas(fraction, least):
    shapes = [(3, 3, 512, 512)] * 9
    budget = int(fraction * sum(map(math.prod, shapes)))
    blocks = automatic_blocks(shapes, budget)
    assert blocks >= least
    groups = group_weights(shapes, budget, blocks)
    assert blocks == 1 or all(g.shape.replicas >= 13 for g in groups)
    assert automatic_blocks([(10, 10)], 50) == 1


def test_entries_are_those_of_the_blocks_products():
    shape = PoolShape(rows=5, cols=7, replicas=3, blocks=4)
    product = make_product(describe_product(BlockProduct(shape)))
    assert product == BlockProduct(shape) and product.size == 140
    rng = np.random.default_rng(0)
    left, right = (rng.normal(size=s).astype("float32") for s in product.factor_shapes)
    wanted = np.concatenate(
        [left[5 * b : 5 * b + 5] @ right[3 * b : 3 * b + 3] for b in range(4)]
    ).ravel()
    factors = [ops.convert_to_tensor(left), ops.convert_to_tensor(right)]
    for first, last in itertools.combinations(range(5), 2):
        found = product.entries(factors, 35 * first, 35 * last, 2.0)
        np.testing.assert_allclose(found, 2 * wanted[35 * first : 35 * last], rtol=1e-5, atol=1e-6)


def network():
    keras.utils.set_random_seed(0)
    x = keras.Input((12, 12, 1))
    y = layers.Flatten()(layers.Conv2D(6, 3, name="conv")(x))
    y = layers.Dense(30, name="wide")(y)
    return keras.Model(x, layers.Dense(4, name="head")(layers.Dense(25, name="next")(y)))


def pools_of(model):
    pools = [v.parametrization.source for v in virtual_variables(model)]
    return list({id(pool): pool for pool in pools}.values())


@pytest.mark.parametrize("init", ["random", "fit"])
def test_one_block_is_what_it_was(init):
    """The same numbers, bit by bit, and one pool."""
    before, after = (
        smh.compress(network(), 0.2, seed=3, init=init, **more) for more in ({}, {"blocks": 1})
    )
    assert len(pools_of(after)) == 1
    for one, other in zip(before.weights, after.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert describe_product(pools_of(after)[0].product).keys() == {
        *("kind", "rows", "cols", "replicas")
    }


def test_a_weight_keeps_its_rank_in_blocks():
    model = smh.compress(network(), 0.3, seed=0, blocks=8)
    for variable in virtual_variables(model):
        matrix = np.reshape(variable, [-1, variable.shape[-1]])
        assert np.linalg.matrix_rank(matrix) == min(matrix.shape), variable.path


def test_each_block_is_fitted_by_itself():
    """As well as the same blocks are by pools of their own, whatever their sizes."""
    rng = np.random.default_rng(0)
    weight = (rng.normal(size=(40, 33)) * np.linspace(0.1, 3, 40)[:, None]).astype("float32")
    shape = PoolShape(rows=18, cols=19, replicas=5, blocks=4)
    fit = fit_blocks(weight, "weight", shape)
    product = BlockProduct(shape)
    assert (fit.left.shape, fit.right.shape) == product.factor_shapes
    factors = [ops.convert_to_tensor(fit.left), ops.convert_to_tensor(fit.right)]
    entries = np.asarray(product.entries(factors, 0, product.size, fit.scales[0]))
    found = entries[: weight.size]
    apart = []
    for block in range(4):
        part = weight.reshape(-1)[342 * block : 342 * (block + 1)]
        one = fit_pool([part], ["part"], PoolShape(-(-len(part) // 19), 19, 5))
        values = (one.left @ one.right).ravel()[: len(part)] * one.scales[0]
        np.testing.assert_allclose(found[342 * block :][: len(part)], values, rtol=1e-3, atol=1e-4)
        apart.append(np.sum((part - values) ** 2))
    assert fit.energy == pytest.approx(1 - np.sum(apart) / np.sum(weight**2), abs=1e-3)
    with pytest.raises(smh.errors.SelectionError, match="weight"):
        fit_blocks(np.full((40, 33), np.nan, "float32"), "weight", shape)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"blocks": 0}, "whole number, at least 1, or 'auto', got 0"),
        ({"blocks": 2.0}, "got 2.0"),
        ({"blocks": True}, "got True"),
        ({"blocks": "many"}, "got 'many'"),
        (
            {"blocks": 500},
            "leaves one of .* pools 0 replicas. Fewer blocks work, or a fraction of at least",
        ),
    ],
)
def test_blocks_that_cannot_be(options, words):
    model = network()
    before = [np.array(w) for w in model.weights]
    with pytest.raises(smh.errors.ArgumentError, match=words):
        smh.compress(model, 0.05, **options)
    assert not virtual_variables(model)
    for one, other in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_blocks_of_a_pool_of_ones_own():
    with pytest.raises(smh.errors.ArgumentError, match="blocks is decided by `pool`"):
        smh.compress(network(), pool=smh.ProductVariablePool(True, 20_000, 0.2), blocks=4)
    smh.compress(network(), pool=smh.ProductVariablePool(True, 20_000, 0.2), blocks=1)


SEVERAL_POOLS = {
    "blocks": lambda model: smh.compress(model, 0.3, seed=0, blocks=6),
    "one after the other": lambda model: smh.compress(
        smh.compress(model, 0.3, apply_to="conv", seed=0), 0.3, apply_to="wide|next", seed=1
    ),
    "blocks, then more": lambda model: smh.compress(
        smh.compress(model, 0.3, apply_to="wide", seed=0, blocks=3), 0.3, seed=1, blocks=2
    ),
    "beside one of my own": lambda model: smh.compress(
        smh.compress(model, pool=smh.ProductVariablePool(True, 9000, 0.3), apply_to="conv"), 0.3
    ),
}


@pytest.mark.parametrize("how", SEVERAL_POOLS)
def test_every_factor_has_a_path_of_its_own(how, tmp_path):
    """So that a name chooses one, in files too, and a scan changes one at a time."""
    model = SEVERAL_POOLS[how](network())
    paths = [v.path for v in model.variables]
    assert len(pools_of(model)) > 1 and len(set(paths)) == len(paths)
    smh.save(model, tmp_path / "model.smh")
    model.save(tmp_path / "model.keras")
    for back in (
        smh.load(tmp_path / "model.smh"),
        keras.saving.load_model(tmp_path / "model.keras"),
        smh.load_weights(network(), tmp_path / "model.smh"),
        copy.deepcopy(model),
    ):
        assert [v.path for v in back.variables] == paths
    result = smh.sensitivity_scan(model, lambda model: 1.0, [0.5], apply_to="variable_", verbose=0)
    assert len(result.paths) == 2 * len(pools_of(model))
    chosen = pools_of(model)[1].core_variables[0]
    smh.prune(model, 0.5, apply_to=f"^{chosen.path}$")
    zeros = {f.path: np.mean(np.asarray(f) == 0) for p in pools_of(model) for f in p.core_variables}
    assert zeros.pop(chosen.path) == pytest.approx(0.5, abs=0.02) and not any(zeros.values())


@pytest.mark.parametrize("name", [3, "", "a/b", ["a"]])
def test_a_description_with_a_name_that_is_none(name):
    config = pools_of(smh.compress(network(), 0.3))[0].get_config()
    assert "name" not in config
    with pytest.raises(smh.errors.ArtifactError, match="name is a string without '/'"):
        smh.ProductVariablePool.from_config({**config, "name": name})


@pytest.mark.parametrize("blocks", [1, 2, 8, "auto"])
def test_the_plan_says_what_comes_of_it(blocks):
    plan = smh.plan(network(), [0.5, 0.2], blocks=blocks)
    for row in plan.rows:
        model = smh.compress(network(), row.fraction, blocks=blocks)
        shapes = [pool.product.shape for pool in pools_of(model)]
        assert row.trained == sum(math.prod(v.shape) for v in model.trainable_variables)
        assert row.product == sum(shape.size * shape.replicas for shape in shapes)
    smh.compress(network(), 1.001 * plan.smallest, blocks=1 if blocks == "auto" else blocks)
