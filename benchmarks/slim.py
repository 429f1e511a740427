"""A network with half of its multiply-adds gone, beside the dense one: time, bytes, numbers.

The channels are chosen by magnitude and nothing is trained: time does not depend on that. LiteRT,
onnxruntime and Keras run both in turns, one image at a time (Keras `--images`), then both take
training steps, in turns as well.
`ratio` is the time over that of the dense side. With `--fold-normalization` Keras also runs the
slim network with its batch normalisations in the layers before them.

    python benchmarks/slim.py --model resnet_34 --share 0.5
    python benchmarks/slim.py --model mobilenet_v2 --size 96 --share 0.5
"""

import tempfile
from pathlib import Path

import keras
import measuring
import numpy as np
from export_sizes import LOAD, SUFFIX

import smh

SEED = 0
RUNTIMES = ("litert", "onnx", "keras")


def networks(args):
    """The dense model, and the slim one with its report."""
    keras.utils.set_random_seed(SEED)
    dense = smh.zoo.build(args.model, (args.size, args.size, 3), args.classes)
    masked = keras.models.clone_model(dense)
    masked.set_weights(dense.get_weights())
    smh.prune(masked, args.share, structure="channels", of="multiply_adds", round_to=args.round_to)
    small, report = smh.slim(masked, return_report=True)
    sides = {"dense": dense, "slim": small}
    if args.fold_normalization:
        sides["folded"] = smh.slim(masked, fold_normalization=True)
    return sides, report


def one_call(sides, args):
    """Bytes of the files, and milliseconds for a call, by runtime."""
    shape, rows = (args.images, args.size, args.size, 3), {}
    images = np.random.default_rng(SEED).random(shape).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        for runtime in RUNTIMES:
            runs, size = {}, {}
            for name, model in sides.items():
                if name == "folded" and runtime != "keras":
                    continue  # the others fold all that they can on their own
                path = str(Path(folder, f"{name}{SUFFIX[runtime]}"))
                smh.export(model, path, runtime)
                size[name] = Path(path).stat().st_size
                given = images if runtime == "keras" else images[:1]
                runs[name] = LOAD[runtime](path, given, args.threads)
            times = measuring.median_seconds(runs, args.rounds)
            rows[runtime] = row(times, {f"{name}_bytes": n for name, n in size.items()})
    return rows


def training_step(sides, args):
    """Milliseconds for one step of SGD."""
    rng, steps = np.random.default_rng(SEED), {}
    x = rng.random((args.batch, args.size, args.size, 3)).astype("float32")
    y = rng.integers(0, args.classes, args.batch)
    for name in ("dense", "slim"):
        model = sides[name]
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile("sgd", loss)
        steps[name] = lambda model=model: model.train_on_batch(x, y)
    return row(measuring.median_seconds(steps, args.steps))


def row(times, more=()):
    """Times of both sides and their ratio."""
    shown = {f"{name}_ms": round(1000 * seconds, 2) for name, seconds in times.items()}
    ratios = {
        "ratio" if name == "slim" else f"{name}_ratio": round(seconds / times["dense"], 3)
        for name, seconds in times.items()
        if name != "dense"
    }
    return {**shown, **ratios, **dict(more)}


def main(argv=None):
    """Measures, and prints."""
    parser = measuring.options(__doc__)
    parser.add_argument("--model", default="resnet_34", help="a name of smh.zoo.names()")
    parser.add_argument("--size", type=int, default=32, help="pixels per side")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--share", type=float, default=0.5, help="of the multiply-adds that goes")
    parser.add_argument("--round-to", type=int, default=8, help="of channels a multiple stays")
    parser.add_argument("--rounds", type=int, default=30, help="images for each time")
    parser.add_argument("--images", type=int, default=1, help="in a call of Keras")
    parser.add_argument("--fold-normalization", action="store_true")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=8, help="training steps for each time")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    sides, report = networks(args)
    result = {
        "model": args.model,
        "machine": measuring.machine(),
        "numbers": list(report.numbers),
        "multiply_adds": list(report.multiply_adds),
        "runtimes": one_call(sides, args),
        "training": training_step(sides, args),
    }
    measuring.show(result, args.json)


if __name__ == "__main__":
    main()
