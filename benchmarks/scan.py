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
from smh.sensitivity import plan

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
USUAL = tuple(i / 10 for i in range(1, 10))  # the sparsities of `smh.sensitivity_scan`


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


def resumed(name: str, images: int, parts: int, repeats: int) -> None:
    """Prints what an exact scan takes that goes on from the changed layer, against the whole.

    Of some weights spread over the depth, in processor time, the sides in turns; each evaluation of
    the whole takes the same, so the ratio is that of a scan of all weights.
    """
    model = zoo.build(name, (32, 32, 3), 10)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("sgd", loss, metrics=["accuracy"])
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(images, 32, 32, 3)).astype("float32")
    data = x, np.arange(images) % 10
    model.evaluate(*data, verbose=0)
    paths = [v.path for v in model.trainable_weights if v.path.endswith("kernel")]
    chosen = [paths[len(paths) * (2 * i + 1) // (2 * parts)] for i in range(parts)]
    goes_on, losses = plan.resuming, {}
    ways = {"whole": lambda model, evaluate, measure, _: lambda _: measure, "resumed": goes_on}
    spent: dict[str, list[float]] = {side: [] for side in ways}
    for side, plan.resuming in list(ways.items()) * repeats:
        begin = time.process_time()
        found = smh.sensitivity_scan(model, data, USUAL, apply_to=chosen, seed=0, verbose=0)
        end = time.process_time()
        model.evaluate(*data, verbose=0)  # the unchanged model, once a scan and not a weight
        spent[side].append(2 * end - begin - time.process_time())
        losses[side] = np.array([row.metrics["loss"] for row in found.rows])
        print(f"{side}: {spent[side][-1]:.1f} s for {len(found.rows)} rows", flush=True)
    differs = float(np.abs(losses["resumed"] / losses["whole"] - 1).max())
    plan.resuming = goes_on
    whole, part = (statistics.median(spent[side]) for side in ways)
    print(
        f"{name}, {images} images, {', '.join(chosen)}: {part / whole:.2f} of "
        f"the whole's time; losses differ by {differs:.1e} at most"
    )


def suggestions(path: str, data: str, levels: tuple[float, ...]) -> None:
    """Prints accuracy and loss after pruning by what each method suggests."""
    given = np.load(data)
    images = given["x_train"][40000:41000].astype("float32")
    labels = given["y_train"][40000:41000].ravel()
    test = given["x_test"].astype("float32"), given["y_test"].ravel()
    budgets = (0.4, 0.5, 0.6, 0.7)
    model = _judged(path)
    scans = {
        "exact, accuracy": smh.sensitivity_scan(
            model, (images, labels), levels, metric="accuracy", seed=0, verbose=0
        ),
        "exact, divergence": scan(model, divergence(model, images), "exact", levels)[0],
        "fisher": scan(model, images[:512], "fisher", levels)[0],
    }
    for budget in budgets:
        for name, found in scans.items():
            pruned = smh.prune(_judged(path), found.suggest(budget=budget), seed=0)
            loss, accuracy = pruned.evaluate(*test, verbose=0)
            print(f"budget {budget}, {name}: accuracy {accuracy:.4f}, loss {loss:.3f}", flush=True)
        pruned = smh.prune(_judged(path), budget, seed=0)
        loss, accuracy = pruned.evaluate(*test, verbose=0)
        print(f"budget {budget}, the same everywhere: accuracy {accuracy:.4f}, loss {loss:.3f}")


def _judged(path: str) -> keras.Model:
    model = keras.saving.load_model(path, compile=False)
    logits = model.layers[-1].get_config().get("activation") != "softmax"
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    model.compile("sgd", loss, metrics=["accuracy"])
    return model


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(np.argsort(np.argsort(a)), np.argsort(np.argsort(b)))[0, 1])


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", default="resnet_34")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ranks", nargs=2, metavar=("MODEL", "NPZ"), help="a trained network")
    parser.add_argument("--suggestions", nargs=2, metavar=("MODEL", "NPZ"), help="the same")
    parser.add_argument("--usual", action="store_true", help="nine sparsities to suggest from")
    parser.add_argument("--resumed", type=int, help="of so many weights: going on from a layer")
    options = parser.parse_args()
    if options.ranks:
        ranks(*options.ranks)
    elif options.suggestions:
        suggestions(*options.suggestions, USUAL if options.usual else LEVELS)
    elif options.resumed:
        resumed(options.network, options.images, options.resumed, options.repeats)
    else:
        times(options.network, options.images, options.repeats)


if __name__ == "__main__":
    main()
