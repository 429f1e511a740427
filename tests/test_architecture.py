"""The house: a file imports only from the floors below it; some rooms are free of Keras."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import smh

ROOT = Path(smh.__file__).parent
CONTRIBUTING = ROOT.parent / "CONTRIBUTING.md"

# The house, highest floor first, and what is on each floor. A file imports only from the floors
# below its own, and from the rooms to the right of its own. CONTRIBUTING.md shows this drawing.
HOUSE = [
    ("cli report_page", "what is typed; sizes and runs as a page for a browser"),
    (
        "shrinking training",
        "the smallest file of a trained model, and the best pool within a budget; a training run "
        "and its folder",
    ),
    (
        "exporting sensitivity sizes recipes zoo datasets plots",
        "files for other runtimes; what each weight can do without; reports and plans; how to "
        "train; models, data, pictures",
    ),
    (
        "variable_factory tf1 doors",
        "the published door, around a model's construction; its half for TF1 graphs; what users "
        "call on a built model",
    ),
    (
        "runtime artifact blueprint",
        "weights by NumPy alone; the `.smh` file; how a model is compressed, as JSON, and back, "
        "which Keras' own files use too",
    ),
    ("parametrizations", "what a weight is computed from: pool slice, mask, shared values, grid"),
    (
        "variable_pool pools modifiers container",
        "the published pools; a matrix from few numbers; what happens to a cut weight; a file's "
        "frame",
    ),
    (
        "virtual_variable index_store coding",
        "the mechanism; where a weight lies (integers only); a tensor as bytes",
    ),
    (
        "progress tables errors typing",
        "how far long work is; tables as text and HTML; errors, and what numbers may be; types",
    ),
]
# Beside the tower: may import from it, and nothing in it imports them.
BESIDE = {"data_parallel", "tf_slim_compat", "__main__"}
INSIDE_VIRTUAL_VARIABLE = [
    {"inside_keras.torch_storage", "inside_keras.overlay", "inside_keras.global_state"}
    | {"inside_keras.outputs", "inside_keras.tapes", "wrapping", "weight_spec"}
    | {"inside_keras.custom_gradients", "inside_keras.traces"}
    | {"inside_keras.rematerialising"},
    {"inside_keras.ordering", "inside_keras.graph", "registered"},
    {"once", "parametrization", "inside_keras.raw_variables", "inside_keras.replicas"},
    {"inside_keras.serialization"},
    {"variable"},
    {"inside_keras.holder"},
    {"inside_keras.own", "inside_keras.blank"},
    {"inside_keras.hooks", "inside_keras.saveables"},
    {"inside_keras.members", "inside_keras.overrides"},
    {"inside_keras.own_state", "inside_keras.attachment"},
    {"inside_keras.building", "inside_keras.deploying", "inside_keras.rebuilding"}
    | {
        "inside_keras.random_state",
        "inside_keras.recording",
        "inside_keras.training_state",
        "inside_keras.undoing",
        "trying",
    },
    {"computable", "given"},
    {"parametrizing"},
]
INSIDE_CODING = [
    {"payload", "axes"},
    {"floats", "packed"},
    {"huffman", "information", "lanes", "range_coder", "spec"},
    {"raw", "symbols", "wavefront"},
    {"codebook", "neighbours", "planes", "uniform"},
    {"sparse", "wavefront_block"},
    {"integers"},
    {"blocks", "stepped"},
]
INSIDE_DATASETS = [
    {"dataset", "idx", "archives", "pictures", "places", "augmentation"},
    {"cifar_files", "class_folders", "scikit_digits", "mnist_like", "pipeline"},
    {"cifar_npm"},
    {"cifar", "picture_sets"},
    {"own"},
    {"loading"},
]
INSIDE_ARTIFACT = [
    {"layout.brief", "layout.infinities"},
    {"layout.states", "layout.pools", "layout.architecture"},
    {"layout.records"},
    {"layout.reading"},
    {"order", "tensors", "inspection"},
    {"saving", "grids"},
    {"loading"},
    {"files"},
]
INSIDE_BLUEPRINT = [{"describe", "restore", "checking", "keras_version"}, {"keras_files"}]
INSIDE_POOLS = [
    {"shape", "hashing", "low_rank", "row_plan", "base"},
    {"products", "fit", "factor_initializers", "grouping"},
    {"single", "fit_blocks"},
]
INSIDE_PARAMETRIZATIONS = [
    {"counting"},
    {"own_numbers"},
    {"pool_slice", "masked", "clustered", "rounded", "stepped"},
    {"integers"},
]
INSIDE_DOORS = [
    {"built", "selection", "exact_kmeans", "remaking", "weight_roles", "slimming.labels"},
    {"candidates", "compressible", "output_units", "slimming.wiring", "kmeans"},
    {"slimming.seen", "slimming.removable", "pools_for", "importance"},
    {"slimming.elementwise", "slimming.shaping"},
    {"slimming.mixing", "slimming.recurrent"},
    {"slimming.attention", "slimming.cutting", "slimming.folding"},
    {"slimming.rules", "slimming.report"},
    {"slimming.walking"},
    {"slimming.choosing"},
    {"pruning", "clustering", "weight_quantization", "quantization", "compression"}
    | {"deployment", "materialization"},
    {"pruning_course"},
    {"pruning_schedule"},
]
INSIDE_PROGRESS = [{"listener", "words"}, {"terminal", "notebook"}]
INSIDE_TABLES = [{"text", "markup"}, {"printed"}]
INSIDE_SIZES = [
    {"layer_rules", "frozen_copies", "rows"},
    {"multiply_adds", "file_report"},
    {"planning", "size_report"},
]
INSIDE_SENSITIVITY = [
    {"words", "inputs"},
    {"examples", "magnitude", "suggestion", "scanned", "picture"},
    {"evaluating", "gradients", "result"},
    {"metrics", "resuming", "budgets"},
    {"second_order"},
    {"plan", "importance"},
    {"scan"},
]
INSIDE_SHRINKING = [
    {"patches", "watching", "pricing", "request", "searching.tries", "normalisations"},
    {"products", "dead_biases", "searching.copies", "tiles"},
    {"items", "searching.by_drop", "rounding"},
    {"statistics", "shares", "rest"},
    {"flow"},
    {"applying", "report", "curve"},
    {"search"},
    {"shrink_model"},
    {"searching.by_size"},
]
INSIDE_EXPORTING = [
    {"failure", "naming", "signatures", "onnx_names", "low_bit.matching", "low_bit.sparse_litert"},
    {
        "samples",
        "serving",
        "loops",
        "low_bit.integers",
        "low_bit.onnx_writing",
        "low_bit.litert_writing",
    },
    {"trial", "recording", "saved_model", "keras_file"},
    {"litert", "onnx_graph", "explaining", "activations"},
    {"checking", "micro", "running"},
]
INSIDE_RUNTIME = [
    {"entries", "litert_file"},
    {"weights", "operations", "merging"},
    {"folding"},
    {"expanding"},
]
NO_KERAS = ["progress", "tables", "errors", "typing", "index_store", "pools.shape"]
NO_KERAS += ["doors.selection", "blueprint.keras_version", "errors.limits", "zoo.known"]
NO_KERAS += ["sensitivity.words"]
NUMPY_ONLY = ["coding", "container", "container.header", "container.replacing"]
NUMPY_ONLY += ["container.canonical_json", "container.deflating", "container.plain_json"]
NUMPY_ONLY += ["container.naming", "pools.hashing"]
NUMPY_ONLY += ["pools.low_rank", "doors.kmeans", "artifact.inspection", "artifact.layout.reading"]
NUMPY_ONLY += ["runtime", "training.sources", "training.every", "cli", "report_page"]
NUMPY_ONLY += ["parametrizations.counting", "sizes.rows", "sizes.file_report"]
USES_TENSORFLOW = {"variable_factory", "tf1", "tf_slim_compat", "exporting"}
USES_TENSORFLOW |= {"sensitivity"}  # the gradients of each backend, only on that one
USES_TENSORFLOW |= {"datasets"}  # tf.data, on every backend

# What Keras keeps in layers, variables and tensors for itself: virtual_variable names it.
OF_KERAS_ALONE = {
    "_flatten_layers",
    "_functional",
    "_inbound_nodes",
    "_keras_history",
    "_keras_mask",
    "_layers",
    "_nodes_by_depth",
    "_non_trainable_variables",
    "_parent_path",
    "_path",
    "_remat_mode",
    "_seed_generators",
    "_track_variable",
    "_tracker",
    "_trainable",
    "_trainable_variables",
    "_untrack_variable",
    "_value",
}


def modules():
    return [p for p in ROOT.rglob("*.py") if p != ROOT / "__init__.py"]


def room(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path, top_level_only=False):
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else list(ast.walk(tree))
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms():
    """The rooms in the order in which they may import each other: from later ones."""
    return [name for names, _ in HOUSE for name in names.split()]


def test_every_room_has_a_floor():
    assert {room(path) for path in modules()} == {*rooms()} | BESIDE
    assert len(HOUSE) <= 9


def test_the_top_level_is_the_face():
    entries = {p.name for p in ROOT.iterdir() if p.name != "__pycache__"}
    assert len(entries) <= 34, "is each room an idea of its own?"


def test_arrows_point_down_or_to_the_right():
    order = {name: place for place, name in enumerate(rooms())}
    for own, module in ((room(path), module) for path in modules() for module in imports(path)):
        parts = module.split(".")
        if parts[0] != "smh" or len(parts) < 2 or parts[1] == own:
            continue
        target = parts[1]
        if target not in order:
            assert own in BESIDE or target == "__version__", f"{own} imports {target}"
        elif own not in BESIDE:
            assert order[target] > order[own], f"{own} imports {target}"


def test_contributing_shows_the_house():
    rows = [
        f"| {len(HOUSE) - 1 - i} | {' '.join(f'`{name}`' for name in names.split())} | {what} |"
        for i, (names, what) in enumerate(HOUSE)
    ]
    table = "\n".join(["| floor | rooms | what they are |", "| ---: | --- | --- |", *rows])
    assert table in CONTRIBUTING.read_text(), f"CONTRIBUTING.md needs this table:\n{table}"


@pytest.mark.parametrize(
    "package, floors",
    [
        ("virtual_variable", INSIDE_VIRTUAL_VARIABLE),
        ("artifact", INSIDE_ARTIFACT),
        ("blueprint", INSIDE_BLUEPRINT),
        ("coding", INSIDE_CODING),
        ("datasets", INSIDE_DATASETS),
        ("doors", INSIDE_DOORS),
        ("exporting", INSIDE_EXPORTING),
        ("parametrizations", INSIDE_PARAMETRIZATIONS),
        ("pools", INSIDE_POOLS),
        ("runtime", INSIDE_RUNTIME),
        ("sensitivity", INSIDE_SENSITIVITY),
        ("progress", INSIDE_PROGRESS),
        ("shrinking", INSIDE_SHRINKING),
        ("sizes", INSIDE_SIZES),
        ("tables", INSIDE_TABLES),
    ],
)
def test_arrows_inside_a_package_point_down(package, floors):
    floor = {n: level for level, names in enumerate(floors) for n in names}
    for path in (ROOT / package).rglob("*.py"):
        own = ".".join(path.relative_to(ROOT / package).with_suffix("").parts)
        if path.stem == "__init__":
            continue
        for module in imports(path):
            target = module.removeprefix(f"smh.{package}.")
            if target != module and target in floor:
                assert floor[target] < floor[own], f"{own} imports {target}"


@pytest.mark.parametrize("rooms, allowed", [(NO_KERAS, []), (NUMPY_ONLY, ["numpy"])])
def test_rooms_of_integers_and_bytes_load_no_keras(rooms, allowed):
    """One after the other in one process: the first that loads more than it may is named."""
    code = (
        "import importlib, sys\n"
        f"for name in {rooms}:\n"
        "    importlib.import_module('smh.' + name)\n"
        "    heavy = {'keras', 'tensorflow', 'jax', 'torch', 'numpy'} & set(sys.modules)\n"
        f"    assert heavy <= set({allowed}), (name, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def started(code):
    """Runs code where Keras starts fast: what is imported first matters on no backend."""
    env = os.environ | {"KERAS_BACKEND": "numpy"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)


def test_who_only_looks_for_keras_does_not_keep_smh_from_registering():
    code = (
        "import smh, importlib.util; importlib.util.find_spec('keras'); import keras; "
        "keras.saving.get_registered_object('smh>Compressed').from_config"
    )
    done = started(code)
    assert done.returncode == 0, done.stderr


FIRST = ["virtual_variable", "recipes", "blueprint.restore"]
REST = sorted({room(path) for path in modules()} - BESIDE - set(FIRST))


@pytest.mark.parametrize(
    "name", [*FIRST, *(pytest.param(name, marks=pytest.mark.slow) for name in REST)]
)
def test_any_room_may_be_imported_first(name):
    """Keras, when it is imported, imports what registers itself with it."""
    found = "keras.saving.get_registered_object('smh>Compressed').from_config"
    done = started(f"import smh.{name}; import keras; {found}")
    assert done.returncode == 0, done.stderr


def test_importing_smh_loads_nothing_and_sets_no_environment_variable():
    code = (
        "import os, sys; before = dict(os.environ); import smh; "
        "assert not {'keras', 'tensorflow', 'rich', 'numpy'} & set(sys.modules); "
        "smh.compress, smh.report, smh.VariableFactory; "
        "smh_set = set(os.environ) - set(before); "
        "print([k for k in smh_set if k.startswith(('SMH', 'KERAS'))], 'tf_keras' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[] False", done.stdout + done.stderr


def test_tensorflow_and_keras_internals_stay_in_their_rooms():
    for path in modules():
        found = set(imports(path))
        if room(path) not in USES_TENSORFLOW | {"virtual_variable"}:
            assert not any(name.split(".")[0] == "tensorflow" for name in found), path
        if path.parent != ROOT / "virtual_variable" / "inside_keras":
            assert not any(name.startswith("keras.src") for name in found), path
        assert not any(name.startswith("tensorflow.keras") for name in found), path
        assert "tf.keras" not in path.read_text(), path


def test_what_keras_keeps_for_itself_is_named_in_one_room():
    for path in modules():
        if room(path) == "virtual_variable":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            own = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "self"
            name = getattr(node, "attr", getattr(node, "value", None))
            assert own or name not in OF_KERAS_ALONE, f"{path}:{node.lineno} uses {name}"


def test_the_face_is_listed_by_hand_and_complete():
    for name in smh.__all__:
        assert getattr(smh, name) is not None
    public = {name for name in smh.__all__ if not name.startswith("_")}
    assert not {room(path) for path in modules()} & public  # no module hides a function
    assert set(dir(smh)) >= public
    assert smh.variable_factory.VariableFactory is smh.VariableFactory
    assert callable(smh.zoo.lenet_5)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        smh.nothing  # noqa: B018
