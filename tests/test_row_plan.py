"""Scales go onto the rows of `L`, and nothing changes but the cost."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import smh
from smh.pools import row_plan
from smh.pools.row_plan import first_entry, plan_rows
from smh.pools.shape import PoolShape
from smh.variable_pool import ProductVariablePool
from smh.virtual_variable import virtual_variables

COLS = 7
LAYOUTS = {  # lengths of the slots, in order; negative: a gap that no slot uses
    "all large": [300, 250, 140],
    "small ones between": [300, 5, 9, 200, 3, 120],
    "small ones at the ends": [2, 300, 4],
    "whole rows": [20 * COLS, 30 * COLS],
    "gaps": [-9, 150, -40, 3, -11, 2, -6, 200],
    "all small": [50, 60, 7],
}


def pool_and_slots(lengths):
    pool = ProductVariablePool.from_shape(PoolShape(100, COLS, 3), seed=1)
    slots, begin = [], 0
    for length in lengths:
        if length > 0:
            slots.append(pool.slot_at(begin, length))
        begin += abs(length)
    return pool, slots


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("name", LAYOUTS)
def test_scaled_pieces_are_pieces_times_scales(name, every, order):
    pool, slots = pool_and_slots(LAYOUTS[name])
    slots = slots[::order]
    numbers = [0.5 + i if i % every == 0 else None for i in range(len(slots))]
    scales = [None if n is None else ops.convert_to_tensor(n, "float32") for n in numbers]
    plain = [ops.convert_to_numpy(piece) for piece in pool.pieces(slots)]
    for number, piece, expected in zip(numbers, pool.pieces(slots, scales), plain, strict=True):
        expected = expected * (1 if number is None else number)
        np.testing.assert_allclose(ops.convert_to_numpy(piece), expected, rtol=1e-5, atol=1e-6)


def test_a_plan_computes_few_rows_twice():
    _, slots = pool_and_slots(LAYOUTS["small ones between"])
    plan = plan_rows(slots, [True] * len(slots), COLS)
    needed = -(-sum(slot.length for slot in slots) // COLS)
    assert needed < len(plan.rows) <= needed + len(slots)
    assert sum(plan.sizes) == COLS * len(plan.rows)
    assert plan.scaled == (True, False, False, True, False, True)


@pytest.mark.parametrize(
    "slots",
    [
        lambda pool: [pool.slot_at(0, 300), pool.slot_at(200, 300)],
        lambda pool: [pool.slot_at(0, 60), pool.slot_at(60, 50)],
    ],
    ids=["overlapping", "small"],
)
def test_no_plan_where_there_is_no_gain(slots):
    pool, _ = pool_and_slots([])
    assert plan_rows(slots(pool), [True, True], COLS) is None


def network():
    return keras.Sequential(
        [keras.Input((120,)), layers.Dense(140, "tanh"), layers.Dense(130), layers.Dense(3)]
    )


@pytest.mark.backend_agnostic
def test_training_is_the_same(monkeypatch):
    x = np.random.default_rng(0).normal(size=(8, 120)).astype("float32")
    after = []
    for fewest in (16, 10**9):
        monkeypatch.setattr(row_plan, "_FEWEST_ROWS", fewest)
        keras.utils.set_random_seed(3)
        model = smh.compress(network(), 0.2, seed=0)
        before = [ops.convert_to_numpy(v) for v in model.trainable_variables]
        model.compile(keras.optimizers.SGD(1e-4), "mse")  # small: a larger rate diverges
        for _ in range(3):
            model.train_on_batch(x, x[:, :3])
        after.append([ops.convert_to_numpy(v) for v in model.trainable_variables])
    assert all((a != b).any() for a, b in zip(before, after[0], strict=True))
    for scaled_rows, scaled_weights in zip(*after, strict=True):
        np.testing.assert_allclose(scaled_rows, scaled_weights, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="counts TF graphs")
def test_a_large_weight_is_never_multiplied():
    import tensorflow as tf

    model = smh.compress(network(), 0.2, seed=0)

    @tf.function
    def gradients(v):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(v, training=True))
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    graph = gradients.get_concrete_function(tf.TensorSpec((5, 120), "float32")).graph
    large = {120 * 140, 140 * 130}
    assert large < {int(np.prod(v.shape)) for v in virtual_variables(model)}
    passes = [
        op.type
        for op in graph.get_operations()
        if any(out.shape.num_elements() in large for out in op.outputs)
    ]
    assert set(passes) <= {"Split", "SplitV", "Reshape", "MatMul", "Identity"}
    dense_gradients = [type(g).__name__ for g in gradients(tf.zeros((5, 120)))]
    assert "IndexedSlices" not in dense_gradients


@pytest.mark.parametrize("cols", [1, 7, 64, 97, 4603])
@pytest.mark.parametrize("start_row", [0, 3, 40])
def test_a_weight_computed_alone_begins_where_it_need_not_be_copied(cols, start_row):
    for column in range(0, cols, max(1, cols // 20)):
        start = start_row * cols + column
        for length in (130 * cols // 16 * 16, 130 * cols // 16 * 16 + 1, 16):
            first = first_entry(start, start + length, cols)
            rows_before = start // cols - first // cols
            assert first % cols == 0 and 0 <= first <= start and rows_before <= 15
            if length == 16 and cols > 1 or length % 16:
                assert rows_before == 0  # too small, or copied in any case
            elif cols % 2 and start_row >= 15:  # odd: one of 16 rows fits
                assert (start - first) % 16 == 0


def test_tensorflow_uses_such_a_weight_where_it_lies():
    pytest.importorskip("tensorflow")
    pool = ProductVariablePool.from_shape(PoolShape(200, 97, 3), seed=1)
    start, stop = 20 * 97 + 5, 20 * 97 + 5 + 130 * 96
    factors, product, computed = pool.core_variables, pool.product, []

    class Recording:
        granularity, size = product.granularity, product.size

        def entries(self, *args):
            computed.append(product.entries(*args))
            return computed[-1]

    pool.__dict__["product"] = Recording()
    piece = pool.scaled_entries(factors, start, stop, None)
    expected = ops.matmul(*factors).numpy().ravel()[start:stop]
    np.testing.assert_allclose(piece.numpy(), expected, rtol=1e-5, atol=1e-5)
    (rows,) = computed
    begins = [np.asarray(memoryview(tensor)).ctypes.data for tensor in (rows, piece)]
    distance = begins[1] - begins[0]
    assert 0 < distance < 4 * rows.shape[0]  # a view, not a copy
