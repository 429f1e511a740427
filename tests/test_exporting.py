"""Exported files: equal predictions without smh, small, and whole or not there."""

import importlib.util
from pathlib import Path

import fresh_process
import keras
import numpy as np
import pytest
from keras import layers
from models import by_name, mlp, numpy_of
from parametrizations import PARAMETRIZATIONS, inputs, network
from run_exported import RUN

import smh
from smh import exporting
from smh.errors import ArgumentError, GraphModeError, MissingPackageError, UnbuiltModelError
from smh.exporting import onnx_graph
from smh.virtual_variable.inside_keras.deploying import deployed_mode

needs_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the formats but keras need TensorFlow"
)
SUFFIX = {"saved_model": "", "litert": ".tflite", "onnx": ".onnx", "keras": ".keras"}
KINDS = [
    (format, mode)
    for format in ("saved_model", "litert", "onnx")
    for mode in ("factors", "stream", "dense")
] + [("keras", "dense")]
ALLOWANCE = 256 * 1024


def head():
    return layers.Dense(3)


def size(path):
    path = Path(path)
    files = [path] if path.is_file() else path.rglob("*")
    return sum(file.stat().st_size for file in files)


def stored_bytes(model):
    return sum(4 * int(np.prod(v.shape)) for v in model.variables)


def export_all(model, folder, x):
    """Exports in every format and mode; returns the outputs of each, computed without smh."""
    for format, mode in KINDS:
        smh.export(model, folder / f"{format}_{mode}{SUFFIX[format]}", format, mode)
    np.save(folder / "inputs.npy", x)
    done = fresh_process.run(Path(__file__).with_name("run_exported.py"), folder)
    assert done.stdout == f"ran {folder}\n", done.stderr
    return dict(np.load(folder / "outputs.npz"))


def run(path, x):
    """The output of an exported file, computed in this process."""
    (output,) = RUN[Path(path).suffix](str(path), x)
    return np.asarray(output)


def close(got, expected, message=""):
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, atol=1e-4 * scale, rtol=0, err_msg=message)


def settle(model, x):
    """Sets the statistics of the normalisations, or an untrained model lets nothing through."""
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0
    model(x, training=True)


def small_network():
    """Matrices behind which a ReLU follows at once, and a convolution with a bias."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(256, activation="relu", use_bias=False),
            layers.Dense(64, activation="relu"),
            layers.Dense(5),
        ]
    )


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    keras.utils.set_random_seed(0)
    folder = tmp_path_factory.mktemp("exported")
    model = small_network()
    dense_bytes = stored_bytes(model)
    smh.compress(model, 0.02, seed=0)
    x = np.random.default_rng(0).normal(size=(3, 12, 12, 3)).astype("float32")
    expected = numpy_of(model(x))
    return folder, export_all(model, folder, x), expected, stored_bytes(model), dense_bytes


@needs_tensorflow
@pytest.mark.parametrize("format, mode", KINDS)
def test_every_file_runs_without_smh_and_its_size_is_that_of_what_it_holds(exported, format, mode):
    folder, outputs, expected, compressed_bytes, dense_bytes = exported
    name = f"{format}_{mode}{SUFFIX[format]}"
    assert compressed_bytes + 2 * ALLOWANCE < dense_bytes
    close(outputs[name], expected)
    assert np.ptp(expected) > 0.1
    limit = compressed_bytes if mode != "dense" else dense_bytes
    assert 0.9 * limit < size(folder / name) < limit + ALLOWANCE


@needs_tensorflow
@pytest.mark.slow
def test_mobilenet_v2_goes_through_all_formats(tmp_path):
    model = keras.applications.MobileNetV2(
        weights=None, input_shape=(96, 96, 3), classifier_activation=None
    )
    smh.compress(model, 0.25, seed=0)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(64, 96, 96, 3)).astype("float32")
    settle(model, x)
    x = x[:4]
    expected = numpy_of(model(x))
    assert np.ptp(expected) > 1
    outputs = export_all(model, tmp_path, x)
    for name, output in outputs.items():
        close(output, expected, name)
    for format in ("saved_model", "litert", "onnx"):
        name = f"{format}_factors{SUFFIX[format]}"
        assert size(tmp_path / name) < stored_bytes(model) + ALLOWANCE


@needs_tensorflow
@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETRIZATIONS)
def test_every_parametrization_is_exported(name, tmp_path):
    model = PARAMETRIZATIONS[name](network(), 3)
    for format in ("saved_model", "litert", "onnx"):
        path = tmp_path / f"m{SUFFIX[format]}"
        smh.export(model, path, format)
        close(run(path, inputs().astype("float32")), numpy_of(model(inputs())))


@needs_tensorflow
def test_shared_values_stay_shared_in_files(tmp_path):
    model = keras.Sequential([keras.Input((300,)), layers.Dense(500), layers.Dense(3)])
    smh.cluster(smh.prune(model, 0.9), 4)
    x = np.random.default_rng(0).normal(size=(4, 300)).astype("float32")
    for format in ("saved_model", "litert", "onnx"):
        path = tmp_path / f"m{SUFFIX[format]}"
        smh.export(model, path, format)
        close(run(path, x), numpy_of(model(x)))
        assert size(path) < 500 * 303 + 60_000  # one byte for each number, not four


@needs_tensorflow
@pytest.mark.parametrize("deployed", ["train", "stream", "cached"])
def test_the_live_model_stays_as_it_was(deployed, tmp_path):
    x, y = by_name["sequential"].data()

    def history(*, exporting):
        keras.utils.set_random_seed(3)
        model = smh.compress(mlp(), 0.5, seed=1)
        model.compile("adam", "mse")
        model.fit(x, y, verbose=0)
        smh.deploy(model, deployed)
        before, paths = model.predict(x, verbose=0), [v.path for v in model.variables]
        function = model.predict_function
        for mode in ("factors", "stream", "dense") if exporting else ():
            smh.export(model, tmp_path / "m", mode=mode)
            close(run(tmp_path / "m", x), before)
        assert deployed_mode(model) == deployed and model.predict_function is function
        assert [v.path for v in model.variables] == paths
        np.testing.assert_array_equal(model.predict(x, verbose=0), before)
        smh.deploy(model, "train")
        return model.fit(x, y, epochs=2, verbose=0).history["loss"]

    assert history(exporting=True) == history(exporting=False)


@needs_tensorflow
def test_the_mode_is_that_of_the_live_model_by_default(tmp_path):
    import tensorflow as tf

    def operations(model):
        smh.export(model, tmp_path / "m")
        loaded = tf.saved_model.load(str(tmp_path / "m"))
        function = loaded.signatures["serving_default"]
        nodes = [n for f in function.graph.as_graph_def().library.function for n in f.node_def]
        products = [n for n in nodes if n.op == "MatMul" and "smh_product" in n.name]
        return len(products), sum(node.op == "IdentityN" for node in nodes)

    model = smh.compress(mlp(), 0.5, seed=1)
    assert operations(model) == (1, 0)
    assert operations(smh.deploy(model, "stream")) == (2, 2)  # two layers, each by itself
    assert operations(smh.deploy(model, "cached")) == (0, 0)
    assert operations(mlp()) == (0, 0)


class Counter(layers.Layer):
    """Adds to its input how often it was called."""

    def build(self, input_shape):
        self.count = self.add_weight((), "zeros", trainable=False, name="count")

    def call(self, x):
        self.count.assign_add(1.0)
        return x + self.count


@needs_tensorflow
def test_state_is_kept_by_a_saved_model_and_refused_by_the_others(tmp_path):
    import tensorflow as tf

    model = keras.Sequential([keras.Input((12,)), layers.Dense(24), Counter()])
    smh.compress(model, 0.5, seed=0)
    model.layers[-1].count.assign(0.0)
    smh.export(model, tmp_path / "m")
    assert float(model.layers[-1].count) == 0
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    x = np.zeros((1, 12), "float32")
    assert [float(loaded.serve(x)[0, 0]) for _ in range(3)] == [1, 2, 3]
    for format in ("litert", "onnx"):
        with pytest.raises(ArgumentError, match=r"assigns to \['.*count'\].*keeps no state"):
            smh.export(model, tmp_path / f"m{SUFFIX[format]}", format)


@needs_tensorflow
@pytest.mark.parametrize("format", ["saved_model", "litert", "onnx"])
def test_several_inputs_in_a_structure(format, tmp_path):
    ins = {"a": keras.Input((12,), name="a"), "b": keras.Input((6,), name="b")}
    both = layers.Concatenate()([layers.Dense(8)(ins["a"]), layers.Dense(8)(ins["b"])])
    model = smh.compress(keras.Model(ins, layers.Dense(3)(both)), 0.6, seed=0)
    x = {"a": np.ones((1, 12), "float32"), "b": np.full((1, 6), 2, "float32")}
    path = str(tmp_path / f"m{SUFFIX[format]}")
    smh.export(model, path, format)
    if format == "saved_model":
        import tensorflow as tf

        loaded = tf.saved_model.load(path)
        got = loaded.serve(x)
    elif format == "onnx":
        import onnxruntime

        (got,) = onnxruntime.InferenceSession(path).run(None, x)
    else:
        from ai_edge_litert.interpreter import Interpreter

        got = Interpreter(path).get_signature_runner()(**x)["output_0"]
    close(np.array(got), numpy_of(model(x)))


@needs_tensorflow
@pytest.mark.slow
def test_tables_of_preprocessing_layers_are_saved(tmp_path):
    import tensorflow as tf

    words = keras.Input((2,), dtype="string")
    tokens = layers.StringLookup(vocabulary=["yes", "no"])(words)
    model = keras.Model(words, layers.Flatten()(layers.Embedding(3, 64)(tokens)))
    smh.compress(model, 0.5, seed=0)
    smh.export(model, tmp_path / "m")
    asked = tf.constant([["yes", "maybe"]])
    loaded = tf.saved_model.load(str(tmp_path / "m"))
    close(loaded.serve(asked).numpy(), numpy_of(model(asked)))


@needs_tensorflow
@pytest.mark.slow
def test_a_recurrent_layer_in_litert_needs_a_fixed_batch(tmp_path):
    case = by_name["lstm"]
    model = smh.compress(case.build(), case.fraction, seed=0)
    with pytest.raises(
        ArgumentError, match=r"'lstm.*' \(LSTM.*works: input_signature=\[.*shape=\(1, "
    ):
        smh.export(model, tmp_path / "m.tflite", "litert")
    assert not list(tmp_path.iterdir())
    signature = [keras.InputSpec(shape=(1, *case.shape), dtype="float32")]
    smh.export(model, tmp_path / "m.tflite", "litert", input_signature=signature)
    x = case.data(1)[0]
    close(run(tmp_path / "m.tflite", x), numpy_of(model(x)))


@needs_tensorflow
@pytest.mark.slow
def test_options_reach_the_converters(tmp_path):
    import onnx
    import tensorflow as tf

    model = smh.compress(mlp(200, 200), 0.5, seed=0)
    smh.export(model, tmp_path / "whole.tflite", "litert")
    smh.export(
        model,
        tmp_path / "half.tflite",
        "litert",
        optimizations=[tf.lite.Optimize.DEFAULT],
        target_spec=tf.lite.TargetSpec(supported_types=[tf.float16]),
    )
    assert size(tmp_path / "half.tflite") < 0.6 * size(tmp_path / "whole.tflite")
    x = np.random.default_rng(0).normal(size=(2, 200)).astype("float32")
    expected = numpy_of(model(x))
    error = np.abs(run(tmp_path / "half.tflite", x) - expected).max()
    assert 0 < error < 0.01 * np.abs(expected).max()
    smh.export(model, tmp_path / "m.onnx", "onnx", opset=17)
    assert onnx.load(tmp_path / "m.onnx").opset_import[0].version == 17


@needs_tensorflow
@pytest.mark.parametrize("format", ["saved_model", "litert", "onnx"])
def test_a_wrong_conversion_is_not_written(format, tmp_path, monkeypatch):
    real = exporting._RUNNERS[format]
    wrong = lambda *args: [output + 0.1 for output in real(*args)]  # noqa: E731
    monkeypatch.setitem(exporting._RUNNERS, format, wrong)
    path = tmp_path / f"m{SUFFIX[format]}"
    path.touch() if SUFFIX[format] else path.mkdir()
    with pytest.raises(ArgumentError, match=r"(?s)'dense.*Nothing was written.*off by 0\.1"):
        smh.export(smh.compress(mlp(), 0.5, seed=0), path, format)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and size(path) == 0


@pytest.mark.backend_agnostic
def test_a_keras_file_is_plain_keras_on_every_backend(tmp_path):
    model = smh.compress(mlp(), 0.5, seed=0)
    x = by_name["sequential"].data()[0]
    smh.export(model, tmp_path / "m.keras", format="keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert not [layer for layer in loaded._flatten_layers() if "smh" in type(layer).__module__]
    close(loaded.predict(x, verbose=0), numpy_of(model(x)))


@needs_tensorflow
@pytest.mark.parametrize("format", ["keras", "saved_model"])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_what_is_there_is_replaced_whole_or_not_at_all(format, error, tmp_path, monkeypatch):
    path = tmp_path / f"m{SUFFIX[format]}"
    model = smh.compress(mlp(), 0.5, seed=0)
    smh.export(model, path, format)
    x = by_name["sequential"].data()[0]
    before = run(path, x)
    write = exporting._WRITERS[format]

    def half(*args):
        write(*args)
        raise error("in the middle")

    for weight in model.trainable_variables:
        weight.assign(weight + 1)
    monkeypatch.setitem(exporting._WRITERS, format, half)
    with pytest.raises(error, match="in the middle"):
        smh.export(model, path, format)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    np.testing.assert_array_equal(run(path, x), before)
    monkeypatch.undo()
    smh.export(model, path, format)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    close(run(path, x), numpy_of(model(x)))


@needs_tensorflow
@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"format": "gguf"}, "format must be one of 'saved_model', .* got 'gguf'"),
        ({"mode": "fast"}, "mode must be one of 'factors', 'stream', 'dense' or None, got 'fast'"),
        ({"format": "keras", "mode": "factors", "path": "m.keras"}, "holds dense weights only"),
        ({"format": "litert"}, r"must end in '\.tflite'"),
        ({"path": "no/such/folder/m"}, "does not exist"),
        ({"path": "taken"}, "is no SavedModel, so it is not replaced"),
        ({"path": "taken/file"}, "is no SavedModel"),
        ({"path": "taken.onnx", "format": "onnx"}, "is a folder"),
        ({"path": "m.tflite"}, "suffix of another format.*Write format='litert'"),
        ({"path": "m.onnx"}, "Write format='onnx'"),
        ({"path": "m.keras/"}, "Write format='keras'"),
        ({"opset": 17}, "takes no options, got 'opset'"),
        ({"format": "onnx", "path": "m.onnx", "optset": 17}, "takes 'opset', got 'optset'"),
        ({"input_signature": keras.InputSpec(shape=(1, 12))}, "must be a list"),
        ({"input_signature": [keras.InputSpec(shape=(1, 12))]}, "shape and dtype"),
        ({"model": mlp, "mode": "factors"}, "needs compressed weights"),
        ({"model": lambda: layers.Dense(3)}, "must be a Keras 3 model, got Dense"),
    ],
)
def test_bad_arguments_are_refused_before_anything_is_written(
    arguments, message, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken.onnx").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    arguments = {"model": lambda: smh.compress(mlp(), 0.5), "path": "m", **arguments}
    arguments["model"] = arguments["model"]()
    with pytest.raises(ArgumentError, match=message):
        smh.export(**arguments)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "taken/file").read_text() == "mine"


def test_an_unbuilt_model_says_how_to_build_it(tmp_path):
    with pytest.raises(UnbuiltModelError, match="Call it once"):
        smh.export(keras.Sequential([layers.Dense(3)]), tmp_path / "m")


@needs_tensorflow
def test_what_is_missing_is_named(tmp_path, monkeypatch):
    model = smh.compress(mlp(), 0.5, seed=0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r'pip install "structured-multihashing\[onnx\]"'):
        smh.export(model, tmp_path / "m.onnx", "onnx")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(GraphModeError, match="KERAS_BACKEND=tensorflow"):
        smh.export(model, tmp_path / "m")


@needs_tensorflow
@pytest.mark.slow
def test_the_command_line_says_in_one_line_what_works(tmp_path, capsys):
    from smh.cli import main

    keras.Sequential([keras.Input((5, 4)), layers.LSTM(6), head()]).save(tmp_path / "m.keras")
    line = [
        "export",
        str(tmp_path / "m.keras"),
        "--to",
        "litert",
        "--out",
        str(tmp_path / "m.tflite"),
    ]
    assert main(line) == 2
    said = capsys.readouterr().err
    assert "'lstm" in said and "shape=(1, 5, 4)" in said and "Traceback" not in said
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]
    assert main([*line, "--shape", "1,5,4"]) == 0
    assert (tmp_path / "m.tflite").exists()


@needs_tensorflow
def test_the_dropout_of_a_recurrent_layer_leaves_no_state_behind(tmp_path):
    model = keras.Sequential([keras.Input((5, 4)), layers.GRU(6, dropout=0.5), head()])
    seeds = [np.array(s.state) for layer in model.layers for s in layer._seed_generators]
    smh.export(model, tmp_path / "m.onnx", "onnx")
    after = [np.array(s.state) for layer in model.layers for s in layer._seed_generators]
    np.testing.assert_array_equal(seeds, after)


@needs_tensorflow
def test_a_flat_list_is_a_signature_of_several_inputs(tmp_path):
    a, b = keras.Input((4,), name="a"), keras.Input((3,), name="b")
    model = keras.Model([a, b], head()(layers.Concatenate()([a, b])))
    specs = [keras.InputSpec(shape=(1, n), dtype="float32") for n in (4, 3)]
    for signature in (specs, [specs]):
        smh.export(model, tmp_path / "m.onnx", "onnx", input_signature=signature)
        import onnxruntime

        given = onnxruntime.InferenceSession(tmp_path / "m.onnx").get_inputs()
        assert [(i.name, i.shape) for i in given] == [("a", [1, 4]), ("b", [1, 3])]
    with pytest.raises(ArgumentError, match=r"has 2 inputs, \['a', 'b'\], and input_signature 3"):
        smh.export(model, tmp_path / "m.onnx", "onnx", input_signature=[*specs, specs[0]])


def two_in_two_out(wrap_in, wrap_out, **names):
    a, b = (keras.Input((n,), name=names.get(key)) for key, n in (("a", 4), ("b", 3)))
    both = layers.Concatenate()([a, b])
    return keras.Model(wrap_in(a, b), wrap_out(head()(both), layers.Dense(2)(both)))


NAMES = {
    "sequential": (
        lambda: keras.Sequential([keras.Input((4,)), head()]), ["input_0"], ["output_0"],
    ),
    "named input": (
        lambda: keras.Sequential([keras.Input((4,), name="signal"), head()]),
        ["signal"], ["output_0"],
    ),
    "lists": (
        lambda: two_in_two_out(lambda a, b: [a, b], lambda y, z: [y, z], a="left"),
        ["input_1", "left"], ["output_0", "output_1"],
    ),
    "a name that is taken": (
        lambda: two_in_two_out(lambda a, b: [a, b], lambda y, z: y, b="input_0"),
        ["input_0", "input_0_"], ["output_0"],
    ),
    "dictionaries": (
        lambda: two_in_two_out(
            lambda a, b: {"a": a, "b": b}, lambda y, z: {"score": z, "label": y}, a="a", b="b"
        ),
        ["a", "b"], ["label", "score"],
    ),
}  # fmt: skip


@needs_tensorflow
@pytest.mark.parametrize("format", ["onnx", "litert", "saved_model"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_file_names_its_inputs_and_outputs_alike_in_each_process(kind, format, tmp_path):
    """Not by Keras' counters, which another model made before would move on."""
    build, *expected = NAMES[kind]
    layers.Dense(2)(keras.Input((3,)))
    path = str(tmp_path / f"m{SUFFIX[format]}")
    smh.export(build(), path, format)
    if format == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        names = [[x.name for x in part] for part in (session.get_inputs(), session.get_outputs())]
    elif format == "saved_model":
        import tensorflow as tf

        served = tf.saved_model.load(path).signatures["serving_default"]
        names = [served.structured_input_signature[1], served.structured_outputs]
    else:
        from ai_edge_litert.interpreter import Interpreter

        names = list(Interpreter(path).get_signature_list()["serving_default"].values())
    assert [sorted(part) for part in names] == expected


@needs_tensorflow
def test_names_that_are_asked_for(tmp_path):
    import onnxruntime

    spec = keras.InputSpec(shape=(None, 4), dtype="float32")
    spec = keras.KerasTensor(spec.shape, spec.dtype, name="input_layer_7")
    smh.export(NAMES["sequential"][0](), tmp_path / "m.onnx", "onnx", input_signature=[spec])
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    assert [x.name for x in session.get_inputs()] == ["input_layer_7"]


# Names of two inputs, and what is wrong in formats that TensorFlow writes.
REFUSED_NAMES = {
    ("my input", "b"): "the input 'my input' has a name that has other letters",
    ("x:0", "b"): "'x:0' has a name that has other letters",
    ("_a", "b"): "'_a' has a name that begins with '_'",
    ("-a", "b"): "'-a' has a name that begins with '-'",
    ("_a b", "b"): "'_a b' has a name that has other letters",
    ("ä", "b"): "'ä' has a name that has other letters",
    ("a-b", "a_b"): "'a_b' has a name as 'a-b' does",
    ("a-b", "c.d"): None,
    ("1a", "A"): None,
}


@needs_tensorflow
@pytest.mark.parametrize("format", ["onnx", "litert", "saved_model"])
@pytest.mark.parametrize("names", REFUSED_NAMES)
def test_a_name_that_tensorflow_changes_is_refused(names, format, tmp_path):
    model = two_in_two_out(lambda a, b: [a, b], lambda y, z: y, a=names[0], b=names[1])
    path, message = tmp_path / f"m{SUFFIX[format]}", REFUSED_NAMES[names]
    if format == "onnx" or message is None:
        smh.export(model, path, format)
        assert path.exists()
        return
    with pytest.raises(ArgumentError, match=message):
        smh.export(model, path, format)
    assert not list(tmp_path.iterdir())


class _Inner(layers.Layer):
    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 3), name="kernel")

    def call(self, x):
        return keras.ops.matmul(x, self.kernel)


@needs_tensorflow
def test_a_layer_that_tensorflow_cannot_name_is_told(tmp_path):
    model = keras.Model(x := keras.Input((4,)), head()(_Inner()(x)))
    with pytest.raises(ArgumentError, match=r"no layer named '__inner'.*super\(\).__init__\(name="):
        smh.export(model, tmp_path / "m.tflite", "litert")
    assert not list(tmp_path.iterdir())


class AboveThousand(layers.Layer):
    """Takes large numbers only, so that nothing generated will do."""

    def call(self, x):
        if hasattr(x, "numpy") and float(x.numpy().min()) < 1000:
            raise ValueError("too small")
        return x


@needs_tensorflow
def test_a_model_that_takes_nothing_generated_asks_for_an_example(tmp_path):
    model = keras.Sequential([keras.Input((4,)), AboveThousand(), head()])
    with pytest.raises(ArgumentError, match=r"sample=\[array.*too small"):
        smh.export(model, tmp_path / "m.onnx", "onnx")
    with pytest.raises(ArgumentError, match=r"shape \(2, 5\) for the input"):
        smh.export(model, tmp_path / "m.onnx", "onnx", sample=[np.full((2, 5), 2e3)])
    assert not list(tmp_path.iterdir())
    smh.export(model, tmp_path / "m.onnx", "onnx", sample=[np.full((2, 4), 2e3)])
    assert (tmp_path / "m.onnx").exists()


@needs_tensorflow
def test_without_onnxruntime_the_reference_implementation_runs_the_file(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    hidden = lambda name: None if name == "onnxruntime" else find(name)  # noqa: E731
    monkeypatch.setattr(importlib.util, "find_spec", hidden)
    smh.export(smh.compress(mlp(), 0.5, seed=0), tmp_path / "m.onnx", "onnx")
    real = onnx_graph.run
    monkeypatch.setitem(
        exporting._RUNNERS, "onnx", lambda *args: [output + 0.1 for output in real(*args)]
    )
    with pytest.raises(ArgumentError, match=r"off by 0\.1"):
        smh.export(smh.compress(mlp(), 0.5, seed=0), tmp_path / "n.onnx", "onnx")


@needs_tensorflow
@pytest.mark.parametrize("change", [lambda m: smh.prune(m, 0.8), lambda m: smh.cluster(m, 4)])
def test_an_opset_that_cannot_read_few_bits_is_told(change, tmp_path):
    model = change(mlp(64, 64))
    with pytest.raises(ArgumentError, match="opset=9 lacks BitShift.*opset=11 or more"):
        smh.export(model, tmp_path / "m.onnx", "onnx", opset=9)
    assert not list(tmp_path.iterdir())
    smh.export(model, tmp_path / "m.onnx", "onnx", opset=11)


@needs_tensorflow
def test_the_command_line_speaks_of_its_own_flags(tmp_path, capsys):
    from smh.cli import main

    keras.Sequential([keras.Input((5,)), head()]).save(tmp_path / "m.keras")
    smh.prune(mlp(), 0.5).save(tmp_path / "p.keras")
    told = {
        "m.keras --shape 1,6": "--shape 1,6 does not fit the input 'input_0', which is of shape",
        "p.keras --bits 4": "zero already. Let what is not zero share few values, smh quantize",
    }
    for line, message in told.items():
        name, *flags = line.split()
        out = ["--to", "onnx", "--out", str(tmp_path / "m.onnx")]
        assert main(["export", str(tmp_path / name), *flags, *out]) == 2
        said = capsys.readouterr().err
        assert message in said, said


@needs_tensorflow
@pytest.mark.slow
def test_an_option_that_stands_in_the_way_is_named(tmp_path):
    with pytest.raises(ArgumentError, match="without the options opset it works"):
        smh.export(mlp(), tmp_path / "m.onnx", "onnx", opset=99)
    assert not list(tmp_path.iterdir())
