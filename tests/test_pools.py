"""Every pool and store against a NumPy oracle; seeds; hashing; deviations."""

import math

import keras
import numpy as np
import pytest
from models import numpy_of

from smh.errors import ArgumentError
from smh.index_store import PADDING_VALUE, Slot
from smh.pools import base as pool_base
from smh.pools.factor_initializers import OrthogonalRows
from smh.pools.hashing import hashed_indices
from smh.pools.products import HashedVector, KroneckerProduct
from smh.pools.shape import PoolShape
from smh.variable_pool import HashVariablePool, MetaVariablePool, ProductVariablePool

pytestmark = pytest.mark.backend_agnostic


def product(**kwargs):
    return ProductVariablePool(True, 300, 0.4, seed=1, **kwargs)


def meta(reduce_by):
    return lambda **kwargs: MetaVariablePool(
        True,
        1.0,
        300,
        0.4,
        elements=["PRODUCT_POOL", "HASH_POOL"],
        reduce_by=reduce_by,
        seed=1,
        **kwargs,
    )


POOLS = {
    "product": product,
    "chosen sides": lambda: ProductVariablePool.from_shape(PoolShape(16, 19, 3), seed=1),
    "kronecker": lambda **kwargs: product(use_kronecker_product=True, **kwargs),
    "hash": lambda **kwargs: HashVariablePool(True, 1.0, 300, 0.2, seed=1, **kwargs),
    "random hash": lambda **kwargs: HashVariablePool(
        True, 1.0, 300, 0.2, seed=1, hashing="random", **kwargs
    ),
    "meta sum": meta("SUM"),
    "meta product": meta("PROD"),
}


def oracle(pool):
    """The whole flat pool in NumPy, from the factors, by the definition of each pool."""
    factors = [numpy_of(v) for v in pool.core_variables]
    if isinstance(pool, MetaVariablePool):
        terms = [oracle(sub)[: pool.pool_size] for sub in pool.sub_pools]
        return sum(terms) if pool.reduce_by == "SUM" else np.prod(terms, axis=0)
    if isinstance(pool.product, KroneckerProduct):
        return sum(np.kron(a, b) for a, b in zip(*factors, strict=True)).reshape(-1)
    if isinstance(pool.product, HashedVector):
        law = pool.product
        index = np.arange(law.size) % law.buckets
        if law.seed is not None:
            index = hashed_indices(0, law.size, law.buckets, law.seed)
        return factors[0][index]
    return (factors[0] @ factors[1]).reshape(-1)


@pytest.mark.parametrize("name", POOLS)
def test_slices_are_the_entries_in_order(name):
    pool = POOLS[name]()
    flat, begin = oracle(pool), 0
    for shape in ([7], [3, 5], [2, 3, 4], [1], [100]):
        stop = begin + math.prod(shape)
        got = numpy_of(pool.get_slice(shape))
        np.testing.assert_allclose(got, flat[begin:stop].reshape(shape), rtol=1e-4, atol=1e-5)
        assert pool.status == stop
        begin = stop
    assert pool.core_size == sum(math.prod(v.shape) for v in pool.core_variables)
    assert pool.core_size <= 0.4 * 300


@pytest.mark.parametrize("name", POOLS)
def test_slots_computed_together_equal_slots_computed_alone(name):
    pool = POOLS[name]()
    slots = [pool.allocate([n]) for n in (40, 3, 120, 60)]
    for slot, piece in zip(slots, pool.pieces(slots), strict=True):
        (alone,) = pool.pieces([slot])
        np.testing.assert_allclose(numpy_of(piece), numpy_of(alone), rtol=1e-5, atol=1e-6)
        assert tuple(piece.shape) == (slot.length,)
    assert pool.pieces([]) == []


@pytest.mark.parametrize("name", ["product", "kronecker", "random hash", "meta sum"])
def test_cyclic_pools_begin_again(name):
    pool = POOLS[name](index_store_type="cyclic")
    flat, size = oracle(pool), pool.pool_size
    for length in (size, size - 3, 10, 2 * size + 1):
        begin = pool.status
        got = numpy_of(pool.get_slice([length]))
        np.testing.assert_allclose(
            got, flat[(begin + np.arange(length)) % size], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", ["product", "kronecker", "meta sum"])
def test_padding_pools_go_on_with_a_constant(name):
    pool = POOLS[name](index_store_type="padding")
    flat = oracle(pool)
    pool.allocate([pool.pool_size - 5])
    np.testing.assert_allclose(
        numpy_of(pool.get_slice([8])), [*flat[-5:], *[PADDING_VALUE] * 3], rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(numpy_of(pool.get_slice([2])), [PADDING_VALUE] * 2)
    assert pool.allocate([4]) == Slot(pool.pool_size, 4, (), 4)


@pytest.mark.parametrize("name", POOLS)
def test_seed_decides_the_factors(name):
    one, same = (numpy_of(POOLS[name]().core_variables[0]) for _ in range(2))
    np.testing.assert_array_equal(one, same)
    assert np.unique(one).size > 0.9 * one.size
    unseeded = ProductVariablePool(True, 300, 0.4), ProductVariablePool(True, 300, 0.4)
    a, b = (numpy_of(pool.core_variables[0]) for pool in unseeded)
    assert np.abs(a - b).max() > 0.1


@pytest.mark.parametrize("stddev", [1.0, 0.25])
@pytest.mark.parametrize(
    "elements", [["PRODUCT_POOL"], ["PRODUCT_POOL", "HASH_POOL"], ["PRODUCT_POOL"] * 4]
)
@pytest.mark.parametrize("reduce_by", ["SUM", "PROD"])
def test_combined_pools_start_with_the_asked_deviation(stddev, elements, reduce_by):
    pool = MetaVariablePool(
        True, stddev, 40_000, 0.8, elements=elements, reduce_by=reduce_by, seed=3
    )
    assert oracle(pool).std() == pytest.approx(stddev, rel=0.1)


def test_pools_start_with_the_asked_deviation():
    for make in (
        lambda: ProductVariablePool(True, 40_000, 0.4, stddev=0.5, seed=3),
        lambda: ProductVariablePool(True, 40_000, 0.4, 0.5, use_kronecker_product=True, seed=3),
        lambda: HashVariablePool(True, 0.5, 40_000, 0.4, seed=3),
    ):
        assert oracle(make()).std() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (7, 7), (11, 43), (11, 44), (50, 2000)])
def test_rows_are_orthogonal_and_those_of_keras(shape, dtype):
    rows = numpy_of(OrthogonalRows(2.5, seed=3)(shape, dtype)).astype("float64")
    drawn = "float64" if dtype == "float64" else "float32"
    expected = numpy_of(keras.initializers.Orthogonal(2.5, seed=3)(shape, drawn))
    error = {"bfloat16": 2e-2, "float16": 2e-3}.get(dtype, 1e-5)
    np.testing.assert_allclose(rows @ rows.T, 6.25 * np.eye(shape[0]), atol=6.25 * error)
    np.testing.assert_allclose(rows, expected, atol=2.5 * error)


def test_random_hash_is_seeded_spread_and_stable():
    index = hashed_indices(0, 10_000, 100, seed=1)
    counts = np.bincount(index, minlength=100)
    assert counts.min() > 60 and counts.max() < 145  # 100 +- 4 standard deviations
    assert np.mean(index == hashed_indices(0, 10_000, 100, seed=2)) < 0.05
    np.testing.assert_array_equal(index[50:70], hashed_indices(50, 70, 100, seed=1))
    assert hashed_indices(0, 5, 1000, seed=1).tolist() == GOLDEN_HASH


# python -c "from smh.pools.hashing import hashed_indices; print(hashed_indices(0, 5, 1000, 1))"
GOLDEN_HASH = [700, 679, 444, 747, 90]


def test_initializer_may_be_a_class_an_object_or_a_name():
    truncated = keras.initializers.TruncatedNormal
    for initializer in (truncated, truncated(0.0, 0.3, seed=1), "glorot_uniform"):
        pool = ProductVariablePool(True, 300, 0.4, initializer=initializer)
        assert numpy_of(pool.core_variables[0]).std() > 0.05
    with pytest.raises(ArgumentError, match="takes no `stddev`"):
        ProductVariablePool(True, 300, 0.4, initializer=keras.initializers.Zeros)
    with pytest.raises(ArgumentError, match="must be an initializer"):
        ProductVariablePool(True, 300, 0.4, initializer=3)


def test_untrainable_pool():
    pool = ProductVariablePool(False, 300, 0.4)
    assert not any(v.trainable for v in pool.core_variables)
    assert pool.scope_name == "ProductVariablePool"


KINDS = {
    "product": lambda **wrong: ProductVariablePool(
        **{"trainable": True, "pool_size": 300, "fraction": 0.5, **wrong}
    ),
    "hash": lambda **wrong: HashVariablePool(
        **{"trainable": True, "pool_size": 300, "fraction": 0.5, **wrong}
    ),
    "meta sum": lambda **wrong: MetaVariablePool(
        **{"trainable": True, "pool_size": 300, "fraction": 0.5, **wrong}
    ),
    "meta product": lambda **wrong: MetaVariablePool(
        **{"trainable": True, "pool_size": 300, "fraction": 0.5, "reduce_by": "PROD", **wrong}
    ),
}
FRACTION = "fraction must be a number above 0 and at most 1, got"
SIZE = "pool_size must be a number, at least 1, got"
STDDEV = "stddev must be a number, at least 0, got"
WRONG = [
    ("trainable", ["yes", None, 2], "trainable must be True or False, got"),
    ("fraction", [0, 1.5, float("nan"), None, "0.5", True], FRACTION),
    ("pool_size", [0, 0.5, float("inf"), float("nan"), None, "big", [300]], SIZE),
    ("stddev", [-1, float("nan"), float("inf"), None, "a"], STDDEV),
    ("initializer", ["foo", 3, None], "initializer must be"),
    ("initializer", [keras.initializers.Zeros], "takes no `stddev`"),
    ("index_store_type", ["foo", None, 1, ["basic"]], "'basic', 'cyclic', 'padding', got"),
    ("seed", ["a", -1, 1.5], "seed must be a whole number"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "values", "message"), WRONG)
def test_wrong_arguments_of_every_pool(kind, name, values, message):
    for value in values:
        with pytest.raises(ArgumentError, match=message):
            KINDS[kind](**{name: value})


ELEMENTS = r"elements must be a list of one or more of \['HASH_POOL', 'PRODUCT_POOL'\], got"
WRONG_OF_ONE = [
    ("hash", {"fraction": 0.001}, "smallest fraction .* is 0.00333333"),
    ("hash", {"hashing": "sha"}, "'modulo' or 'random'"),
    ("hash", {"index_store_type": "padding"}, "no padding"),
    ("meta sum", {"reduce_by": "MAX"}, "'SUM' or 'PROD'"),
    *(
        ("meta sum", {"elements": elements}, ELEMENTS)
        for elements in (["X"], [], None, 5, "HASH_POOL", {"HASH_POOL"}, [["HASH_POOL"]])
    ),
]


@pytest.mark.parametrize(("kind", "wrong", "message"), WRONG_OF_ONE)
def test_wrong_arguments_of_one_pool(kind, wrong, message):
    with pytest.raises(ArgumentError, match=message):
        KINDS[kind](**wrong)


WRONG_SHAPES = [[-1, 3], [-2, -3], [2.0, 3], [2.5, 4], 5, [None, 3], None, "ab", [[2], 3]]


@pytest.mark.parametrize("name", POOLS)
def test_a_wrong_shape_is_refused_before_anything_is_allocated(name):
    pool = POOLS[name]()
    for shape in WRONG_SHAPES:
        for take in (pool.get_slice, pool.allocate):
            with pytest.raises(ArgumentError, match="a list of whole numbers.*got"):
                take(shape)
    assert pool.status == 0


def test_shapes_may_be_of_any_whole_numbers():
    pool = product()
    for shape in ([2, 3], (2, 3), np.array([2, 3]), [np.int64(2), np.uint8(3)]):
        assert tuple(pool.get_slice(shape).shape) == (2, 3)
    assert tuple(pool.get_slice([]).shape) == () and tuple(pool.get_slice([0, 3]).shape) == (0, 3)


@pytest.mark.parametrize("kronecker", [False, True])
def test_too_small_a_fraction_names_the_smallest_that_works(kronecker):
    def make(fraction):
        return ProductVariablePool(True, 12_345, fraction, use_kronecker_product=kronecker)

    with pytest.raises(ArgumentError, match="0 replicas") as caught:
        make(0.001)
    smallest = float(str(caught.value).split()[-1].rstrip("."))
    make(smallest)
    with pytest.raises(ArgumentError):
        make(0.98 * smallest)


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("store", ["basic", "cyclic"])
def test_a_pool_too_large_for_one_tensor_is_computed_in_blocks(name, store, monkeypatch):
    options = {} if name == "chosen sides" else {"index_store_type": store}
    pool = POOLS[name](**options)
    slots = [pool.slot_at(begin, length) for begin, length in ((0, 31), (31, 40), (90, 7))]
    if options == {"index_store_type": "cyclic"}:
        slots.append(pool.slot_at(pool.pool_size - 4, 9))
    at_once = [numpy_of(piece) for piece in pool.pieces(slots)]
    ranges = []
    entries = pool.entries
    pool.__dict__["entries"] = lambda f, a, b: ranges.append((a, b)) or entries(f, a, b)
    monkeypatch.setattr(pool_base, "MOST_ENTRIES_AT_ONCE", 40)
    for piece, expected in zip(pool.pieces(slots), at_once, strict=True):
        np.testing.assert_allclose(numpy_of(piece), expected, rtol=1e-5, atol=1e-6)
    assert len(ranges) >= 3 and max(b - a for a, b in ranges) <= 40


HUGE = 3_000_000_000  # entries: past the int32 limit, 12 GB if it were ever computed at once
HUGE_POOLS = {
    "product": lambda: ProductVariablePool(True, HUGE, 1e-4, seed=1),
    "kronecker": lambda: ProductVariablePool(True, HUGE, 1e-4, use_kronecker_product=True, seed=1),
    "hash": lambda: HashVariablePool(True, 1.0, HUGE, 1e-5, seed=1),
    "meta": lambda: MetaVariablePool(True, 1.0, HUGE, 2e-4, seed=1),
}


def huge_entry(pool, i):
    """Entry `i` by the definition of the pool, without the others."""
    if isinstance(pool, MetaVariablePool):
        return sum(huge_entry(sub, i) for sub in pool.sub_pools)
    factors = [numpy_of(v) for v in pool.core_variables]
    if isinstance(pool.product, HashedVector):
        return factors[0][i % pool.product.buckets]
    if isinstance(pool.product, KroneckerProduct):
        row, column = divmod(i, pool.product.side**2)
        (r, p), (c, q) = divmod(row, pool.product.side), divmod(column, pool.product.side)
        return factors[0][:, r, c] @ factors[1][:, p, q]
    row, column = divmod(i, pool.product.shape.cols)
    return factors[0][row] @ factors[1][:, column]


@pytest.mark.parametrize("name", HUGE_POOLS)
def test_addresses_past_the_int32_limit(name):
    pool = HUGE_POOLS[name]()
    far = 2_900_000_001
    pieces = pool.pieces([pool.slot_at(7, 3), pool.slot_at(far, 3)])
    got = np.concatenate([numpy_of(piece) for piece in pieces])
    expected = [huge_entry(pool, i) for i in (7, 8, 9, far, far + 1, far + 2)]
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


TOO_LARGE = {
    "factors": (lambda: ProductVariablePool(True, 1e10, 1.0), "variable_left.*2,147,483,647"),
    "hash": (lambda: HashVariablePool(True, 1.0, 1e10, 0.5), "'hash'.*5,000,000,000 numbers"),
    "random": (
        lambda: HashVariablePool(True, 1.0, HUGE, 1e-6, hashing="random"),
        "random hash holds at most",
    ),
    "a weight": (
        lambda: HUGE_POOLS["product"]().allocate([50_000, 50_000]),
        "weight of 2,500,000,000 elements is too large",
    ),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_too_large_is_refused_before_anything_is_allocated(name):
    make, message = TOO_LARGE[name]
    with pytest.raises(ArgumentError, match=message):
        make()
