#!/bin/sh
# keras 3.15.1 (on TensorFlow 2.21.0)
#
# `custom_objects={"Add": keras.layers.Add}`, Keras' own class under its own name, makes a model
# unloadable that has `x + 3.0` in it: custom objects come first, and the *operation* that `+` made is
# called Add as well. So a dictionary of all classes in a model is no harmless way to load it.
#
# Seen: ValueError: "Only input tensors may be passed as positional arguments. The following argument
# value should be passed as a keyword argument: 3.0".
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet tensorflow==2.21.0 keras==3.15.1
cd "$folder"
TF_CPP_MIN_LOG_LEVEL=3 "$folder/venv/bin/python" - <<'PYTHON'
import keras

x = keras.Input((4,))
keras.Model(x, x + 3.0).save("model.keras")
keras.saving.load_model("model.keras")
print("without custom_objects: loads")
try:
    keras.saving.load_model("model.keras", custom_objects={"Add": keras.layers.Add})
except ValueError as error:
    print("with custom_objects:", error)
    assert "Only input tensors may be passed as positional arguments" in str(error)
else:
    raise SystemExit("it loads: the behaviour has changed")
PYTHON
