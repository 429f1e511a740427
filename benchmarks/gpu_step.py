"""A training step on a GPU: ResNet-34 in bfloat16, dense against pools of one and of more blocks.

    KERAS_BACKEND=jax python benchmarks/gpu_step.py                      # some eight minutes
    KERAS_BACKEND=jax python benchmarks/gpu_step.py --batch 4 --steps 2 --model resnet_8   # a try

All sides in one process, alternating; ratios of medians. Beside each side what its arithmetic
needs: multiply-adds of the layers (three times for a step) and of the products, from which the
roofline of the machine (--peak, --bandwidth) gives the least time. On JAX, where a step is compiled
as a whole.
"""

import math

import keras
import measuring
import numpy as np

import smh
from smh.pools.products import BlockProduct, MatrixProduct
from smh.sizes.multiply_adds import count_multiply_adds
from smh.virtual_variable import virtual_variables

SEED = 0


def sides_of(args):
    """Name, fraction and blocks of each side; None: dense."""
    yield "dense", None, 1
    for fraction in args.fractions:
        for blocks in args.blocks:
            number = blocks if blocks == "auto" else int(blocks)
            yield f"{fraction:g}, blocks={blocks}", fraction, number


def trained_model(args, fraction, blocks):
    keras.utils.set_random_seed(SEED)
    model = getattr(smh.zoo, args.model)()
    if fraction is not None:
        smh.compress(model, fraction, seed=SEED, blocks=blocks)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-4), loss, jit_compile=True)
    return model


def products_of(model):
    """Multiply-adds of all products, once."""
    pools = {id(p): p for p in (v.parametrization.source for v in virtual_variables(model))}
    shapes = [
        pool.product.shape
        for pool in pools.values()
        if isinstance(pool.product, (MatrixProduct, BlockProduct))
    ]
    return sum(shape.size * shape.replicas for shape in shapes)


def least_ms(args, layers, products, weights):
    """The roofline: arithmetic at the peak, or weights and optimizer through memory."""
    operations = 3 * 2 * (args.batch * layers + products)
    traffic = 4 * weights * 8  # weights, gradients, two moments: read and written
    return 1000 * max(operations / args.peak, traffic / args.bandwidth)


def measure(args):
    keras.config.set_dtype_policy("mixed_bfloat16")
    models = {name: trained_model(args, f, k) for name, f, k in sides_of(args)}
    dense = models["dense"]
    layers = count_multiply_adds(dense).multiply_adds
    rng = np.random.default_rng(SEED)
    images = rng.normal(size=(args.batch, *dense.input_shape[1:])).astype("float32")
    labels = rng.integers(0, 10, args.batch)
    steps = {
        # The loss is read, so that the step is over.
        name: lambda model=model: float(model.train_on_batch(images, labels))
        for name, model in models.items()
    }
    seconds = measuring.median_seconds(steps, args.steps)
    rows = {}
    for name, model in models.items():
        products = products_of(model)
        trained = sum(math.prod(v.shape) for v in model.trainable_variables)
        rows[name] = {
            "step_ms": round(1000 * seconds[name], 2),
            "ratio": round(seconds[name] / seconds["dense"], 3),
            "trained": trained,
            "product_gmac": round(products / 1e9, 2),
            "least_ms": round(least_ms(args, layers, products, trained), 3),
        }
    return rows


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("--model", default="resnet_34", help="of smh.zoo")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1, 0.02])
    parser.add_argument("--blocks", nargs="+", default=["1", "16", "auto"])
    parser.add_argument(
        "--peak", type=float, default=989e12, help="operations a second in bfloat16"
    )
    parser.add_argument("--bandwidth", type=float, default=3.35e12, help="bytes a second of memory")
    args = parser.parse_args(arguments)
    asked = {key: getattr(args, key) for key in ("model", "batch", "steps", "peak", "bandwidth")}
    measuring.show({**asked, "machine": measuring.machine(), "sides": measure(args)}, args.json)


if __name__ == "__main__":
    main()
