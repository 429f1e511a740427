"""What the benchmarks share: alternating sides, peak memory, the machine, printing."""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import keras


def options(description):
    """A parser with the options that every benchmark has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    return parser


def machine():
    """One line that says what was measured on."""
    backend = keras.backend.backend()
    library = sys.modules[backend]
    return (
        f"{len(os.sched_getaffinity(0))} cores of {_processor()}, {backend} {library.__version__}, "
        f"Keras {keras.__version__}, Python {platform.python_version()}"
    )


def _processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def median_seconds(sides, rounds, warm_up=3):
    """Median time of each side's step; in each round every side takes one step.

    Other work on the machine then hits all sides alike, and ratios of the medians stand. Whoever
    was first in one round is last in the next. The first rounds trace and warm up.
    """
    times = {name: [] for name in sides}
    names = list(sides)
    for number in range(warm_up + rounds):
        names.append(names.pop(0))
        for name in names:
            begin = time.perf_counter()
            sides[name]()
            if number >= warm_up:
                times[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def resident_bytes():
    """What the process holds in memory now."""
    return _status("VmRSS")


def peak_bytes():
    """The most that it held since its start or the last `reset_peak`."""
    return _status("VmHWM")


def reset_peak():
    """Starts `peak_bytes` anew from what is held now."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(field):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return 1024 * int(line.split()[1])  # in kB
    raise SystemExit(f"/proc/self/status has no {field}: peak memory is measured on Linux only.")


def in_own_process(script, arguments):
    """Runs a benchmark with `--json` in a fresh process; returns what it printed.

    A peak of memory belongs to a process, and an allocator keeps what earlier work freed.
    """
    command = [sys.executable, str(script), *map(str, arguments), "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def show(result, as_json):
    """Prints a result as one line of JSON, or as lines of name and value."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        if not isinstance(value, dict):
            print(f"{name:>14}  {value}")
            continue
        print(f"{name:>14}")
        for key, inner in value.items():
            inner = (
                " ".join(f"{k}={v}" for k, v in inner.items()) if isinstance(inner, dict) else inner
            )
            print(f"{'':>14}  {key:<12} {inner}")
