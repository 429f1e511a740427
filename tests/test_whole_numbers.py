"""NumPy's integers are integers where a count or bits are asked for; floats and flags are not."""

import numpy as np
import pytest
from models import mlp

import smh
from smh.errors import ArgumentError
from smh.shrinking.searching.copies import checked_bits

X = np.random.default_rng(0).normal(size=(40, 12)).astype("float32")


def compressed(**options):
    return smh.compress(mlp(), 0.5, seed=0, **options)


def channels(**options):
    return smh.prune(mlp(), 0.5, structure="channels", **options)


# By the door and its argument: what is called with the number, and one that is fine.
DOORS = {
    "bits_scan bits": (lambda n, _: smh.bits_scan(mlp(), lambda _: 1.0, [n], verbose=0), 3),
    "cluster bits": (lambda n, _: smh.cluster(mlp(), n), 3),
    "compress blocks": (lambda n, _: compressed(blocks=n), 1),
    "compress seed": (lambda n, _: smh.compress(mlp(), 0.5, seed=n), 3),
    "prune round_to": (lambda n, _: channels(round_to=n), 4),
    "quantize_factors bits": (lambda n, _: smh.quantize_factors(compressed(), n), 4),
    "quantize_weights bits": (lambda n, _: smh.quantize_weights(mlp(), n), 4),
    "save bits": (lambda n, folder: smh.save(compressed(), folder / "m.smh", bits=n), 8),
    "search bits": (lambda n, _: checked_bits(n), 4),
    "search several bits": (lambda n, _: checked_bits([n]), 4),
    "shrink examples": (lambda n, _: smh.shrink(mlp(), X, quality=50, examples=n), 8),
    "shrink target_size": (lambda n, _: smh.shrink(mlp(), target_size=n), 4000),
}


@pytest.mark.backend_agnostic
@pytest.mark.parametrize("name", DOORS)
def test_numpy_integers_are_integers_and_floats_and_flags_are_not(name, tmp_path):
    door, number = DOORS[name]
    for kind in (int, np.int64, np.uint16):
        door(kind(number), tmp_path)
    for wrong in (float(number), np.float32(number), True, "2", -number):
        with pytest.raises(ArgumentError):
            door(wrong, tmp_path)
