"""Old HDF5 files become .keras files that predict the same."""

import json

import h5py
import keras
import numpy as np
import pytest
from keras import layers

import smh
from smh import cli
from smh.errors import ArgumentError
from smh.training.foreign import explained, refuse_foreign


def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dense(4),
        ]
    )


def old(path, groups):
    """A file as old versions of Keras wrote it."""
    model = network()
    model.save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"]["groups"] = groups
        file.attrs["model_config"] = json.dumps(config)
    return model


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", ["old.h5", "old.hdf5", "old.keras", "old"])
def test_an_old_file_predicts_the_same(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model = old("made.h5", groups=1)
    (tmp_path / "made.h5").rename(name)
    assert cli.main(["import", name, "--to", "new.keras"]) == 0
    assert "new.keras: " in (said := capsys.readouterr().out) and "4 layers" in said
    x = np.random.default_rng(0).random((2, 8, 8, 3), "float32")
    loaded = keras.saving.load_model("new.keras")
    assert type(loaded.layers[0]) is layers.DepthwiseConv2D
    np.testing.assert_array_equal(loaded(x), model(x))
    assert cli.main(["import", name, "--to", "new.keras"]) == 2
    assert "exists; --force replaces it" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_is_another_network_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    old("made.h5", groups=2)
    (tmp_path / "cut.h5").write_bytes((tmp_path / "made.h5").read_bytes()[:3000])
    for name in ("made.h5", "cut.h5"):
        assert cli.main(["import", name, "--to", "new.keras"]) == 1
        said = capsys.readouterr().err
        assert f"'{name}' cannot be loaded as a Keras model: " in said and said.count("\n") == 1
    assert not (tmp_path / "new.keras").exists()


def a_run(path):
    path.mkdir()
    for name in ("config.json", "data.json"):
        (path / name).write_text("{}")


# What writes a file, and what is said of it; whether smh itself wrote it.
FILES = {
    "m.keras": (lambda path: network().save(path), "is a .keras file already", True),
    "m.smh": (lambda path: smh.save(network(), path), "is a .smh file already", True),
    "run": (a_run, "is a run directory already", True),
    "m.zip": (
        lambda path: (network().save(f"{path}.keras"), path.with_suffix(".zip.keras").rename(path)),
        "is a .keras file under another name",
        True,
    ),
    "m": (lambda path: smh.save(network(), path), "is a .smh file under another name", True),
    "m.tflite": (lambda path: path.write_bytes(b"TFL3"), "is a file for inference", False),
    "m.pt": (lambda path: path.write_bytes(b""), "is a file of PyTorch", False),
    "m.weights.h5": (
        lambda path: network().save_weights(path),
        "is a file of weights alone",
        False,
    ),
    "m.txt": (lambda path: path.write_bytes(b"?"), "is no .keras file, no .smh file", True),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FILES)
def test_every_other_file_is_told_for_what_it_is(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write, said, is_own = FILES[name]
    write(tmp_path / name)
    assert f"'{name}' {said}" in explained(name)
    if name != "m.weights.h5":
        assert cli.main(["import", name, "--to", "new.keras"]) == 2
        assert f"'{name}' {said}" in capsys.readouterr().err
    if is_own:
        return refuse_foreign(name)
    with pytest.raises(ArgumentError, match=said):
        refuse_foreign(name)
