"""Outcome: `smh.prune`, `smh.LevelPruner`, `smh.PruningSchedule`. The laws run over it as well."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers, ops
from models import SOME_CASES, mlp, numpy_of, pools_of

import smh
from smh.doors.pruning import magnitude_mask, sparsity_of
from smh.errors import ArgumentError, DeployedModelError, SelectionError, UnbuiltModelError
from smh.parametrizations.masked import Masked
from smh.virtual_variable import VirtualVariable, virtual_variables

pytestmark = pytest.mark.backend_agnostic


def zeros(variable):
    return float((numpy_of(variable.value) == 0).mean())


def data(count=64):
    x = np.random.default_rng(0).normal(size=(count, 12)).astype("float32")
    return x, x[:, :3] ** 2


def weights_of(model):
    return {v.path: numpy_of(v.value).copy() for v in model.variables}


@pytest.mark.parametrize("case", SOME_CASES)
def test_every_kind_of_model_is_pruned_and_trains_on(case):
    model = case.build()
    x, y = case.data()
    model.compile("adam", "mse")
    smh.prune(model, 0.75)
    model.fit(x, y, verbose=0)
    pruned = virtual_variables(model)
    assert pruned
    for virtual in pruned:
        assert abs(zeros(virtual) - 0.75) <= 1 / virtual.shape[0] / virtual.shape[1]
    plain = smh.materialize(model)
    np.testing.assert_allclose(
        plain.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-5, atol=1e-6
    )


def test_the_smallest_go_and_the_others_keep_their_numbers():
    model = mlp()
    before = numpy_of(model.layers[0].kernel.value).copy()
    assert smh.prune(model, 0.5) is model
    after = numpy_of(model.layers[0].kernel.value)
    kept = np.abs(before) > np.median(np.abs(before))
    np.testing.assert_array_equal(after, np.where(kept, before, 0))


OPTIMIZERS = {
    "momentum": lambda: keras.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.1),
    "decay": lambda: keras.optimizers.AdamW(0.1, weight_decay=0.1),
    "average": lambda: keras.optimizers.Adam(
        0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_masks_hold_exactly_and_the_rest_is_trained(name):
    model = mlp()
    model.compile(OPTIMIZERS[name](), "mse")
    model.fit(*data(), verbose=0)  # a momentum that pulls at what is pruned next
    smh.prune(model, 0.5)
    before = [numpy_of(v.value).copy() for v in virtual_variables(model)]
    model.fit(*data(), epochs=3, verbose=0)
    for virtual, was in zip(virtual_variables(model), before, strict=True):
        now = numpy_of(virtual.value)
        np.testing.assert_array_equal(now == 0, was == 0)
        assert (now != was)[was != 0].mean() > 0.5  # some units may be dead


@given(
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=1, max_size=40),
    st.integers(0, 40),
    st.integers(0, 2**16),
)
@settings(deadline=None)
def test_magnitude_mask_against_the_definition(values, zeros, seed):
    magnitude = np.array(values)
    random = np.random.default_rng(seed)
    kept = random.random(magnitude.size) < 0.7
    zeros = min(zeros, magnitude.size)
    mask = magnitude_mask(magnitude, kept, zeros, random)
    assert np.count_nonzero(~mask) == zeros
    if zeros >= np.count_nonzero(~kept):
        assert not (mask & ~kept).any()  # nothing comes back
        gone, stay = magnitude[kept & ~mask], magnitude[mask]
    else:
        assert (mask & kept).sum() == kept.sum()  # nothing more goes
        gone, stay = magnitude[~mask], magnitude[mask & ~kept]
    assert not gone.size or not stay.size or gone.max() <= stay.min()


def test_ties_do_not_favour_places():
    magnitude, kept = np.ones(1000), np.ones(1000, bool)
    mask = magnitude_mask(magnitude, kept, 500, np.random.default_rng(0))
    assert 200 < np.count_nonzero(mask[:500]) < 300
    again = magnitude_mask(magnitude, kept, 500, np.random.default_rng(0))
    np.testing.assert_array_equal(mask, again)


def test_by_path_by_pattern_and_in_pairs():
    model = mlp()
    first, second = model.layers[0].kernel, model.layers[1].kernel
    smh.prune(model, {first.path: 0.5})
    assert zeros(first) == 0.5 and type(second) is keras.Variable
    smh.prune(model, [(second.path, 0.25), (".*", 0.75)])  # the first that fits counts
    assert zeros(first) == 0.75 and zeros(second) == 0.25
    smh.prune(model, 0.9, exclude=first.path)
    assert zeros(first) == 0.75 and abs(zeros(second) - 0.9) < 0.01


def test_again_goes_further_and_back_gives_the_largest_back():
    model = smh.prune(mlp(), 0.5)
    kernel = model.layers[0].kernel
    dense = numpy_of(kernel.parametrization.weight.value).copy()
    half = numpy_of(kernel.value) != 0
    smh.prune(model, 0.8)
    fifth = numpy_of(kernel.value) != 0
    assert not (fifth & ~half).any()
    smh.prune(model, 0.5)
    np.testing.assert_array_equal(numpy_of(kernel.value) != 0, half)
    smh.prune(model, 0)
    np.testing.assert_array_equal(numpy_of(kernel.value), dense)


def test_global_leaves_more_where_numbers_are_larger():
    model = mlp()
    model.layers[0].kernel.assign(10 * model.layers[0].kernel.value)
    smh.prune(model, 0.5, scope="global")
    first, second = (numpy_of(v.value) for v in virtual_variables(model))
    assert (first == 0).mean() < 0.5 < (second == 0).mean()
    total = (first == 0).sum() + (second == 0).sum()
    assert total == round(0.5 * (first.size + second.size))


def test_filters_go_as_a_whole():
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(8, 3, name="conv")(x)
    y = layers.Conv2DTranspose(4, 3, name="up")(y)
    model = keras.Model(x, layers.Dense(6, name="dense")(y))
    norms = np.square(numpy_of(model.get_layer("conv").kernel.value)).sum(axis=(0, 1, 2))
    smh.prune(model, 0.5, structure="filters")
    conv = numpy_of(model.get_layer("conv").kernel.value)
    gone = (conv == 0).all(axis=(0, 1, 2))
    np.testing.assert_array_equal(gone, norms < np.median(norms))
    assert not (conv[..., ~gone] == 0).any()
    up = numpy_of(model.get_layer("up").kernel.value)
    assert (up == 0).all(axis=(0, 1, 3)).sum() == 2 and up.shape[2] == 4
    assert (numpy_of(model.get_layer("dense").kernel.value) == 0).all(axis=0).sum() == 3


def test_of_a_compressed_model_the_factors_are_pruned():
    model = smh.compress(mlp(), 0.5, seed=1)
    model.compile("adam", "mse")
    model.fit(*data(), verbose=0)
    smh.prune(model, 0.5)
    (pool,) = pools_of(model)
    assert [type(f.parametrization) for f in pool.core_variables] == [Masked, Masked]
    model.fit(*data(), verbose=0)
    for factor in pool.core_variables:
        assert abs(zeros(factor) - 0.5) < 0.02
    inside = {id(v) for v in pool.variables}
    rest = sum(numpy_of(v.value).size for v in model.trainable_variables if id(v) not in inside)
    kept = sum(int(np.count_nonzero(numpy_of(f.value))) for f in pool.core_variables)
    report = smh.report(model)
    assert report.trained_params == kept + rest
    assert sum(row.kept for row in report.rows[-2:]) == kept
    smh.quantize_factors(model, 4)
    rounded = smh.report(model)
    assert all(row.bits == 4 and row.packed < row.kept for row in rounded.rows[-2:])


def test_two_models_of_one_pool_both_train_on():
    first = smh.compress(mlp(), 0.6, seed=1)
    pool = pools_of(first)[0]
    pool.index_store.position = 0
    second = smh.compress(mlp(), pool=pool)
    for model in (first, second):
        model.compile("adam", "mse")
        model.fit(*data(), verbose=0)
    smh.prune(first, 0.5)
    second.fit(*data(), verbose=0)
    assert abs(zeros(pool.core_variables[0]) - 0.5) < 0.02
    assert len(pool.trainable_variables) == 2


def test_frozen_layers_stay_as_they_are():
    model = mlp()
    model.layers[0].trainable = False
    smh.prune(model, 0.5)
    assert type(model.layers[0].kernel) is keras.Variable
    model.layers[0].trainable = True
    smh.prune(model, 0.5)
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    before = numpy_of(model.layers[0].kernel.value).copy()
    model.fit(*data(), verbose=0)
    np.testing.assert_array_equal(numpy_of(model.layers[0].kernel.value), before)
    model.layers[0].trainable = True
    trained = {id(v) for v in model.trainable_variables}
    kernel = model.layers[0].kernel.parametrization
    assert id(kernel.weight) in trained and id(kernel.mask) not in trained


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "mixed_float16"])
def test_other_dtypes(dtype):
    layer = layers.Dense(20, dtype=dtype)
    model = keras.Sequential([keras.Input((12,)), layer])
    kind = layer.kernel._dtype
    smh.prune(model, 0.5)
    assert zeros(layer.kernel) == 0.5 and layer.kernel._dtype == kind
    assert np.isfinite(numpy_of(model(data()[0])).astype("float32")).all()


def test_one_element_and_all_zero_and_shared_layers():
    one = layers.Dense(1, use_bias=False)
    empty = layers.Dense(5, kernel_initializer="zeros")
    shared = layers.Dense(1)
    x = keras.Input((1,))
    model = keras.Model(x, shared(empty(one(x)) @ np.ones((5, 5), "float32")))
    model = keras.Model(x, layers.Add()([model(x), layers.Dense(1)(one(x))]))
    smh.prune(model, 0.4)
    assert zeros(one.kernel) == 0  # round(0.4) numbers of one
    mask = numpy_of(empty.kernel.parametrization.mask.value)
    assert np.count_nonzero(~mask) == 2


def test_level_pruner_in_a_loop_of_ones_own():
    model = mlp()
    model.compile("adam", "mse")
    paths = [layer.kernel.path for layer in model.layers]
    pruner = smh.LevelPruner(options=[[paths[0], 0.35], [paths[1], 0.5]])
    pruner.prune(model)
    masks = [numpy_of(v.value) != 0 for v in virtual_variables(model)]
    for _ in range(3):
        model.train_on_batch(*data())
        pruner.prune(model=model, update_masks=False)
    for mask, virtual in zip(masks, virtual_variables(model), strict=True):
        np.testing.assert_array_equal(numpy_of(virtual.value) != 0, mask)
    smh.LevelPruner({paths[0]: 0.7}).prune(model)
    assert abs(zeros(model.layers[0].kernel) - 0.7) < 0.01


class Sparsities(keras.callbacks.Callback):
    def __init__(self, variable):
        super().__init__()
        self.variable, self.seen = variable, []

    def on_train_batch_end(self, batch, logs=None):
        self.model  # noqa: B018  (Keras writes JAX' state back when a callback asks for the model)
        self.seen.append(zeros(self.variable))


@pytest.mark.parametrize("shape", ["polynomial", "constant", "rounds"])
def test_schedules_in_fit(shape):
    model = mlp()
    model.compile("adam", "mse")
    schedule = smh.PruningSchedule(0.8, shape=shape, begin=2, end=8, every=2, rounds=3)
    watch = Sparsities(model.layers[0].kernel)
    history = model.fit(
        *data(), batch_size=16, epochs=3, verbose=0, callbacks=[schedule, watch]
    ).history
    seen = np.round(watch.seen, 2)
    if shape == "constant":
        expected = [0] + [0.8] * 11
    elif shape == "rounds":  # each time the same share of what is left: 0.2 ** (1 / 3)
        expected = [0] + [0.42] * 3 + [0.66] * 3 + [0.8] * 5
    else:
        steps = [0.8 * (1 - (1 - t / 6) ** 3) for t in (0, 0, 2, 2, 4, 4, 6)]
        expected = [0] + steps + [0.8] * 4
    np.testing.assert_allclose(seen, expected, atol=0.011)
    assert history[f"sparsity/{watch.variable.path}"][-1] == pytest.approx(0.8, abs=0.01)
    assert history["sparsity"] == sorted(history["sparsity"])


@pytest.mark.parametrize("steps", [1, 3])  # data(): 4 steps an epoch, of which 3 is no divisor
def test_a_schedule_counts_steps_not_calls(steps):
    if steps > 1 and keras.backend.backend() == "torch":
        pytest.skip("Keras allows one step an execution on PyTorch")
    model = mlp()
    model.compile("adam", "mse", steps_per_execution=steps)
    schedule = smh.PruningSchedule(0.8, begin=2, end=11, every=1)
    model.fit(*data(), batch_size=16, epochs=3, verbose=0, callbacks=[schedule])
    assert sparsity_of(model)["sparsity"] == pytest.approx(0.8, abs=0.01)


def test_a_second_fit_gives_nothing_back_and_still_reaches_the_end():
    model = mlp()
    model.compile("adam", "mse")
    model.fit(*data(), epochs=4, verbose=0, callbacks=[smh.PruningSchedule(0.5, every=1)])
    gone = [numpy_of(v.value) == 0 for v in virtual_variables(model)]
    watch = Sparsities(model.layers[0].kernel)
    schedule = smh.PruningSchedule(0.8, every=1)
    model.fit(
        *data(), initial_epoch=4, epochs=8, verbose=0, batch_size=32, callbacks=[schedule, watch]
    )
    assert min(watch.seen) >= 0.5 and watch.seen == sorted(watch.seen)
    for was, virtual in zip(gone, virtual_variables(model), strict=True):
        assert zeros(virtual) == pytest.approx(0.8, abs=0.01)
        assert (numpy_of(virtual.value) == 0)[was].all()


def test_a_path_means_that_weight_alone():
    x = keras.Input((12,))
    y = layers.Dense(20, name="b")(layers.Dense(20, name="a")(x))
    model = keras.Model(x, layers.Dense(20, name="a_2")(y))
    first, second = model.get_layer("a").kernel, model.get_layer("a_2").kernel
    second._path = first.path + "_2"
    smh.prune(model, [(first.path, 0.25), (second.path, 0.75)])
    assert zeros(first) == 0.25 and zeros(second) == 0.75


def test_a_schedule_is_optional_and_may_only_log():
    model = smh.prune(mlp(), 0.5)
    model.compile("adam", "mse")
    history = model.fit(*data(), verbose=0, callbacks=[smh.PruningSchedule(None)]).history
    assert history["sparsity"] == [pytest.approx(0.5, abs=0.01)]
    assert set(sparsity_of(mlp())) == set()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorBoard needs TensorFlow")
def test_tensorboard_shows_the_sparsity_of_each_layer(tmp_path):
    from tensorflow.python.summary.summary_iterator import summary_iterator

    model = mlp()
    model.compile("adam", "mse")
    pytest.importorskip("tensorboard")
    board = keras.callbacks.TensorBoard(tmp_path, write_graph=False)
    model.fit(*data(), verbose=0, callbacks=[smh.PruningSchedule(0.5, shape="constant"), board])
    tags = {
        value.tag
        for path in tmp_path.rglob("events.*")
        for event in summary_iterator(str(path))
        for value in event.summary.value
    }
    for layer in model.layers:
        assert f"epoch_sparsity/{layer.kernel.path}" in tags


WRONG = {
    "above": (dict(sparsity=1.0), ArgumentError, "below 1"),
    "below": (dict(sparsity=-0.1), ArgumentError, "below 1"),
    "text": (dict(sparsity="all"), ArgumentError, "below 1"),
    "nan": (dict(sparsity=float("nan")), ArgumentError, "below 1"),
    "pairs": (dict(sparsity=[("a", 0.5, 1)]), ArgumentError, "pairs"),
    "no fit": (dict(sparsity=[("nowhere", 0.5)]), ArgumentError, "fits no weight"),
    "scope": (dict(scope="model"), ArgumentError, "'layer', 'global'"),
    "structure": (dict(structure="rows"), ArgumentError, "'filters'"),
    "global pairs": (dict(sparsity=[(".*", 0.5)], scope="global"), ArgumentError, "one number"),
    "nothing": (dict(apply_to="nowhere"), SelectionError, "There are:"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments_change_nothing(name):
    arguments, error, match = WRONG[name]
    model = mlp()
    before = weights_of(model)
    with pytest.raises(error, match=match):
        smh.prune(model, **arguments)
    assert not virtual_variables(model) and weights_of(model).keys() == before.keys()


def test_models_that_cannot_be_pruned():
    with pytest.raises(ArgumentError, match="Keras 3 model"):
        smh.prune("model")
    with pytest.raises(UnbuiltModelError, match="not built"):
        smh.prune(keras.Sequential([layers.Dense(3)]))
    with pytest.raises(UnbuiltModelError, match="not built"):
        smh.prune(keras.Sequential())
    with pytest.raises(DeployedModelError, match="train"):
        smh.prune(smh.deploy(smh.compress(mlp(), 0.5), "cached"))
    model = mlp()
    kernel = model.layers[1].kernel
    kernel.assign(ops.full(kernel.shape, np.nan))
    with pytest.raises(SelectionError, match="not finite"):
        smh.prune(model, 0.5)
    assert not virtual_variables(model)
    with pytest.raises(ArgumentError, match="share"):
        smh.prune(smh.cluster(mlp(), 2), 0.5)


def test_wrong_schedules_and_pruners():
    for arguments in (
        dict(shape="cubic"),
        dict(begin=-1),
        dict(begin=5, end=4),
        dict(every=0),
        dict(rounds=0),
        dict(power=0),
        dict(power="3"),
        dict(structure="unit"),
        dict(scope="all"),
        dict(scope="global", structure="filters"),
        dict(seed="a"),
        dict(sparsity="half"),
        dict(sparsity=1.5),
    ):
        with pytest.raises(ArgumentError):
            smh.PruningSchedule(**{"sparsity": 0.5, **arguments})
    for options in ([], [("a", 0.5, 1)], ["ab"], [("a", 1.5)], 0.5):
        with pytest.raises(ArgumentError):
            smh.LevelPruner(options)


def entropy_bytes(symbols):
    """What an ideal coder needs for symbols of these shares."""
    shares = np.unique(symbols, return_counts=True)[1] / symbols.size
    return -(shares * np.log2(shares)).sum() * symbols.size / 8


def test_the_file_holds_what_is_left(tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((300,)), layers.Dense(500)])
    smh.save(model, tmp_path / "dense.smh")
    smh.prune(model, 0.95)
    smh.save(model, tmp_path / "pruned.smh")
    kernel = numpy_of(model.layers[0].kernel.value).ravel()
    planes = kernel[kernel != 0].view("uint8").reshape(-1, 4).T  # floats go byte by byte
    content = sum(map(entropy_bytes, [kernel == 0, *planes]))
    parts = smh.inspect(tmp_path / "pruned.smh").parts
    (weight,) = [part for part in parts if part.numbers == kernel.size]
    assert 0.99 * content < weight.bytes < 1.03 * content + 64 * 5
    size = (tmp_path / "pruned.smh").stat().st_size
    assert weight.bytes < size < weight.bytes + 1500  # biases, names and architecture
    again = smh.load(tmp_path / "pruned.smh")
    assert isinstance(again.layers[0].kernel, VirtualVariable)
    np.testing.assert_array_equal(
        numpy_of(again.layers[0].kernel.value), numpy_of(model.layers[0].kernel.value)
    )
    again.compile("adam", "mse")
    x = np.ones((4, 300), "float32")
    again.fit(x, np.ones((4, 500), "float32"), verbose=0)
    assert zeros(again.layers[0].kernel) == pytest.approx(0.95, abs=1e-5)
