"""Is it worth starting from the weights of a trained model? Error after the same number of steps.

A dense model is trained and compressed: its factors start at `init="fit"`, or at random; then they
are trained by a plain `fit`, or by `smh.distill` with the dense model as the teacher. Each side is
trained twice from its start, by one cycle of one epoch and by one of `--epochs`.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time

import keras
import numpy as np

import smh
from smh.virtual_variable import virtual_variables

SIDES = ("fit", "fit, distilled", "random", "random, distilled")


def error(model: keras.Model, x: np.ndarray, y: np.ndarray) -> float:
    """Errors in percent."""
    logits = model.predict(x, 1000, verbose=0)
    return round(100 * float(np.mean(np.argmax(logits, -1) != y)), 2)


def train(model, data, batch: int, epochs: int, rate: float, teacher=None):
    """Trains by one cycle, with the soft targets of a teacher if there is one."""
    trained = model if teacher is None else smh.distill(model, teacher)
    steps = epochs * math.ceil(len(data.x_train) / batch)
    smh.recipes.compile_for_training(trained, steps, peak_rate=rate)
    trained.fit(data.x_train, data.y_train, batch, epochs=epochs, verbose=0)


def compressed(dense: keras.Model, fraction: float, init: str, seed: int) -> keras.Model:
    """A compressed copy: normalisation and biases are those of the dense model on every side."""
    return smh.compress(smh.materialize(dense), fraction, seed=seed, init=init)


def measure_side(dense, data, side: str, fraction: float, options, seed: int) -> dict:
    """Errors after 0, 1 and `epochs` epochs; and what the fit kept."""
    init, _, distilled = side.partition(", ")
    rate = options.rate if init == "random" else options.fit_rate
    found: dict = {}
    for epochs in (1, options.epochs):
        keras.utils.set_random_seed(seed)
        model = compressed(dense, fraction, init, seed)
        if "0" not in found:
            found["0"] = error(model, data.x_test, data.y_test)
            kept = virtual_variables(model)[0].parametrization.source.energy_kept
            found["kept"] = kept and round(kept, 3)
        teacher = dense if distilled else None
        train(model, data, options.batch, epochs, rate, teacher)
        found[str(epochs)] = error(model, data.x_test, data.y_test)
    return found


def measure(options, data, seed: int) -> dict:
    """Trains one dense model and all that begins with it."""
    keras.utils.set_random_seed(seed)
    shape = tuple(int(n) for n in data.x_train.shape[1:])
    dense = smh.zoo.build(options.model, shape, 10)
    train(dense, data, options.batch, options.dense_epochs, options.dense_rate)
    result = {"seed": seed, "dense": error(dense, data.x_test, data.y_test), "sides": {}}
    for fraction in options.fractions:
        result["sides"][fraction] = {}
        for side in options.sides:
            began = time.process_time()
            found = measure_side(dense, data, side, fraction, options, seed)
            result["sides"][fraction][side] = found
            if not options.json:
                seconds = time.process_time() - began
                print(f"seed {seed} {fraction} {side}: {found} ({seconds:.0f} s)", flush=True)
    return result


def summary(results: list[dict]) -> str:
    """A Markdown table: mean over the seeds, and the lowest and highest where there are several."""
    lines = [f"dense: {_spread([r['dense'] for r in results])} % errors", ""]
    first = results[0]["sides"]
    epochs = [key for key in next(iter(next(iter(first.values())).values())) if key != "kept"]
    lines += ["| fraction | start | energy kept | " + " | ".join(epochs) + " epochs |"]
    lines += ["| ---: | --- | ---: | " + " | ".join("---:" for _ in epochs) + " |"]
    for fraction, sides in first.items():
        for side in sides:
            rows = [r["sides"][fraction][side] for r in results]
            kept = [row["kept"] for row in rows if row["kept"] is not None]
            cells = [f"{100 * statistics.mean(kept):.1f} %" if kept else ""]
            cells += [_spread([row[key] for row in rows]) for key in epochs]
            lines.append(f"| {fraction} | {side} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    mean = f"{statistics.mean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.2f} to {max(values):.2f})"


def main(arguments=None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="lenet_5", help="of the zoo")
    parser.add_argument("--data", default="mnist", help="mnist, fashion_mnist, digits, ...")
    parser.add_argument("--data-dir", help="folder to look for the data in first")
    parser.add_argument("--images", type=int, help="train on the first of them only")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.05])
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--rate", type=float, default=2e-2, help="Adam's highest, random start")
    parser.add_argument("--fit-rate", type=float, default=2e-2, help="the same, from a fit")
    parser.add_argument("--dense-epochs", type=int, default=5)
    parser.add_argument("--dense-rate", type=float, default=2e-3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    loaded = {} if options.data == "digits" else {"data_dir": options.data_dir}
    data = smh.datasets.load(options.data, **loaded)
    if options.images is not None:
        few = {name: getattr(data, name)[: options.images] for name in ("x_train", "y_train")}
        data = data.__class__(**(vars(data) | few))
    results = [measure(options, data, seed) for seed in options.seeds]
    if options.json:
        print(json.dumps({"epochs": options.epochs, "results": results}))
    else:
        print(summary(results))


if __name__ == "__main__":
    main()
