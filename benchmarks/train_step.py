"""Times a training step of a compressed model against the same model dense.

Both sides alternate in one process, step by step, so that the machine's noise hits both; the result
is a ratio of medians. Run: `python benchmarks/train_step.py --model ResNet50 --fraction 0.1`.
"""

import argparse
import json
import statistics
import time

import keras
import numpy as np

import smh


def build(name, size):
    net = getattr(keras.applications, name)
    return net(weights=None, input_shape=(size, size, 3), classes=10)


def compiled(model):
    model.compile(keras.optimizers.Adam(1e-4), "sparse_categorical_crossentropy")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ResNet50", help="a name of keras.applications")
    parser.add_argument("--size", type=int, default=64, help="side of the images")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()

    rng = np.random.default_rng(0)
    x = rng.normal(size=(args.batch, args.size, args.size, 3)).astype("float32")
    y = rng.integers(0, 10, args.batch)
    sides = {
        "dense": compiled(build(args.model, args.size)),
        "compressed": compiled(smh.compress(build(args.model, args.size), args.fraction, seed=0)),
    }
    times = {name: [] for name in sides}
    for step in range(args.steps + 3):
        for name, model in sides.items():
            begin = time.perf_counter()
            model.train_on_batch(x, y)
            if step >= 3:  # the first steps trace and warm up
                times[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(values) for name, values in times.items()}
    result = {
        **vars(args),
        "dense_ms": round(1000 * medians["dense"], 1),
        "compressed_ms": round(1000 * medians["compressed"], 1),
        "ratio": round(medians["compressed"] / medians["dense"], 3),
        "trained_dense": sides["dense"].count_params(),
        "trained_compressed": sides["compressed"].count_params(),
    }
    del result["json"]
    if args.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:>20}  {value}")


if __name__ == "__main__":
    main()
