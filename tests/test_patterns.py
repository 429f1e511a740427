"""One rule for patterns, wherever one is given.

A path, or the end of paths after a `/`, means those variables alone; any other pattern is a regular
expression that matches from the begin of a path or of a bare name.
"""

import keras
import pytest
from keras import layers

import smh
from smh.doors.pruning import sparsity_of
from smh.doors.selection import make_matcher
from smh.errors import ArgumentError, SelectionError
from smh.virtual_variable import virtual_variables

pytestmark = pytest.mark.backend_agnostic
PATHS = (
    "net/fc1/kernel",
    "net/fc1/kernel_1",
    "net/fc10/kernel",
    "net/fc1/bias",
    "net/block/fc1/kernel",
    "net/kernel_layer/bias",
    "fc1/kernel",
    "conv/kernel",
    "net/conv/kernel",
)
# Pattern, which paths it means.
TABLE = {
    "net/fc1/kernel": "net/fc1/kernel",  # a whole path: not those that begin with it
    "fc1/kernel": "fc1/kernel",  # here it is a whole path as well
    "block/fc1/kernel": "net/block/fc1/kernel",
    "fc1/bias": "net/fc1/bias",
    "fc1/kernel_1": "net/fc1/kernel_1",
    "c1/kernel": "",  # no part of a name
    "net/fc1": "net/fc1/kernel net/fc1/kernel_1 net/fc10/kernel net/fc1/bias",
    "net/fc1/": "net/fc1/kernel net/fc1/kernel_1 net/fc1/bias",
    "kernel": "net/fc1/kernel net/fc1/kernel_1 net/fc10/kernel net/block/fc1/kernel fc1/kernel "
    "conv/kernel net/conv/kernel",  # a bare name: not the layer that is called so
    "kernel$": "net/fc1/kernel net/fc10/kernel net/block/fc1/kernel fc1/kernel conv/kernel "
    "net/conv/kernel",
    "bias": "net/fc1/bias net/kernel_layer/bias",
    "conv": "conv/kernel",  # never in the middle of a path
    ".*conv": "conv/kernel net/conv/kernel",
    "net/(conv|fc10)": "net/fc10/kernel net/conv/kernel",
    "nowhere": "",
    "": " ".join(PATHS),
}


def meant(pattern, paths=PATHS):
    matches = make_matcher(pattern, "apply_to", paths)
    return [path for path in paths if matches(path, path.rpartition("/")[2], None)]


@pytest.mark.parametrize("pattern", TABLE)
def test_what_a_pattern_means(pattern):
    assert meant(pattern) == TABLE[pattern].split()
    assert meant([pattern, "nowhere"]) == TABLE[pattern].split()


def test_the_end_of_several_paths_means_them_all():
    paths = ("a/fc1/kernel", "b/fc1/kernel", "b/fc1/kernel_1", "b/xfc1/kernel")
    assert meant("fc1/kernel", paths) == ["a/fc1/kernel", "b/fc1/kernel"]


def test_while_variables_are_made_a_path_means_what_begins_with_it_too():
    matches = make_matcher("fc1/kernel", "apply_to")
    found = [path for path in PATHS if matches(path, path.rpartition("/")[2], None)]
    assert found == ["net/fc1/kernel", "net/block/fc1/kernel", "fc1/kernel"]


def net():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((6,)), layers.Dense(8, name="fc1"), layers.Dense(8, name="fc2")], name="net"
    )
    model.compile("adam", "mse")
    return model


def selected_by_compress(pattern):
    return [v.path for v in virtual_variables(smh.compress(net(), 0.9, apply_to=pattern))]


def selected_by_exclude(pattern):
    left = [v.path for v in virtual_variables(smh.compress(net(), 0.9, exclude=pattern))]
    return [path for path in ("net/fc1/kernel", "net/fc2/kernel") if path not in left]


def selected_by_prune(pattern):
    return _pruned(smh.prune(net(), [(pattern, 0.5)]))


def selected_by_prune_apply_to(pattern):
    return _pruned(smh.prune(net(), 0.5, apply_to=pattern))


def selected_by_level_pruner(pattern):
    return _pruned(smh.LevelPruner({pattern: 0.5}).prune(net()))


def _pruned(model):
    return [key.partition("/")[2] for key in sparsity_of(model) if "/" in key]


def selected_by_cluster(pattern):
    return [v.path for v in virtual_variables(smh.cluster(net(), {pattern: 2}))]


def selected_by_quantize_weights(pattern):
    return [v.path for v in virtual_variables(smh.quantize_weights(net(), {pattern: 4}))]


def selected_by_scan(pattern):
    result = smh.sensitivity_scan(net(), lambda model: 1.0, [0.5], apply_to=pattern, verbose=0)
    return list(result.paths)


def selected_by_penalty(pattern):
    model = smh.recipes.penalise_weights(net(), 0.1, apply_to=pattern)
    return [v.path for v in model.trainable_variables if v.regularizer is not None]


def selected_by_rates(pattern):
    optimizer = smh.recipes.with_rates("adam", {pattern: 0.1})
    variables = net().trainable_variables
    optimizer.build(variables)
    return [v.path for v, f in zip(variables, optimizer._factors, strict=True) if f == 0.1]


DOORS = [
    selected_by_compress,
    selected_by_exclude,
    selected_by_prune,
    selected_by_prune_apply_to,
    selected_by_level_pruner,
    selected_by_cluster,
    selected_by_quantize_weights,
    selected_by_scan,
    selected_by_penalty,
    selected_by_rates,
]


@pytest.mark.parametrize("pattern", ["fc1/kernel", "net/fc1/kernel", ".*1/kernel"])
@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
def test_every_door_follows_the_rule(door, pattern):
    assert door(pattern) == ["net/fc1/kernel"]


@pytest.mark.parametrize("pattern", ["c1/kernel", "fc1"])
@pytest.mark.parametrize("door", [d for d in DOORS if d is not selected_by_exclude],
                         ids=lambda door: door.__name__)  # fmt: skip
def test_what_means_nothing_is_an_error_that_lists_what_there_is(door, pattern):
    with pytest.raises((ArgumentError, SelectionError)) as caught:
        door(pattern)
    assert "net/fc1/kernel" in str(caught.value) and "net/fc2/kernel" in str(caught.value)


def test_the_command_line_follows_it_too(tmp_path, capsys):
    from smh.__main__ import main

    net().save(tmp_path / "m.keras")
    model, out = str(tmp_path / "m.keras"), str(tmp_path / "p.keras")
    assert main(["prune", model, "--sparsity", "fc1/kernel=0.5", "--out", out, "--force"]) == 0
    # Keras drops the model's name from the paths of what it loads; from 3.16 on it stays.
    assert [p.removeprefix("net/") for p in _pruned(keras.saving.load_model(out))] == ["fc1/kernel"]
    command = ["prune", model, "--sparsity", "0.5", "--apply-to", "fc2/kernel", "--out", out]
    assert main([*command, "--force"]) == 0
    assert [p.removeprefix("net/") for p in _pruned(keras.saving.load_model(out))] == ["fc2/kernel"]
    assert main(["prune", model, "--sparsity", "c1/kernel=0.5", "--out", out, "--force"]) == 2
    assert "There are: fc1/kernel, fc2/kernel" in capsys.readouterr().err.replace("net/", "")
