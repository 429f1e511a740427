"""Data-parallel training: the same losses as in one process, a fraction of the traffic.

    python examples/distributed.py --engine mirrored      # tf.distribute.MirroredStrategy
    python examples/distributed.py --engine multiworker   # two processes on this machine
    python examples/distributed.py --engine jax           # keras.distribution.DataParallel

Each trains LeNet-5 on digits, dense and compressed, on two devices (two halves of the CPU) and in
one process, and prints the losses and how many bytes the devices sum with each other per step. A
worker that dies is started again with all others, and training goes on from the last epoch.
"""

import argparse
import contextlib
import json
import math
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

DEVICES = 2
ENGINES = ("mirrored", "multiworker", "jax")
# Later, rounding takes over: one process that adds up the images of each batch in another order
# differs just as much.
COMPARED = 20


def use_two_devices(engine):
    """Has to come before the first use of Keras: it chooses the backend and splits the CPU."""
    if engine == "jax":
        os.environ["KERAS_BACKEND"] = "jax"
        flag = f"--xla_force_host_platform_device_count={DEVICES}"
        os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}"
        return
    os.environ["KERAS_BACKEND"] = "tensorflow"
    if engine == "mirrored":
        import tensorflow as tf

        cpu = tf.config.list_physical_devices("CPU")[0]
        halves = [tf.config.LogicalDeviceConfiguration()] * DEVICES
        tf.config.set_logical_device_configuration(cpu, halves)


class OneProcess:
    """What the others are compared with."""

    def scope(self):
        """The context in which a model is built, compressed and compiled."""
        return contextlib.nullcontext()

    def fit(self, model, x, y, batch_size, epochs, callbacks=()):
        """Trains without shuffling; returns after each step the mean loss of the epoch so far."""
        losses = step_losses()
        model.fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            shuffle=False,
            verbose=0,
            callbacks=[*callbacks, losses],
        )
        return losses.values

    def reduced_bytes(self, model, x, y):
        """Bytes that each device contributes to all sums over devices in a step on this batch."""
        del model, x, y
        return 0


class Mirrored(OneProcess):
    """`tf.distribute.MirroredStrategy`; the bytes are those its reduction is handed."""

    def __init__(self):
        import tensorflow as tf

        class Counting(tf.distribute.ReductionToOneDevice):
            reduced = 0

            # Every tensor that is summed over devices passes here once, when a step is traced.
            def reduce_implementation(self, reduce_op, per_replica_value, *args, **kwargs):
                self.reduced += tensor_bytes(per_replica_value.values[0])
                return super().reduce_implementation(reduce_op, per_replica_value, *args, **kwargs)

        self.counter = Counting()
        devices = [f"CPU:{i}" for i in range(DEVICES)]
        self.strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=self.counter)

    def scope(self):
        return self.strategy.scope()

    def reduced_bytes(self, model, x, y):
        self.counter.reduced = 0
        traced_step(self.strategy, model, distributed(self.strategy, x, y, len(x)))
        return self.counter.reduced


class MultiWorker(OneProcess):
    """`tf.distribute.MultiWorkerMirroredStrategy`; the bytes are those of the step's collectives.

    Keras 3's `fit` cannot use this strategy (keras-team/keras issue 20585), so the loop over the
    batches is written out here; the step, the optimizer and the callbacks are Keras' own.
    """

    def __init__(self):
        import tensorflow as tf

        self.strategy = tf.distribute.MultiWorkerMirroredStrategy()

    def scope(self):
        return self.strategy.scope()

    def fit(self, model, x, y, batch_size, epochs, callbacks=()):
        import keras
        import tensorflow as tf

        @tf.function
        def step(batch):
            logs = self.strategy.run(model.train_step, args=(batch,))
            return self.strategy.reduce("MEAN", logs["loss"], axis=None)

        with self.scope():
            model.optimizer.build(model.trainable_variables)
        losses = step_losses()
        callbacks = keras.callbacks.CallbackList([*callbacks, losses], model=model)
        callbacks.on_train_begin()  # restores the last backup
        batches = distributed(self.strategy, x, y, batch_size)
        steps = math.ceil(len(x) / batch_size)
        for epoch in range(int(model.optimizer.iterations.numpy()) // steps, epochs):
            model.reset_metrics()
            callbacks.on_epoch_begin(epoch)
            for index, batch in enumerate(batches):
                callbacks.on_train_batch_begin(index)
                callbacks.on_train_batch_end(index, {"loss": step(batch)})
            callbacks.on_epoch_end(epoch)
        callbacks.on_train_end()
        return losses.values

    def reduced_bytes(self, model, x, y):
        graph = traced_step(self.strategy, model, distributed(self.strategy, x, y, len(x)))
        reduces = [op for op in graph.get_operations() if op.type.startswith("CollectiveReduce")]
        return sum(tensor_bytes(op.inputs[0]) for op in reduces)


class DataParallel(OneProcess):
    """`keras.distribution.DataParallel`; the bytes are those of the compiled step's all-reduces."""

    def __init__(self):
        import keras

        devices = [f"cpu:{i}" for i in range(DEVICES)]
        self.distribution = keras.distribution.DataParallel(devices=devices)

    def scope(self):
        return self.distribution.scope()

    def fit(self, model, *args, **kwargs):
        with self.scope():
            return super().fit(model, *args, **kwargs)

    def reduced_bytes(self, model, x, y):
        import jax

        with self.scope():
            model.optimizer.build(model.trainable_variables)
            state = [
                [variable.value for variable in variables]
                for variables in (
                    model.trainable_variables,
                    model.non_trainable_variables,
                    model.optimizer.variables,
                    model.metrics_variables,
                )
            ]
            batch = [
                jax.device_put(a, self.distribution.get_data_layout(a.shape).backend_layout)
                for a in (x, y)
            ]
            note = getattr(model, "_record_training_state_sharding_spec", None)
            if note is not None:  # Keras before 3.12 looks at this within a step
                note()
            step = jax.jit(model.train_step).lower(tuple(state), tuple(batch)).compile()
        return all_reduce_bytes(step.as_text())


def step_losses():
    import keras

    class StepLosses(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.values = []

        def on_train_batch_end(self, batch, logs=None):
            self.values.append(float(logs["loss"]))

    return StepLosses()


def distributed(strategy, x, y, batch_size):
    """Batches of `batch_size` in all, of which each replica gets its part."""
    import tensorflow as tf

    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size).with_options(options)
    return strategy.experimental_distribute_dataset(batches)


def traced_step(strategy, model, batches):
    """The graph of one training step, traced but not run."""
    import tensorflow as tf

    with strategy.scope():
        model.optimizer.build(model.trainable_variables)
    step = tf.function(lambda batch: strategy.run(model.train_step, args=(batch,)))
    return step.get_concrete_function(next(iter(batches))).graph


def tensor_bytes(tensor):
    return tensor.shape.num_elements() * tensor.dtype.size


def all_reduce_bytes(hlo):
    """Bytes of the results of all sums over devices in a compiled XLA program's text."""
    bits = {"pred": 8, "bf16": 16}  # the other types say it: f32, s64, u8
    total = 0
    for result in re.findall(r"= (.*?) (?:all-reduce|reduce-scatter)(?:-start)?\(", hlo):
        for kind, sizes in re.findall(r"(\w+)\[([\d,]*)\]", result):
            numbers = math.prod(int(size) for size in sizes.split(",") if size)
            total += numbers * (bits.get(kind) or int(re.sub(r"\D", "", kind))) // 8
    return total


def backup(folder, chief=True):
    """Keras' callback that saves after every epoch and restores at the start.

    All workers restore from what the chief saved, so that they go on from the same epoch. Keras
    knows no "never", so the others save after more steps than anyone trains.
    """
    import keras

    save_freq = "epoch" if chief else sys.maxsize
    return keras.callbacks.BackupAndRestore(
        str(folder), save_freq=save_freq, double_checkpoint=chief, delete_checkpoint=chief
    )


def supervise(command, workers=DEVICES, timeout=600, restarts=3, environment=None):
    """Runs `command` as the workers of one cluster until all of them have ended well.

    A cluster cannot go on without one of its workers: when one dies, all are stopped and started
    again, on other ports. None is left behind, whatever happens.

    Args:
        command: the same for all workers; `TF_CONFIG` tells each which one it is.
        workers: how many processes.
        timeout: seconds for all attempts together.
        restarts: how often to start again.
        environment: variables to add to this process'.

    Returns:
        How often the cluster was started again.

    Raises:
        TimeoutError: the time is over.
        RuntimeError: a worker died once too often; the message ends with what it wrote last.
    """
    deadline = time.monotonic() + timeout
    for attempt in range(restarts + 1):
        with tempfile.TemporaryDirectory() as folder:
            logs = [Path(folder, f"{rank}.log") for rank in range(workers)]
            processes = _start(command, logs, environment or {})
            try:
                died = _wait(processes, deadline)
            finally:
                for process in processes:
                    process.kill()
                    process.wait()
            if died is None:
                return attempt
            output = logs[died].read_text(errors="replace")
    raise RuntimeError(
        f"Worker {died} of {workers} ended with code {processes[died].returncode} in each of "
        f"{restarts + 1} attempts. It wrote:\n{output[-3000:]}"
    )


def _start(command, logs, environment):
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(len(logs))]}
    processes = []
    for rank, log in enumerate(logs):
        task = {"cluster": cluster, "task": {"type": "worker", "index": rank}}
        variables = {**os.environ, **environment, "TF_CONFIG": json.dumps(task)}
        with log.open("wb") as output:
            processes.append(
                subprocess.Popen(command, env=variables, stdout=output, stderr=subprocess.STDOUT)
            )
    return processes


def _wait(processes, deadline):
    """Waits until all have ended well (`None`) or one has died (its rank)."""
    while time.monotonic() < deadline:
        codes = [process.poll() for process in processes]
        for rank, code in enumerate(codes):
            if code not in (None, 0):
                return rank
        if all(code == 0 for code in codes):
            return None
        time.sleep(0.1)
    raise TimeoutError("The workers did not end in time and were stopped.")


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def end_with_parent():
    """Ends this process with the one that started it: a collective would wait for ever."""
    parent = os.getppid()

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def make_engine(name):
    kinds = {"mirrored": Mirrored, "multiworker": MultiWorker, "jax": DataParallel}
    return kinds.get(name, OneProcess)()


def network(engine, fraction):
    """LeNet-5, dense (`fraction` None) or compressed, ready to train."""
    import keras

    import smh
    from smh.data_parallel import exchange_factors

    keras.utils.set_random_seed(0)
    with engine.scope():
        model = smh.zoo.lenet_5()
        if fraction is not None:
            smh.compress(model, fraction, seed=0)
            exchange_factors(model)
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(1e-3), loss)
    return model


def train(engine, args, callbacks=lambda name: ()):
    """Trains the dense and the compressed network; returns losses and bytes of both."""
    from smh.datasets import digits

    data = digits()
    images = len(data.x_train) // args.batch * args.batch
    x, y = data.x_train[:images], data.y_train[:images]
    result = {"steps per epoch": images // args.batch}
    for name, fraction in (("dense", None), ("compressed", args.fraction)):
        model = network(engine, fraction)
        reduced = engine.reduced_bytes(model, x[: args.batch], y[: args.batch])
        losses = engine.fit(model, x, y, args.batch, args.epochs, callbacks(name))
        result[name] = {"losses": losses, "bytes": reduced}
    return result


def train_as_worker(args):
    end_with_parent()
    rank = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    folder = Path(args.worker)
    result = train(
        make_engine("multiworker"), args, lambda name: [backup(folder / name, rank == 0)]
    )
    (folder / f"{rank}.json").write_text(json.dumps(result))


def train_in_workers(args):
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--{name}={getattr(args, name)}" for name in ("batch", "epochs", "fraction")]
        script = [sys.executable, __file__, "--engine=multiworker", f"--worker={folder}"]
        supervise([*script, *options], timeout=args.timeout)
        return json.loads(Path(folder, "0.json").read_text())


def show(engine, here, alone):
    """Prints the table."""
    columns = [
        f"LeNet-5 on digits, {engine}, {DEVICES} devices",
        "steps",
        "loss of the first and last epoch",
        f"largest relative difference of a loss from one process', first {COMPARED} steps",
        "bytes all-reduced per step",
        "of dense",
    ]
    print("|", " | ".join(columns), "|")
    print("| --- |" + " ---: |" * (len(columns) - 1))
    for name in ("dense", "compressed"):
        losses, reduced = here[name]["losses"], here[name]["bytes"]
        epochs = losses[here["steps per epoch"] - 1 :: here["steps per epoch"]]
        pairs = list(zip(losses, alone[name]["losses"], strict=True))[:COMPARED]
        cells = [
            name,
            len(losses),
            f"{epochs[0]:.4f}, {epochs[-1]:.4f}",
            f"{max(abs(a / b - 1) for a, b in pairs):.1e}",
            f"{reduced:,}",
            f"{reduced / here['dense']['bytes']:.1%}",
        ]
        print("|", " | ".join(map(str, cells)), "|")


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--engine", choices=ENGINES, default="mirrored")
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch", type=int, default=64, help="images per step, on all devices")
    parser.add_argument("--timeout", type=float, default=600, help="seconds for the workers")
    parser.add_argument("--worker", help=argparse.SUPPRESS)  # the folder it writes to
    args = parser.parse_args(argv)
    use_two_devices(args.engine)
    if args.worker:
        return train_as_worker(args)
    if args.engine == "multiworker":
        here = train_in_workers(args)
    else:
        here = train(make_engine(args.engine), args)
    alone = train(make_engine("one process"), args)
    show(args.engine, here, alone)
    return {"here": here, "alone": alone}


if __name__ == "__main__":
    main()
