"""Layers that read their weights many times: a step's cost, and how often the product is computed.

Two models, each dense and compressed: an LSTM over 200 steps, and a siamese model that calls one
network three times in a step. `products` counts the products of a pool in the traced training
step, loops included: it is one however often the weights are read.

    python benchmarks/recurrent.py
"""

import keras
import measuring
import numpy as np
from keras import layers

import smh

SEED = 0


def lstm(args):
    inputs = keras.Input((args.length, args.features))
    hidden = layers.LSTM(args.units)(inputs)
    return keras.Model(inputs, layers.Dense(1)(hidden))


def siamese(args):
    twin = keras.Sequential(
        [keras.Input((args.units,)), *(layers.Dense(args.units, "relu") for _ in range(4))]
    )
    inputs = [keras.Input((args.units,)) for _ in range(3)]
    return keras.Model(inputs, layers.Dense(1)(layers.Concatenate()([twin(i) for i in inputs])))


MODELS = {"lstm": lstm, "siamese": siamese}


def batch_for(model, count):
    rng = np.random.default_rng(SEED)
    inputs = [rng.normal(size=(count, *i.shape[1:])).astype("float32") for i in model.inputs]
    return inputs[0] if len(inputs) == 1 else inputs, rng.normal(size=(count, 1)).astype("float32")


def compiled(build, args, compress):
    keras.utils.set_random_seed(SEED)
    model = build(args)
    if compress:
        smh.compress(model, args.fraction, seed=SEED)
    model.compile(keras.optimizers.Adam(1e-4), "mse")
    return model


def products_in_a_step(model, batch):
    """Products of pools in the traced training step, loops included (TensorFlow only)."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    @tf.function
    def gradients(inputs, targets):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((model(inputs, training=True) - targets) ** 2)
        return tape.gradient(loss, [v.value for v in model.trainable_variables])

    graph = gradients.get_concrete_function(*batch).graph.as_graph_def()
    bodies = (node for function in graph.library.function for node in function.node_def)
    return sum(
        node.op == "MatMul" and "smh_product" in node.name and "gradient" not in node.name
        for node in (*graph.node, *bodies)
    )


def measure(build, args):
    models = {"dense": compiled(build, args, False), "compressed": compiled(build, args, True)}
    inputs, targets = batch_for(models["dense"], args.batch)
    seconds = measuring.median_seconds(
        {
            side: lambda model=model: model.train_on_batch(inputs, targets)
            for side, model in models.items()
        },
        args.steps,
    )
    return {
        "dense_ms": round(1000 * seconds["dense"], 2),
        "compressed_ms": round(1000 * seconds["compressed"], 2),
        "ratio": round(seconds["compressed"] / seconds["dense"], 3),
        "products": products_in_a_step(models["compressed"], (inputs, targets)),
    }


def main(arguments=None):
    parser = measuring.options(__doc__)
    parser.add_argument("--length", type=int, default=200, help="steps of the sequence")
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=20)
    args = parser.parse_args(arguments)
    asked = {key: value for key, value in vars(args).items() if key != "json"}
    rows = {name: measure(build, args) for name, build in MODELS.items()}
    measuring.show({**asked, "machine": measuring.machine(), "models": rows}, args.json)


if __name__ == "__main__":
    main()
