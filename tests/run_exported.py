"""Runs exported models where smh cannot be imported: `run_exported.py FOLDER`.

`FOLDER/inputs.npy` is fed to every model in the folder; the outputs go to `FOLDER/outputs.npz`, by
the models' names.
"""

import sys
from pathlib import Path

import numpy as np


def saved_model(path, inputs):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # has the variables, so it must live as long as the call
    return loaded.serve(inputs).numpy()


def litert(path, inputs):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=path)
    place = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(place, inputs.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(place, inputs)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def onnx(path, inputs):
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: inputs})[0]


def keras(path, inputs):
    import keras

    return keras.saving.load_model(path).predict(inputs, verbose=0)


RUN = {"": saved_model, ".tflite": litert, ".onnx": onnx, ".keras": keras}


def main(folder):
    sys.modules["smh"] = None  # Python's way to say that there is no such module
    try:
        import smh  # noqa: F401
    except ImportError:
        pass
    else:
        raise SystemExit("smh can be imported, so this shows nothing")
    inputs = np.load(folder / "inputs.npy")
    models = [path for path in sorted(folder.iterdir()) if path.suffix not in (".npy", ".npz")]
    outputs = {path.name: RUN[path.suffix](str(path), inputs) for path in models}
    assert not [name for name in sys.modules if name.startswith("smh.")]
    np.savez(folder / "outputs.npz", **outputs)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
