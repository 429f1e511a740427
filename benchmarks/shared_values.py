"""What shared values do to a trained classifier without training: bytes, accuracy, change.

python benchmarks/shared_values.py model.keras cifar10.npz
"""

import os
import tempfile

import keras
import measuring
import numpy as np

import smh

WAYS = {"linear": {"init": "linear"}, "optimal": {}, "optimal, with zero": {"zero": True}}


def measure(args):
    data = np.load(args.data)
    x = data["x_train"][: args.images].astype("float32") * args.scale
    y = data["y_train"][: args.images].reshape(-1)

    def outputs(model):
        return model.predict(x, verbose=0, batch_size=500)

    def right(found):
        return round(100 * float((found.argmax(-1) == y).mean()), 2)

    dense = outputs(keras.models.load_model(args.model, compile=False))
    rows = {"dense": {"right": right(dense)}}
    for bits in args.bits:
        for name, options in WAYS.items():
            model = keras.models.load_model(args.model, compile=False)
            smh.cluster(model, bits, **options)
            with tempfile.TemporaryDirectory() as folder:
                path = os.path.join(folder, "model.smh")
                smh.save(model, path, rest="float16")
                size = os.path.getsize(path)
            found = outputs(model)
            change = round(float(np.abs(found - dense).mean()), 4)
            rows[f"{bits} bits, {name}"] = {"bytes": size, "right": right(found), "change": change}
    return rows


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("model", help="a .keras file")
    parser.add_argument("data", help="an .npz file with x_train and y_train")
    parser.add_argument("--bits", type=int, nargs="+", default=[4, 5, 6])
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--scale", type=float, default=1.0, help="of the pixels")
    args = parser.parse_args(arguments)
    measuring.show({"model": os.path.basename(args.model), "sides": measure(args)}, args.json)


if __name__ == "__main__":
    main()
