"""What `test_distributed.py` runs, each in a process of its own: `... ENGINE [FOLDER]`.

Each `check_*` is a law. How an engine is set up, what counts bytes and what watches over workers
is the example's code, so that it is tested here as well.
"""

import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "distributed.py"
_spec = importlib.util.spec_from_file_location("distributed_example", EXAMPLE)
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)

WHAT = sys.argv[1] if __name__ == "__main__" else ""
example.use_two_devices(WHAT.removeprefix("resume-"))

import keras  # noqa: E402  (after the devices are set)
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402

import smh  # noqa: E402
from smh.data_parallel import exchange_factors  # noqa: E402

BATCH, EPOCHS = 16, 5  # 20 steps
_rng = np.random.default_rng(0)
X = _rng.normal(size=(64, 10, 10, 1)).astype("float32")
Y = np.arange(64) % 3


def network(normalized=False):
    """A convolution with a penalty, a synchronised batch normalisation, and dense layers."""
    keras.utils.set_random_seed(1)
    norm = [layers.BatchNormalization(synchronized=True)] if normalized else []
    penalty = keras.regularizers.L2(0.01)
    return keras.Sequential(
        [
            keras.Input(X.shape[1:]),
            layers.Conv2D(4, 3, activation="relu", kernel_regularizer=penalty),
            *norm,
            layers.Flatten(),
            layers.Dense(20, activation="relu"),
            layers.Dense(3),
        ]
    )


def compiled(engine, fraction, normalized=False, inside=True):
    """Built in the engine's scope; compressed in it or after it."""
    with engine.scope():
        model = network(normalized)
    if fraction is not None and not inside:
        smh.compress(model, fraction, seed=0)
    with engine.scope():
        if fraction is not None and inside:
            smh.compress(model, fraction, seed=0)
        exchange_factors(model)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.01), loss)
    return model


def train(engine, *args, **kwargs):
    model = compiled(engine, *args, **kwargs)
    return model, engine.fit(model, X, Y, BATCH, EPOCHS)


def check_losses_are_those_of_one_process(engine, normalized, inside=True):
    _, alone = train(example.OneProcess(), 0.3, normalized)
    model, losses = train(engine, 0.3, normalized, inside)
    assert len(losses) == 20 and losses[-1] < losses[0]
    np.testing.assert_allclose(losses, alone, rtol=0, atol=1e-4)
    check_replicas_are_equal(model)


def check_replicas_are_equal(model):
    for variable in [*model.trainable_variables, *model.optimizer.variables]:
        first, *others = copies(variable)
        assert len(others) == (0 if WHAT == "multiworker" else 1)
        for other in others:
            np.testing.assert_array_equal(first, other, err_msg=variable.path)


def copies(variable):
    if WHAT == "jax":
        return [np.asarray(shard.data) for shard in variable.value.addressable_shards]
    return [part.numpy() for part in variable.value.values]


def check_only_what_is_trained_is_exchanged(engine):
    reduced = {}
    for fraction in (None, 0.3):
        model = compiled(engine, fraction)
        trained = sum(4 * int(np.prod(v.shape)) for v in model.trainable_variables)
        reduced[fraction] = engine.reduced_bytes(model, X[:BATCH], Y[:BATCH])
        # On JAX the losses as well: one, or with and without the optimizer's loss scale.
        assert reduced[fraction] - trained in ((4, 8) if WHAT == "jax" else (0,)), reduced
    assert reduced[0.3] < 0.35 * reduced[None]


# MirroredStrategy


class HandOver(layers.Layer):
    """Lets the other replicas catch up here: their threads take turns at such points."""

    def call(self, x):
        import tensorflow as tf

        context = tf.distribute.get_replica_context()
        if context is None or context.num_replicas_in_sync == 1:
            return x
        return context.merge_call(lambda strategy, value: value, args=(x,))


def check_each_replica_computes_its_own_product(engine):
    """The replicas get different factors, which never happens in training, and must use them."""
    import tensorflow as tf

    with engine.scope():
        twin = keras.Sequential([keras.Input((6,)), layers.Dense(6), HandOver(), layers.Dense(6)])
        smh.compress(twin, 0.7, seed=0)
        x = inputs = keras.Input((6,))
        for layer in twin.layers * 2:  # a model that smh does not know, of layers that it does
            x = layer(x)
        stranger = keras.Model(inputs, x)
    batch = np.eye(6, dtype="float32")
    left = twin.trainable_variables[2]
    assert left.path.endswith("variable_left")
    for model in (twin, stranger):
        expected = []
        for scale in (1.0, -3.0):
            left.assign(scale * keras.ops.ones_like(left))
            expected.append(model(batch).numpy())
        for copy, scale in zip(left.value.values, (1.0, -3.0), strict=True):
            copy.assign(scale * tf.ones_like(copy))

        @tf.function
        def predict(model=model):
            return engine.strategy.run(model, args=(tf.constant(batch),))

        for got, want in zip(predict().values, expected, strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-5)
        assert np.abs(expected[0] - expected[1]).max() > 0.1


def check_one_product_per_replica(engine):
    model = compiled(engine, 0.3)
    right = next(v for v in model.trainable_variables if v.path.endswith("variable_right"))
    batches = example.distributed(engine.strategy, X, Y, BATCH)
    graph = example.traced_step(engine.strategy, model, batches)
    products = [
        op.device
        for op in graph.get_operations()
        if op.type == "MatMul"
        and tuple(op.inputs[1].shape) == tuple(right.shape)
        and not op.get_attr("transpose_b")  # the gradient of L
    ]
    assert len(products) == len(set(products)) == 2, products


def check_a_frozen_layer_stays(engine):
    model = compiled(engine, 0.3)
    frozen, trained = model.layers[-2:]
    frozen.trainable = False
    before, other = frozen.kernel.numpy(), trained.kernel.numpy()
    engine.fit(model, X, Y, BATCH, 1)
    np.testing.assert_array_equal(frozen.kernel.numpy(), before)
    assert np.abs(trained.kernel.numpy() - other).max() > 1e-3
    check_replicas_are_equal(model)


def check_the_getter_door(engine):
    import tensorflow as tf

    losses = []
    for scope in (example.OneProcess().scope, engine.scope):
        with scope():
            keras.utils.set_random_seed(1)
            pool = smh.ProductVariablePool(True, pool_size=500, fraction=0.5, seed=0)
            factory = smh.VariableFactory(pool, "kernel")
            with tf.variable_creator_scope(factory.custom_getter_tf2):
                model = keras.Sequential([keras.Input((100,)), layers.Dense(3)])
            model.compile(keras.optimizers.Adam(0.01), "mse")
        history = model.fit(
            X.reshape(64, -1), np.eye(3)[Y], batch_size=16, epochs=5, shuffle=False, verbose=0
        )
        losses.append(history.history["loss"])
        assert len(model.trainable_variables) == 3
    np.testing.assert_allclose(*losses, rtol=0, atol=1e-4)
    check_replicas_are_equal(model)


def mirrored():
    engine = example.Mirrored()
    check_losses_are_those_of_one_process(engine, normalized=False, inside=False)
    check_losses_are_those_of_one_process(engine, normalized=True)
    check_only_what_is_trained_is_exchanged(engine)
    check_each_replica_computes_its_own_product(engine)
    check_one_product_per_replica(engine)
    check_a_frozen_layer_stays(engine)
    check_the_getter_door(engine)


# MultiWorkerMirroredStrategy


def multiworker():
    """Both processes run this; each is one replica."""
    example.end_with_parent()
    engine = example.MultiWorker()  # before anything else: it starts the cluster
    check_losses_are_those_of_one_process(engine, normalized=False, inside=False)
    check_losses_are_those_of_one_process(engine, normalized=True)
    check_only_what_is_trained_is_exchanged(engine)
    model, _ = train(engine, 0.3)
    np.savez(Path(sys.argv[2], f"{rank()}.npz"), *[v.numpy() for v in model.trainable_variables])


def rank():
    return json.loads(os.environ["TF_CONFIG"])["task"]["index"] if "TF_CONFIG" in os.environ else 0


# keras.distribution.DataParallel


def check_statistics_of_the_parts(engine):
    """Batch normalisation sees a device's part; its moving averages are the mean of the parts'."""
    with engine.scope():
        model = keras.Sequential([keras.Input((4,)), layers.BatchNormalization(momentum=0.0)])
        exchange_factors(model)
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x = _rng.normal(size=(16, 4)).astype("float32")
        model.fit(x, x, batch_size=16, shuffle=False, verbose=0)
    variances = [part.var(axis=0) for part in np.split(x, 2)]
    np.testing.assert_allclose(model.layers[0].moving_variance, np.mean(variances, 0), rtol=1e-4)


def check_dropout_draws_on_each_device(engine):
    x = np.ones((8, 500), "float32")
    states = []
    for run in (example.OneProcess(), engine):
        keras.utils.set_random_seed(1)
        with run.scope():
            model = keras.Sequential([keras.Input((500,)), layers.Dropout(0.5, seed=3)])
            exchange_factors(model)
            model.compile(keras.optimizers.SGD(0.0), "mse")
            state = [
                [v.value for v in variables]
                for variables in (model.non_trainable_variables, model.metrics_variables)
            ]
            _, (_, dropped, *_) = model.compute_loss_and_updates(
                [], *state, x, x, None, training=True, optimizer_variables=[]
            )
            model.fit(x, x, batch_size=8, epochs=3, verbose=0)
            states.append([np.asarray(v.value) for v in model.non_trainable_variables])
    np.testing.assert_array_equal(*states)  # as if one process had drawn
    rows = {np.asarray(row).tobytes() for row in dropped}
    assert len(rows) == 8


def check_outputs_are_those_of_one_process(engine):
    """With a batch axis or without; `features` is as long as the part of the batch of a device."""
    x, outputs = _rng.normal(size=(16, 8)).astype("float32"), []
    for run in (example.OneProcess(), engine):
        keras.utils.set_random_seed(1)
        with run.scope():
            first = keras.Input((8,))
            each = layers.Dense(8, name="each")(first)
            rows = keras.ops.reshape(each, (-1, 2))
            features = keras.ops.mean(each, axis=0)
            made = {"each": each, "rows": rows, "features": features}
            model = keras.Model(first, {**made, "scalar": keras.ops.mean(each)})
            exchange_factors(model)
            model.compile("sgd", {"each": "mse", "rows": None, "features": None, "scalar": None})
            state = [
                [v.value for v in variables]
                for variables in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    model.metrics_variables,
                )
            ]
            target = {"each": x, "rows": x, "features": x, "scalar": x}
            _, (_, y_pred, *_) = model.compute_loss_and_updates(*state, x, target, None)
            model.fit(x, target, batch_size=16, verbose=0)
            outputs.append({name: np.asarray(value) for name, value in y_pred.items()})
    for name, value in outputs[0].items():
        np.testing.assert_allclose(outputs[1][name], value, atol=1e-6, err_msg=name)


def masked(two=False):
    words = keras.Input((6,), dtype="int32")
    read = layers.LSTM(8, return_sequences=True)(layers.Embedding(9, 8, mask_zero=True)(words))
    outputs = {"a": layers.Dense(3, name="a")(read), "b": keras.ops.mean(read, axis=(0, 1))}
    return keras.Model(words, outputs if two else outputs["a"])


def check_masks_reach_the_metrics(engine):
    """Of outputs with a mask and without, with a batch axis and without."""
    x, y = _rng.integers(0, 3, (16, 6)), _rng.integers(0, 3, (16, 6))
    for two in (False, True):
        measured = []
        for run in (example.OneProcess(), engine):
            keras.utils.set_random_seed(1)
            with run.scope():
                model = exchange_factors(smh.compress(masked(two), 0.5, seed=0))
                loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
                metrics = {"a": "accuracy", "b": None} if two else "accuracy"
                model.compile(
                    keras.optimizers.SGD(0.0),
                    {"a": loss, "b": None} if two else loss,
                    metrics=metrics if two else [metrics],
                )
                target = {"a": y, "b": np.zeros(16)} if two else y
                model.fit(x, target, batch_size=16, verbose=0)
                found = model.evaluate(x, target, batch_size=16, verbose=0, return_dict=True)
                measured.append({n: v for n, v in found.items() if "accuracy" in n})
                said = np.asarray(model(x)["a"] if two else model(x)).argmax(-1)
        expected = (said == y)[x != 0].mean()
        assert abs(expected - (said == y).mean()) > 1e-3  # the mask makes a difference
        for found in measured:
            assert len(found) == 1
            np.testing.assert_allclose(*found.values(), expected, atol=1e-5)


def check_a_mean_by_weights_without_weights_is_the_mean(engine):
    losses = []
    for reduction in ("sum_over_batch_size", "mean_with_sample_weight"):
        keras.utils.set_random_seed(1)
        with engine.scope():
            model = exchange_factors(sequential())
            model.compile("sgd", keras.losses.MeanSquaredError(reduction=reduction))
            history = model.fit(np.ones((8, 4)), np.ones((8, 4)), epochs=2, verbose=0).history
            measured = model.evaluate(np.ones((8, 4)), np.ones((8, 4)), verbose=0)
            losses.append([*history["loss"], measured])
    np.testing.assert_array_equal(*losses)


def transposed():
    first = keras.Input((4,))
    return keras.Model(first, keras.ops.transpose(layers.Dense(4)(first)))


def sequential():
    return keras.Sequential([keras.Input((4,)), layers.Dense(4)])


def check_what_is_refused(engine):
    from smh.errors import ArgumentError

    mesh = keras.distribution.DeviceMesh((2,), ["batch"], ["cpu:0", "cpu:1"])
    layout = keras.distribution.LayoutMap(mesh)
    model_parallel = keras.distribution.ModelParallel(layout_map=layout, batch_dim_name="batch")
    summed = keras.losses.MeanSquaredError(reduction="sum")
    weighted = keras.losses.MeanSquaredError(reduction="mean_with_sample_weight")
    with_weights = {"sample_weight": np.ones(8)}
    for scope, make, loss, options, message in (
        (engine.scope(), sequential, summed, {}, "reduction='sum'"),
        (engine.scope(), sequential, weighted, with_weights, "weight' and there are sample weig"),
        (model_parallel.scope(), sequential, "mse", {}, "is a ModelParallel"),
        (engine.scope(), transposed, lambda y, said: keras.ops.mean(said), {}, "the first axis"),
    ):
        with scope:
            model = exchange_factors(make())
            model.compile("sgd", loss)
            try:
                model.fit(np.ones((8, 4)), np.ones((8, 4)), verbose=0, **options)
            except ArgumentError as error:
                assert message in str(error), error
            else:
                raise AssertionError(f"{message} was not refused")


def jax():
    engine = example.DataParallel()
    check_losses_are_those_of_one_process(engine, normalized=False)
    check_only_what_is_trained_is_exchanged(engine)
    check_statistics_of_the_parts(engine)
    check_dropout_draws_on_each_device(engine)
    check_outputs_are_those_of_one_process(engine)
    check_masks_reach_the_metrics(engine)
    check_a_mean_by_weights_without_weights_is_the_mean(engine)
    check_what_is_refused(engine)


# A worker that dies and comes back


class Dying(keras.callbacks.Callback):
    """Kills its process in the middle of an epoch, in the first life only."""

    def __init__(self, marker):
        super().__init__()
        self.marker, self.epoch = marker, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 3 and batch == 1 and not self.marker.exists():
            self.marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)


def resume():
    """Trains with a backup in FOLDER; the last worker dies once if the file `mortal` is there."""
    folder, name = Path(sys.argv[2]), WHAT.removeprefix("resume-")
    if name == "multiworker":
        example.end_with_parent()
    engine = example.make_engine(name)
    model = compiled(engine, 0.3)
    callbacks = [example.backup(folder / "backup", chief=rank() == 0)]
    if (folder / "mortal").exists() and rank() == int("TF_CONFIG" in os.environ):
        callbacks.append(Dying(folder / "died"))
    losses = engine.fit(model, X, Y, BATCH, EPOCHS, callbacks)
    weights = {v.path: np.asarray(v.numpy()) for v in model.trainable_variables}
    np.savez(folder / f"{rank()}.npz", losses=losses, **weights)


if __name__ == "__main__":
    {"mirrored": mirrored, "multiworker": multiworker, "jax": jax}.get(WHAT, resume)()
