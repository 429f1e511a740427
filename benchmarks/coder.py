"""The coder alone: rounded weights of trained networks against their histograms' entropy."""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import keras
import networks
import numpy as np

from smh.coding import integers

STEPS = {
    "resnet_8": (0.12, 0.06),
    "lenet_5": (0.15, 0.05),
    "vww_96": (0.1, 0.03),
    "ad01": (0.2,),
    "g2p_en": (0.2, 0.1),
    "deeplc": (0.06,),
    "efficientnet_lite0": (0.1, 0.03),
}


def entropy(whole: np.ndarray) -> float:
    """Bytes of the order-0 entropy."""
    counts = np.unique(whole, return_counts=True)[1]
    return float((counts * np.log2(counts.sum() / counts)).sum()) / 8


def measure(model: keras.Model, step: float) -> dict:
    """Entropy and bytes of all weights of rank 2 or more."""
    found = {"step": step, "numbers": 0, "entropy": 0.0, "plain": 0, "written": 0, "seconds": 0.0}
    for variable in model.trainable_weights:
        if len(variable.shape) < 2:
            continue
        weight = np.asarray(keras.ops.convert_to_numpy(variable))
        whole = np.rint(weight / step).astype(np.int32)
        found["numbers"] += math.prod(weight.shape)
        found["entropy"] += entropy(whole)
        found["plain"] += len(integers.write_plain(whole.ravel(), "range"))
        begin = time.process_time()
        found["written"] += len(integers.write(whole))
        found["seconds"] += time.process_time() - begin
    return found


def main(arguments: list[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("data"), help="see benchmarks/README.md")
    parser.add_argument("--networks", nargs="+", default=list(STEPS))
    parser.add_argument("--json", action="store_true", help="one line of JSON")
    options = parser.parse_args(arguments)
    rows = []
    for name in options.networks:
        model = networks.load(name, options.data).model
        for step in STEPS[name]:
            row = {"network": name, **measure(model, step)}
            rows.append(row)
            if not options.json:
                bits = 8 * row["entropy"] / row["numbers"]
                change = 100 * (row["written"] / row["entropy"] - 1)
                print(
                    f"| `{name}` | {step} | {bits:.2f} | {row['entropy']:,.0f} | "
                    f"{row['written']:,} | {change:+.1f} % |",
                    flush=True,
                )
    if options.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
