"""Outcome: searches find the best model within a budget of bytes, or of what a score may lose."""

import os
import re

import keras
import numpy as np
import pytest
from models import TwoLayers, mlp, numpy_of, pools_of

import smh
from smh.artifact.files import saved_bytes
from smh.errors import ArgumentError, SelectionError, UnbuiltModelError
from smh.shrinking.searching.by_drop import _steps

pytestmark = pytest.mark.backend_agnostic


def model():
    keras.utils.set_random_seed(1)
    return mlp(width=160, inputs=60)


def kernels(model):
    dense = smh.materialize(model) if smh.report(model).rows[0].stored != "dense" else model
    return [numpy_of(layer.kernel) for layer in dense.layers]


def test_the_largest_fraction_whose_file_fits(tmp_path):
    dense, shown = model(), []
    before = [numpy_of(v) for v in dense.variables]
    result = smh.search_size(dense, 5_000, bits=6, show=shown.append)

    assert result.best.bits == 6 and result.best.fits and list(result.tries) == shown
    path = tmp_path / "model.smh"
    smh.save(result.model, path)
    assert os.path.getsize(path) == result.best.bytes <= 5_000
    x = np.random.default_rng(0).normal(size=(4, 60)).astype("float32")
    loaded = smh.load(path).predict(x, verbose=0)
    np.testing.assert_allclose(loaded, result.model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    # One replica more was tried, and did not fit.
    above = [one for one in result.tries if one.fraction > result.best.fraction]
    nearest = min(above, key=lambda one: one.fraction)
    assert not nearest.fits and nearest.bytes > 5_000
    np.testing.assert_allclose(nearest.fraction - result.best.fraction, smallest(dense))
    assert len(result.tries) <= 7
    for old, variable in zip(before, dense.variables, strict=True):
        np.testing.assert_array_equal(old, numpy_of(variable))


def test_a_subclassed_model_keeps_the_names_of_its_layers():
    dense = TwoLayers()
    dense(np.zeros((1, 60), "float32"))
    result = smh.search_size(dense, 1_000, bits=4, rest="float16")
    assert result.best.bytes <= 1_000
    paths = [row.path for row in smh.report(result.model).rows if row.stored.startswith("pool")]
    assert [path.split("/")[-2] for path in paths] == [layer.name for layer in dense.layers]
    assert "bytes" in str(result.best) and max(map(len, str(result).splitlines())) <= 80


def test_the_bits_that_keep_most_of_the_weights_are_chosen():
    dense = model()
    result = smh.search_size(dense, 8_000, bits=[8, 3, 4], rest="float16")
    assert {one.bits for one in result.tries} == {8, 4, 3}
    assert result.best.energy_kept == max(o.energy_kept for o in result.tries if o.fits)
    lost = [
        np.square(a - b).sum() for a, b in zip(kernels(dense), kernels(result.model), strict=True)
    ]
    own = [np.square(a).mean() for a in kernels(dense)]
    total = sum(a.size for a in kernels(dense))
    kept = 1 - sum(a / b for a, b in zip(lost, own, strict=True)) / total
    np.testing.assert_allclose(kept, result.best.energy_kept, atol=1e-4)


def branches():
    """Its first layer to be built is the last one by depth."""
    x = keras.Input((20,))
    late, early = keras.layers.Dense(20), keras.layers.Dense(20, kernel_initializer="he_normal")
    y = late(x)
    return keras.Model(x, keras.layers.Dense(20)(early(x)) + y)


def test_each_weight_is_held_against_its_own():
    result = smh.search_size(branches(), 10**6, bits=32)
    (pool,) = pools_of(result.model)
    np.testing.assert_allclose(result.best.energy_kept, pool.energy_kept, atol=1e-5)


def test_a_large_budget_gives_a_fraction_of_nearly_one_and_float_factors_may_be_asked_for():
    result = smh.search_size(model(), 10**9, bits=32)
    assert 0.95 < result.best.fraction <= 1 and result.best.energy_kept > 0.85
    assert len(result.tries) == 2
    assert "  32 " in str(result) and max(map(len, str(result).splitlines())) <= 80


def test_a_budget_that_is_too_small_says_what_is_the_least():
    dense = model()
    with pytest.raises(ArgumentError, match=r"as small as 300 bytes: the smallest has") as caught:
        smh.search_size(dense, 300, bits=[4, 8])
    least = int(re.search(r"smallest has ([\d,]+), at", str(caught.value))[1].replace(",", ""))
    assert smh.search_size(dense, least, bits=4).best.bytes == least


def test_what_is_trained_is_rounded_anew_until_it_fits():
    def spread(model):  # as training may: the numbers of the factors are more even than before
        (pool,) = pools_of(model)
        random = np.random.default_rng(0)
        for factor in pool.core_variables:
            factor.assign(random.uniform(-1, 1, factor.shape))

    x = np.random.default_rng(0).normal(size=(20, 60)).astype("float32")
    dense = model()
    alone = smh.search_size(dense, 5_000, bits=6)
    spread(alone.model)
    assert saved_bytes(alone.model) > 5_000
    result = smh.search_size(dense, 5_000, bits=6, recover=spread, data=x)
    assert result.best is result.tries[-1] and result.tries[:-1] == alone.tries
    assert 4_900 < result.best.bytes == saved_bytes(result.model) <= 5_000


def closeness(dense):
    """A score that falls with what a model's weights have lost."""
    wanted = kernels(dense)

    def score(model):
        pairs = zip(kernels(model), wanted, strict=True)
        return float(1 - np.mean([np.square(a - b).mean() / np.square(b).mean() for a, b in pairs]))

    return score


def test_the_smallest_model_that_is_close_enough():
    dense, recovered = model(), []
    result = smh.search_drop(
        dense, 0.6, closeness(dense), recover=recovered.append, bits=[8, 4], seed=0
    )
    assert result.baseline == 1.0 and len(recovered) == len(result.tries)
    assert result.best.bytes == min(one.bytes for one in result.tries if one.fits)
    for one in result.tries:
        assert one.fits == (one.score >= 0.4)
    steps = _steps(round(1 / smallest(dense)))
    same = [one for one in result.tries if one.bits == result.best.bits]
    number = steps.index(round(result.best.fraction / smallest(dense)))
    below = [o for o in same if round(o.fraction / smallest(dense)) == steps[number - 1]]
    assert below and not below[0].fits  # the next smaller one was tried, and is too far off
    assert result.model.count_params() < dense.count_params()


def smallest(dense):
    return smh.plan(dense).smallest


def test_a_search_that_finds_nothing_says_how_close_it_came():
    with pytest.raises(ArgumentError, match=r"within 0.0000 of 1.0000: the closest had 0\.\d+, at"):
        smh.search_drop(model(), 0, closeness(model()), bits=4)


@pytest.mark.parametrize("recovers, more", [(False, 0), (True, 3)])
def test_a_score_of_no_name_is_asked_for_three_times_more_where_copies_are_trained(recovers, more):
    asked = []
    result = smh.search_drop(
        mlp(),
        0.1,
        lambda model: 1.0 if asked.append(model) is None else 0.0,
        recover=(lambda model: None) if recovers else None,
        bits=(8, 4),
    )
    assert len(asked) == 1 + len(result.tries) + more


def test_steps_grow_by_a_quarter_and_end_at_the_most():
    assert _steps(1) == [1]
    assert _steps(12) == [1, 2, 3, 4, 5, 6, 7, 8, 10, 12]


WRONG = {
    "bytes": (lambda m: smh.search_size(m, 0), ArgumentError, "target_bytes must be"),
    "recover": (lambda m: smh.search_size(m, 9, recover=3), ArgumentError, "recover must be a f"),
    "bits": (lambda m: smh.search_size(m, 9000, bits=9), ArgumentError, "from 2 to 8, or 32"),
    "no bits": (lambda m: smh.search_drop(m, 0.1, len, bits=[]), ArgumentError, "from 2 to 8"),
    "drop": (lambda m: smh.search_drop(m, -1, len), ArgumentError, "max_drop must be a number"),
    "evaluate": (lambda m: smh.search_drop(m, 0, 3), ArgumentError, "evaluate must be a function"),
    "score": (lambda m: smh.search_drop(m, 0, lambda m: "a"), ArgumentError, "must return numbers"),
    "compressed": (
        lambda m: smh.search_size(smh.compress(m, 0.5), 9000),
        SelectionError,
        "computed already",
    ),
    "unbuilt": (
        lambda m: smh.search_size(keras.Sequential([keras.layers.Dense(3)]), 9000),
        UnbuiltModelError,
        "is not built",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_work_is_refused(name):
    call, error, text = WRONG[name]
    with pytest.raises(error, match=text):
        call(model())


def three():
    keras.utils.set_random_seed(2)
    a, b = (keras.layers.Dense(24, activation="relu", name=name) for name in "ab")
    return keras.Sequential([keras.Input((8,)), a, b, keras.layers.Dense(3)])


COMPRESSED_IN_PART = {
    "pruned": lambda m: smh.prune(m, 0.5, apply_to="a/kernel"),
    "channels pruned": lambda m: smh.prune(m, 0.5, structure="channels"),
    "shrunk": lambda m: smh.shrink(m, None, quality=50, apply_to="a/kernel"),
    "clustered": lambda m: smh.cluster(m, 8, apply_to="b/kernel"),
    "in a pool": lambda m: smh.compress(m, 0.5, apply_to="a/kernel"),
    "rounded": lambda m: smh.quantize_weights(m, 4, apply_to="a/kernel"),
}
DOORS = {
    "size": lambda m, **given: smh.search_size(m, 5_000, bits=4, **given),
    "drop": lambda m, **given: smh.search_drop(m, 2.0, lambda m: 1.0, bits=4, **given),
}


@pytest.mark.parametrize("excluded", [None, ["a/kernel", "b/kernel"]], ids=["all", "the others"])
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("part", COMPRESSED_IN_PART)
def test_a_model_compressed_in_part_is_refused_before_anything_runs(part, door, excluded):
    dense, shown = three(), []
    COMPRESSED_IN_PART[part](dense)
    before = [(v.path, numpy_of(v)) for v in dense.variables]
    with pytest.raises(ArgumentError, match=r"dense model: .*/kernel'.*smh\.materialize\(model\)"):
        DOORS[door](dense, exclude=excluded, show=shown.append)
    assert not shown
    for (path, value), variable in zip(before, dense.variables, strict=True):
        assert path == variable.path
        np.testing.assert_array_equal(value, numpy_of(variable))
    plain = smh.materialize(dense)  # what the message says to do
    assert DOORS[door](plain, exclude=excluded).best.fits
