"""Prunes, shares, saves and loads networks of full size, and reports seconds and peak memory.

Each step is timed in one process; memory is the peak of the whole process. The weights are random:
what is measured is the machinery, not accuracy.

`python benchmarks/large_models.py --model vgg_16`
"""

import os
import resource
import tempfile
import time

import keras
import numpy as np
from measuring import machine, options, show

import smh


def parse():
    parser = options(__doc__)
    parser.add_argument("--model", default="vgg_16", help="a name of smh.zoo.build")
    parser.add_argument("--sparsity", type=float, default=0.9)
    parser.add_argument("--bits", type=int, default=4)
    return parser.parse_args()


def main():
    args, times = parse(), {}

    def timed(step, function):
        begin = time.perf_counter()
        value = function()
        times[step] = round(time.perf_counter() - begin, 1)
        return value

    keras.utils.set_random_seed(0)
    model = timed("build_s", lambda: smh.zoo.build(args.model))
    numbers = model.count_params()
    timed("prune_s", lambda: smh.prune(model, args.sparsity))
    timed("cluster_s", lambda: smh.cluster(model, args.bits))
    x = np.zeros((2, *model.input_shape[1:]), "float32")
    expected = timed("predict_s", lambda: model.predict(x, verbose=0))
    model.compile(
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="top_1"),
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5"),
        ],
    )
    found = timed("evaluate_s", lambda: model.evaluate(x, np.zeros(2), verbose=0, return_dict=True))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.smh")
        timed("save_s", lambda: smh.save(model, path, rest="float16"))
        size = os.path.getsize(path)
        loaded = timed("load_s", lambda: smh.load(path))
        np.testing.assert_allclose(
            loaded.predict(x, verbose=0), expected, rtol=1e-2, atol=1e-2 * np.abs(expected).max()
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    show(
        {
            "machine": machine(),
            "model": args.model,
            "numbers": numbers,
            "sparsity": args.sparsity,
            "bits": args.bits,
            **times,
            "total_s": round(sum(times.values()), 1),
            "reported": sorted(set(found) & {"top_1", "top_5"}),
            "file_MB": round(size / 1e6, 2),
            "times_smaller": round(4 * numbers / size, 1),
            "peak_GB": round(peak / 1e9, 2),
        },
        args.json,
    )


if __name__ == "__main__":
    main()
