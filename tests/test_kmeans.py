"""k-means of one weight's values: against a naive oracle, scikit-learn, and its own laws."""

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smh.doors.kmeans import INITS, cluster_values, initial_centroids
from smh.errors import ArgumentError

quick = settings(deadline=None, max_examples=80, derandomize=True)
floats = st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False)
# Few distinct values as well as many: ties, runs of equal values and lost clusters.
weights = hnp.arrays(
    np.float32,
    hnp.array_shapes(max_dims=3, max_side=12),
    elements=st.one_of(st.integers(-4, 4).map(lambda i: np.float32(i / 4)), floats),
)


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py, which loads Keras: nothing here needs it."""


def normal(size, seed=0):
    return np.random.default_rng(seed).standard_normal(size).astype(np.float32)


def assigned(values, centroids):
    """Index of the nearest centroid, the smaller of two that are equally near."""
    distances = np.abs(values.astype(np.float64)[:, None] - centroids[None, :])
    return distances.argmin(axis=1)


def error(values, centroids):
    values = values.ravel().astype(np.float64)
    return float(((values - centroids.astype(np.float64)[assigned(values, centroids)]) ** 2).sum())


def naive_lloyd(values, centroids, clusters, iterations):
    """Lloyd as in a textbook; a lost cluster starts again at the farthest value."""
    values = values.ravel().astype(np.float64)
    before, done = None, 0
    while True:
        nearest = assigned(values, centroids)
        complete = len(np.unique(nearest)) == clusters
        if complete and (done >= iterations or np.array_equal(nearest, before)):
            return centroids
        before, done = nearest, done + 1
        members = [values[nearest == i] for i in np.unique(nearest)]
        centroids = np.array([m.mean() for m in members])
        ends = {(abs(e - m.mean()), e) for m in members for e in (m.min(), m.max())}
        far = sorted((pair for pair in ends if pair[0] > 0), reverse=True)
        centroids = np.sort(np.append(centroids, [e for _, e in far][: clusters - len(members)]))


@pytest.mark.parametrize("init", INITS)
@pytest.mark.parametrize("clusters", [1, 2, 5, 16])
@pytest.mark.parametrize("tail", [0.0, 40.0], ids=["normal", "outlier"])
def test_equals_a_naive_lloyd_from_the_same_start(init, clusters, tail):
    values = np.append(normal(700), np.float32(tail))
    start = initial_centroids(values, clusters, init, seed=3)
    for iterations in (1, 2, 300):
        expected = naive_lloyd(values, start, clusters, iterations)
        centroids, indices = cluster_values(values, clusters, init, 3, iterations)
        np.testing.assert_allclose(centroids, expected, rtol=1e-6, atol=1e-7)
        np.testing.assert_array_equal(indices, assigned(values, centroids))


@pytest.mark.parametrize("init", INITS)
def test_equals_scikit_learn_from_the_same_start(init):
    sklearn = pytest.importorskip("sklearn.cluster")
    values = normal((60, 50), seed=1)
    start = initial_centroids(values, 16, init, seed=0)
    theirs = sklearn.KMeans(16, init=start[:, None], n_init=1, max_iter=300, tol=0).fit(
        values.reshape(-1, 1).astype(np.float64)
    )
    centroids, indices = cluster_values(values, 16, init, seed=0)
    np.testing.assert_allclose(centroids, np.sort(theirs.cluster_centers_.ravel()), rtol=1e-5)
    assert indices.shape == values.shape and indices.dtype == np.uint8
    assert error(values, centroids) == pytest.approx(theirs.inertia_, rel=1e-6)


@quick
@given(values=weights, clusters=st.integers(1, 20), init=st.sampled_from(INITS))
@example(np.array([0, 0, 0, 0, 1, 2, 1e30], np.float32), 3, "linear")
@example(np.array([-1, -1, 0.1, 0.9, 1, 30], np.float32), 4, "density")
def test_laws(values, clusters, init):
    centroids, indices = cluster_values(values, clusters, init, seed=0)
    assert centroids.dtype == np.float32 and indices.shape == values.shape
    assert len(centroids) == min(clusters, len(np.unique(values)))
    assert (np.diff(centroids) > 0).all()
    flat = values.ravel()
    chosen = np.abs(flat.astype(np.float64) - centroids.astype(np.float64)[indices.ravel()])
    least = np.abs(flat.astype(np.float64)[:, None] - centroids.astype(np.float64)).min(axis=1)
    np.testing.assert_array_equal(chosen, least)  # each value has its nearest centroid
    scale = float(np.abs(flat).max())
    for i in np.unique(indices):  # and each centroid is the mean of its values
        mean = flat[indices.ravel() == i].astype(np.float64).mean()
        assert centroids[i] == pytest.approx(mean, rel=1e-5, abs=1e-6 * scale)


@quick
@given(values=weights, clusters=st.integers(2, 12), init=st.sampled_from(INITS))
def test_the_error_never_rises(values, clusters, init):
    errors = [error(values, cluster_values(values, clusters, init, 0, n)[0]) for n in range(1, 9)]
    slack = 1e-9 * max(errors) + 1e-12 * float(np.abs(values).max()) ** 2
    assert (np.diff(errors) <= slack).all()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", ">f4", "int8"])
def test_other_dtypes_are_taken_as_float32(dtype):
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    values = (normal((20, 20)) * 20).astype(dtype)
    centroids, indices = cluster_values(values, 8)
    expected = cluster_values(values.astype(np.float32), 8)
    np.testing.assert_array_equal(centroids, expected[0])
    np.testing.assert_array_equal(indices, expected[1])


@pytest.mark.parametrize(
    "values, clusters, centroids",
    [
        ([3.5], 16, [3.5]),
        ([[2.0, 2.0], [2.0, 2.0]], 4, [2.0]),
        ([0.1, -7, 0.1, 3], 3, [-7, 0.1, 3]),
        ([0.1, -7, 0.1, 3], 300, [-7, 0.1, 3]),
        (7.0, 1, [7.0]),
    ],
)
@pytest.mark.parametrize("init", INITS)
def test_few_distinct_values_stay_exact(values, clusters, centroids, init):
    found, indices = cluster_values(values, clusters, init)
    np.testing.assert_array_equal(found, np.float32(centroids))
    np.testing.assert_array_equal(found[indices], np.float32(values))


def test_more_than_a_chunk_of_few_values_and_wide_indices():
    values = np.tile(np.arange(1100, dtype=np.float32), 1024)  # one begins at each of 2**10
    centroids, indices = cluster_values(values, 1100)
    np.testing.assert_array_equal(centroids[indices], values)
    assert indices.dtype == np.uint16
    centroids, indices = cluster_values(values, 500, "density")
    assert len(centroids) == 500 and np.abs(centroids[indices] - values).max() <= 1


def test_of_two_equally_near_centroids_the_smaller_is_taken():
    centroids, indices = cluster_values([0, 2, 1], 2, "linear")  # from 0 and 2
    assert centroids.tolist() == [0.5, 2] and indices.tolist() == [0, 1, 0]
    centroids, indices = cluster_values([0, 2, 3, 3, 3, 3], 2, "density")
    assert centroids.tolist() == [1, 3] and indices.tolist() == [0, 0, 1, 1, 1, 1]
    step = 2.0**-23  # the midpoint of 1 and 1 + 3 steps is no float32
    indices = cluster_values([1, 1 + 2 * step, 1 + 3 * step], 2, max_iterations=1)[1]
    assert indices.tolist() == [0, 1, 1]


def test_nothing_given_is_changed_and_a_seed_repeats():
    values = normal(500)[::-2]
    values.flags.writeable = False
    for init in ("random", "k-means++"):
        first, again = (cluster_values(values, 9, init, seed=4, max_iterations=1) for _ in "ab")
        np.testing.assert_array_equal(first[0], again[0])
        others = [cluster_values(values, 9, init, s, max_iterations=1)[0] for s in range(5, 9)]
        assert any(not np.array_equal(first[0], other) for other in others)


def test_small_values_beside_huge_ones_keep_their_means():
    values = np.concatenate([np.full(50, -3e37), normal(4000, 2), np.full(50, 3e37)])
    centroids, _ = cluster_values(values, 4, "linear")
    small = normal(4000, 2)
    expected = [-3e37, small[small < centroids[1:3].mean()].mean()]
    np.testing.assert_allclose(centroids[:2], expected, rtol=1e-5)


def test_linear_ends_lie_at_the_extremes_and_density_at_equal_shares():
    values = normal(1000)
    linear = initial_centroids(values, 5, "linear")
    np.testing.assert_allclose(linear, np.linspace(values.min(), values.max(), 5))
    shares = np.searchsorted(np.sort(values), initial_centroids(values, 5, "density")) / 1000
    np.testing.assert_allclose(shares, [0.1, 0.3, 0.5, 0.7, 0.9], atol=1e-3)
    for init in ("random", "k-means++"):
        drawn = initial_centroids(values, 5, init, seed=0)
        assert len(drawn) == 5 and np.isin(drawn, values.astype(np.float64)).all()


@pytest.mark.parametrize(
    "arguments, message",
    [
        (([], 4), r"no values to cluster: their shape is \(0,\)"),
        (
            ([[1.0, np.nan], [np.inf, 2]], 4),
            r"1 are NaN and 1 infinite of 4, the first at \[0, 1\]",
        ),
        (([1.0, 1e300], 4), r"finite in float32: 0 are NaN and 1 infinite of 2"),
        ((["a"], 4), "must be real numbers, got <U1"),
        (([1j], 4), "must be real numbers, got complex128"),
        (([True], 4), "must be real numbers, got bool"),
        (([1.0], 0), "clusters must be a whole number from 1 to 65,536, got 0"),
        (([1.0], 2**16 + 1), "from 1 to 65,536, got 65537"),
        (([1.0], 2.0), "clusters must be a whole number .*got 2.0"),
        (([1.0], 2, "forgy"), "init must be one of 'optimal', 'linear'.*got 'forgy'"),
        (([1.0], 2, "linear", -1), "seed must be a whole number, at least 0, or None, got -1"),
        (([1.0], 2, "linear", None, 0), "max_iterations must be a whole number, at least 1, got 0"),
    ],
)
def test_what_cannot_work_is_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        cluster_values(*arguments)


def least_errors(values, clusters):
    """By trying every border: the least squared error, and that with one cluster's value at 0."""
    count = len(values)
    spans = [(i, j) for i in range(count + 1) for j in range(i, count + 1)]
    around_mean = {
        s: float(np.var(values[slice(*s)]) * (s[1] - s[0])) if s[0] < s[1] else 0.0 for s in spans
    }
    around_zero = {s: float(np.sum(values[slice(*s)] ** 2)) for s in spans}
    errors = {(0, False): np.where(np.arange(count + 1) == 0, 0.0, np.inf)}
    errors[0, True] = np.full(count + 1, np.inf)
    for k in range(1, clusters + 1):
        for zero in (False, True):
            errors[k, zero] = np.array(
                [
                    min(
                        min(errors[k - 1, zero][i] + around_mean[i, j] for i in range(j + 1)),
                        min(errors[k - 1, False][i] + around_zero[i, j] for i in range(j + 1))
                        if zero
                        else np.inf,
                    )
                    for j in range(count + 1)
                ]
            )
    return errors[clusters, False][-1], errors[clusters, True][-1]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("clusters", [2, 3, 5])
def test_the_optimum_is_the_least_error_of_all_borders(seed, clusters):
    random = np.random.default_rng(seed)
    values = random.normal(random.choice([-3, 0, 0, 2]), 1, random.integers(7, 16))
    values = np.sort(values.astype("float32"))
    for zero, wanted in enumerate(least_errors(values.astype(float), clusters)):
        centroids, indices = cluster_values(values, clusters, zero=bool(zero))
        error = np.sum((centroids[indices].astype(float) - values) ** 2)
        assert error == pytest.approx(wanted, rel=1e-5, abs=1e-9)
        assert not zero or 0 in centroids


@pytest.mark.parametrize("clusters", [16, 64, 256, 600])
def test_from_the_optimum_the_error_is_the_least_of_all_starts(clusters):
    values = np.random.default_rng(0).laplace(size=20_000).astype("float32")
    errors = {}
    for init in INITS:
        centroids, indices = cluster_values(values, clusters, init, seed=0)
        errors[init] = np.sum((centroids[indices].astype(float) - values) ** 2)
    assert min(errors, key=errors.get) == "optimal"


@pytest.mark.parametrize("clusters", [1, 2, 7, 300])
@pytest.mark.parametrize("init", INITS)
def test_zero_stays_one_of_the_values(init, clusters):
    random = np.random.default_rng(0)
    for values in (
        random.normal(size=2000),
        random.uniform(1, 2, 500),
        -np.ones(5),
        np.arange(3.0),
    ):
        centroids, indices = cluster_values(values, clusters, init, seed=0, zero=True)
        assert 0 in centroids and centroids.size <= clusters
        assert (np.diff(centroids) > 0).all() and indices.shape == values.shape
