"""Outcome: everything that users assume of a Keras model still holds. One test each."""

import fresh_process
import keras
import numpy as np
import pytest
from keras import layers
from models import CASES, by_name, mlp, numpy_of, pools_of

import smh
from smh.errors import SmhWarning, VirtualVariableError
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.optimizer_built_by_keras
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="a TensorFlow feature"
)


def data(count=32):
    return by_name["sequential"].data(count)


def compiled(model=None, fraction=0.5, **kwargs):
    model = smh.compress(model or mlp(), fraction, seed=0)
    kwargs.setdefault("optimizer", keras.optimizers.Adam(0.01))
    model.compile(loss="mse", **kwargs)
    return model


def falls(losses):
    return losses[-1] < 0.95 * losses[0]


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("jit", [True, False])
def test_fit_evaluate_predict_train_on_batch(jit):
    x, y = data()
    model = compiled(jit_compile=jit)
    assert falls(model.fit(x, y, epochs=5, verbose=0).history["loss"])
    error = np.mean((model.predict(x, verbose=0) - y) ** 2)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(error, rel=1e-3)
    assert falls([float(model.train_on_batch(x, y)) for _ in range(6)])


@tensorflow_only
def test_jit_compiled_lstm_and_conv():
    for name in ("lstm", "conv"):
        x, y = by_name[name].data()
        model = compiled(by_name[name].build(), jit_compile=True)
        assert falls(model.fit(x, y, epochs=8, verbose=0).history["loss"])


@tensorflow_only
def test_custom_loop_with_a_gradient_tape():
    import tensorflow as tf

    x, y = data()
    model, optimizer, losses = smh.compress(mlp(), 0.5), keras.optimizers.Adam(0.01), []

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss, gradients

    for _ in range(10):
        loss, gradients = step()
        losses.append(float(loss))
    assert falls(losses)
    assert all(np.abs(g.numpy()).max() > 0 for g in gradients)


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    x, y = by_name["conv"].data()
    model = compiled(by_name["conv"].build())
    seen = []
    for virtual in virtual_variables(model):
        assert virtual.dtype == "float32"
        probe = keras.layers.Lambda(  # a layer computes in its policy's dtype
            lambda x, v=virtual: seen.append(keras.backend.standardize_dtype(v.value.dtype)) or x
        )
        probe(np.zeros(1, "float32"))
    assert set(seen) == {policy.removeprefix("mixed_")}
    assert falls(model.fit(x, y, epochs=8, verbose=0).history["loss"])
    assert {keras.backend.standardize_dtype(v.dtype) for v in pools_of(model)[0].variables} == {
        "float32"
    }


@pytest.mark.backend_agnostic
@pytest.mark.skipif(
    keras.backend.backend() == "torch",
    reason="Keras allows only steps_per_execution=1 on PyTorch, dense or not",
)
def test_steps_per_execution_equals_single_steps():
    x, y = data(64)
    histories = []
    for steps in (1, 4):
        keras.utils.set_random_seed(1)
        model = compiled(mlp(), steps_per_execution=steps)
        histories.append(model.fit(x, y, batch_size=8, epochs=3, shuffle=False, verbose=0))
    a, b = (h.history["loss"] for h in histories)
    np.testing.assert_allclose(a, b, rtol=1e-4)


@tensorflow_only
def test_unrolled_steps_see_fresh_values():
    import tensorflow as tf

    x, y = data()

    def losses(unrolled):
        keras.utils.set_random_seed(1)
        model = smh.compress(mlp(), 0.5, seed=0)
        optimizer = keras.optimizers.SGD(0.01)
        optimizer.build(model.trainable_variables)

        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(x) - y) ** 2)
            grads = tape.gradient(loss, model.trainable_variables)
            optimizer.apply_gradients(zip(grads, model.trainable_variables, strict=True))
            return loss

        if unrolled:
            return [float(v) for v in tf.function(lambda: [step() for _ in range(4)])()]
        return [float(step()) for _ in range(4)]

    eager, graph = losses(False), losses(True)
    np.testing.assert_allclose(eager, graph, rtol=1e-4)
    assert eager[3] < eager[0]


@tensorflow_only
def test_two_tapes_in_one_function():
    import tensorflow as tf

    x, y = data()
    model = smh.compress(mlp(), 0.5)

    @tf.function
    def both():
        gradients = []
        for scale in (1.0, 2.0):
            with tf.GradientTape() as tape:
                loss = scale * tf.reduce_mean((model(x) - y) ** 2)
            gradients.append(tape.gradient(loss, model.trainable_variables))
        return gradients

    first, second = both()
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(2 * a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)
        assert np.abs(a.numpy()).max() > 0


@pytest.mark.backend_agnostic
def test_gradient_accumulation_equals_the_large_batch():
    x, y = data(32)
    weights = []
    for batch, accumulate in ((32, None), (8, 4)):
        keras.utils.set_random_seed(1)
        optimizer = keras.optimizers.SGD(0.01, gradient_accumulation_steps=accumulate)
        model = compiled(mlp(), optimizer=optimizer)
        model.fit(x, y, batch_size=batch, epochs=2, shuffle=False, verbose=0)
        weights.append([numpy_of(v) for v in model.trainable_variables])
    for a, b in zip(*weights, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


@pytest.mark.backend_agnostic
def test_ema_averages_the_factors():
    """`fit` ends on the moving average, which starts at the values after the first step."""
    x, y = data()

    def after(steps, **ema):
        keras.utils.set_random_seed(1)
        model = compiled(optimizer=keras.optimizers.SGD(0.01, **ema))
        model.fit(x, y, epochs=steps, verbose=0)
        return [numpy_of(v) for v in pools_of(model)[0].core_variables]

    averaged = after(2, use_ema=True, ema_momentum=0.25)
    for first, second, average in zip(after(1), after(2), averaged, strict=True):
        np.testing.assert_allclose(average, 0.25 * first + 0.75 * second, rtol=1e-4, atol=1e-6)
        assert np.abs(first - second).max() > 1e-4


@pytest.mark.backend_agnostic
def test_values_are_never_stale():
    model = smh.compress(mlp(), 0.5)
    x, _ = data()
    left = pools_of(model)[0].core_variables[0]
    before, kernel = numpy_of(model(x)), numpy_of(model.layers[0].kernel)
    left.assign(numpy_of(left) * 2)
    np.testing.assert_allclose(numpy_of(model.layers[0].kernel), 2 * kernel, rtol=1e-5)
    assert np.abs(numpy_of(model(x)) - before).max() > 1e-3
    model.compile(keras.optimizers.Adam(0.01), "mse")
    for _ in range(3):
        fitted = model.predict(x, verbose=0)
        np.testing.assert_allclose(fitted, numpy_of(model(x)), rtol=1e-4, atol=1e-5)
        model.fit(x, np.zeros_like(fitted), verbose=0)
        assert np.abs(model.predict(x, verbose=0) - fitted).max() > 1e-4


@pytest.mark.backend_agnostic
def test_summary_and_variables_count_what_is_trained():
    model = smh.compress(mlp(), 0.5)
    paths = [v.path for v in model.trainable_variables]
    assert len(paths) == len(set(paths))
    assert [p for p in paths if p.startswith("ProductVariablePool")] == [
        "ProductVariablePool/variable_left",
        "ProductVariablePool/variable_right",
    ]
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    lines = []
    model.summary(print_fn=lambda line, **_: lines.append(line))
    assert f"Trainable params: {trained:,}" in "\n".join(lines)
    assert model.count_params() == trained


@pytest.mark.backend_agnostic
def test_freezing_a_layer_freezes_its_weights_and_not_the_pool():
    x, y = data()
    model = smh.compress(mlp(), 0.5)
    first, last = model.layers
    frozen, free = numpy_of(first.kernel), numpy_of(last.kernel)
    first.trainable = False
    np.testing.assert_array_equal(numpy_of(first.kernel), frozen)
    pool = pools_of(model)[0]
    assert all(v.trainable for v in pool.core_variables)
    assert [v.path for v in model.trainable_variables if "/dense/" in v.path] == []
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(x, y, epochs=2, verbose=0)
    np.testing.assert_array_equal(numpy_of(first.kernel), frozen)
    assert np.abs(numpy_of(last.kernel) - free).max() > 1e-3
    assert "frozen copy" in str(smh.report(model).rows[0].stored)


@pytest.mark.backend_agnostic
def test_freezing_and_unfreezing_the_whole_model_costs_and_changes_nothing():
    x, _ = data()
    model = smh.compress(mlp(), 0.5)
    before, count = model.predict(x, verbose=0), model.count_params()
    model.trainable = False
    assert model.trainable_variables == []
    assert not any(v.trainable for v in pools_of(model)[0].core_variables)
    assert model.count_params() == count
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)
    model.trainable = True
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == count
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


@pytest.mark.backend_agnostic
def test_frozen_submodel_in_a_new_model_trains_only_the_head():
    x, y = data()
    base = smh.compress(mlp(), 0.5)
    base.trainable = False
    model = keras.Sequential([keras.Input((12,)), base, layers.Dense(3)])
    features = base.predict(x, verbose=0)
    model.compile(keras.optimizers.Adam(0.05), "mse")
    assert falls(model.fit(x, y, epochs=5, verbose=0).history["loss"])
    np.testing.assert_array_equal(base.predict(x, verbose=0), features)


SPARED = {
    "names": lambda model: dict(var_names=["bias"]),
    "variables": lambda model: dict(var_list=[model.layers[0].bias, model.layers[0].kernel]),
}
CHANGES = {
    "compress": lambda model: smh.compress(model, 0.5, seed=0),
    "prune": lambda model: smh.prune(model, 0.5),
    "quantize": lambda model: smh.quantize_weights(model, 4),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("spared", SPARED)
def test_what_is_spared_of_weight_decay_stays_so(spared, change):
    model = mlp()
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(**SPARED[spared](model))
    model.compile(optimizer, "mse")
    optimizer.build(model.trainable_variables)
    CHANGES[change](model)
    assert model.optimizer is not optimizer
    assert not model.optimizer._use_weight_decay(model.layers[0].bias)
    assert {v.name for v in model.trainable_variables if model.optimizer._use_weight_decay(v)}


@pytest.mark.backend_agnostic
def test_regularizer_acts_on_the_computed_weight():
    x, y = data()
    model = compiled(sequential_with_l2(0.01))
    model(x)
    weights = [numpy_of(layer.kernel) for layer in model.layers]
    expected = 0.01 * sum(float((w**2).sum()) for w in weights)
    assert sum(float(loss) for loss in model.losses) == pytest.approx(expected, rel=1e-4)
    error = np.mean((model.predict(x, verbose=0) - y) ** 2)
    assert model.evaluate(x, y, verbose=0) == pytest.approx(error + expected, rel=1e-3)

    norms = []
    for rate in (0.0, 0.1):
        keras.utils.set_random_seed(1)
        model = compiled(sequential_with_l2(rate))
        model.fit(x, y, epochs=30, verbose=0)
        norms.append(sum(float((numpy_of(layer.kernel) ** 2).sum()) for layer in model.layers))
    assert norms[1] < 0.5 * norms[0]


def sequential_with_l2(rate):
    l2 = keras.regularizers.L2(rate)
    return keras.Sequential(
        [
            keras.Input((12,)),
            layers.Dense(24, activation="relu", kernel_regularizer=l2),
            layers.Dense(3, kernel_regularizer=l2),
        ]
    )


@pytest.mark.backend_agnostic
def test_regularizer_counts_once_for_a_layer_that_is_called_twice():
    x = keras.Input((12,))
    dense = layers.Dense(12, kernel_regularizer=keras.regularizers.L2(0.5))
    model = smh.compress(keras.Model(x, dense(dense(x))), 0.5)
    model.compile("sgd", "mse")
    inputs = np.ones((4, 12), "float32")
    expected = 0.5 * float((numpy_of(dense.kernel) ** 2).sum())
    error = np.mean(model.predict(inputs, verbose=0) ** 2)
    assert model.evaluate(inputs, np.zeros((4, 12)), verbose=0) == pytest.approx(
        error + expected, rel=1e-3
    )
    outer = keras.Sequential([keras.Input((12,)), model, model])
    outer.compile("sgd", "mse")
    error = np.mean(outer.predict(inputs, verbose=0) ** 2)
    assert outer.evaluate(inputs, np.zeros((4, 12)), verbose=0) == pytest.approx(
        error + expected, rel=1e-3
    )


@pytest.mark.backend_agnostic
def test_regularized_lstm_trains():
    x, y = by_name["lstm"].data()
    l2 = keras.regularizers.L2(0.01)
    lstm = layers.LSTM(10, kernel_regularizer=l2, recurrent_regularizer=l2)
    model = compiled(keras.Sequential([keras.Input((5, 6)), lstm, layers.Dense(3)]))
    assert falls(model.fit(x, y, epochs=8, verbose=0).history["loss"])


@pytest.mark.backend_agnostic
def test_a_constraint_is_dropped_with_a_warning():
    model = keras.Sequential(
        [keras.Input((12,)), layers.Dense(8, kernel_constraint=keras.constraints.MaxNorm(1.0))]
    )
    with pytest.warns(SmhWarning, match="constraint MaxNorm of '.*/dense/kernel' is dropped"):
        smh.compress(model, 0.5)
    model.compile("sgd", "mse")
    model.fit(np.ones((4, 12)), np.ones((4, 8)), verbose=0)


@pytest.mark.backend_agnostic
def test_assign_quantize_and_lora_are_clear_errors_and_change_nothing():
    model = smh.compress(mlp(), 0.5)
    x, _ = data()
    before = model.predict(x, verbose=0)
    kernel = model.layers[0].kernel
    outer = keras.Sequential([keras.Input((12,)), model])
    for act, message in [
        (lambda: kernel.assign(np.zeros(kernel.shape)), "dense/kernel' is a virtual variable"),
        (lambda: kernel.assign_add(np.ones(kernel.shape)), "is a virtual variable"),
        (lambda: model.quantize("int8"), "quantize"),
        (lambda: model.layers[0].quantize("int8"), "quantize"),
        (lambda: outer.quantize("int8"), "quantize|quantised"),
        (lambda: model.layers[0].enable_lora(2), "enable_lora"),
    ]:
        with pytest.raises((VirtualVariableError, ValueError), match=message):
            act()
    np.testing.assert_array_equal(model.predict(x, verbose=0), before)


@tensorflow_only
def test_gradient_with_respect_to_a_virtual_variable_is_a_clear_error():
    import tensorflow as tf

    model = smh.compress(mlp(), 0.5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(np.ones((2, 12), "float32")))
    with pytest.raises(VirtualVariableError, match="trainable_variables"):
        tape.gradient(loss, model.layers[0].kernel)


@pytest.mark.backend_agnostic
def test_set_weights_of_the_trained_variables_round_trips():
    x, _ = data()
    a, b = (smh.compress(mlp(), 0.5, seed=seed) for seed in (1, 2))
    b.set_weights(a.get_weights())
    np.testing.assert_array_equal(a.predict(x, verbose=0), b.predict(x, verbose=0))


@pytest.mark.backend_agnostic
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.name in ("lstm", "attention", "embedding")], ids=lambda c: c.name
)
def test_save_weights_stores_the_factors_and_loads_into_a_rebuilt_model(case, tmp_path):
    import h5py

    x, y = case.data()
    model = compiled(case.build(), case.fraction)
    model.fit(x, y, verbose=0)
    expected = model.predict(x, verbose=0)
    model.save_weights(tmp_path / "m.weights.h5")
    stored = []
    with h5py.File(tmp_path / "m.weights.h5") as file:
        file.visititems(
            lambda name, item: (
                stored.append(item.size)
                if isinstance(item, h5py.Dataset)
                and not name.startswith("optimizer")
                and not name.endswith("slots")
                else None
            )
        )
    assert sum(stored) == sum(int(np.prod(v.shape)) for v in model.weights)
    again = smh.compress(case.build(), case.fraction, seed=99)
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)


@pytest.mark.backend_agnostic
def test_loaded_weights_lie_where_they_lay_when_saved(tmp_path):
    """Slots in another order, as on another backend or through the other door."""
    x, _ = data()
    model = smh.compress(mlp(), 0.5, seed=1)
    model.save_weights(tmp_path / "m.weights.h5")
    again = smh.compress(mlp(), 0.5, seed=2)
    first, last = (v.parametrization for v in virtual_variables(again))
    first.slot, last.slot = first.source.slot_at(72, 288), first.source.slot_at(0, 72)
    again.load_weights(tmp_path / "m.weights.h5")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))


@pytest.mark.backend_agnostic
def test_weights_of_a_dense_model_are_refused_and_so_is_the_other_way(tmp_path):
    dense, small = mlp(), smh.compress(mlp(), 0.5)
    for layer in dense.layers:
        layer.bias.assign(np.ones(layer.bias.shape))  # or a bias that was loaded would not show
    dense.save_weights(tmp_path / "dense.weights.h5")
    small.save_weights(tmp_path / "small.weights.h5")
    before = small.get_weights()
    with pytest.raises(ValueError, match="stored dense: 2 variables, expected 1"):
        small.load_weights(tmp_path / "dense.weights.h5")
    with pytest.raises(ValueError, match="expected 2 variables"):
        dense.load_weights(tmp_path / "small.weights.h5")
    for a, b in zip(before, small.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@tensorflow_only
def test_tensorflow_checkpoint_stores_the_factors_only(tmp_path):
    import tensorflow as tf

    x, _ = data()
    model, again = (smh.compress(mlp(), 0.5, seed=seed) for seed in (1, 2))
    path = tf.train.Checkpoint(model=model).write(str(tmp_path / "ckpt"))
    shapes = [tuple(s) for name, s in tf.train.list_variables(path) if "VARIABLE_VALUE" in name]
    assert sorted(shapes) == sorted(tuple(v.shape) for v in model.variables)
    tf.train.Checkpoint(model=again).read(path)
    np.testing.assert_array_equal(model.predict(x, verbose=0), again.predict(x, verbose=0))


@tensorflow_only
@pytest.mark.parametrize("how", ["export", "saved_model.save"])
def test_a_saved_model_runs_without_smh_and_keeps_the_factors(how, tmp_path):
    import tensorflow as tf

    model = smh.compress(mlp(width=400, inputs=300), 0.05)
    x = np.random.default_rng(0).normal(size=(4, 300)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    if how == "export":
        model.export(tmp_path / "saved", verbose=False)
    else:
        model.serve = tf.function(
            lambda x: model(x), input_signature=[tf.TensorSpec((None, 300), "float32")]
        )
        tf.saved_model.save(model, str(tmp_path / "saved"))
    code = (
        "import sys, numpy as np, tensorflow as tf; folder = sys.argv[1]; "
        "model = tf.saved_model.load(folder + '/saved'); "
        "np.save(folder + '/y.npy', model.serve(np.load(folder + '/x.npy'))); "
        "assert 'smh' not in sys.modules"
    )
    fresh_process.run(code, tmp_path).check_returncode()
    np.testing.assert_allclose(
        np.load(tmp_path / "y.npy"), model.predict(x, verbose=0), rtol=1e-4, atol=1e-5
    )
    size = sum(p.stat().st_size for p in (tmp_path / "saved").rglob("*") if p.is_file())
    dense = 4 * 300 * 400
    assert 4 * model.count_params() < size < 4 * model.count_params() + 100_000 < dense


@tensorflow_only
def test_raw_tf_variables_are_warned_about():
    import tensorflow as tf

    class Raw(layers.Layer):
        def __init__(self):
            super().__init__()
            self.raw = tf.Variable(tf.ones((12, 12)))

        def call(self, x):
            return x @ self.raw

    model = keras.Sequential([keras.Input((12,)), Raw(), layers.Dense(24)])
    with pytest.warns(SmhWarning, match="raw tf.Variable 'raw'"):
        smh.compress(model, 0.5)


@tensorflow_only
def test_rematerialised_layers_get_their_gradients():
    import tensorflow as tf

    with keras.RematScope(mode="full"):
        model = mlp()
    smh.compress(model, 0.5)
    x, y = data()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(x, training=True) - y) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(g is not None and np.abs(g.numpy()).max() > 0 for g in gradients)


@pytest.mark.backend_agnostic
@pytest.mark.skipif(
    keras.backend.backend() == "tensorflow",
    reason="Keras 3.15 rematerialises no layer inside a tf.function, dense or not",
)
@pytest.mark.parametrize("whole_model", [True, False])
def test_rematerialised_models_train_and_are_penalised_once(whole_model):
    with keras.RematScope(mode="full"):
        model = sequential_with_l2(0.1)
    if not whole_model:
        model = keras.Sequential([keras.Input((12,)), *model.layers])
    smh.compress(model, 0.5)
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = data()
    error = np.mean((model.predict(x, verbose=0) - y) ** 2)
    penalty = 0.1 * sum(float((numpy_of(layer.kernel) ** 2).sum()) for layer in model.layers)
    loss = model.evaluate(x, y, verbose=0)
    assert loss == pytest.approx(error + penalty, rel=1e-3)
    assert falls(model.fit(x, y, epochs=5, verbose=0).history["loss"])


@tensorflow_only
def test_a_tf_while_loop_around_a_compressed_model():
    import tensorflow as tf

    model = smh.compress(mlp(inputs=3), 0.7)
    x = tf.ones((2, 3))
    looped = tf.function(
        lambda: tf.while_loop(lambda i, _: i < 3, lambda i, v: (i + 1, model(v)), (0, x))
    )()[1]
    np.testing.assert_allclose(looped, model(model(model(x))), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(model(x), model(x))
