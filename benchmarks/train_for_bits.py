"""A trained LeNet-5, rounded and trained on: with and without a penalty on the bits of its file.

    python benchmarks/train_for_bits.py lenet_5.keras MNIST_FOLDER
    python benchmarks/train_for_bits.py resnet_8.keras cifar10.npz --epochs 3

Each side is rounded alike, trained for the same epochs from the same weights, and read back from
its file. 5,000 training images are held out; the test images are looked at once, at the end.
"""

import os
import tempfile
import time
from pathlib import Path

import keras
import measuring
import numpy as np

import smh

HELD_OUT = 5000


def data_of(args):
    """Training, validation and test images with labels."""
    if args.data.endswith(".npz"):
        data = np.load(args.data)
        parts = [data[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    else:
        data = smh.datasets.mnist(args.data, validation=0, download=False)
        parts = [data.x_train, data.y_train, data.x_test, data.y_test]
    x, y, x_test, y_test = (
        part.astype("float32") if part.ndim > 2 else part.reshape(-1) for part in parts
    )
    order = np.random.default_rng(args.seed).permutation(len(y))
    held, kept = order[:HELD_OUT], order[HELD_OUT:]
    return (x[kept], y[kept]), (x[held], y[held]), (x_test, y_test)


def wrong(model, part):
    """Percent of the images."""
    found = model.predict(part[0], verbose=0, batch_size=500).argmax(-1)
    return round(100 * float((found != part[1]).mean()), 2)


def side(args, parts, rate):
    train, held, test = parts
    keras.utils.set_random_seed(args.seed)
    model = keras.models.load_model(args.model, compile=False)
    if args.bits:
        smh.quantize_weights(model, args.bits)
    else:
        smh.shrink(model, train[0][:512], quality=args.quality)
    begin = time.perf_counter()
    if rate is not None:
        smh.recipes.penalise_bits(model, rate)
        steps = args.epochs * (len(train[1]) // args.batch)
        logits = model.layers[-1].activation is keras.activations.linear
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
        falling = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
        model.compile(keras.optimizers.Adam(falling), loss)
        model.fit(*train, batch_size=args.batch, epochs=args.epochs, verbose=0)
    seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.smh")
        smh.save(model, path, rest="float16")
        size, back = os.path.getsize(path), smh.load(path)
    row = {"bytes": size, "held_out": wrong(back, held), "test": wrong(back, test)}
    return {**row, "seconds": round(seconds, 1)}


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("data", help="a folder of MNIST's files, or an .npz file")
    parser.add_argument("--bits", type=int, default=4, help="of the weights; 0: smh.shrink")
    parser.add_argument("--quality", type=float, default=50, help="of smh.shrink")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    parts = data_of(args)
    sides = {"not trained": side(args, parts, None)}
    for rate in args.rates:
        sides[f"rate {rate:g}"] = side(args, parts, rate)
    asked = {key: getattr(args, key) for key in ("bits", "quality", "epochs", "batch", "seed")}
    measuring.show({"model": Path(args.model).name, **asked, "sides": sides}, args.json)


if __name__ == "__main__":
    main()
