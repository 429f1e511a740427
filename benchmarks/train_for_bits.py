"""A trained LeNet-5, rounded and trained on: with and without a penalty on the bits of its file.

    python benchmarks/train_for_bits.py lenet_5.keras MNIST_FOLDER
    python benchmarks/train_for_bits.py resnet_8.keras cifar10.npz --bits 0 --sizes 25000 --shift 4

Each side is rounded alike, trained for the same epochs from the same weights, and read back from
its file. 5,000 training images are held out; the test images are looked at once, at the end.
"""

import math
import os
import sys
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


def rounded(args, images, size):
    """The model, shrunk to a size or by a quality, or with so many bits for each weight."""
    model = keras.saving.load_model(args.model, compile=False)
    if args.bits:
        return smh.quantize_weights(model, args.bits)
    budget = {"quality": args.quality} if size is None else {"target_size": size}
    smh.shrink(model, images[:512], **budget)
    return model


def fit(model, args, train):
    """Adam, its rate falling to zero; images moved and mirrored if `--shift` says so."""
    steps = args.epochs * math.ceil(len(train[1]) / args.batch)
    ends = model.layers[-1]
    logits = getattr(ends, "activation", keras.activations.linear) is keras.activations.linear
    logits = logits and not isinstance(ends, keras.layers.Softmax)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=logits)
    falling = keras.optimizers.schedules.CosineDecay(args.learning_rate, steps)
    model.compile(keras.optimizers.Adam(falling), loss)
    moved = smh.datasets.Augmentation(shift=args.shift, flip=True) if args.shift else None
    x, y = train
    top = 255 if x.max() > 1 else 1  # what the network takes; `batches` takes 0 to 1
    batches = smh.datasets.batches(x / top, y, args.batch, augmentation=moved, seed=args.seed)
    model.fit(batches.map(lambda x, y: (x * top, y)), epochs=args.epochs, verbose=0, shuffle=False)


def side(args, parts, rate, size):
    train, held, test = parts
    keras.utils.set_random_seed(args.seed)
    model = rounded(args, train[0], size)
    begin = time.perf_counter()
    if rate is not None:
        smh.recipes.penalise_bits(model, rate)
        fit(model, args, train)
    seconds = time.perf_counter() - begin
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.smh")
        smh.save(model, path, rest="float16")
        found, back = os.path.getsize(path), smh.load(path)
    row = {"bytes": found, "held_out": wrong(back, held), "test": wrong(back, test)}
    return {**row, "seconds": round(seconds, 1)}


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("data", help="a folder of MNIST's files, or an .npz file")
    parser.add_argument("--bits", type=int, default=4, help="of the weights; 0: smh.shrink")
    parser.add_argument("--quality", type=float, default=50, help="of smh.shrink")
    parser.add_argument("--sizes", type=int, nargs="+", help="bytes: of smh.shrink, instead")
    parser.add_argument("--shift", type=int, default=0, help="pixels, and mirrored; 0: as it is")
    parser.add_argument("--rates", type=float, nargs="+", default=[0.0, 0.1, 0.3])
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(arguments)
    parts = data_of(args)
    sides = {}
    for size in args.sizes or [None]:
        start = "" if size is None else f"{size:,} bytes, "
        for rate in (None, *args.rates):
            name = start + ("not trained" if rate is None else f"rate {rate:g}")
            sides[name] = side(args, parts, rate, size)
            print(name, sides[name], file=sys.stderr, flush=True)
    names = ("bits", "quality", "epochs", "batch", "learning_rate", "shift", "seed")
    asked = {key: getattr(args, key) for key in names}
    measuring.show({"model": Path(args.model).name, **asked, "sides": sides}, args.json)


if __name__ == "__main__":
    main()
