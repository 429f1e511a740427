"""How building, a step and memory grow with a model, from a million weights to a milliard.

A stack of square Dense layers, each side and size in a process of its own:
  dense       the model as it is
  compressed  built dense, then smh.compress
  in blocks   the same with blocks="auto"
  in scope    built compressed: VariableFactory.custom_getter_tf2 in a tf.variable_creator_scope
A call is one example after training: of the dense model, or streamed (smh.deploy(mode="stream")).
All memory is the process's above what it held before the model, in MB of 10^6 bytes.

    python benchmarks/growth.py                         # 1 M, 10 M, 100 M weights
    python benchmarks/growth.py --weights 1e9 --steps 1 --sides dense "in blocks"  # about 16 GB
    python benchmarks/growth.py --csv growth.csv --plot growth.png
"""

import csv
import ctypes
import gc
import math
import os
import statistics
import time

import keras
import measuring
import numpy as np

import smh
from smh.virtual_variable import virtual_variables

SIDES = ("dense", "compressed", "in blocks", "in scope")
COLUMNS = (
    "weights side trained build_s build_peak_mb largest_layer_mb step_ms step_peak_mb call_ms "
    "call_peak_mb"
).split()
SEED = 0


def stack(weights, depth):
    """`depth` layers that have about `weights` weights together."""
    width = round(math.sqrt(weights / depth))
    return keras.Sequential(
        [
            keras.Input((width,)),
            *(keras.layers.Dense(width, "relu", use_bias=False) for _ in range(depth)),
        ]
    )


def built(side, args):
    keras.utils.set_random_seed(SEED)
    if side == "dense":
        return stack(args.weights[0], args.depth)
    if side != "in scope":
        blocks = "auto" if side == "in blocks" else 1
        dense = stack(args.weights[0], args.depth)
        return smh.compress(dense, args.fraction, seed=SEED, blocks=blocks)
    import tensorflow as tf

    size = args.depth * round(math.sqrt(args.weights[0] / args.depth)) ** 2
    pool = smh.ProductVariablePool(True, pool_size=size, fraction=args.fraction, seed=SEED)
    factory = smh.VariableFactory(pool, modifier=smh.modifiers.initial_std_modifier)
    with tf.variable_creator_scope(factory.custom_getter_tf2):
        return stack(args.weights[0], args.depth)


def one(side, args):
    """Measures one side in this process."""
    keras.ops.zeros([1])  # the backend's own start is not the model's
    before = measuring.resident_bytes()
    measuring.reset_peak()
    begin = time.perf_counter()
    model = built(side, args)
    build_s = time.perf_counter() - begin
    build_peak = measuring.peak_bytes() - before

    model.compile(keras.optimizers.Adam(1e-4), "mse")
    width = model.input_shape[-1]
    batch = np.random.default_rng(SEED).normal(size=(args.batch, width)).astype("float32")
    model.train_on_batch(batch, batch)  # traces
    measuring.reset_peak()
    seconds = []
    for _ in range(args.steps):
        begin = time.perf_counter()
        model.train_on_batch(batch, batch)
        seconds.append(time.perf_counter() - begin)
    step_peak = measuring.peak_bytes() - before
    call_s, call_peak = called(model, batch[:1], args.steps)
    values = (
        args.depth * width**2,
        side,
        sum(math.prod(v.shape) for v in model.trainable_variables),
        round(build_s, 2),
        round(build_peak / 1e6, 1),
        round(4 * width**2 / 1e6, 1),
        round(1000 * statistics.median(seconds), 1),
        round(step_peak / 1e6, 1),
        round(1000 * call_s, 1),
        round((call_peak - before) / 1e6, 1),
    )
    return dict(zip(COLUMNS, values, strict=True))


def called(model, example, calls):
    """Seconds for one example, the weights never all in memory, and the peak of memory there."""
    model.optimizer = None
    if virtual_variables(model):
        smh.deploy(model, "stream")
    gc.collect()
    model.predict_on_batch(example)  # traces
    ctypes.CDLL(None).malloc_trim(0)  # glibc keeps what the training step has freed
    measuring.reset_peak()
    seconds = []
    for _ in range(calls):
        begin = time.perf_counter()
        model.predict_on_batch(example)
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds), measuring.peak_bytes()


def merged(rows, path):
    """The rows of an earlier table as well, but for those that were measured again."""
    if not os.path.exists(path):
        return rows
    with open(path, newline="") as file:
        kinds = {name: str if name == "side" else float for name in COLUMNS}
        old = [{name: kinds[name](row[name]) for name in COLUMNS} for row in csv.DictReader(file)]
    for row in old:
        row |= {name: int(row[name]) for name in ("weights", "trained")}
    new = {(row["weights"], row["side"]): row for row in [*old, *rows]}
    return sorted(
        new.values(), key=lambda row: (round(row["weights"], -5), SIDES.index(row["side"]))
    )


def write_csv(rows, path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


PANELS = {  # column: label, unit, how many of it the column's unit is
    "step_ms": ("a training step", "s", 1e-3),
    "step_peak_mb": ("peak memory of a step", "B", 1e6),
    "build_peak_mb": ("peak memory while building", "B", 1e6),
    "call_ms": ("a call, streamed", "s", 1e-3),
}
STYLES = {"dense": "k*--", "compressed": "o-", "in blocks": "D-", "in scope": "s:"}


def plot(rows, path, title):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(14, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (column, panel) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        label, unit, factor = panel
        for side, style in STYLES.items():
            points = [(row["weights"], factor * row[column]) for row in rows if row["side"] == side]
            if points:
                axes.loglog(*zip(*points, strict=True), style, label=side, markersize=7)
        axes.set_xlabel("weights of the dense model")
        axes.set_ylabel(f"{label} ({unit})")
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
        axes.yaxis.set_major_formatter(EngFormatter(unit, sep=" "))
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.savefig(path, dpi=150)


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("--weights", type=float, nargs="+", default=[1e6, 1e7, 1e8])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, metavar="SIDE")
    parser.add_argument("--depth", type=int, default=8, help="layers")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=5, help="timed steps, after one")
    parser.add_argument("--csv", metavar="PATH", help="write the table, or add to it")
    parser.add_argument("--plot", metavar="PATH", help="write the picture")
    parser.add_argument("--one", choices=SIDES, help="one side and size, in this process")
    args = parser.parse_args(arguments)
    if args.one:
        measuring.show(one(args.one, args), args.json)
        return
    common = [f"--{name}={getattr(args, name)}" for name in ("depth", "batch", "fraction", "steps")]
    rows = [
        measuring.in_own_process(__file__, [*common, f"--weights={weights}", "--one", side])
        for weights in args.weights
        for side in args.sides
    ]
    if args.csv:
        rows = merged(rows, args.csv)
        write_csv(rows, args.csv)
    if args.plot:
        plot(
            rows,
            args.plot,
            f"{args.depth} Dense layers, batch {args.batch}, fraction {args.fraction:g}",
        )
    if args.json:
        measuring.show({"machine": measuring.machine(), "rows": rows}, True)
        return
    print(measuring.machine())
    for row in ({name: name for name in COLUMNS}, *rows):
        print(" ".join(f"{row[name]:>16}" for name in COLUMNS))


if __name__ == "__main__":
    main()
