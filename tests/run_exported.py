"""Runs exported models where smh cannot be imported.

`run_exported.py FOLDER` feeds `FOLDER/inputs.npz`, arrays by the names of the inputs (or
`FOLDER/inputs.npy`, the only one), to every model in the folder. The outputs go to
`FOLDER/outputs.npz`: by the models' names, and of models with several, `NAME 0`, `NAME 1` and so
on. Without FOLDER it reads folders from standard input, and answers each with a line: starting
TensorFlow takes longer than running a model.
"""

import sys
import traceback
from pathlib import Path

import numpy as np


def named(inputs, names):
    """Inputs by the names that a file has for them, which may be others if there is but one."""
    arrays = list(inputs.values()) if isinstance(inputs, dict) else [inputs]
    return {next(iter(names)): arrays[0]} if len(arrays) == 1 else inputs


def ordered(outputs):
    """Outputs by name, in the order of the model: of a list, or of a dictionary."""
    listed = [f"output_{i}" for i in range(len(outputs))]
    return [outputs[name] for name in (listed if set(listed) == set(outputs) else sorted(outputs))]


def saved_model(path, inputs):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # has the variables, so it must live as long as the call
    function = loaded.signatures["serving_default"]
    specs = function.structured_input_signature[1]
    given = {name: tf.constant(x) for name, x in named(inputs, specs).items()}
    outputs = ordered(function(**given))
    return [tf.cast(x, tf.float32) if x.dtype == tf.bfloat16 else x for x in outputs]


def litert(path, inputs):
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(model_path=path).get_signature_runner()
    return ordered(runner(**named(inputs, runner.get_input_details())))


def onnx(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return session.run(None, named(inputs, [given.name for given in session.get_inputs()]))


def keras(path, inputs):
    import exported_layers  # noqa: F401 - registers what a file may name
    import keras

    model = keras.saving.load_model(path)
    names = [tensor.name for tensor in model.inputs]
    given = named(inputs, names)
    tensors = [keras.ops.convert_to_tensor(given[name]) for name in names]
    sequential = isinstance(model, keras.Sequential)
    given = tensors[0] if sequential else keras.tree.pack_sequence_as(model.input, tensors)
    outputs = keras.tree.flatten(model(given))
    return [keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")) for x in outputs]


RUN = {"": saved_model, ".tflite": litert, ".onnx": onnx, ".keras": keras}


def run_all(folder):
    if (folder / "inputs.npz").exists():
        inputs = dict(np.load(folder / "inputs.npz"))
    else:
        inputs = np.load(folder / "inputs.npy")
    outputs = {}
    for path in sorted(folder.iterdir()):
        if path.suffix not in RUN:
            continue
        found = [np.asarray(x) for x in RUN[path.suffix](str(path), inputs)]
        names = [path.name] if len(found) == 1 else [f"{path.name} {i}" for i in range(len(found))]
        outputs.update(zip(names, found, strict=True))
    np.savez(folder / "outputs.npz", **outputs)


def main(folders):
    sys.modules["smh"] = None  # Python's way to say that there is no such module
    try:
        import smh  # noqa: F401
    except ImportError:
        pass
    else:
        raise SystemExit("smh can be imported, so this shows nothing")
    for folder in folders:
        try:
            run_all(Path(folder))
            assert not [name for name in sys.modules if name.startswith("smh.")]
        except Exception:
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            print(f"failed {folder}", flush=True)
        else:
            print(f"ran {folder}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or (line.rstrip("\n") for line in sys.stdin))
