"""Scans: what is changed, that all of it is undone, and what is refused."""

import collections
import warnings

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from models import SOME_CASES, by_name, mlp, numpy_of
from parametrizations import PARAMETRIZATIONS, SOME_PARAMETRIZATIONS, inputs, network

import smh
from smh.doors.kmeans import cluster_values
from smh.doors.output_units import Units
from smh.errors import (
    ArgumentError,
    DeployedModelError,
    SelectionError,
    SmhWarning,
    UnbuiltModelError,
)
from smh.sensitivity.magnitude import kept, kept_filters

pytestmark = pytest.mark.backend_agnostic


def bits_of(model):
    """Every stored number of the model, bit for bit, by identity of its variable."""
    return {id(v): numpy_of(v.value).tobytes() for v in model.variables}


def changed_in(model, before):
    return [v for v in model.variables if numpy_of(v.value).tobytes() != before[id(v)]]


def one(model):
    del model
    return 1.0


def loss_on(x, y):
    return lambda model: float(np.mean((numpy_of(model(x)) - y) ** 2))


# What is changed, and undone


@pytest.mark.parametrize("case", SOME_CASES)
def test_one_weight_at_a_time_has_the_zeros_and_then_its_numbers_again(case):
    model, rng = case.build(), np.random.default_rng(0)
    for v in model.trainable_variables:
        v.assign(rng.normal(size=v.shape))  # a bias of zeros would not change
    before, shares = bits_of(model), []
    expected = [v for v in model.trainable_variables if len(v.shape) >= 2 and v.name != "bias"]

    def evaluate(model):
        changed = changed_in(model, before)
        assert len(changed) <= 1
        shares.extend((v.path, np.mean(numpy_of(v.value) == 0)) for v in changed)
        return 1.0

    result = smh.sensitivity_scan(model, evaluate, [0.3, 0.95], verbose=0)
    assert not changed_in(model, before)
    rows = [
        (v.path, round(s * np.prod(v.shape)) / np.prod(v.shape))
        for v in expected
        for s in (0.3, 0.95)
    ]
    assert sorted(shares) == sorted(rows)
    assert [(r.path, r.level) for r in result.rows] == [
        (path, level) for path in result.paths for level in (0.3, 0.95)
    ]
    assert result.is_complete and set(result.paths) == {v.path for v in expected}


@pytest.mark.parametrize("name", SOME_PARAMETRIZATIONS)
def test_every_parametrization_is_scanned_where_its_numbers_are(name):
    model, x = PARAMETRIZATIONS[name](network(), seed=0), inputs()
    before, outputs, scanned = bits_of(model), [numpy_of(model(x))], []

    def evaluate(model):
        scanned.extend(changed_in(model, before))
        outputs.append(numpy_of(model(x)))
        return 1.0

    if "shared" in name:
        with pytest.raises(SelectionError, match=r"\(shares its values\)"):
            smh.sensitivity_scan(model, evaluate, [0.95], verbose=0)
    else:
        paths = smh.sensitivity_scan(model, evaluate, [0.95], verbose=0).paths
        scanned.clear()
    result = smh.bits_scan(model, evaluate, [1], verbose=0)
    assert "shared" in name or paths == result.paths
    assert not changed_in(model, before)
    np.testing.assert_array_equal(numpy_of(model(x)), outputs[0])
    assert len({variable.path for variable in scanned}) == len(result.paths) >= 1
    assert len({id(variable) for variable in scanned}) == len(result.paths)
    # What is changed is in use: the outputs stay in the evaluations of the unchanged model only.
    same = [np.allclose(outputs[0], after) for after in outputs]
    assert sum(same) == (2 if "shared" in name else 3)
    pools = {id(p): p for p in map(lambda v: v.parametrization.source, virtuals(model)) if p}
    assert {f.path for pool in pools.values() for f in pool.core_variables} <= set(result.paths)


def virtuals(model):
    from smh.virtual_variable import virtual_variables

    return virtual_variables(model)


def test_equals_pruning_by_hand():
    case = by_name["sequential"]
    model, (x, y) = case.build(), case.data()
    model.compile(loss="mse")
    result = smh.sensitivity_scan(model, (x, y), [0.25, 0.8], verbose=0)
    for row in result.rows:
        other = keras.models.clone_model(model)
        other.set_weights(model.get_weights())
        (weight,) = [
            v for v, w in zip(other.variables, model.variables, strict=True) if w.path == row.path
        ]
        values = numpy_of(weight.value)
        dropped = round(row.level * values.size)
        values.ravel()[np.argsort(np.abs(values), axis=None)[:dropped]] = 0
        weight.assign(values)
        assert row.metrics["loss"] == pytest.approx(loss_on(x, y)(other), rel=1e-5)
        assert result.drop(row) == pytest.approx(row.metrics["loss"] - result.baseline["loss"])
    assert (result.metric, result.higher_is_better) == ("loss", False)


def test_bits_are_those_of_k_means():
    model, seen = mlp(), []
    before = [numpy_of(v.value) for v in model.trainable_variables]

    def evaluate(model):
        seen.append([numpy_of(v.value) for v in model.trainable_variables])
        return 1.0

    result = smh.bits_scan(model, evaluate, [2, 5], init="density", verbose=0)
    assert result.levels == (5, 2) and [row.level for row in result.rows] == [5, 2] * 2
    for row, now in zip(result.rows, seen[1:], strict=True):
        place = [v.path for v in model.trainable_variables].index(row.path)
        centroids, indices = cluster_values(before[place], 2**row.level, "density")
        np.testing.assert_array_equal(now[place], centroids[indices])
        assert len(np.unique(now[place])) == 2**row.level
    again = [numpy_of(v.value) for v in model.trainable_variables]
    np.testing.assert_array_equal(again[0], before[0])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_dtypes_get_their_bits_back(dtype):
    model = keras.Sequential([keras.Input((6,)), layers.Dense(5, dtype=dtype)])
    before = bits_of(model)
    found = []

    def evaluate(model):
        found.append(len(changed_in(model, before)))
        return 1.0

    smh.sensitivity_scan(model, evaluate, [0.9], verbose=0)
    smh.bits_scan(model, evaluate, [1], verbose=0)
    assert found == [0, 1, 0, 1] and not changed_in(model, before)


def test_a_frozen_layer_is_left_out_and_a_shared_one_is_one_row():
    model = by_name["shared layer"].build()
    shared, head = (layer for layer in model.layers if layer.weights)
    head.trainable = False
    assert smh.sensitivity_scan(model, one, [0.5], verbose=0).paths == (shared.kernel.path,)
    shared.trainable = False
    with pytest.raises(SelectionError, match=r"kernel \(12, 12\) float32 \(not trainable\)"):
        smh.sensitivity_scan(model, one, [0.5], verbose=0)


def test_selection_is_as_in_compress():
    model = mlp()
    assert smh.bits_scan(model, one, [2], apply_to="bias", verbose=0).paths == (
        "sequential/dense/bias",
        "sequential/dense_1/bias",
    )
    kernels = smh.sensitivity_scan(model, one, [0.5], exclude=".*dense_1", verbose=0)
    assert kernels.paths == ("sequential/dense/kernel",)
    big = smh.sensitivity_scan(model, one, [0.5], apply_to=lambda v: v.shape[-1] == 3, verbose=0)
    assert big.paths == ("sequential/dense_1/kernel", "sequential/dense_1/bias")


def test_weights_of_the_same_path_change_together():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.both = [layers.Dense(4, name="twin") for _ in range(2)]

        def call(self, x):
            return self.both[1](self.both[0](x))

    model = Twins()
    model(np.zeros((1, 4), "float32"))
    before, counts = bits_of(model), []
    with pytest.warns(SmhWarning, match="Several weights are called 'twins/twin/kernel'"):
        result = smh.sensitivity_scan(
            model, lambda m: float(counts.append(len(changed_in(m, before))) or 1), [0.5], verbose=0
        )
    assert counts == [0, 2] and result.rows[0].numel == 32 and not changed_in(model, before)


def test_a_deployed_model_streams_or_is_refused():
    model = smh.deploy(smh.compress(mlp(), 0.5), "stream")
    x, y = by_name["sequential"].data()
    result = smh.sensitivity_scan(model, loss_on(x, y), [0.9], verbose=0, higher_is_better=False)
    assert all(result.drop(row) != 0 for row in result.rows)
    with pytest.raises(DeployedModelError, match="mode='train'"):
        smh.sensitivity_scan(smh.deploy(model, "cached"), one, verbose=0)


# Which numbers go


@settings(deadline=None, max_examples=60, derandomize=True)
@given(
    sizes=st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0, 7.0]), min_size=1, max_size=40),
    sparsities=st.lists(st.floats(0, 1), min_size=2, max_size=2),
    seed=st.integers(0, 5),
)
def test_the_smallest_go_and_choices_are_nested(sizes, sparsities, seed):
    sizes = np.array(sizes)
    few, many = (kept(sizes, s, np.random.default_rng(seed)) for s in sorted(sparsities))
    assert few.sum() == sizes.size - round(min(sparsities) * sizes.size)
    assert not many.all() or round(max(sparsities) * sizes.size) == 0
    if few.any() and not few.all():
        assert sizes[few].min() >= sizes[~few].max()
    assert (many <= few).all()


def test_ties_are_drawn_evenly_and_repeatably():
    sizes = np.ones((50, 40))
    keep = kept(sizes, 0.5, np.random.default_rng(0))
    halves = keep[:25].sum(), keep[25:].sum()
    assert keep.sum() == 1000 and min(halves) > 440  # not all of one half
    np.testing.assert_array_equal(keep, kept(sizes, 0.5, np.random.default_rng(0)))
    assert (keep != kept(sizes, 0.5, np.random.default_rng(1))).any()
    model = keras.Sequential([keras.Input((50,)), layers.Dense(40, kernel_initializer="ones")])
    masks = []

    def evaluate(model):
        masks.append(numpy_of(model.layers[0].kernel.value) != 0)
        return 1.0

    for seed in (3, 3, 4):
        smh.sensitivity_scan(model, evaluate, [0.5], seed=seed, verbose=0)
    assert min(masks[1][:25].sum(), masks[1][25:].sum()) > 440
    np.testing.assert_array_equal(masks[1], masks[3])
    assert (masks[1] != masks[5]).any()


def test_whole_filters_of_least_norm_go():
    model = by_name["separable and depthwise conv"].build()
    before, found = {v.path: numpy_of(v.value) for v in model.trainable_variables}, {}

    def evaluate(model):
        for v in model.trainable_variables:
            if (numpy_of(v.value) != before[v.path]).any():
                found[v.path] = numpy_of(v.value)
        return 1.0

    smh.sensitivity_scan(model, evaluate, [0.5], structure="filters", verbose=0)
    assert len(found) == 5
    for path, now in found.items():
        axes = (-2,) if "transpose" in path else (-2, -1) if "depthwise" in path else (-1,)
        filters, was = (
            np.moveaxis(a, axes, range(len(axes))).reshape(np.prod([a.shape[i] for i in axes]), -1)
            for a in (now, before[path])
        )
        norms, gone = np.square(was).sum(1), (filters == 0).all(1)
        assert gone.sum() == round(0.5 * gone.size) and ((filters == 0).any(1) == gone).all()
        assert norms[gone].max() <= norms[~gone].min()
    columns = Units(np.arange(4).reshape(1, 4), 4)
    for sparsity, left in ((0.5, 2), (0.99, 1)):
        kept_ones = kept_filters(np.ones((3, 4)), sparsity, columns, np.random.default_rng(0))
        assert kept_ones.all(0).sum() == left
    with pytest.raises(SelectionError, match="kernels, which have filters"):
        smh.sensitivity_scan(smh.compress(mlp(), 0.5), one, structure="filters", verbose=0)


@pytest.mark.parametrize("scan", ["sensitivity_scan", "bits_scan"])
def test_what_is_pruned_stays_so(scan):
    model = smh.prune(mlp(), 0.6)
    (kernel, other), counts = virtuals(model), []
    were = numpy_of(kernel.value)

    def evaluate(model):
        now = numpy_of(kernel.value)
        counts.append((now == 0).sum())
        assert (now[were == 0] == 0).all()
        if scan == "bits_scan" and len(counts) > 1:
            centroids, indices = cluster_values(were[were != 0], 4)
            np.testing.assert_array_equal(now[were != 0], centroids[indices])
        return 1.0

    level = 2 if scan == "bits_scan" else 0.8
    result = getattr(smh, scan)(model, evaluate, [level], exclude=other.path, verbose=0)
    assert result.paths == (kernel.path,)
    assert counts == [round(0.6 * 288), round((0.6 if scan == "bits_scan" else 0.8) * 288)]


def test_shared_values_are_shared_by_fewer():
    model = smh.cluster(mlp(), 4)
    kernel, _ = virtuals(model)
    were, seen = numpy_of(kernel.value), []

    def evaluate(model):
        seen.append(numpy_of(kernel.value))
        return 1.0

    result = smh.bits_scan(model, evaluate, [2], verbose=0)
    assert (result.rows[0].path, result.rows[0].numel, result.rows[0].bits) == (kernel.path, 288, 4)
    centroids, indices = cluster_values(were, 4)
    np.testing.assert_allclose(seen[1], centroids[indices], rtol=1e-6)


def test_suggestions_are_what_prune_and_cluster_take():
    case = by_name["sequential"]
    for make in (mlp, lambda: smh.compress(mlp(), 0.5, seed=0)):
        model, evaluate = make(), loss_on(*case.data())
        scan = smh.sensitivity_scan(model, evaluate, metric="loss", verbose=0)
        sparse = scan.suggest(budget=0.7)
        few = smh.bits_scan(model, evaluate, metric="loss", verbose=0).suggest(max_drop=0.05)
        assert sparse and few
        smh.LevelPruner(sparse).prune(model)
        smh.Quantizer(few).quantize(model)
        sizes = {row.path: row.numel for row in scan.rows}
        zeros = sum(sizes[path] * sparsity for path, sparsity in sparse)
        assert zeros / sum(sizes.values()) == pytest.approx(0.7, abs=1e-3)


# Errors, interrupts, and an end on request


class Failing:
    """Raises at the `at`-th call."""

    def __init__(self, error, at):
        self.error, self.at, self.calls = error, at, 0

    def __call__(self, model):
        self.calls += 1
        if self.calls == self.at:
            raise self.error
        return 1.0


@pytest.mark.parametrize("compress", [False, True], ids=["dense", "compressed"])
def test_an_error_in_evaluate_leaves_the_model_as_it_was(compress):
    model = smh.compress(mlp(), 0.5) if compress else mlp()
    before = bits_of(model)
    for at in (1, 2, 4):
        with pytest.raises(ZeroDivisionError) as caught:
            smh.sensitivity_scan(model, Failing(ZeroDivisionError(), at), [0.5, 0.9], verbose=0)
        assert not changed_in(model, before), caught  # while the traceback holds its frames


def test_an_interrupt_gives_what_was_measured():
    model = mlp()
    before = bits_of(model)
    with pytest.warns(SmhWarning, match="after 2 of 4 evaluations. The model is as it was"):
        result = smh.sensitivity_scan(model, Failing(KeyboardInterrupt(), 4), [0.5, 0.9], verbose=0)
    assert not changed_in(model, before)
    assert len(result.rows) == 2 and not result.is_complete and len(result.paths) == 1
    assert "stopped after 2 of 4 evaluations" in str(result)
    assert result.suggest(max_drop=0) == [(result.paths[0], 0.9)]
    with pytest.raises(KeyboardInterrupt):  # nothing is measured yet
        smh.sensitivity_scan(model, Failing(KeyboardInterrupt(), 1), [0.5], verbose=0)


def test_a_second_interrupt_does_not_keep_the_numbers_away(monkeypatch):
    model = mlp()
    before, kernel = bits_of(model), model.layers[0].kernel
    real, calls = type(kernel).assign, []

    def assign(self, value):
        calls.append(value)
        if len(calls) == 2:  # the first time that it is put back
            raise KeyboardInterrupt
        return real(self, value)

    monkeypatch.setattr(type(kernel), "assign", assign)
    with pytest.warns(SmhWarning, match="Interrupted"):
        smh.sensitivity_scan(model, one, [0.5], apply_to=".*dense/kernel", verbose=0)
    assert len(calls) == 3 and not changed_in(model, before)


def test_stop_ends_the_scan():
    model, asked = mlp(), []
    before = bits_of(model)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmhWarning)
        result = smh.bits_scan(
            model, one, [4, 2, 1], stop=lambda row: asked.append(row) or row.level == 2, verbose=0
        )
    assert list(result.rows) == asked and [row.level for row in asked] == [4, 2]
    assert not result.is_complete and not changed_in(model, before)


def nan_model():
    model = mlp()
    model.layers[1].kernel.assign(np.full((24, 3), np.nan, "float32"))
    return model


def twice(**returned):
    return lambda model: dict(returned)


WRONG = {
    "no model": (lambda: "model", one, {}, ArgumentError, "Keras 3 model or layer, got str"),
    "unbuilt": (
        lambda: keras.Sequential([layers.Dense(3)]),
        one,
        {},
        UnbuiltModelError,
        "is not built",
    ),
    "no weights": (
        lambda: keras.Sequential([keras.Input((3,)), layers.ReLU()]),
        one,
        {},
        SelectionError,
        "Nothing was selected .*no variables",
    ),
    "nothing selected": (
        mlp,
        one,
        {"apply_to": "conv"},
        SelectionError,
        r"dense/kernel \(12, 24\) float32",
    ),
    "not finite": (nan_model, one, {}, SelectionError, "dense_1/kernel' has weights .* not finite"),
    "not compiled": (mlp, (1, 2), {}, ArgumentError, r"not compiled.*model.compile\(loss="),
    "an array": (mlp, np.ones(3), {}, ArgumentError, r"a pair \(x, y\), or a dataset.*ndarray"),
    "an iterator": (mlp, iter([1]), {}, ArgumentError, "read again and again, got list_iterator"),
    "a model": (mlp, mlp(), {}, ArgumentError, "must be a function of the model"),
    "no sparsity": (mlp, one, {"sparsities": []}, ArgumentError, r"at least one, got \[\]"),
    "sparsity 0": (mlp, one, {"sparsities": [0, 0.5]}, ArgumentError, "above 0 .* got 0"),
    "sparsity 50": (mlp, one, {"sparsities": [50]}, ArgumentError, "below 1, at least one, got 50"),
    "sparsity nan": (mlp, one, {"sparsities": [float("nan")]}, ArgumentError, "got nan"),
    "one sparsity": (mlp, one, {"sparsities": 0.5}, ArgumentError, "in a list, got 0.5"),
    "text": (mlp, one, {"sparsities": "ab"}, ArgumentError, "numbers above 0"),
    "bits": (mlp, one, {"bits": [0]}, ArgumentError, "whole numbers from 1 to 12.*got 0"),
    "half bits": (mlp, one, {"bits": [2.5]}, ArgumentError, "whole numbers from 1 to 12.*got 2.5"),
    "init": (mlp, one, {"bits": [2], "init": "forgy"}, ArgumentError, "init must be one of"),
    "structure": (mlp, one, {"structure": "rows"}, ArgumentError, "None or 'filters', got 'rows'"),
    "seed": (mlp, one, {"seed": -1}, ArgumentError, "seed must be .* got -1"),
    "stop": (mlp, one, {"stop": True}, ArgumentError, "stop must be a function .* got True"),
    "selector": (mlp, one, {"exclude": "("}, ArgumentError, "not a regular expression"),
    "metric": (mlp, one, {"metric": 1.5}, ArgumentError, "metric must be a name, or .* got 1.5"),
    "other metric": (
        mlp,
        twice(loss=1),
        {"metric": "acc"},
        ArgumentError,
        "returns loss, and not metric='acc'",
    ),
    "index": (mlp, lambda m: (1, 2), {"metric": 2}, ArgumentError, "metric=2, but .* 2 numbers"),
    "which": (mlp, lambda m: (1, 2), {}, ArgumentError, "returns 2 numbers. Say by metric=0 to 1"),
    "direction": (mlp, one, {"higher_is_better": 1}, ArgumentError, "True, False or None, got 1"),
    "no number": (mlp, twice(loss="low"), {}, ArgumentError, r"loss is 'low' \(str\)"),
    "nothing": (mlp, lambda m: None, {}, ArgumentError, "must return numbers.*NoneType"),
    "empty": (mlp, twice(), {}, ArgumentError, "at least one number"),
    "a vector": (mlp, lambda m: np.ones(3), {}, ArgumentError, "must return numbers"),
    "nan": (mlp, twice(loss=float("nan")), {}, ArgumentError, "unchanged model is nan"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_work_is_refused(name):
    make, evaluate, arguments, error, message = WRONG[name]
    model = make()
    before = bits_of(model) if isinstance(model, keras.Model) and model.built else None
    scan = smh.bits_scan if "bits" in arguments else smh.sensitivity_scan
    with pytest.raises(error, match=f"(?s){message}"):
        scan(model, evaluate, verbose=0, **arguments)
    if before is not None:
        assert not changed_in(model, before)


# What is measured


class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return self.x[8 * i : 8 * i + 8], self.y[8 * i : 8 * i + 8]


def test_data_and_functions_measure_the_same():
    model, (x, y) = mlp(), by_name["sequential"].data()
    model.compile(loss="mse", metrics=["mae"])
    expected = smh.sensitivity_scan(model, loss_on(x, y), [0.9], metric="loss", verbose=0)
    given = {
        "pair": (x, y),
        "list": [x, y],
        "weighted": (x, y, np.ones(32)),
        "batches": Batches(x, y),
    }
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        given["tf.data"] = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
    for data in given.values():
        result = smh.sensitivity_scan(model, data, [0.9], verbose=0)
        assert set(result.baseline) == {"loss", "mae"} and result.metric == "loss"
        for row, other in zip(result.rows, expected.rows, strict=True):
            assert row.metrics["loss"] == pytest.approx(other.metrics["loss"], rel=1e-5)
    assert not expected.higher_is_better


Point = collections.namedtuple("Point", "loss accuracy")


def accuracy(model):
    return numpy_of(keras.ops.convert_to_tensor(0.5))


@pytest.mark.parametrize(
    "evaluate, arguments, metric, higher",
    [
        (accuracy, {}, "accuracy", True),
        (lambda m: 1, {}, "metric", True),
        (lambda m: 1, {"metric": "val_loss"}, "val_loss", False),
        (lambda m: 1, {"higher_is_better": False}, "metric", False),
        (twice(loss=1, accuracy=0.5), {}, "accuracy", True),
        (twice(loss=1, top_5_categorical_accuracy=0.5), {}, "top_5_categorical_accuracy", True),
        (twice(mean_absolute_error=1, loss=2), {}, "loss", False),
        (twice(root_mean_squared_error=1), {}, "root_mean_squared_error", False),
        (twice(loss=1, accuracy=0.5), {"metric": "loss"}, "loss", False),
        (lambda m: (1, 2), {"metric": 1}, "value_1", True),
        (lambda m: [1], {}, "value_0", True),
        (lambda m: Point(1, 0.5), {}, "accuracy", True),
        (lambda m: Point(1, 0.5), {"metric": 0}, "loss", False),
        (lambda m: Point(1, 0.5), {"metric": np.int64(1)}, "accuracy", True),
        (one, {"higher_is_better": np.False_}, "one", False),
        (twice(loss=3, a_accuracy=0.5, a_loss=1, b_loss=2, b_mae=1), {}, "loss", False),
        (twice(loss=3, a_loss=1, b_loss=2, accuracy=0.5), {}, "accuracy", True),
        (twice(loss=3, a_accuracy=0.5, a_loss=1, b_loss=2), {"metric": "b_loss"}, "b_loss", False),
        (twice(dice_loss=0.1), {}, "dice_loss", False),
    ],
)
def test_which_number_decides(evaluate, arguments, metric, higher):
    result = smh.sensitivity_scan(mlp(), evaluate, [0.5], verbose=0, **arguments)
    assert (result.metric, result.higher_is_better) == (metric, higher)


def test_a_guess_that_looks_wrong_is_told():
    model, counter = mlp(), iter(range(100))
    with pytest.warns(SmhWarning, match="metric rises with every weight .* higher_is_better=False"):
        smh.sensitivity_scan(model, lambda m: next(counter), [0.5], verbose=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", SmhWarning)
        smh.sensitivity_scan(
            model, lambda m: next(counter), [0.5], higher_is_better=False, verbose=0
        )


def test_progress_is_shown_or_not(capsys):
    smh.sensitivity_scan(mlp(), one, [0.5], verbose=0)
    assert capsys.readouterr() == ("", "")
    smh.sensitivity_scan(mlp(), one, [0.5])
    assert "2/2" in capsys.readouterr().out
