"""The law of schedules: in one go = stopped anywhere and resumed, in whatever way it is resumed."""

import contextlib
import functools
import itertools

import keras
import numpy as np
import pytest
from keras import layers

import smh
from smh.doors.pruning import sparsity_of
from smh.errors import SmhWarning
from smh.virtual_variable import virtual_variables
from smh.virtual_variable.inside_keras.training_state import steps_made

pytestmark = [
    pytest.mark.backend_agnostic,
    pytest.mark.filterwarnings("ignore:This fit ended at step:smh.errors.SmhWarning"),
]
STEPS, EPOCHS = 4, 6  # of 16 examples each
SCHEDULES = {
    "polynomial": dict(shape="polynomial", begin=3, end=17, every=2),
    "constant": dict(shape="constant", begin=14),
    "rounds": dict(shape="rounds", begin=2, end=18, rounds=4),
    "global": dict(scope="global", begin=0, end=20, every=3),
    "filters": dict(structure="filters", begin=1, end=15, every=1),
    "pairs": dict(sparsity=[(".*a/kernel", 0.9), (".*b/kernel", 0.4)], begin=1, end=15, every=1),
    "default end": dict(every=2),
}


class Killed(Exception):
    """The process ends here."""


@contextlib.contextmanager
def killed():
    """What runs inside is killed, and nothing of it is kept.

    `pytest.raises` keeps the frames of `fit` until garbage is collected, and with them an iterator
    of `tf.data`. Freeing that may take as long as it has lived: half a minute at the end of this
    file, see `findings/tensorflow_freeing_iterators.sh`.
    """
    with contextlib.suppress(Killed):
        yield
        pytest.fail("it was not killed")


class Watch(keras.callbacks.Callback):
    """What the share of zeros is after each step of the optimizer; may stop, or kill."""

    def __init__(self, stop_at=None, kill_at=None):
        super().__init__()
        self.stop_at, self.kill_at, self.seen = stop_at, kill_at, {}

    def on_train_batch_end(self, batch, logs=None):
        steps = steps_made(self.model)
        self.seen[steps] = sparsity_of(self.model).get("sparsity", 0.0)
        if self.kill_at is not None and steps >= self.kill_at:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.stop_at:
            self.model.stop_training = True


def made(**compiled):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), layers.Dense(32, "relu", name="a"), layers.Dense(16, name="b")]
    )
    return compile_(model, **compiled)


def compile_(model, accumulate=None, steps_per_execution=1):
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=accumulate)
    eager = keras.backend.backend() == "tensorflow"  # a graph takes longer to trace than to run
    model.compile(optimizer, "mse", steps_per_execution=steps_per_execution, run_eagerly=eager)
    return model


def fit(model, schedule, watch, epochs=EPOCHS, before=(), after=(), **options):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(16 * STEPS, 8)), random.normal(size=(16 * STEPS, 16))
    return model.fit(
        x.astype("float32"),
        y.astype("float32"),
        batch_size=16,
        epochs=epochs,
        callbacks=[*before, smh.PruningSchedule(**schedule) if isinstance(schedule, dict)
                   else schedule, *after, watch],
        shuffle=False,
        verbose=0,
        **options,
    )  # fmt: skip


@functools.cache
def in_one_go(name, **compiled):
    model, watch = made(**compiled), Watch()
    fit(model, {"sparsity": 0.8} | SCHEDULES[name], watch)
    return watch.seen, masks(model), weights(model)


def masks(model):
    return [numpy_of(v.value) != 0 for v in virtual_variables(model)]


def weights(model):
    return [numpy_of(v.value) for v in virtual_variables(model)]


def numpy_of(value):
    return keras.ops.convert_to_numpy(value)


def keras_file(schedule, stop, folder, **compiled):
    model, watch = made(**compiled), Watch(stop_at=stop)
    fit(model, schedule, watch)
    model.save(folder / "model.keras")
    model, then = keras.saving.load_model(folder / "model.keras"), Watch()
    fit(model, schedule, then, initial_epoch=stop)
    return model, watch.seen | then.seen


def new_optimizer(schedule, stop, folder, **compiled):
    model, watch = made(**compiled), Watch(stop_at=stop)
    fit(model, schedule, watch)
    compile_(model, **compiled)
    then = Watch()
    fit(model, schedule, then, initial_epoch=stop)
    return model, watch.seen | {steps + stop * STEPS: zeros for steps, zeros in then.seen.items()}


def weights_file(schedule, stop, folder, **compiled):
    model, watch = made(**compiled), Watch(stop_at=stop)
    fit(model, schedule, watch)
    model.save_weights(folder / "model.weights.h5")
    model, then = smh.prune(made(**compiled), 0.0), Watch()
    model.optimizer.build(model.trainable_variables)
    model.load_weights(folder / "model.weights.h5")
    fit(model, schedule, then, initial_epoch=stop)
    return model, watch.seen | then.seen


def backup(schedule, stop, folder, behind=True, **compiled):
    def keeps():
        return {"after" if behind else "before": [keras.callbacks.BackupAndRestore(folder / "b")]}

    watch = Watch(kill_at=stop * STEPS + 1)
    with killed():
        fit(made(**compiled), schedule, watch, **keeps())
    model, then = made(**compiled), Watch()
    fit(model, schedule, then, **keeps())
    return model, watch.seen | then.seen


def backup_in_the_same_process(schedule, stop, folder, **compiled):
    model, watch = made(**compiled), Watch(kill_at=stop * STEPS + 2)
    schedule = smh.PruningSchedule(**schedule)
    keep = [keras.callbacks.BackupAndRestore(folder / "b")]
    with killed():
        fit(model, schedule, watch, after=keep)
    then = Watch()
    fit(model, schedule, then, after=keep)
    return model, watch.seen | then.seen


def one_object(schedule, stop, folder, **compiled):
    model, watch = made(**compiled), Watch()
    schedule = smh.PruningSchedule(**schedule)
    fit(model, schedule, watch, epochs=stop)
    fit(model, schedule, watch, epochs=EPOCHS - stop)
    return model, watch.seen


def one_object_new_optimizer(schedule, stop, folder, **compiled):
    model, watch, then = made(**compiled), Watch(), Watch()
    schedule = smh.PruningSchedule(**schedule)
    fit(model, schedule, watch, epochs=stop)
    compile_(model, **compiled)
    fit(model, schedule, then, epochs=EPOCHS - stop)
    return model, watch.seen | {steps + stop * STEPS: zeros for steps, zeros in then.seen.items()}


def epoch_by_epoch(schedule, stop, folder, **compiled):
    model, watch = made(**compiled), Watch()
    for _ in range(EPOCHS):
        fit(model, schedule, watch, epochs=1)
    return model, watch.seen


WAYS = {
    "keras file": keras_file,
    "new optimizer": new_optimizer,
    "weights file": weights_file,
    "backup": backup,
    "backup, which saves first": functools.partial(backup, behind=False),
    "backup in the same process": backup_in_the_same_process,
    "one object": one_object,
    "one object, new optimizer": one_object_new_optimizer,
    "epoch by epoch, new objects": epoch_by_epoch,
}
# These tell Keras of fewer epochs, so that the default end is another.
OTHER_LENGTH = {"one object", "one object, new optimizer", "epoch by epoch, new objects"}


def table():
    """All ways for one schedule, all schedules for one way; the rest of the table is slow."""
    for name, way in itertools.product(SCHEDULES, WAYS):
        fast = name == "polynomial" or way == "backup in the same process"
        yield pytest.param(name, way, id=f"{name}-{way}", marks=[] if fast else pytest.mark.slow)


@pytest.mark.parametrize("stop", [3, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name, way", list(table()))
def test_in_one_go_is_stopped_and_resumed(name, way, stop, tmp_path):
    if name == "default end" and way in OTHER_LENGTH:
        pytest.skip("another length is another schedule")
    schedule = {"sparsity": 0.8} | SCHEDULES[name]
    assert_same(in_one_go(name), *WAYS[way](schedule, stop, tmp_path))


COMPILED = {
    "steps_per_execution": dict(steps_per_execution=3),
    "accumulated gradients": dict(accumulate=3),
}


@pytest.mark.parametrize("way", ["keras file", "backup", "one object"])
@pytest.mark.parametrize("compiled", COMPILED)
def test_however_steps_are_made(compiled, way, tmp_path):
    options = COMPILED[compiled]
    if keras.backend.backend() == "torch" and "steps_per_execution" in options:
        pytest.skip("Keras allows one step an execution on PyTorch")
    schedule = {"sparsity": 0.8} | SCHEDULES["polynomial"]
    whole = in_one_go("polynomial", **options)
    assert_same(whole, *WAYS[way](schedule, 3, tmp_path, **options))


def assert_same(whole, model, seen):
    expected, gone, numbers = whole
    assert seen == pytest.approx(expected, abs=1e-9)
    assert 0.3 < seen[max(seen)] < 0.9  # something was pruned, and not all
    for mask, expected_mask, value, number in zip(
        masks(model), gone, weights(model), numbers, strict=True
    ):
        np.testing.assert_array_equal(mask, expected_mask)
        np.testing.assert_allclose(value, number, atol=1e-5)


@pytest.mark.parametrize("kill_at", [10, pytest.param(15, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["polynomial", "constant", "rounds"])
def test_a_backup_within_an_epoch(name, kill_at, tmp_path):
    """Keras then begins the epoch anew: more steps, but at each the sparsity is the same."""
    schedule, expected = {"sparsity": 0.8} | SCHEDULES[name], in_one_go(name)[0]

    def keep():
        return [keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=3)]

    with killed():
        fit(made(), schedule, Watch(kill_at=kill_at), after=keep())
    watch = Watch()
    fit(made(), schedule, watch, after=keep())
    first, end = min(watch.seen), max(expected)
    assert first == kill_at // 3 * 3 + 1 and max(watch.seen) > end  # after what was saved last
    assert {s: watch.seen[s] for s in range(first, end + 1)} == pytest.approx(
        {s: expected[s] for s in range(first, end + 1)}
    )


def test_steps_that_loss_scaling_leaves_out_count_the_same(tmp_path):
    def scaled():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((8,)), layers.Dense(16, dtype="mixed_float16")])
        optimizer = keras.optimizers.LossScaleOptimizer(
            keras.optimizers.SGD(0.01), initial_scale=2.0**27
        )
        model.compile(optimizer, "mse")
        return model

    schedule = dict(sparsity=0.8, begin=1, end=19, every=1)
    whole, watch = scaled(), Watch()
    history = fit(whole, schedule, watch).history["sparsity"]
    assert 5 < steps_made(whole) < STEPS * EPOCHS, "nothing was left out"
    model = scaled()
    first = fit(model, schedule, Watch(stop_at=3)).history["sparsity"]
    model.save(tmp_path / "model.keras")
    model = keras.saving.load_model(tmp_path / "model.keras")
    then = fit(model, schedule, Watch(), initial_epoch=3).history["sparsity"]
    assert [*first, *then] == pytest.approx(history)


def test_a_training_that_was_dense_first_begins_at_zero(tmp_path):
    """Not at `initial_epoch`: that would prune most at once."""
    model = made()
    fit(model, dict(sparsity=None), Watch(), epochs=4)
    watch = Watch()
    fit(model, dict(sparsity=0.8, every=1), watch, epochs=8, initial_epoch=4)
    assert watch.seen[1] == pytest.approx(0.8 * (1 - (11 / 12) ** 3), abs=0.01)
    assert watch.seen[12] == pytest.approx(0.8, abs=0.01) and watch.seen[11] < watch.seen[12]


def test_a_model_that_something_else_pruned_begins_at_zero():
    model = smh.prune(made(), 0.2)
    fit(model, dict(sparsity=None), Watch(), epochs=4)
    watch = Watch()
    fit(model, dict(sparsity=0.8, every=1, end=16), watch, epochs=4)
    begin = 4 * STEPS
    assert watch.seen[begin + 1] == pytest.approx(0.2, abs=0.01)
    assert watch.seen[begin + 8] == pytest.approx(0.7, abs=0.01)
    assert watch.seen[begin + 16] == pytest.approx(0.8, abs=0.01)


def test_a_dense_phase_then_killed_while_pruning(tmp_path):
    """The schedule's first step is where masks came, not step 0 of the training."""

    def run(stop_at=None):
        model = made()
        fit(model, dict(sparsity=None), Watch(), epochs=2)
        fit(model, dict(sparsity=0.8, every=1), seen := Watch(stop_at), initial_epoch=2)
        return model, seen.seen

    _, expected = run()
    model, seen = run(stop_at=4)
    model.save(tmp_path / "model.keras")
    model, watch = keras.saving.load_model(tmp_path / "model.keras"), Watch()
    fit(model, dict(sparsity=0.8, every=1), watch, initial_epoch=4)
    assert seen | watch.seen == pytest.approx(expected)


class PutsBack(keras.callbacks.Callback):
    """Puts the weights of the first epoch back, at the end of the last one or of `fit`."""

    def __init__(self, when):
        super().__init__()
        self.when = when

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            self.kept = self.model.get_weights()
        if self.when == "epoch" and epoch == EPOCHS - 1:
            self.model.set_weights(self.kept)

    def on_train_end(self, logs=None):
        if self.when == "training":
            self.model.set_weights(self.kept)


class Worse(keras.callbacks.Callback):
    """Says of each epoch that it is worse than the one before."""

    def on_epoch_end(self, epoch, logs=None):
        logs["own"] = float(epoch)


def stops_early(start):
    return keras.callbacks.EarlyStopping(
        "own", patience=2, mode="min", restore_best_weights=True, start_from_epoch=start
    )


RESTORE = {
    "at the end of an epoch": lambda: PutsBack("epoch"),
    "at the end of training": lambda: PutsBack("training"),
    "EarlyStopping": lambda: stops_early(0),
}


@pytest.mark.filterwarnings("error::smh.errors.SmhWarning")
@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("way", RESTORE)
def test_a_warning_when_earlier_weights_are_put_back(way, first):
    schedule, model = smh.PruningSchedule(0.8, every=1, end=8), made()
    other = [Worse(), RESTORE[way]()]
    message = r"put earlier weights back.*: 69.9% of the numbers .* 80.0%.*start_from_epoch=1 "
    with pytest.warns(SmhWarning, match=message) as warned:
        history = fit(model, schedule, Watch(), before=other * first, after=other * (not first))
    assert [w.category for w in warned].count(SmhWarning) == 1
    assert sparsity_of(model)["sparsity"] == pytest.approx(0.699, abs=0.001)
    assert not vars(history).get("on_train_end")
    # As the warning says it is right; and the next fit with the same schedule prunes anew.
    fit(model, schedule, Watch(), initial_epoch=EPOCHS, epochs=EPOCHS + 1)
    assert sparsity_of(model)["sparsity"] == pytest.approx(0.8, abs=0.001)
    model, other = made(), [Worse(), stops_early(1)]
    fit(model, dict(sparsity=0.8, every=1, end=8), Watch(), before=other * first,
        after=other * (not first))  # fmt: skip
    assert sparsity_of(model)["sparsity"] == pytest.approx(0.8, abs=0.001)


@pytest.mark.filterwarnings("error::smh.errors.SmhWarning")
def test_a_warning_when_fit_ends_first(tmp_path):
    schedule = dict(sparsity=0.8, begin=0, end=16, every=1)
    message = r"ended at step 8 of the pruning schedule, .* step 16: 69.9% of the numbers .* 80.0%"
    model = made()
    with pytest.warns(SmhWarning, match=message):
        fit(model, schedule, Watch(), epochs=2)
    fit(model, schedule, Watch(), initial_epoch=2, epochs=4)  # reaches the end: no warning
    fit(made(), dict(sparsity=0.8, every=1), Watch(), epochs=2)
    fit(made(), dict(sparsity=None), Watch(), epochs=1)
