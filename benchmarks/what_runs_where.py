"""What each way to make a network small is worth in LiteRT and ONNX Runtime: bytes, time, loss.

Prints the tables of docs/how_to/what_runs_where.md. All files run in turns, one image at a time;
`time` is the median over that of the dense file in the same runtime. `expanded` is what
`smh.runtime.expand` makes of the LiteRT file. Nothing is trained after the change. `points` is
what a trained network loses by it, where `--data` has what judges it (see benchmarks/README.md).

    python benchmarks/what_runs_where.py --model lenet_5 --data FOLDER
    python benchmarks/what_runs_where.py --model MobileNetV2 --size 96
"""

import tempfile
import time
from pathlib import Path

import keras
import measuring
import networks
import numpy as np
from export_sizes import LOAD, SUFFIX

import smh

SEED = 0


def channels(model):
    smh.prune(model, 0.5, structure="channels", of="multiply_adds")
    return smh.slim(model)


def pool(model):
    smh.compress(model, 0.1, seed=SEED, init="fit")
    return smh.quantize_factors(model, 4)


def shrunk(model):
    smh.shrink(model, quality=60)
    return model


WAYS = {
    "dense": lambda model: model,
    "8 bits": lambda model: smh.quantize_weights(model, 8),
    "4 bits": lambda model: smh.quantize_weights(model, 4),
    "`smh.shrink`": shrunk,
    "16 shared values": lambda model: smh.cluster(model, 4),
    "50 % pruned": lambda model: smh.prune(model, 0.5),
    "50 % pruned, 8 shared values": lambda model: smh.cluster(smh.prune(model, 0.5), 3),
    "half the channels": channels,
    "pool 0.1, 4 bits": pool,
}
INT8 = "8 bits, activations too"


def settled(model, images):
    """An untrained model, with statistics under which something comes through."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(images, training=True)
    return model


def opened(args):
    """What builds the dense model, images, and what judges a model, or `None`."""
    if args.data:
        network = networks.load(args.model, args.data)
        weights = network.model.get_weights()

        def trained():
            model = keras.models.clone_model(network.model)
            model.set_weights(weights)
            return model

        return trained, np.asarray(network.calibration[:64], "float32"), network.loss
    images = np.random.default_rng(SEED).uniform(-1, 1, (64, args.size, args.size, 3))
    images = images.astype("float32")

    def untrained():
        keras.utils.set_random_seed(SEED)
        build = getattr(keras.applications, args.model)
        shape = (args.size, args.size, 3)
        return settled(build(weights=None, input_shape=shape, classifier_activation=None), images)

    return untrained, images, None


class Files:
    """The files of all ways, what is known of each, and what runs it."""

    def __init__(self, folder, image, threads):
        self.folder, self.image, self.threads = folder, image, threads
        self.rows, self.runs = {}, {}

    def add(self, way, model, runtime, expected=None, **options):
        """Exports; `expected` is the live model's answer."""
        path = self.folder / f"{len(self.runs)}{SUFFIX[runtime]}"
        begin = time.perf_counter()
        smh.export(model, path, runtime, **options)
        self._measured(way, runtime, path, expected, time.perf_counter() - begin)
        if runtime == "litert" and not options:
            fast = path.with_name(f"{path.stem}_fast.tflite")
            begin = time.perf_counter()
            smh.runtime.expand(path, fast)
            seconds = time.perf_counter() - begin
            if fast.stat().st_size > 1.02 * path.stat().st_size:
                self._measured(way, "expanded", fast, expected, seconds)

    def _measured(self, way, runtime, path, expected, seconds):
        format = "litert" if runtime == "expanded" else runtime
        run = self.runs[way, runtime] = LOAD[format](str(path), self.image, self.threads)
        row = self.rows[way, runtime] = {"bytes": path.stat().st_size, "made_s": round(seconds, 1)}
        if expected is not None:
            off = np.abs(run() - expected).max() / np.abs(expected).max()
            row["relative_error"] = float(f"{off:.1e}")


def measure(args, folder):
    build, images, loss = opened(args)
    files = Files(Path(folder), images[:1], args.threads)
    lost = {}
    for way in args.ways or WAYS:
        model = WAYS[way](build())
        lost[way] = None if loss is None else round(float(loss(model)), 2)
        for runtime in ("litert", "onnx"):
            files.add(way, model, runtime, np.array(model(images[:1])))
        if way == "dense":
            for runtime in ("litert", "onnx"):
                rounding = {"activations": "int8", "calibration": [images[:16]]}
                files.add(INT8, model, runtime, **rounding)
    times = measuring.median_seconds(files.runs, args.rounds)
    for (way, runtime), row in files.rows.items():
        format = "onnx" if runtime == "onnx" else "litert"
        row["ms"] = round(1000 * times[way, runtime], 3)
        row["time"] = round(times[way, runtime] / times["dense", format], 2)
    return files.rows, lost


def table(rows, lost):
    """The table of the page."""
    lines = [
        "| way | LiteRT, bytes | time | expanded, bytes | time | ONNX, bytes | time | points |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for way in dict.fromkeys(way for way, _ in rows):
        cells = []
        for runtime in ("litert", "expanded", "onnx"):
            row = rows.get((way, runtime))
            cells += ["", ""] if row is None else [f"{row['bytes']:,}", str(row["time"])]
        points = lost.get(way)
        lines.append(f"| {way} | {' | '.join(cells)} | {'' if points is None else points} |")
    return "\n".join(lines)


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("--model", default="MobileNetV2", help="in keras.applications, or networks")
    parser.add_argument("--data", help="the folder of a trained network: see benchmarks/README.md")
    parser.add_argument("--size", type=int, default=96, help="side of the image, of applications")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--ways", nargs="*", choices=WAYS, help="default: all; `dense` is needed")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        rows, lost = measure(args, folder)
    shown = {f"{way}, {runtime}": row for (way, runtime), row in rows.items()}
    measuring.show({"machine": measuring.machine(), "files": shown, "lost": lost}, args.json)
    if not args.json:
        print(table(rows, lost))


if __name__ == "__main__":
    main()
