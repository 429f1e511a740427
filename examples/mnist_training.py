"""How the networks of `mnist_curve.py` are made: dense, from pools, pruned, shared values, shrunk.

Each method trains a model that is written with `smh.save`. `pruned` goes on from the file of the
dense network of the same settings, as `shrunk` does, and `shared` from that of the pruned one.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import re
import time
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from mnist_images import Images, batches, error
from mnist_tables import Run

import smh
from smh.modifiers import constant_fanout_scale_modifier, initial_std_log_scale_modifier
from smh.pools.shape import choose_sides
from smh.virtual_variable import virtual_variables

EXAMPLES = 512
SCALES = {"log": initial_std_log_scale_modifier, "fanout": constant_fanout_scale_modifier}
# The share of each layer's weights that is kept. LeNets: Deep Compression's tables 2 and 3.
# Residual networks: the same for all layers but the first and the last.
DENSITIES = {
    "lenet_300_100": {"fc1": 0.08, "fc2": 0.09, "logits": 0.26},
    "lenet_5": {"conv1": 0.66, "conv2": 0.12, "fc1": 0.08, "logits": 0.19},
    "resnet_8": {"_conv[12]": 0.2},
    "resnet_20": {"_conv[12]": 0.2},
}


def build(run: Run) -> keras.Model:
    """The network, dense, in float32."""
    grey = run.data != "cifar10" and not run.network.startswith("lenet")
    shape = {"input_shape": (28, 28, 1)} if grey else {}
    return getattr(smh.zoo, run.network)(**shape)


@contextlib.contextmanager
def training_precision(run: Run):
    """Lets layers that are built inside compute in the run's precision; variables are float32."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if run.precision == "bfloat16" else "float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@contextlib.contextmanager
def fused_normalisation():
    """Lets batch normalisation train by the backend's one operation in place of Keras' ten.

    The same numbers; a step of ResNet-20 in bfloat16 took half of the processor's time by it. To be
    entered before a model is pruned or compressed: smh keeps the `call` that a layer has then.
    """
    of_keras = keras.layers.BatchNormalization.call
    normalise = {"tensorflow": normalise_tensorflow, "torch": normalise_torch}.get(
        keras.backend.backend()
    )

    @functools.wraps(of_keras)  # `smh.slim` has no rule for layers with a `call` that is not Keras'
    def call(layer, inputs, training=None, mask=None):
        if not training or len(inputs.shape) != 4 or normalise is None:
            return of_keras(layer, inputs, training=training, mask=mask)
        outputs, mean, variance = normalise(inputs, layer.gamma, layer.beta, layer.epsilon)
        for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving * layer.momentum + new * (1.0 - layer.momentum))
        return outputs

    keras.layers.BatchNormalization.call = call
    try:
        yield
    finally:
        keras.layers.BatchNormalization.call = of_keras


def normalise_tensorflow(inputs, gamma, beta, epsilon: float) -> tuple:
    """Normalised images, and the batch's means and variances `[channels]`."""
    gamma, beta = (tf.cast(v, "float32") for v in (gamma, beta))
    none = tf.zeros([0])
    outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
        x=inputs, scale=gamma, offset=beta, mean=none, variance=none, epsilon=epsilon
    )
    return outputs, mean, variance


def normalise_torch(inputs, gamma, beta, epsilon: float) -> tuple:
    """Normalised images, and the batch's means and variances `[channels]`."""
    import torch  # is there, if it is Keras' backend

    images = inputs.permute(0, 3, 1, 2)  # stays as it lies in memory: channels last
    gamma, beta = (keras.ops.convert_to_tensor(v, "float32") for v in (gamma, beta))
    outputs, mean, inverse = torch.native_batch_norm(
        images, gamma, beta, None, None, True, 0.0, epsilon
    )
    return outputs.permute(0, 2, 3, 1), mean.detach(), inverse.detach() ** -2 - epsilon


def one_cycle(peak: float, steps: int) -> keras.optimizers.schedules.LearningRateSchedule:
    """Linear warm-up over a fifth of the steps, then a cosine to zero."""
    warm_up = max(1, steps // 5)
    return keras.optimizers.schedules.CosineDecay(
        peak / 100, max(1, steps - warm_up), warmup_target=peak, warmup_steps=warm_up
    )


class Log(keras.callbacks.Callback):
    """Writes a line per epoch, with the validation error of every fifth."""

    def __init__(self, write, validation: Images):
        super().__init__()
        self.write, self.validation, self.begin = write, validation, time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        line = f"epoch {epoch + 1}: loss {logs['loss']:.4f}"
        if (epoch + 1) % 5 == 0:
            student = getattr(self.model, "student", self.model)
            line += f", validation error {error(student, self.validation):.2f} %"
        self.write(f"{line}, {time.perf_counter() - self.begin:.0f} s")


class State(keras.callbacks.Callback):
    """Keeps what training has reached after each epoch, so that a run that was killed goes on.

    Args:
        path: of the file; `None` keeps nothing.
    """

    def __init__(self, path: Path | None):
        super().__init__()
        self.path, self.done = path, 0
        self.at_switch, self.now = [], []
        if path is not None and path.exists():
            with np.load(path) as saved:
                self.done = int(saved["done"])
                self.at_switch, self.now = (
                    [saved[name] for name in sorted(saved.files) if name.startswith(part)]
                    for part in ("switch", "now")
                )

    def on_epoch_end(self, epoch, logs=None):
        if self.path is not None:
            parts = {"switch": self.at_switch, "now": numbers(self.model)}
            named = {f"{p}{i:06d}": x for p, values in parts.items() for i, x in enumerate(values)}
            partial = self.path.with_suffix(".part.npz")
            np.savez(partial, done=epoch + 1, **named)
            partial.replace(self.path)


def variables(model: keras.Model) -> list:
    """What training changes: what is stored, and the optimizer's numbers; not its metrics."""
    return [*model.weights, *model.optimizer.variables]


def numbers(model: keras.Model) -> list[np.ndarray]:
    """Copies of their values."""
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables(model)]


def put(model: keras.Model, values: list[np.ndarray]) -> None:
    """Puts them back; the model must be stored as it was then."""
    model.optimizer.build(model.trainable_variables)
    for variable, value in zip(variables(model), values, strict=True):
        variable.assign(value)


def with_teacher(model: keras.Model, run: Run, out: Path) -> keras.Model:
    """The model, or what trains it with the soft targets of the run's teacher."""
    if not run.teacher:
        return model
    path = out / f"{run.teacher}.smh"
    if not path.exists():
        raise SystemExit(f"{run.name} learns from {path}, which is not there: run that first.")
    with training_precision(run):
        return smh.distill(model, smh.load_weights(build(run), path))


def fit(
    model: keras.Model,
    run: Run,
    train: Images,
    callbacks: list,
    switch=None,
    state: Path | None = None,
) -> None:
    """Trains; at `float_share` of the epochs `switch()` changes how the model is stored.

    With a file `state` it goes on where it was stopped, and ends with the same numbers.
    """
    steps, on_torch = len(train.y) // run.batch, keras.backend.backend() == "torch"
    if run.l2:
        smh.recipes.penalise_weights(model, run.l2)
    model.compile(
        keras.optimizers.Adam(one_cycle(run.rate, steps * run.epochs)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        # `PruningSchedule` counts what Keras tells it of: one call for each execution. On PyTorch
        # Keras takes no other number.
        steps_per_execution=1 if run.method == "pruned" or on_torch else steps,
    )
    begin = round(run.float_share * run.epochs) if switch else run.epochs
    cuts = [begin + (run.epochs - begin) * i // (run.refits + 1) for i in range(run.refits + 2)]
    reached = State(state)
    for stage, (first, last) in enumerate(itertools.pairwise([0, *cuts])):
        goes_on = first < reached.done <= last
        if stage and switch:
            if goes_on:  # what is rounded to depends on the numbers that there were
                put(model, reached.at_switch)
            elif reached.done <= first:
                reached.at_switch = numbers(model)
            switch()
            model.make_train_function(force=True)  # a distiller does not see what its student is
        if goes_on:
            put(model, reached.now)
        begin = max(first, reached.done)
        if begin < last:
            model.fit(
                batches(run, train, stage, (begin - first) * steps),
                steps_per_epoch=steps,
                initial_epoch=begin,
                epochs=last,
                shuffle=False,  # `batches` does
                verbose=0,
                callbacks=[*callbacks, reached],
            )
    if state is not None:
        state.unlink(missing_ok=True)


def train_dense(run: Run, train: Images, callback: Log, out: Path) -> tuple[keras.Model, float]:
    """The network as it is, for comparison."""
    with training_precision(run):
        model = build(run)
    fit(model, run, train, [callback], state=state_of(run, out))
    return model, 1.0


def compress(model: keras.Model, run: Run, paths: list[str], replicas: int, seed: int) -> float:
    """Puts the weights of these paths into one pool; returns the numbers in its factors."""
    everything = run.biases == "hashed"

    def chosen(variable):
        return variable.path in paths and (everything or len(variable.shape) > 1)

    shapes = [v.shape for v in model.trainable_variables if chosen(v)]
    numbers = sum(math.prod(shape) for shape in shapes)
    size = choose_sides(shapes, 0).replica_size  # numbers of one replica
    modifier = {"modifier": SCALES[run.scale]} if run.scale in SCALES else {}
    fraction = (replicas + 0.5) * size / numbers
    smh.compress(model, fraction, apply_to=chosen, seed=seed, blocks=run.blocks, **modifier)
    virtual = [v for v in virtual_variables(model) if v.path in paths]
    pools = {id(v.parametrization.source): v.parametrization.source for v in virtual}
    return sum(pool.core_size for pool in pools.values())


def pools_of(run: Run) -> list[tuple[str, int]]:
    """For each pool a regular expression of its layers' names, and its replicas.

    A layer goes into the first pool that matches.
    """
    if run.pools:
        if not re.fullmatch(r"[^=,]*=[1-9]\d*(,[^=,]*=[1-9]\d*)*", run.pools):
            raise SystemExit(f"--pools is like 'conv|logits=5,=1', got {run.pools!r}.")
        pairs = [pool.split("=") for pool in run.pools.split(",")]
        return [(pattern, int(replicas)) for pattern, replicas in pairs]
    return [("conv", run.conv_replicas)] * bool(run.conv_replicas) + [("", run.replicas)]


def train_smh(run: Run, train: Images, callback: Log, out: Path) -> tuple[keras.Model, float]:
    """All weights from pools; the factors are rounded from `float_share` of the epochs on."""
    with training_precision(run):
        model = build(run)
    numbers = sum(math.prod(v.shape) for v in model.trainable_variables)
    paths = [v.path for v in model.trainable_variables]
    trained, pools = 0, pools_of(run)
    for later, (pattern, replicas) in zip(reversed(range(len(pools))), pools, strict=True):
        chosen = [path for path in paths if re.match(pattern, path.split("/", 1)[1])]
        if not chosen:
            raise SystemExit(f"--pools {run.pools}: nothing is left for {pattern!r} in {paths}.")
        paths = [path for path in paths if path not in chosen]
        trained += compress(model, run, chosen, replicas, run.seed + 1_000 * later)
    if paths:
        raise SystemExit(f"--pools {run.pools} leaves out {paths}: end it with '=1'.")

    def switch():
        return smh.quantize_factors(model, run.bits, granularity=run.granularity)

    learns = with_teacher(model, run, out)
    fit(learns, run, train, [callback], switch if run.bits else None, state_of(run, out))
    return model, round(trained / numbers, 6)


def file_of(run: Run, out: Path) -> Path:
    """Where the file of a run lies: without the architecture."""
    return out / f"{run.name}.smh"


def state_of(run: Run, out: Path) -> Path:
    """Where a run that is not done yet keeps what it has reached."""
    return out / f"{run.name}.state.npz"


def before(run: Run) -> Run:
    """The run from whose file this one goes on."""
    if run.method == "shared":
        return replace(run, method="pruned", bits=Run.bits)
    return replace(run, method="dense", density=Run.density, target=Run.target)


def load_before(run: Run, out: Path) -> keras.Model:
    """The network of the file from which this run goes on, in the precision of its training."""
    path = file_of(before(run), out)
    if not path.exists():
        raise SystemExit(f"{run.name} goes on from {path}, which is not there: run that first.")
    with training_precision(run):
        return smh.load_weights(build(run), path)


def kept(model: keras.Model, run: Run) -> float:
    """The share of the network's numbers that is not pruned."""
    return round(sum(row.kept for row in smh.report(model).rows) / build(run).count_params(), 6)


def train_pruned(run: Run, train: Images, callback: Log, out: Path) -> tuple[keras.Model, float]:
    """The dense network, trained half as long again: pruned step by step, then as it is."""
    model = load_before(run, out)
    run = replace(run, epochs=max(1, run.epochs // 2))
    levels = {f".*{k}/kernel": 1 - run.density * d for k, d in DENSITIES[run.network].items()}
    end = len(train.y) // run.batch * run.epochs // 2
    schedule = smh.PruningSchedule(levels, end=end, every=max(1, end // 20), seed=run.seed)
    fit(model, run, train, [schedule, callback])
    return model, kept(model, run)


def train_shared(run: Run, train: Images, callback: Log, out: Path) -> tuple[keras.Model, float]:
    """The pruned network with `2 ** bits` values for each layer, which are trained a quarter."""
    model = load_before(run, out)
    smh.cluster(model, run.bits)
    short = replace(run, epochs=max(1, run.epochs // 4), rate=run.rate / 20)
    fit(model, short, train, [callback])
    return model, kept(model, run)


def shrink(run: Run, train: Images, callback: Log, out: Path) -> tuple[keras.Model, float]:
    """The dense network in so many bytes, by `EXAMPLES` images without labels: nothing is trained.

    The file without the architecture, which is what is measured, is some hundred bytes smaller.
    """
    path = file_of(before(run), out)
    if not path.exists():
        raise SystemExit(f"{run.name} is made of {path}, which is not there: run that first.")
    model = smh.load_weights(build(run), path)
    smh.shrink(model, train.x[:EXAMPLES], target_size=run.target)
    return model, 1.0


METHODS = {
    "smh": train_smh,
    "dense": train_dense,
    "pruned": train_pruned,
    "shared": train_shared,
    "shrunk": shrink,
}
