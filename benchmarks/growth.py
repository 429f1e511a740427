"""How building, a step and memory grow with a model, from a million weights to half a milliard.

A stack of square Dense layers, each side and size in a process of its own:
  dense       the model as it is
  compressed  built dense, then smh.compress
  in scope    built compressed: VariableFactory.custom_getter_tf2 in a tf.variable_creator_scope
All memory is the process's above what it held before the model, in MB of 10^6 bytes.

    python benchmarks/growth.py                         # 1 M, 10 M, 100 M weights
    python benchmarks/growth.py --weights 5e8 --steps 1 # needs about 12 GB
    python benchmarks/growth.py --csv growth.csv --plot growth.png
"""

import csv
import math
import statistics
import time

import keras
import measuring
import numpy as np

import smh

SIDES = ("dense", "compressed", "in scope")
COLUMNS = "weights side trained build_s build_peak_mb largest_layer_mb step_ms step_peak_mb".split()
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
    if side == "compressed":
        return smh.compress(stack(args.weights[0], args.depth), args.fraction, seed=SEED)
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
    values = (
        args.depth * width**2,
        side,
        sum(math.prod(v.shape) for v in model.trainable_variables),
        round(build_s, 2),
        round(build_peak / 1e6, 1),
        round(4 * width**2 / 1e6, 1),
        round(1000 * statistics.median(seconds), 1),
        round((measuring.peak_bytes() - before) / 1e6, 1),
    )
    return dict(zip(COLUMNS, values, strict=True))


def write_csv(rows, path):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


PANELS = {  # column: label, unit, how many of it the column's unit is
    "step_ms": ("a training step", "s", 1e-3),
    "step_peak_mb": ("peak memory of a step", "B", 1e6),
    "build_peak_mb": ("peak memory while building", "B", 1e6),
}
STYLES = {"dense": "k*--", "compressed": "o-", "in scope": "s:"}


def plot(rows, path, title):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import EngFormatter

    figure = Figure(figsize=(11, 3.8), layout="constrained")
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
    parser.add_argument("--csv", metavar="PATH", help="write the table")
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
