"""Where a training step goes: writes a trace and prints the time of each named part.

    python examples/profile_step.py                       # ResNet-34, batch 16, fraction 0.1
    KERAS_BACKEND=jax python examples/profile_step.py

TensorBoard's profiler plugin and Perfetto open the trace; the table needs neither. Its times
are those of operations on the CPU, added up over threads: more than the step takes where
operations run side by side. In a trace the pool's work is called `smh_product`, `smh_split` and
`smh_modifier`; gradients bear the same names.
"""

import argparse
import collections
import re
from pathlib import Path

import keras
import numpy as np

import smh


def trained(args, compress):
    keras.utils.set_random_seed(0)
    model = getattr(smh.zoo, args.model)()
    if compress:
        smh.compress(model, args.fraction, seed=0)
    model.compile(
        keras.optimizers.Adam(1e-4), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    return model


def trace(model, args, folder):
    """Writes the trace of some steps; returns `(path of the operation, ms per step)` of each."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(args.batch, *model.input_shape[1:])).astype("float32")
    labels = rng.integers(0, 10, args.batch)

    def steps(count):
        for _ in range(count):
            model.train_on_batch(images, labels)

    steps(3)  # traces and warms up
    backend = {"tensorflow": traced_by_tensorflow, "jax": traced_by_jax}[keras.backend.backend()]
    return [(path, ms / args.steps) for path, ms in backend(folder, lambda: steps(args.steps))]


def traced_by_tensorflow(folder, run):
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tf.profiler.experimental.Profile(str(folder)):
        run()
    space = xplane_pb2.XSpace.FromString(newest_trace(folder).read_bytes())
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                # An operation is called "path/in/scopes:Kind".
                path, colon, kind = plane.event_metadata[event.metadata_id].name.rpartition(":")
                if colon and kind and "/" in path and line.name.startswith("tf_Compute"):
                    yield path, event.duration_ps / 1e9


def traced_by_jax(folder, run):
    import jax

    jax.clear_caches()  # leaves one executable per name: this model's
    run()
    with jax.profiler.trace(str(folder)):
        run()
    paths = {}
    for executable in jax.local_devices()[0].client.live_executables():
        for module in executable.hlo_modules():
            # An instruction says from which operation it was made, a fusion from which mostly.
            found = re.findall(
                r'%?([\w.\-]+) = .*metadata=\{.*?op_name="(.*?)"', module.to_string()
            )
            paths[module.name] = dict(found)
    data = jax.profiler.ProfileData.from_file(str(newest_trace(folder)))
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                stats = dict(event.stats)
                if "hlo_op" in stats:
                    made_of = paths.get(stats["hlo_module"], {})
                    yield made_of.get(stats["hlo_op"], event.name), event.duration_ns / 1e6


def newest_trace(folder):
    return max(Path(folder).rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)


def parts(operations, model):
    """Adds times up by part: `{part: [forward ms, backward ms]}`, the largest first."""
    kinds = {layer.name: type(layer).__name__ for layer in model.layers}
    kinds |= {name: f"pool: {name}" for name in ("smh_product", "smh_split", "smh_modifier")}
    kinds[model.optimizer.name] = "optimizer"
    table = collections.defaultdict(lambda: [0.0, 0.0])
    for path, ms in operations:
        backward = "gradient" in path or "transpose(" in path
        # The innermost scope decides. Entered again, a scope may bear a number: `conv_1`.
        scopes = [s for name in re.split(r"[/()]", path) for s in (name, name.rpartition("_")[0])]
        part = next((kinds[scope] for scope in reversed(scopes) if scope in kinds), "other")
        table[part][backward] += ms
    return dict(sorted(table.items(), key=lambda row: -sum(row[1])))


def show(name, table):
    total = sum(map(sum, table.values()))
    print(f"\n{name}: {total:.1f} ms of operations per step")
    print(f"{'part':<24}{'forward, ms':>12}{'backward, ms':>14}{'share':>8}")
    for part, (forward, backward) in table.items():
        share = f"{100 * (forward + backward) / total:.1f} %"
        print(f"{part:<24}{forward:>12.1f}{backward:>14.1f}{share:>8}")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="resnet_34", help="a name of smh.zoo")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--fraction", type=float, default=0.1)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/profile"), help="for the traces")
    args = parser.parse_args(arguments)
    tables = {}
    for name in ("dense", "compressed"):
        model = trained(args, compress=name == "compressed")
        operations = trace(model, args, args.out / name)
        tables[name] = parts(operations, model)
        show(name, tables[name])
    print(f"\ntraces: {args.out}")
    return tables


if __name__ == "__main__":
    main()
