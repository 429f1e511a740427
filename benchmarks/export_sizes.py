"""Exported files of one model, compressed beside dense: their sizes, and the time for one image.

Prints the table of docs/how_to/export.md. The dense side of each format holds the same weights,
dense (`mode="dense"`). TensorFlow, ai-edge-litert and onnxruntime run the files in turns, and
`ratio` is the time over that of the dense file in the same format.

    python benchmarks/export_sizes.py --model MobileNetV2 --size 96 --fraction 0.25
"""

import tempfile
import time
from pathlib import Path

import keras
import measuring
import numpy as np

import smh

SEED = 0
SUFFIX = {"saved_model": "", "litert": ".tflite", "onnx": ".onnx", "keras": ".keras"}
KINDS = {
    "saved_model": ("dense", "factors", "stream"),
    "litert": ("dense", "factors", "stream"),
    "onnx": ("dense", "factors"),
    "keras": ("dense",),
}


def network(args):
    keras.utils.set_random_seed(SEED)
    build = getattr(keras.applications, args.model)
    model = build(weights=None, input_shape=(args.size, args.size, 3), classifier_activation=None)
    dense = sum(4 * int(np.prod(v.shape)) for v in model.variables)
    smh.compress(model, args.fraction, seed=SEED)
    return model, dense, sum(4 * int(np.prod(v.shape)) for v in model.variables)


def load_saved_model(path, image, threads):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    tensor = tf.constant(image)
    return lambda: loaded.serve(tensor).numpy()


def load_litert(path, image, threads):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path, num_threads=threads)
    interpreter.allocate_tensors()
    given = interpreter.get_input_details()[0]["index"]
    found = interpreter.get_output_details()[0]["index"]

    def run():
        interpreter.set_tensor(given, image)
        interpreter.invoke()
        return interpreter.get_tensor(found)

    return run


def load_onnx(path, image, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(path, options)
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: image})[0]


def load_keras(path, image, threads):
    model = keras.saving.load_model(path)
    return lambda: model.predict_on_batch(image)


LOAD = {
    "saved_model": load_saved_model,
    "litert": load_litert,
    "onnx": load_onnx,
    "keras": load_keras,
}


def file_bytes(path):
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files)


def measure(model, folder, args):
    image = np.random.default_rng(SEED).uniform(-1, 1, (1, args.size, args.size, 3))
    image = image.astype("float32")
    expected = np.array(model(image))
    rows, sides = {}, {}
    for format, modes in KINDS.items():
        for mode in modes:
            path = folder / f"{mode}{SUFFIX[format]}"
            begin = time.perf_counter()
            smh.export(model, path, format, mode)
            seconds = time.perf_counter() - begin
            run = sides[format, mode] = LOAD[format](str(path), image, args.threads)
            error = float(np.abs(run() - expected).max() / np.abs(expected).max())
            rows[format, mode] = {
                "bytes": file_bytes(path),
                "export_s": round(seconds, 1),
                "relative_error": float(f"{error:.1e}"),
            }
    times = measuring.median_seconds(sides, args.rounds)
    for (format, mode), row in rows.items():
        row["ms"] = round(1000 * times[format, mode], 2)
        row["ratio"] = round(times[format, mode] / times[format, "dense"], 2)
    return {f"{format} {mode}": row for (format, mode), row in rows.items()}


def table(rows):
    """The table of docs/how_to/export.md."""
    lines = [
        "| format | mode | bytes | of dense | ms per image | over dense |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        format, mode = name.split()
        share = row["bytes"] / rows[f"{format} dense"]["bytes"]
        lines.append(
            f"| `{format}` | `{mode}` | {row['bytes']:,} | {share:.0%} | {row['ms']} | "
            f"{row['ratio']} |"
        )
    return "\n".join(lines)


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("--model", default="MobileNetV2", help="a name in keras.applications")
    parser.add_argument("--size", type=int, default=96, help="side of the image")
    parser.add_argument("--fraction", type=float, default=0.25)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2, help="of LiteRT and ONNX Runtime")
    args = parser.parse_args(arguments)
    asked = {key: value for key, value in vars(args).items() if key != "json"}
    model, dense, compressed = network(args)
    stored = {"dense_numbers_bytes": dense, "compressed_numbers_bytes": compressed}
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(model, Path(folder), args)
    result = {**asked, **stored, "machine": measuring.machine(), "files": rows}
    measuring.show(result, args.json)
    if not args.json:
        print(table(rows))


if __name__ == "__main__":
    main()
