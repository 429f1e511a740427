"""The house: a file imports only from the floors below it; some rooms are free of Keras."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import smh

ROOT = Path(smh.__file__).parent

# Lowest floor first. A module may import from lower floors only.
FLOORS = [
    {"errors", "typing"},
    {"backends", "index_store", "pool_shape", "selection", "weight_spec", "registered"}
    | {"coding", "canonical_json", "deflating", "hashing", "kmeans", "plots", "replacing"}
    | {"progress", "tables"},
    {"container_header"},
    {"virtual_variable", "products", "row_plan", "factor_initializers", "container", "low_rank"},
    {"modifiers", "pool_base", "artifact_layout", "built", "pool_fit", "layer_rules"},
    {"single_pool"},
    {"variable_pool", "runtime", "inspection", "multiply_adds"},
    {"pool_slice", "graph_pool", "rounding", "masked", "clustered"},
    {"graph_getter"},
    {"variable_factory", "blueprint", "quantization"},
    {"candidates", "compressible"},
    {"pruning", "clustering", "weight_quantization"},
    {"pruning_course"},
    {"pruning_schedule"},
    {"artifact", "compression", "deployment", "materialization", "sensitivity", "size_report"}
    | {"distillation", "recipes", "planning"},
    {"exporting", "zoo", "datasets", "searching"},
    {"training"},
    {"report_page"},
    {"cli"},
    {"__main__"},
]
# Beside the tower: may import from it, and nothing in it imports them.
BESIDE = {"keras_files", "data_parallel", "tf_slim_compat"}
INSIDE_VIRTUAL_VARIABLE = [
    {"torch_storage", "overlay", "wrapping"},
    {"ordering"},
    {"once", "parametrization", "raw_variables", "replicas"},
    {"serialization"},
    {"variable"},
    {"holder"},
    {"attachment"},
    {"building", "deploying", "rebuilding", "random_state", "training_state"},
    {"parametrizing"},
]
INSIDE_CODING = [
    {"payload"},
    {"packed", "floats"},
    {"spec", "range_coder", "huffman"},
    {"symbols", "raw"},
    {"uniform", "codebook", "planes"},
    {"sparse"},
]
INSIDE_DATASETS = [
    {"dataset", "idx", "archives", "pictures", "places", "augmentation"},
    {"cifar_files", "class_folders", "scikit_digits", "mnist_like", "pipeline"},
    {"cifar_npm"},
    {"cifar", "picture_sets"},
    {"loading"},
]
INSIDE_ARTIFACT = [{"order", "tensors"}, {"saving", "loading"}]
INSIDE_ARTIFACT_LAYOUT = [{"brief", "records"}, {"pools"}, {"reading"}]
INSIDE_SENSITIVITY = [
    {"magnitude", "suggestion", "metrics", "candidates", "picture"},
    {"result"},
    {"scan"},
]
INSIDE_SEARCHING = [{"copies", "tries"}, {"by_size", "by_drop"}]
INSIDE_EXPORTING = [{"serving"}, {"saved_model"}, {"litert", "onnx_graph"}]
NO_KERAS = [
    "progress",
    "tables",
    "replacing",
    "errors",
    "typing",
    "index_store",
    "pool_shape",
    "selection",
    "canonical_json",
    "deflating",
]
NUMPY_ONLY = ["coding", "container", "container_header", "hashing", "inspection", "kmeans"]
NUMPY_ONLY += ["artifact_layout.reading", "runtime", "low_rank"]
USES_TENSORFLOW = {"variable_factory", "graph_pool", "graph_getter", "tf_slim_compat", "exporting"}
USES_TENSORFLOW |= {"datasets"}  # tf.data, on every backend


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


def test_every_room_has_a_floor():
    known = set().union(*FLOORS) | BESIDE
    assert {room(path) for path in modules()} <= known


def test_arrows_point_down():
    floor = {name: level for level, names in enumerate(FLOORS) for name in names}
    for own, module in ((room(path), module) for path in modules() for module in imports(path)):
        parts = module.split(".")
        if parts[0] != "smh" or len(parts) < 2 or parts[1] == own:
            continue
        target = parts[1]
        if target not in floor:
            assert own in BESIDE or target == "__version__", f"{own} imports {target}"
        elif own not in BESIDE:
            assert floor[target] < floor[own], f"{own} imports {target}"


@pytest.mark.parametrize(
    "package, floors",
    [
        ("virtual_variable", INSIDE_VIRTUAL_VARIABLE),
        ("artifact", INSIDE_ARTIFACT),
        ("artifact_layout", INSIDE_ARTIFACT_LAYOUT),
        ("coding", INSIDE_CODING),
        ("datasets", INSIDE_DATASETS),
        ("exporting", INSIDE_EXPORTING),
        ("sensitivity", INSIDE_SENSITIVITY),
        ("searching", INSIDE_SEARCHING),
    ],
)
def test_arrows_inside_a_package_point_down(package, floors):
    floor = {n: level for level, names in enumerate(floors) for n in names}
    for path in (ROOT / package).glob("*.py"):
        if path.stem == "__init__":
            continue
        for module in imports(path):
            parts = module.split(".")
            if parts[:2] == ["smh", package] and len(parts) > 2 and parts[2] in floor:
                assert floor[parts[2]] < floor[path.stem], f"{path.stem} imports {parts[2]}"


@pytest.mark.parametrize("name", NO_KERAS)
def test_integer_rooms_load_neither_keras_nor_tensorflow(name):
    code = (
        f"import sys, smh.{name}; "
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_byte_rooms_need_numpy_and_constriction_only(name):
    code = (
        f"import sys, smh.{name}; "
        "print([m for m in ('keras', 'tensorflow', 'jax', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


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
        if room(path) != "virtual_variable":
            assert not any(name.startswith("keras.src") for name in found), path
        assert not any(name.startswith("tensorflow.keras") for name in found), path
        assert "tf.keras" not in path.read_text(), path


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
