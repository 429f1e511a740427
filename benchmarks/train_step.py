"""A training step of a compressed model against the same model dense, and against other ways.

Sides:
  dense       the model as it is
  compressed  smh.compress
  published   the same pool as the published code computes it: one product, then one slice of the
              flat product per weight, where smh has one split
  hashed      smh.compress with a seeded hash pool of the same fraction
  blocks=K    smh.compress with `blocks=K`, for each K of --blocks (a number or auto)

    python benchmarks/train_step.py --model resnet_34 --batch 64 --fraction 0.1
    python benchmarks/train_step.py --model resnet_34 --batch 64 --fraction 0.1 --memory
"""

import math

import keras
import measuring
import numpy as np
from keras import ops

import smh
from smh.virtual_variable import virtual_variables

SIDES = ("dense", "compressed", "published", "hashed")
SEED = 0


class SlicedPool(smh.ProductVariablePool):
    """Cuts the product as the published code does; its factors and values are its base class's."""

    def pieces(self, slots, scales=None):
        left, right = (factor.value for factor in self.core_variables)
        flat = ops.reshape(ops.matmul(left, right), [-1])
        pieces = [flat[slot.begin : slot.begin + slot.length] for slot in slots]
        return [p if s is None else p * s for p, s in zip(pieces, scales, strict=True)]


def network(name, size):
    """A model of smh.zoo or of keras.applications, compiled by nobody yet, and its loss."""
    if name in smh.zoo.__all__:
        build = getattr(smh.zoo, name)
        model = build(input_shape=(size, size, 3)) if size else build()
        return model, keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(size or 32, size or 32, 3), classes=10)
    return model, keras.losses.SparseCategoricalCrossentropy()


def compressed(model, side, fraction):
    if side == "hashed":
        weights = sum(math.prod(v.shape) for v in model.trainable_variables if len(v.shape) > 1)
        pool = smh.HashVariablePool(
            True, pool_size=weights, fraction=fraction, seed=SEED, hashing="random"
        )
        return smh.compress(model, pool=pool)
    name, _, blocks = side.partition("=")
    if name == "blocks":
        blocks = blocks if blocks == "auto" else int(blocks)
        return smh.compress(model, fraction, seed=SEED, blocks=blocks)
    smh.compress(model, fraction, seed=SEED)
    if side == "published":
        virtual_variables(model)[0].parametrization.source.__class__ = SlicedPool
    return model


def trained_model(side, args):
    keras.utils.set_random_seed(SEED)
    model, loss = network(args.model, args.size)
    if side != "dense":
        compressed(model, side, args.fraction)
    model.compile(keras.optimizers.Adam(1e-4), loss)
    return model


def batch_for(model, count):
    rng = np.random.default_rng(SEED)
    images = rng.normal(size=(count, *model.input_shape[1:])).astype("float32")
    return images, rng.integers(0, 10, count)


def check_equal(models, images):
    """The published computation must differ in nothing but time and memory."""
    if {"compressed", "published"} <= models.keys():
        ours, theirs = (models[name](images[:2]) for name in ("compressed", "published"))
        np.testing.assert_allclose(
            ops.convert_to_numpy(ours), ops.convert_to_numpy(theirs), rtol=1e-4, atol=1e-5
        )


def measure_time(args):
    models = {side: trained_model(side, args) for side in args.sides}
    images, labels = batch_for(models[args.sides[0]], args.batch)
    check_equal(models, images)
    steps = {
        side: lambda model=model: model.train_on_batch(images, labels)
        for side, model in models.items()
    }
    seconds = measuring.median_seconds(steps, args.steps)
    return {
        side: {
            "step_ms": round(1000 * seconds[side], 1),
            "ratio": round(seconds[side] / seconds[args.sides[0]], 3),
            "trained": sum(math.prod(v.shape) for v in model.trainable_variables),
        }
        for side, model in models.items()
    }


def measure_memory(args):
    """The peak of each side in a process of its own."""
    common = ["--model", args.model, "--size", args.size, "--batch", args.batch]
    common += ["--fraction", args.fraction, "--steps", args.steps, "--peak-of"]
    rows = {side: measuring.in_own_process(__file__, [*common, side]) for side in args.sides}
    first = rows[args.sides[0]]
    for row in rows.values():
        row["ratio"] = round(row["peak_mb"] / first["peak_mb"], 3)
        row["own_ratio"] = round(row["own_mb"] / first["own_mb"], 3)
    return rows


def peak_of(side, args):
    """Peak of the steps after the first, so that building and tracing do not count."""
    keras.ops.zeros([1])  # the backend's own start is not the model's
    before = measuring.resident_bytes()
    model = trained_model(side, args)
    images, labels = batch_for(model, args.batch)
    model.train_on_batch(images, labels)
    measuring.reset_peak()
    for _ in range(args.steps):
        model.train_on_batch(images, labels)
    peak = measuring.peak_bytes()
    return {"peak_mb": round(peak / 1e6), "own_mb": round((peak - before) / 1e6)}


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("--model", default="resnet_34", help="of smh.zoo or keras.applications")
    parser.add_argument("--size", type=int, default=0, help="side of the images; 0: the model's")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=SIDES, metavar="SIDE")
    parser.add_argument("--blocks", nargs="+", default=[], metavar="K", help="sides blocks=K")
    parser.add_argument("--memory", action="store_true", help="peak memory in place of time")
    parser.add_argument("--peak-of", metavar="SIDE", help="one side's peak memory, here")
    args = parser.parse_args(arguments)
    args.sides = [*args.sides, *(f"blocks={blocks}" for blocks in args.blocks)]
    if args.peak_of:
        measuring.show(peak_of(args.peak_of, args), args.json)
        return
    asked = {key: getattr(args, key) for key in ("model", "batch", "fraction", "steps")}
    sides = measure_memory(args) if args.memory else measure_time(args)
    measuring.show({**asked, "machine": measuring.machine(), "sides": sides}, args.json)


if __name__ == "__main__":
    main()
