"""Training on several devices and in several processes: the laws are in `distributed_worker.py`.

Each engine gets a process of its own, because devices can only be set before the backend starts.
"""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pytest

import smh
from smh.data_parallel import exchange_factors
from smh.errors import ArgumentError

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the processes choose their own backend"
)

HERE = Path(__file__).resolve().parent
WORKER = str(HERE / "distributed_worker.py")
EXAMPLE = HERE.parent / "examples" / "distributed.py"
_spec = importlib.util.spec_from_file_location("example_distributed", EXAMPLE)
example = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(example)


def worker(*arguments):
    command = [sys.executable, WORKER, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("engine", ["mirrored", pytest.param("jax", marks=pytest.mark.slow)])
def test_two_devices_train_as_one_process(engine):
    pytest.importorskip("jax" if engine == "jax" else "tensorflow")
    done = worker(engine)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    example.supervise([sys.executable, WORKER, "multiworker", str(tmp_path)], restarts=0)
    first, second = (np.load(tmp_path / f"{rank}.npz") for rank in range(2))
    assert len(first.files) > 4
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["mirrored", "jax", "multiworker"])
def test_a_worker_that_was_killed_comes_back_with_nothing_lost(engine, tmp_path):
    pytest.importorskip("jax" if engine == "jax" else "tensorflow")
    results = {}
    for life in ("uninterrupted", "mortal"):
        folder = tmp_path / life
        folder.mkdir()
        (folder / life).touch()
        lives = train_with_backup(engine, folder)
        assert lives == (2 if life == "mortal" else 1)
        assert (folder / "died").exists() == (life == "mortal")
        results[life] = np.load(folder / "0.npz")
    whole, resumed = results["uninterrupted"], results["mortal"]
    assert len(whole["losses"]) == 20 and len(resumed["losses"]) == 8  # died in the fourth epoch
    np.testing.assert_allclose(resumed["losses"], whole["losses"][-8:], rtol=0, atol=1e-6)
    assert whole.files == resumed.files and len(whole.files) > 4
    for name in set(whole.files) - {"losses"}:
        np.testing.assert_allclose(resumed[name], whole[name], rtol=0, atol=1e-5, err_msg=name)


def train_with_backup(engine, folder):
    """Trains until it has ended well; returns how many lives it took."""
    if engine == "multiworker":
        command = [sys.executable, WORKER, f"resume-{engine}", str(folder)]
        return 1 + example.supervise(command, restarts=1)
    for life in (1, 2):
        done = worker(f"resume-{engine}", folder)
        if done.returncode == 0:
            return life
        assert done.returncode == -signal.SIGKILL, done.stderr[-3000:]
    raise AssertionError("died twice")


@pytest.mark.slow
@pytest.mark.parametrize("engine", example.ENGINES)
def test_the_example(engine):
    pytest.importorskip("jax" if engine == "jax" else "tensorflow")
    command = [sys.executable, str(EXAMPLE), "--engine", engine, "--epochs", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["dense", "compressed"]
    for row in rows:
        first, last = map(float, row[2].split(", "))
        assert row[1] == "38" and last < 0.7 * first and float(row[3]) < 1e-4
    assert float(rows[1][5].rstrip("%")) < 10


# What watches over the workers


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def script(tmp_path, body):
    """Workers that write their process ids and what `TF_CONFIG` says."""
    head = f"""
import json, os, pathlib, sys, time
here = pathlib.Path({str(tmp_path)!r})
config = json.loads(os.environ["TF_CONFIG"])
rank, ports = config["task"]["index"], config["cluster"]["worker"]
with (here / "pids").open("a") as file:
    file.write(f"{{os.getpid()}}\\n")
"""
    return [sys.executable, "-c", head + body]


def none_is_left(tmp_path, count):
    pids = [int(pid) for pid in (tmp_path / "pids").read_text().split()]
    assert len(pids) == count
    assert not any(map(alive, pids))


def test_a_cluster_is_started_again_when_one_dies(tmp_path):
    body = """
assert len(set(ports)) == 2 and all(port.startswith("127.0.0.1:") for port in ports)
if not (here / "second").exists():
    while rank == 1 and len((here / "pids").read_text().split()) < 2:
        time.sleep(0.05)
    if rank == 1:
        (here / "second").touch()
        os.kill(os.getpid(), 9)
    time.sleep(60)
"""
    begin = time.monotonic()
    assert example.supervise(script(tmp_path, body), timeout=50) == 1
    assert time.monotonic() - begin < 40  # the one that slept was not waited for
    none_is_left(tmp_path, 4)


def test_a_cluster_that_keeps_failing_says_why(tmp_path):
    body = "time.sleep(60) if rank == 0 else sys.exit('out of memory')"
    with pytest.raises(RuntimeError, match="(?s)Worker 1 of 2.*code 1.*2 attempts.*out of memory"):
        example.supervise(script(tmp_path, body), timeout=50, restarts=1)


def test_a_cluster_that_hangs_is_stopped(tmp_path):
    with pytest.raises(TimeoutError):
        example.supervise(script(tmp_path, "time.sleep(60)"), timeout=2)
    none_is_left(tmp_path, 2)


# Counting bytes


def test_bytes_of_all_reduces_are_read_from_the_program():
    hlo = """
  %all-reduce.7 = (f32[], /*index=1*/f32[3,4]{1,0}, bf16[5]{0}) all-reduce(%a, %b, %c), channel_id=1
  %start = u32[2]{0} all-reduce-start(%d), channel_id=2
  %done = u32[2]{0} all-reduce-done(%start)
  %get-tuple-element.1 = f32[3,4]{1,0} get-tuple-element(%all-reduce.7), index=1
"""
    assert example.all_reduce_bytes(hlo) == 4 + 48 + 10 + 8
    assert example.all_reduce_bytes("ROOT %add = f32[9]{0} add(%a, %b)") == 0


# Where variables have to be created


def dense_model():
    return keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), keras.layers.Dense(4)])


STRATEGIES = {
    "mirrored": lambda: tf.distribute.MirroredStrategy(["CPU:0"]),
    "one device": lambda: tf.distribute.OneDeviceStrategy("CPU:0"),
}


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)
def test_a_model_is_compressed_in_the_scope_that_it_was_built_in(make):
    strategy = make()
    with strategy.scope():
        model = dense_model()
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
    smh.compress(model, 0.5, seed=0)
    assert all(
        strategy.extended.variable_created_in_scope(variable.value)
        for variable in [*model.variables, model.optimizer.iterations]
    )
    x = np.ones((4, 8), "float32")
    assert np.isfinite(model.fit(x, x[:, :4], verbose=0).history["loss"][0])


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_schedule_prunes_a_model_of_a_scope_outside_of_it(make, optimizer):
    with make().scope():
        model = dense_model()
        model.compile(optimizer, "mse")
    x = np.ones((32, 8), "float32")
    for callbacks in ([smh.PruningSchedule(0.5, every=1)], []):
        model.fit(x, x[:, :4], batch_size=8, verbose=0, callbacks=callbacks)
    assert (keras.ops.convert_to_numpy(model.layers[0].kernel) == 0).mean() == 0.5


@pytest.mark.optimizer_built_by_keras
def test_a_callback_changes_a_model_of_a_scope():
    with STRATEGIES["mirrored"]().scope():
        model = dense_model()
        model.compile("adam", "mse")
    changed = []

    def change(number, logs=None):
        if number == 1 and not changed:
            changed.append(smh.compress(model, 0.5, seed=0))

    x = np.ones((32, 8), "float32")
    callback = keras.callbacks.LambdaCallback(on_train_batch_end=change)
    losses = model.fit(x, x[:, :4], 8, epochs=3, verbose=0, callbacks=[callback]).history["loss"]
    assert changed and np.isfinite(losses).all() and losses[2] < losses[1]


def distilled(model, strategy, teacher=None):
    distiller = smh.distill(model, teacher or dense_model())
    with strategy.scope():  # as of any model
        distiller.compile("adam", "mse")
    return distiller


def distilled_by_one_of_the_scope(model, strategy):
    with strategy.scope():
        teacher = dense_model()
    return distilled(model, strategy, teacher)


def compiled_by_a_recipe(model, strategy):
    return smh.recipes.compile_for_training(model, 4, loss="mse", metrics=None)


def compiled_with_rates(model, strategy):
    smh.compress(model, 0.5, seed=0)
    return smh.recipes.compile_for_training(
        model, 4, loss="mse", metrics=None, scale_rate=0.5, l2=1e-5
    )


TRAINED = [distilled, distilled_by_one_of_the_scope, compiled_by_a_recipe, compiled_with_rates]


@pytest.mark.parametrize("make", STRATEGIES.values(), ids=STRATEGIES)
@pytest.mark.parametrize("trained", TRAINED)
def test_what_trains_a_model_of_a_scope_is_made_outside_of_it(trained, make):
    strategy = make()
    with strategy.scope():
        model = dense_model()
    before = model.get_weights()
    x = np.ones((32, 8), "float32")
    model = trained(model, strategy)
    assert np.isfinite(model.fit(x, x[:, :4], batch_size=8, verbose=0).history["loss"][0])
    assert np.isfinite(model.evaluate(x, x[:, :4], verbose=0))
    after = model.get_weights()
    assert any(not np.array_equal(a, b) for a, b in zip(before, after, strict=False))


def built_outside():
    model = dense_model()
    with STRATEGIES["mirrored"]().scope():
        smh.compress(model, 0.5)


def built_in_another():
    with STRATEGIES["mirrored"]().scope():
        model = dense_model()
    with STRATEGIES["mirrored"]().scope():
        smh.compress(model, 0.5)


def pool_of_another():
    pool = smh.ProductVariablePool(True, pool_size=200, fraction=0.5)
    smh.compress(dense_model(), pool=pool)
    with STRATEGIES["mirrored"]().scope():
        smh.compress(dense_model(), pool=pool)


def distilled_in_another():
    with STRATEGIES["mirrored"]().scope():
        model = dense_model()
    with STRATEGIES["mirrored"]().scope():
        smh.distill(model, dense_model())


def compiled_in_one():
    model = dense_model()
    with STRATEGIES["mirrored"]().scope():
        smh.recipes.compile_for_training(model, 4)


@pytest.mark.parametrize(
    "attempt, message",
    [
        (built_outside, "belong to no strategy, and the open scope is that of a MirroredStrategy"),
        (built_in_another, "Build the model, and change it, in the same `strategy.scope"),
        (distilled_in_another, "of the model belong to a MirroredStrategy, and the open scope"),
        (
            compiled_in_one,
            "of the model belong to no strategy, and the open scope is that of a Mir",
        ),
        (pool_of_another, "factors of `pool` were not created under a MirroredStrategy"),
    ],
)
def test_variables_of_two_worlds_are_refused(attempt, message):
    with pytest.raises(ArgumentError, match=message):
        attempt()


def test_a_refused_model_is_as_it_was():
    model = dense_model()
    before = list(model.variables)
    with STRATEGIES["mirrored"]().scope(), pytest.raises(ArgumentError):
        smh.compress(model, 0.5)
    assert list(map(id, model.variables)) == list(map(id, before))


def test_exchange_factors_changes_nothing_on_tensorflow():
    model = dense_model()
    before = dict(model.__dict__)
    assert exchange_factors(model) is model and model.__dict__ == before
    with pytest.raises(ArgumentError, match="must be a keras.Model, got Dense"):
        exchange_factors(keras.layers.Dense(3))
