"""Runs in the peers' own environment: `nncodec` and `zipnn`, asked by lines of JSON.

`benchmarks/shrink.py --peer PYTHON` starts it. It says when it is ready; then a line is a request,
and a line is the answer:

    {"codec": "nncodec", "weights": "in.npz", "out": "out.npz", "options": {"qp": -20}}
    {"bytes": 12345, "seconds": 0.1}
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import nncodec.nn as codec
import numpy as np
import zipnn as package


def nncodec(weights: dict[str, np.ndarray], out: str, options: dict) -> dict:
    """Encodes and decodes; writes what was decoded to `out`."""
    settings = {"results": os.path.dirname(out), "model": "peer", "verbose": False, **options}
    begin = time.perf_counter()
    stream = codec.encode(dict(weights), settings)
    seconds = time.perf_counter() - begin
    decoded = codec.decode(stream)
    np.savez(out, **{name: np.asarray(decoded[name]) for name in weights})
    return {"bytes": len(stream), "seconds": seconds}


def zipnn(weights: dict[str, np.ndarray], out: str, options: dict) -> dict:
    """Bytes of the float32 numbers, without loss."""
    data = np.concatenate([weight.ravel() for weight in weights.values()]).astype("<f4").tobytes()
    begin = time.perf_counter()
    size = len(package.ZipNN(bytearray_dtype="float32").compress(bytearray(data)))
    return {"bytes": size, "seconds": time.perf_counter() - begin}


def main() -> None:
    """Answers requests until the input ends; what the codecs print goes to the error stream."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    codecs = {"nncodec": nncodec, "zipnn": zipnn}
    print(json.dumps({"ready": sorted(codecs)}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        with contextlib.redirect_stdout(sys.stderr):
            weights = dict(np.load(request["weights"]))
            try:
                answer = codecs[request["codec"]](weights, request["out"], request["options"])
            except Exception as error:  # the other side says what failed, and goes on
                answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
