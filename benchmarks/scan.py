"""Scans of a network: by evaluating it for each row, and by one backward pass. In turns, one run.

The network has random weights, which decide nothing of the time; the order of its weights is
compared on the network of `--ranks`, a trained one.
"""

from __future__ import annotations

import argparse
import statistics
import time

import keras
import numpy as np

import smh
from smh import zoo

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)


def divergence(model: keras.Model, x: np.ndarray):
    """Returns a function of the model: how far its probabilities are from those it has now."""

    def probabilities(model):
        return _softmax(model.predict(x, batch_size=250, verbose=0).astype("float64"))

    before = probabilities(model)

    def evaluate(model):
        after = probabilities(model)
        return float((before * np.log((before + 1e-12) / (after + 1e-12))).sum(1).mean())

    return evaluate


def _softmax(y: np.ndarray) -> np.ndarray:
    if y.min() >= 0 and np.allclose(y.sum(1), 1, atol=1e-3):
        return y
    e = np.exp(y - y.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def scan(model, evaluate, method: str, levels=LEVELS):
    """Returns the result and the seconds it took."""
    begin = time.perf_counter()
    better = {} if method == "fisher" else {"higher_is_better": False}
    found = smh.sensitivity_scan(
        model, evaluate, levels, method=method, seed=0, verbose=0, **better
    )
    return found, time.perf_counter() - begin


def times(name: str, images: int, repeats: int) -> None:
    """Prints the ratio of medians; the exact scan is measured on a part of its rows."""
    model = zoo.build(name, (32, 32, 3), 10)
    x = np.random.default_rng(0).uniform(size=(images, 32, 32, 3)).astype("float32")
    evaluate = divergence(model, x)
    evaluate(model)
    scan(model, x[:32], "fisher", LEVELS[:1])
    one, all_rows = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        evaluate(model)
        one.append(time.perf_counter() - begin)
        found, seconds = scan(model, x[:512], "fisher")
        all_rows.append(seconds)
    exact = (1 + len(found.rows)) * statistics.median(one)
    fisher = statistics.median(all_rows)
    print(
        f"{name}: {len(found.rows)} rows on {images} images: exact {exact:.0f} s "
        f"({statistics.median(one):.2f} s each), fisher {fisher:.1f} s, 1/{exact / fisher:.0f}"
    )


def ranks(path: str, data: str) -> None:
    """Prints Spearman's coefficient of all rows, and of the weights at each level."""
    model = keras.saving.load_model(path, compile=False)
    images = np.load(data)["x_train"][40000:41000].astype("float32")
    exact, _ = scan(model, divergence(model, images), "exact")
    found, _ = scan(model, images[:512], "fisher")
    expected = np.array([row.metrics[exact.metric] for row in exact.rows])
    estimated = np.array([row.metrics["divergence"] for row in found.rows])
    levels = np.array([row.level for row in exact.rows])
    print(f"all {len(expected)} rows: {_spearman(expected, estimated):.3f}")
    for level in LEVELS:
        here = levels == level
        print(f"sparsity {level}: {_spearman(expected[here], estimated[here]):.3f}")


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet_34")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ranks", nargs=2, metavar=("MODEL", "NPZ"), help="a trained network")
    options = parser.parse_args()
    if options.ranks:
        ranks(*options.ranks)
    else:
        times(options.network, options.images, options.repeats)


if __name__ == "__main__":
    main()
