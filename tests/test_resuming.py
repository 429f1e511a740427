"""A scan that goes on from the changed layer gives the numbers of one that evaluates everything."""

import keras
import numpy as np
import pytest
from keras import layers

import smh
from smh.sensitivity import plan, resuming

pytestmark = pytest.mark.backend_agnostic

N = 70  # three batches, the last a short one


def branched():
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(4, 3, padding="same", name="stem")(x)
    z = layers.Conv2D(4, 3, padding="same", name="side")(layers.BatchNormalization()(y))
    y = keras.ops.relu(layers.add([y, z]) * 2 + 1)
    return keras.Model(x, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(y)))


def shared():
    x = keras.Input((6,))
    twice, last = layers.Dense(6, name="twice"), layers.Dense(3, name="last")
    return keras.Model(x, last(twice(layers.Dense(6, "tanh", name="between")(twice(x)))))


def nested():
    x = keras.Input((8, 8, 2))
    y = layers.Dense(5, name="behind")(keras.Model(x, branched()(x))(x))
    return keras.Model(x, layers.Dense(3, name="end")(y))


def sequential():
    made = [layers.Dense(7, "relu", name="a"), layers.Dropout(0.5), layers.Dense(3, name="b")]
    return keras.Sequential([keras.Input((6,)), *made])


def two_inputs():
    x, y = keras.Input((6,), name="x"), keras.Input((4,), name="y")
    joined = layers.concatenate([layers.Dense(5, name="left")(x), layers.Dense(5, name="right")(y)])
    return keras.Model([x, y], layers.Dense(3, name="out")(joined))


def words():
    x = keras.Input((5,), dtype="int32")
    y = layers.Embedding(9, 4, mask_zero=True, name="words")(x)
    return keras.Model(x, layers.Dense(3, name="end")(layers.LSTM(4, name="read")(y)))


def pooled():
    return smh.compress(branched(), 0.5, seed=0)


def masked():
    return smh.prune(branched(), 0.3, seed=0)


def with_lambda():
    x = keras.Input((6,))
    first = layers.Dense(6, name="first")
    y = layers.Dense(6, name="second")(first(x))
    y = layers.Lambda(lambda y: keras.ops.matmul(y, first.kernel), output_shape=(6,))(y)
    return keras.Model(x, layers.Dense(3, name="third")(y))


def penalised():
    made = [layers.Dense(7, kernel_regularizer="l2", name="a"), layers.Dense(3, name="b")]
    return keras.Sequential([keras.Input((6,)), *made])


# Each model, and how many of the paths that a scan has go on from their layer.
MODELS = {
    branched: 2, shared: 2, nested: 2, sequential: 1, two_inputs: 3, words: 2, pooled: 0,
    masked: 2, with_lambda: 0, penalised: 0,
}  # fmt: skip


def data(model):
    rng = np.random.default_rng(0)
    x = []
    for tensor in model.inputs:
        shape = (N, *tensor.shape[1:])
        whole = np.issubdtype(np.dtype(tensor.dtype), np.integer)
        x.append(rng.integers(0, 9, shape) if whole else rng.normal(size=shape))
        x[-1] = x[-1].astype(tensor.dtype)
    y, weight = rng.integers(0, 3, N), rng.uniform(size=N).astype("float32")
    return (x if len(x) > 1 else x[0]), y, weight


def cases():
    fast = {branched, shared}
    for build in MODELS:
        marks = () if build in fast else pytest.mark.slow
        yield pytest.param(build, True, marks=marks, id=build.__name__)
        yield pytest.param(build, False, marks=pytest.mark.slow, id=f"{build.__name__} traced")


@pytest.mark.parametrize("build, eagerly", cases())
def test_the_numbers_are_those_of_the_whole(build, eagerly, monkeypatch):
    model = build()
    for variable in model.trainable_variables:
        if "bias" in variable.path:
            variable.assign(variable + 0.1)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metrics = {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    model.compile("adam", loss, **metrics, run_eagerly=eagerly)
    before = [np.array(v) for v in model.get_weights()]
    resumed, parts = [], resuming._Resuming.__call__

    def watched(self, group):
        measure = parts(self, group)
        resumed.append(measure is not self._whole)
        return measure

    monkeypatch.setattr(resuming._Resuming, "__call__", watched)
    found = smh.sensitivity_scan(model, data(model), [0.4, 0.9], seed=0, verbose=0)
    monkeypatch.setattr(plan, "resuming", lambda model, evaluate, measure, _: lambda _: measure)
    expected = smh.sensitivity_scan(model, data(model), [0.4, 0.9], seed=0, verbose=0)
    assert sum(resumed) == MODELS[build]
    assert len(found.rows) == len(expected.rows) > 1
    assert len({row.metrics["loss"] for row in expected.rows}) > 2, "pruning changes nothing"
    for row, same in zip(found.rows, expected.rows, strict=True):
        assert (row.path, row.level) == (same.path, same.level)
        assert row.metrics == pytest.approx(same.metrics, rel=1e-5)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_what_does_not_fit_is_evaluated_as_a_whole(monkeypatch):
    model = branched()
    model.compile("sgd", "mse", run_eagerly=True)
    x, y, _ = data(model)
    given = (x, np.eye(3)[y])
    whole = lambda: {"loss": model.evaluate(*given, verbose=0)}  # noqa: E731
    candidates = plan_of(model)
    resume = resuming.resuming(model, given, whole, whole())
    assert [resume([c]) is whole for c in candidates] == [True, False, False]
    monkeypatch.setattr(resuming, "MOST_KEPT", 1000)
    resume = resuming.resuming(model, given, whole, whole())
    assert all(resume([c]) is whole for c in candidates)
    monkeypatch.undo()
    wrong = resuming.resuming(model, given, whole, {"loss": whole()["loss"] + 1})
    assert all(wrong([c]) is whole for c in candidates)
    by_a_function = resuming.resuming(model, lambda model: 1.0, whole, whole())
    assert all(by_a_function([c]) is whole for c in candidates)


def plan_of(model):
    from smh.sensitivity.scanned import find_candidates

    return find_candidates(model, None, None)
