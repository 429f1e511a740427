"""Times inference of a deployed model against the same model dense, and measures its memory.

Latency: all sides alternate in one process; the ratios are those of medians.

Memory (`--memory`, TensorFlow): each side in a process of its own, built in a creator scope so
that no dense weight is ever allocated, and with allocators that hand freed memory back at once
(oneDNN's keeps it). Reported is what the process holds while it predicts beyond what it held
before the model was built: at rest, and at the peak of a prediction.

`python benchmarks/deploy.py --model resnet_34 --batch 100 --fraction 0.02`
`python benchmarks/deploy.py --model resnet_34 --batch 1 --fraction 0.02 --blocks auto`
`python benchmarks/deploy.py --model resnet_34 --batch 1 --fraction 0.02 --memory`
"""

import ctypes
import gc
import math
import os

import keras
import numpy as np
from measuring import (
    in_own_process,
    machine,
    median_seconds,
    options,
    peak_bytes,
    reset_peak,
    resident_bytes,
    show,
)

import smh
from smh.modifiers import initial_std_modifier

SIDES = ("dense", "train", "stream", "cached")
MIB = 2**20


def parse():
    parser = options(__doc__)
    parser.add_argument("--model", default="resnet_34", help="a name of smh.zoo")
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--blocks", default="1", help="a number or auto; latency only")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--memory", action="store_true", help="memory instead of latency")
    parser.add_argument("--side", choices=SIDES, help="measure the memory of this side, here")
    parser.add_argument("--kernels", type=int, help="with --side: how many numbers to compress")
    return parser.parse_args()


def build(args):
    keras.utils.set_random_seed(0)
    return getattr(smh.zoo, args.model)()


def latency(args):
    models = {side: build(args) for side in SIDES}
    for side in SIDES[1:]:
        blocks = args.blocks if args.blocks == "auto" else int(args.blocks)
        smh.deploy(smh.compress(models[side], args.fraction, seed=0, blocks=blocks), side)
    x = images(args.batch, models["dense"])
    seconds = median_seconds(
        {side: lambda model=model: model.predict_on_batch(x) for side, model in models.items()},
        args.rounds,
    )
    return {
        side: {"ms": round(1e3 * s, 1), "ratio": round(s / seconds["dense"], 3)}
        for side, s in seconds.items()
    }


def memory(args):
    kernels = sum(math.prod(v.shape) for v in build(args).variables if v.name == "kernel")
    # Blocks of 64 KiB and more are then mapped, and unmapped when they are freed.
    os.environ.update(TF_ENABLE_ONEDNN_OPTS="0", MALLOC_MMAP_THRESHOLD_=str(2**16))
    shared = [f"--{name}={getattr(args, name)}" for name in ("model", "batch", "fraction")]
    own = ["--memory", f"--kernels={kernels}", "--side"]
    return {side: in_own_process(__file__, [*shared, *own, side]) for side in SIDES}


def memory_here(args):
    import tensorflow as tf

    warm = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)])
    warm.predict_on_batch(images(1, warm))  # what TensorFlow itself needs
    before = settled()
    if args.side == "dense":
        model = build(args)
    else:
        pool = smh.ProductVariablePool(True, args.kernels, args.fraction, seed=0)
        factory = smh.VariableFactory(pool, "kernel", initial_std_modifier)
        with tf.variable_creator_scope(factory.custom_getter_tf2):
            model = build(args)
        smh.deploy(model, args.side)
    x = images(args.batch, model)
    model.predict_on_batch(x)  # traces
    at_rest = settled()
    reset_peak()
    for _ in range(5):
        model.predict_on_batch(x)
    report = smh.report(model)
    return {
        "at_rest_MiB": round((at_rest - before) / MIB, 1),
        "peak_MiB": round((peak_bytes() - before) / MIB, 1),
        "variables_MiB": round(report.bytes / MIB, 1),
        "largest_weight_MiB": round(max(row.original for row in report.rows) * 4 / MIB, 1),
    }


def settled():
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return resident_bytes()


def images(batch, model):
    return np.random.default_rng(0).normal(size=(batch, *model.input_shape[1:])).astype("float32")


def main():
    args = parse()
    if args.side:
        show(memory_here(args), args.json)
        return
    about = {"model": args.model, "batch": args.batch, "fraction": args.fraction}
    result = memory(args) if args.memory else latency(args)
    show({"machine": machine(), **about, **result}, args.json)


if __name__ == "__main__":
    main()
