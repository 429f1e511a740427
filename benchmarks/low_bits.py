"""Accuracy with factors of few bits: rounded after training, and trained with rounding.

LeNet-300-100 on MNIST, from a folder with its four IDX files. One float model is trained for the
first part of the run; from there it goes on as float, and once for each number of bits.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import keras
import numpy as np

import smh
from smh import coding
from smh.doors.quantization import quantized
from smh.virtual_variable import virtual_variables

BATCH = 256
PEAK_RATE = 1e-2


def read_idx(folder: Path, name: str) -> np.ndarray:
    """Reads one IDX file of bytes: two zeros, type 8, the rank, the lengths, the numbers."""
    data = (folder / name).read_bytes()
    if data[:3] != b"\0\0\x08":
        raise SystemExit(f"{folder / name} is not an IDX file of bytes (unpack it first)")
    shape = np.frombuffer(data, ">i4", count=data[3], offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(shape)


def load(folder: Path, count: int | None) -> tuple:
    """Training and test images `[n, 28, 28, 1]` in [0, 1], and their labels."""
    parts = []
    for prefix in ("train", "t10k"):
        images = read_idx(folder, f"{prefix}-images-idx3-ubyte")[:count]
        labels = read_idx(folder, f"{prefix}-labels-idx1-ubyte")[:count]
        parts += [images[..., None].astype("float32") / 255, labels.astype("int64")]
    return tuple(parts)


def size(model: keras.Model) -> int:
    """Bytes of the rounded factors, entropy-coded, and of the rest in float16; no file header."""
    pool = virtual_variables(model)[0].parametrization.source
    factors = [quantized(factor) for factor in pool.core_variables]
    rest = sum(math.prod(v.shape) for v in model.variables) - pool.core_size
    return 2 * rest + sum(len(coding.encode(q.integers, q.coding).payload) for q in factors)


def measure(options, seed: int) -> dict:
    """Trains one model as often as is asked for, and returns its errors in percent."""
    x_train, y_train, x_test, y_test = load(options.data_dir, options.images)
    keras.utils.set_random_seed(seed)
    model = smh.compress(smh.zoo.lenet_300_100(), options.fraction, seed=seed)
    steps = options.epochs * math.ceil(len(x_train) / BATCH)
    model.compile(
        keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(
                PEAK_RATE / 100,
                steps - steps // 5,
                warmup_target=PEAK_RATE,
                warmup_steps=steps // 5,
            )
        ),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )

    def train(first, last):
        model.fit(
            x_train, y_train, BATCH, epochs=last, initial_epoch=first, verbose=0, shuffle=True
        )

    def error():
        logits = model.predict(x_test, 1000, verbose=0)
        return round(100 * float(np.mean(np.argmax(logits, -1) != y_test)), 2)

    begin = options.epochs - round(options.epochs * options.share)
    train(0, begin)
    every = [*model.variables, *model.optimizer.variables]
    state = [np.array(keras.ops.convert_to_numpy(v)) for v in every]
    train(begin, options.epochs)
    result: dict = {"seed": seed, "float": error(), "after": {}, "trained": {}, "bytes": {}}
    for bits in options.bits:
        smh.quantize_factors(model, bits, granularity=options.granularity)
        result["after"][bits] = error()
    for bits in options.bits:
        smh.quantize_factors(model, None)
        for variable, value in zip(every, state, strict=True):
            variable.assign(value)
        smh.quantize_factors(model, bits, granularity=options.granularity)
        train(begin, options.epochs)
        result["trained"][bits], result["bytes"][bits] = error(), size(model)
    return result


def main(arguments=None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder of MNIST's IDX files")
    parser.add_argument("--fraction", type=float, default=0.062)
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4, 3, 2])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.4, help="of the run that is rounded")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--granularity", default="auto")
    parser.add_argument("--images", type=int, help="use the first only")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    results = []
    for seed in options.seeds:
        results.append(measure(options, seed))
        if not options.json:
            print(results[-1], flush=True)
    if options.json:
        print(json.dumps({"epochs": options.epochs, "results": results}))


if __name__ == "__main__":
    main()
