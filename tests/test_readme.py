"""Every Python block of the README and of the guide runs, in order, in one namespace."""

import re

import documents
import keras
import numpy as np
import pytest

from smh.virtual_variable import virtual_variables

README = (documents.ROOT / "README.md").read_text()
GUIDE = documents.ROOT / "docs" / "guide.md"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="has TF1 blocks")
def test_the_blocks_run_and_end_in_small_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    for _ in documents.run(documents.ROOT / "README.md", names, commands=False):
        pass
    sizes = {file.name: file.stat().st_size for file in tmp_path.iterdir()}
    assert set(sizes) == {"small.smh", "tiny.smh", "pruned.smh", "small.tflite"}
    assert sizes["small.smh"] == names["report"].bytes <= 20_000
    x = names["data"].x_test[:8]
    same = [names[name].predict(x, verbose=0) for name in ("again", "plain")]
    np.testing.assert_allclose(*same, atol=1e-5)


def test_the_readme_is_short():
    assert len(README.split()) < 1100


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="has TF1 blocks")
def test_the_blocks_of_the_guide_run_and_end_in_models_that_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a block saves a model
    names, models = {}, []
    for _ in documents.run(GUIDE, names, commands=False):
        model = names.get("model")
        if model is not None and not any(model is known for known in models):
            models.append(model)
    assert len(models) == 4
    assert {file.name for file in tmp_path.iterdir()} == {
        "model.tflite",
        "fast.tflite",
        "lenet.smh",
        "pruned.smh",
        "model.keras",
    }
    for model in models:
        assert virtual_variables(model)
        shape = model.input_shape[1:]
        x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
        y = np.arange(4) % 10
        model.compile(
            keras.optimizers.Adam(1e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        )
        losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
        assert losses[-1] < losses[0]
    assert len(names["conv_factory"].layer_name_variable_index_map) == 4


def test_names_the_commands_and_files_that_exist():
    makefile = (documents.ROOT / "Makefile").read_text()
    for target in re.findall(r"^\$ make (\w[\w-]*)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    for link in re.findall(r"\]\(((?!http)[^)#]+)\)", README):
        assert (documents.ROOT / link).exists(), link
