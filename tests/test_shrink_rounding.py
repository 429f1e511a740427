"""Rounding in order, its statistics and gradients, against plain NumPy."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest

from smh.errors import ArgumentError
from smh.sensitivity.gradients import squared_gradients
from smh.shrinking import factors, rounding
from smh.shrinking.factors import ALONE, DAMPINGS, Inputs, Outputs
from smh.shrinking.pricing import Price
from smh.shrinking.products import products_of
from smh.shrinking.report import Attempt
from smh.shrinking.rounding import round_in_order
from smh.shrinking.search import to_drop
from smh.shrinking.shares import steps_of

pytestmark = pytest.mark.backend_agnostic


def correlated(n, groups=1, seed=0):
    random = np.random.default_rng(seed)
    rows = random.normal(size=(groups, 4 * n, n)) @ random.normal(size=(groups, n, n))
    return rows.transpose(0, 2, 1) @ rows / (4 * n)


def damped(moments):
    mean = np.diagonal(moments).mean()
    return moments + DAMPINGS[0] * mean * np.eye(len(moments))


def seen(moments):
    """Inputs of two halves that say the same."""
    return Inputs.of(moments, (moments, moments))


def cost(error, moments):
    return np.einsum("gnm,gnk,gkm->", error, moments, error)


def test_the_factor_is_that_of_the_inverse():
    moments = correlated(7, groups=2)
    inputs = seen(moments)
    for g in range(2):
        own = inputs.order[g]
        expected = damped(moments[g])[np.ix_(own, own)]
        upper = inputs.factor[g].astype(np.float64)
        assert np.array_equal(upper, np.triu(upper))
        np.testing.assert_allclose(np.linalg.inv(upper.T @ upper), expected, rtol=1e-3, atol=1e-3)
        assert (np.diff(np.diagonal(moments[g])[own]) <= 0).all()


def of_sizes(n, sizes, seed=0):
    """Moments of inputs or outputs that go together, of such sizes, one after the other."""
    own = np.resize(np.array(sizes, float), n)
    return correlated(n, seed=seed) * own[:, None] * own


ALIKE, APART, ABSENT = (1.0,), (100.0, 1.0, 0.01), (1.0, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("outputs", [None, ALIKE, APART, ABSENT], ids=str)
@pytest.mark.parametrize("inputs", [ALIKE, APART, ABSENT], ids=str)
def test_the_error_that_steps_are_chosen_by_is_that_which_rounding_leaves(inputs, outputs):
    n, m, random = 24, 30, np.random.default_rng(0)
    given = seen(of_sizes(n, inputs))
    weights, together, relief = np.full((1, m), 3.0), None, 1.0
    if outputs is not None:
        gradients = of_sizes(m, outputs, seed=1)
        weights = np.maximum(np.diagonal(gradients, axis1=1, axis2=2), 1e-3)
        together = Outputs.of(gradients, weights, (gradients, gradients))
        relief = together.relief[0]
    found = []
    for _ in range(20):
        matrices = 50 * random.normal(size=(1, n, m))
        integers = round_in_order(matrices, given, np.ones((1, m)), weights, 0.0, None, together)
        off = (integers - matrices)[:, given.order[0]]
        left = np.linalg.solve(given.factor.transpose(0, 2, 1).astype(float), off)  # `U'^-1 E`
        if together is None:
            found.append((np.square(left) * weights[:, None]).sum())
        else:
            left = left[:, :, together.order[0]].transpose(0, 2, 1)
            left = np.linalg.solve(together.factor.transpose(0, 2, 1).astype(float), left)
            found.append(np.square(left).sum())
    expected = given.level[0] * weights.mean() * relief * n * m / 12
    np.testing.assert_allclose(np.mean(found), expected, rtol=0.1)


def test_channels_that_heads_share_have_the_steps_of_the_mean_of_what_errors_cost():
    layer = keras.layers.EinsumDense("ab,bcd->acd", (4, 32))
    layer.build((None, 200))
    (product,) = products_of(layer)
    random = np.random.default_rng(0)
    heads, channels = np.array([1e4, 1.0, 1.0, 1e-4]), np.geomspace(1, 1e4, 32)
    item = SimpleNamespace(
        original=random.normal(size=(1, 200, 128)),
        inputs=Inputs.alike(1, 200),
        weights=(heads[:, None] * channels).reshape(1, -1),
        outputs=None,
        product=product,
        candidate=SimpleNamespace(variable=SimpleNamespace(_shape=(200, 4, 32))),
        share=1.0,
    )
    steps = steps_of(item, 1e-2)
    found = steps.spread(3)[0, 0] ** 2 * channels * heads.mean()
    np.testing.assert_allclose(found, 6e-2 / np.log(2), rtol=0.2)  # to the next exponent


FEW = {
    "many": (4000, 4000),
    "some": (120, 120),
    "fewer than inputs": (20, 20),
    "few of no pattern": (30, 30),
    "of two kinds": (80, 80),
    "halves of two sizes": (60, 40),
}


@pytest.mark.parametrize("kind", FEW)
def test_moments_are_trusted_as_far_as_examples_that_they_are_not_of_bear_them_out(kind):
    """What is rounded by them costs, on all that may come, nearly the least that it can."""
    n, random = 60, np.random.default_rng(3)
    mix = random.normal(size=(n, n)) * np.geomspace(1, 0.03, n)[:, None]
    if kind == "few of no pattern":
        mix = np.eye(n)
    other = mix * random.lognormal(0, 1.5, n) if kind == "of two kinds" else mix
    every = (mix.T @ mix + other.T @ other)[None] / 2
    samples = [
        np.concatenate([random.normal(size=(1, rows // 2, n)) @ way for way in (mix, other)], 1)
        for rows in FEW[kind]
    ]
    halves = tuple(rows.transpose(0, 2, 1) @ rows / rows.shape[1] for rows in samples)
    whole = np.concatenate(samples, 1)
    moments = whole.transpose(0, 2, 1) @ whole / whole.shape[1]
    weights = random.normal(size=(1, n, 200))

    def costs(inputs):
        found = round_in_order(weights, inputs, np.full(200, 0.1), np.ones(200), 0.0)
        return cost(found * 0.1 - weights, every)

    by_value = {}
    for value in DAMPINGS:
        mean = value * np.diagonal(moments[0]).mean()
        by_value[value] = costs(Inputs(*factors._factored(moments + mean * np.eye(n))))
    chosen = costs(Inputs.of(moments, halves))
    assert chosen <= 1.15 * min(by_value.values()), by_value
    if kind in ("many", "few of no pattern"):  # the ends of what may be chosen
        assert chosen <= 0.8 * by_value[DAMPINGS[-1 if kind == "many" else 0]], by_value


@pytest.mark.parametrize("n", [1, 5, 128, 129, 300])
def test_some_rows_of_an_inverse_are_those_of_the_whole(n):
    lower = np.linalg.cholesky(correlated(n, groups=2) + 0.1 * np.eye(n))
    places = np.unique(np.linspace(0, n - 1, 7).astype(int))
    found = factors._rows_of_inverse(lower, places)
    np.testing.assert_allclose(found, np.linalg.inv(lower)[:, places], rtol=1e-3, atol=1e-4)


def test_some_rows_of_a_large_matrix_decide_as_all_of_them_do(monkeypatch):
    n, random = 400, np.random.default_rng(0)
    mix = random.normal(size=(n, n)) * np.geomspace(1, 0.01, n)[:, None]
    for rows in (60, 400, 4000):
        samples = [random.normal(size=(1, rows, n)) @ mix for _ in range(2)]
        halves = tuple(x.transpose(0, 2, 1) @ x / rows for x in samples)
        found = []
        for some in (100, n):
            monkeypatch.setattr(factors, "_SOME", some)
            found.append(Inputs.of((halves[0] + halves[1]) / 2, halves))
        np.testing.assert_array_equal(found[0].factor, found[1].factor)  # damped as far
        np.testing.assert_allclose(found[0].level, found[1].level, rtol=0.1)


def test_outputs_that_go_together_by_chance_are_taken_to_be_independent():
    random, halves = np.random.default_rng(0), []
    for _ in range(2):
        rows = random.normal(size=(1, 20, 80))
        halves.append(rows.transpose(0, 2, 1) @ rows / 20)
    assert Outputs.of(halves[0] + halves[1], np.ones(80), tuple(halves)) is None
    assert Outputs.of(halves[0], np.ones(80), None) is None  # nothing to hold it against


def test_inputs_that_are_never_there_do_no_harm():
    inputs = Inputs.of(np.zeros((2, 3, 3)), None)
    assert np.isfinite(inputs.factor).all() and (inputs.level > 0).all()


def test_alone_and_for_free_each_number_is_rounded_to_the_nearest():
    weights = np.random.default_rng(0).normal(size=(1, 9, 4)) * 5
    found = round_in_order(weights, seen(np.eye(9)[None]), np.full(4, 0.5), np.ones(4), 0.0)
    np.testing.assert_array_equal(found, np.rint(weights / 0.5))


@pytest.mark.parametrize("n, groups", [(6, 1), (6, 3), (150, 1)])
def test_errors_are_made_good(n, groups):
    moments = correlated(n, groups)
    weights = np.random.default_rng(1).normal(size=(groups, n, 5))
    found = round_in_order(weights, seen(moments), np.full(5, 0.7), np.ones(5), 0.0)
    by_order = cost(found * 0.7 - weights, moments)
    by_nearest = cost(np.rint(weights / 0.7) * 0.7 - weights, moments)
    assert by_order < 0.8 * by_nearest


def test_of_two_numbers_the_second_makes_good_the_first_exactly():
    """`w2` moves by `H12 / H22` times the error of `w1` before it is rounded itself."""
    moments = np.array([[[4.0, 1.5], [1.5, 1.0]]])
    weights = np.array([[[0.4], [1.3]]])
    found = round_in_order(weights, seen(moments), np.ones(1), np.ones(1), 0.0).ravel()
    h = damped(moments[0])
    assert found.tolist() == [0, np.rint(1.3 + h[0, 1] / h[1, 1] * 0.4)]


def test_blocks_change_nothing(monkeypatch):
    moments, weights = correlated(150), np.random.default_rng(1).normal(size=(1, 150, 5))
    arguments = weights, seen(moments), np.full(5, 0.5), np.ones(5), 0.02
    in_blocks = round_in_order(*arguments)
    monkeypatch.setattr(rounding, "_BLOCK", 1000)
    whole = round_in_order(*arguments)
    assert (in_blocks != whole).mean() < 0.02  # sums in another order tip a number now and then


def both(n, m, seed=0):
    """Inputs and outputs that go together, and `G` as rounding takes it."""
    gradients = correlated(m, seed=seed + 1)
    size = np.sqrt(np.diagonal(gradients[0]))
    alone = np.diag(np.square(size))
    taken = (1 - ALONE[0]) * gradients[0] + ALONE[0] * alone
    outputs = Outputs.of(gradients, np.square(size), (gradients, gradients))
    return seen(correlated(n, seed=seed)), outputs, taken


@pytest.mark.parametrize("n, m", [(7, 5), (150, 12), (5, 90), (1, 4), (140, 131)])
def test_by_diagonals_is_number_by_number(n, m):
    """The same as one number at a time, each made good by all after it."""
    inputs, outputs, _ = both(n, m)
    weights = np.random.default_rng(1).normal(size=(1, n, m)) * 3
    found = round_in_order(weights, inputs, np.ones(m), np.ones(m), 0.0, None, outputs)[0]
    rows, columns = inputs.factor[0].astype(float), outputs.factor[0].astype(float)
    at = np.ix_(inputs.order[0], outputs.order[0])
    z, expected = np.zeros((n, m)), np.zeros((n, m))
    for a in range(n):
        for b in range(m):
            wanted = (
                weights[0][at][a, b] - rows[: a + 1, a] @ z[: a + 1, : b + 1] @ columns[: b + 1, b]
            )
            expected[a, b] = np.rint(wanted)
            z[a, b] = (wanted - expected[a, b]) / (rows[a, a] * columns[b, b])
    assert (found[at] != expected).mean() < 0.02  # sums in another order tip a number now and then


def test_errors_of_outputs_that_go_together_are_made_good():
    inputs, outputs, taken = both(40, 24)
    weights = np.random.default_rng(1).normal(size=(1, 40, 24))
    moments = damped(correlated(40)[0])
    costs = []
    for used in (outputs, None):
        own = np.diagonal(taken)
        error = (
            round_in_order(weights, inputs, np.full(24, 0.5), own, 0.0, None, used) * 0.5 - weights
        )
        costs.append(np.trace(taken @ error[0].T @ moments @ error[0]))
    assert costs[0] < 0.9 * costs[1]
    assert 0 < outputs.relief[0] < 1


def test_outputs_that_are_independent_change_nothing():
    inputs = seen(correlated(30))
    gradients = np.diag([3.0, 1.0, 2.0])[None]
    alone = Outputs.of(gradients, np.array([3.0, 1.0, 2.0]), (gradients, gradients))
    weights = np.random.default_rng(1).normal(size=(1, 30, 3))
    found = [
        round_in_order(weights, inputs, np.full(3, 0.4), np.array([3.0, 1.0, 2.0]), 0.5, None, used)
        for used in (alone, None)
    ]
    assert (found[0] != found[1]).mean() < 0.02
    np.testing.assert_allclose(alone.relief, 1)


def test_dearer_bits_are_fewer_and_cost_error():
    moments, weights = correlated(30), np.random.default_rng(1).normal(size=(1, 30, 20))
    inputs, bits, errors = seen(moments), [], []
    for multiplier in (0.0, 2.0, 20.0, 1e9):
        found = round_in_order(weights, inputs, np.full(20, 0.4), np.ones(20), multiplier)
        bits.append(float(Price(found)(found).sum()))
        errors.append(float(cost(found * 0.4 - weights, moments)))
    assert bits == sorted(bits, reverse=True) and errors == sorted(errors)
    assert not found.any()


def test_what_is_not_kept_is_zero():
    keep = np.random.default_rng(2).random((1, 9, 4)) < 0.5
    weights = np.random.default_rng(0).normal(size=(1, 9, 4)) * 5
    found = round_in_order(weights, seen(correlated(9)), np.ones(4), np.ones(4), 0.1, keep)
    assert not found[~keep].any() and found[keep].any()


def test_squared_gradients_are_those_of_the_outputs():
    """Of one linear output, whose sign does not matter: the squared inputs over the variance."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, use_bias=False)])
    x = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
    outputs = np.asarray(keras.ops.convert_to_numpy(model(x)))
    batches = [x, *(x[i : i + 1] for i in range(8))]
    (found,) = squared_gradients(model, [model.layers[0].kernel], batches[1:2])
    assert found.shape == (3, 1)
    np.testing.assert_allclose(found[:, 0], np.square(x[0]), rtol=1e-5)  # one output has no spread
    (found,) = squared_gradients(model, [model.layers[0].kernel], [x] * 400)
    expected = np.square(x).mean(0) / outputs.var()
    np.testing.assert_allclose(found[:, 0], expected, rtol=0.35)


LOST = {
    "in proportion": lambda price: 0.01 * price,
    "not in 1.9 to 2.3": lambda price: 0.01 * price + 0.05 * (1.9 < price < 2.3),
    "slowly at first": lambda price: 0.031 * (price / 3) ** 3,
    "quickly at first": lambda price: 0.031 * (price / 3) ** 0.3,
    "all at once": lambda price: 1.0 if price > 3 else 0.0,
    "better at first": lambda price: 0.01 * price - 0.005 if price > 1 else -0.2,
    "no number when it is much": lambda price: 0.01 * price if price < 3.5 else np.nan,
    "steps, as of few examples": lambda price: np.ceil(2 * price) / 2 * 0.0098,
}


@pytest.mark.parametrize("start", [1e-4, 0.05, 1.0, 3.0, 70.0])
@pytest.mark.parametrize("curve", LOST)
def test_the_search_ends_near_the_highest_price_that_keeps_the_score(curve, start):
    """Whatever the score does and wherever it begins, in few tries."""
    lost, prices = LOST[curve], []

    def attempt(price):
        prices.append(price)
        return Attempt(price, int(1e6 - 1e3 * price), price, 0.7 - lost(price))

    found = to_drop(attempt, 0.7, 0.031, start, "model")
    allowed = [price for price in np.geomspace(1, 10, 10000) if lost(price) <= 0.031]
    assert lost(found.multiplier) < 0.031 + 1e-9
    assert 0.85 * max(allowed) < found.multiplier <= max(allowed) * 1.001  # 0.95 where no step is
    assert len(prices) <= 9 + abs(np.log(start / 3)) / np.log(4)


def test_a_score_without_chance_takes_few_tries():
    """What is lost as a power of the price: 5.0 tries on average, 9 in the first search."""
    counts = []
    for power in (0.3, 0.7, 1.0, 2.0, 3.0):
        for start in (1e-4, 0.05, 1.0, 3.0, 70.0):
            prices = []

            def attempt(price, power=power, prices=prices):
                prices.append(price)
                score = 0.7 - 0.031 * (price / 3) ** power
                return Attempt(price, int(1e6 * (1 + price) ** -0.3), price, score)

            found = to_drop(attempt, 0.7, 0.031, start, "model")
            assert 0.95 * 3 < found.multiplier < 3.001
            counts.append(len(prices))
    assert np.mean(counts) < 5.3 and max(counts) <= 9


def test_a_score_that_chance_moves_does_not_end_the_search_at_a_tenth_of_the_price():
    """As of few examples: two thirds of the drop, up or down, at each price anew."""
    found = []
    for seed in range(40):
        random = np.random.default_rng(seed)

        def attempt(price, random=random):
            lost = 0.031 * (price / 3) ** 0.7 + 0.02 * random.normal()
            return Attempt(price, int(1e6 / (1 + price) ** 0.3), price, 0.7 - lost)

        found.append(to_drop(attempt, 0.7, 0.031, 0.05, "model").multiplier)
    assert np.quantile(found, 0.1) > 0.4 * 3 and 0.8 * 3 < np.median(found) < 2 * 3


EXTREMES = {
    "nothing may be lost": (0.0, lambda price: max(0.0, price - 3)),
    "nothing may be lost, and much is": (0.0, lambda price: 0.0 if price < 3 else np.inf),
    "hardly anything is": (0.5, lambda price: 1e-300 if price < 3 else 1.0),
    "infinite beyond": (0.5, lambda price: 0.1 * price if price < 3 else np.inf),
    "negative, and not a number": (0.5, lambda price: -price if price < 3 else np.nan),
}


@pytest.mark.parametrize("start", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("name", EXTREMES)
def test_scores_without_measure(name, start):
    """Where no logarithm can be taken, the search ends as it does elsewhere."""
    drop, lost = EXTREMES[name]
    found = to_drop(
        lambda price: Attempt(price, int(1e6 / (1 + price)), 0.0, 0.7 - float(lost(price))),
        0.7,
        drop,
        start,
        "model",
    )
    assert 0.7 * 3 < found.multiplier < 3.001


def test_no_price_that_keeps_the_score():
    """It ends, and says what the finest one has."""
    with pytest.raises(ArgumentError, match="keeps a score of 0.65: the finest has 0.5"):
        to_drop(lambda price: Attempt(price, 9, 0.0, 0.5), 0.7, 0.05, 1.0, "model")


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e20, 1e40])
def test_scales_of_inputs_and_outputs_cancel(scale):
    """Inputs that are tiny beside gradients that are large are rounded as all others."""
    inputs, outputs, _ = both(20, 12)
    weights = np.random.default_rng(1).normal(size=(1, 20, 12)) * 3
    root = np.float32(np.sqrt(scale))
    moved = (
        Inputs(inputs.order, inputs.factor / root, inputs.level * scale),
        Outputs(outputs.order, outputs.factor * root, outputs.relief),
    )
    one, other = (
        round_in_order(weights, a, np.ones(12), np.ones(12), 0.1, None, b)
        for a, b in ((inputs, outputs), moved)
    )
    assert (one != other).mean() < 0.02  # sums of other numbers tip one now and then


def alike_nearby(n, length):
    """Moments of what is more alike the nearer it is, as pixels are."""
    places = np.arange(n)
    far = np.abs(places[:, None] - places)
    return np.exp(-far / length)[None] + 1e-3 * np.eye(n)


@pytest.mark.parametrize("n, m, together", [(200, 30, False), (120, 60, True)])
def test_bits_know_that_numbers_answer_for_the_ones_before(monkeypatch, n, m, together):
    """Where few bits are left, much less of both on balance; where there are many, the same."""
    moments, gradients, own = alike_nearby(n, 50), alike_nearby(m, 50), np.ones(m)
    inputs = seen(moments)
    outputs = Outputs.of(gradients, own, (gradients, gradients)) if together else None
    weights = np.random.default_rng(1).laplace(size=(1, n, m))
    level = inputs.level[0] * (1.0 if outputs is None else outputs.relief[0])

    def paid(multiplier):
        step = np.full(m, np.sqrt(6 * multiplier / np.log(2) / level))
        found = round_in_order(weights, inputs, step, own, multiplier, None, outputs)[0]
        error = found * step - weights[0]
        if together:
            error = error @ np.linalg.cholesky(gradients[0])
        bits = float(Price(found)(found).sum())
        return cost(error[None], moments) + multiplier * bits, bits / found.size

    prices = 10.0 ** np.arange(-3, 1, 0.5)
    with monkeypatch.context() as as_they_are:
        as_they_are.setattr(rounding, "_ERROR", 0.0)
        before = np.array([paid(price) for price in prices])
    ratios = [paid(price)[0] for price in prices] / before[:, 0]
    many, few = before[:, 1] > 2, (before[:, 1] < 0.4) & (before[:, 1] > 0.02)
    assert many.sum() > 1 and few.sum() > 1
    assert ratios[many].max() < 1.02 and ratios[few].max() < 0.9
