#!/bin/sh
# keras 3.15.1 (on jax 0.10.2)
#
# `compile=False` reaches only the outermost model. A model that was never compiled, around one that
# was, with a loss function of one's own, is saved without a word; it cannot be loaded where that
# function is not known, whatever `compile` says, nor made again from its configuration, not even in
# the process that has the function. The inner model alone loads with `compile=False`. `clone_model`
# works, and leaves the inner model uncompiled.
#
# Seen: TypeError: "Could not locate function 'own_loss'" from `load_model(..., compile=False)` and
# from `Model.from_config(model.get_config())` of the outer model.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet keras==3.15.1 jax==0.10.2
cd "$folder"
KERAS_BACKEND=jax "$folder/venv/bin/python" - <<'PYTHON'
import keras


def own_loss(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred))


inner = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
inner.compile("sgd", own_loss)
inner.save("inner.keras")
x = keras.Input((4,))
outer = keras.Model(x, inner(x))
print("the outer model is compiled:", outer.compiled)
outer.save("outer.keras")
assert not outer.compiled

keras.saving.load_model("inner.keras", compile=False)
print("inner.keras: loaded with compile=False")
tries = {
    "outer.keras, compile=False": lambda: keras.saving.load_model("outer.keras", compile=False),
    "its configuration": lambda: keras.Model.from_config(outer.get_config()),
}
for name, load in tries.items():
    try:
        load()
    except TypeError as error:
        assert "Could not locate function 'own_loss'" in str(error)
        print(f"{name}: Could not locate function 'own_loss'")
    else:
        raise SystemExit(f"{name}: it loads: the behaviour has changed")
copy = keras.models.clone_model(outer)
assert not any(getattr(layer, "compiled", False) for layer in copy.layers)
print("clone_model: works, nothing in it is compiled")
PYTHON
