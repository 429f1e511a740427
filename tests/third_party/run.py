"""Tries every door of smh on models of other libraries and writes `docs/compatibility.md`.

    make test-zoo                                  # an environment of its own, then all of them
    python tests/third_party/run.py keras-tcn      # one library, in an environment that has it

Each library has a process for each backend, and one more that loads what was saved. What was found
is kept in `found.json` beside this script, so that one library can be run again by itself. The
closing line says how many cells hold; the exit code is 1 where smh fails and Keras alone does not.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import metadata
from pathlib import Path

from page import page

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"
RECORD = HERE / "found.json"
BACKENDS = ("tensorflow", "jax")
OK, REFUSED, FAILS, KERAS, MISSING = "ok", "refused", "fails", "Keras fails too", "-"


def main():
    arguments = _arguments()
    if arguments.inside:
        (_load if arguments.load else _try)(arguments, Path(arguments.inside))
        return
    libraries = arguments.libraries or _all_libraries()
    found = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    for library in libraries:
        for backend in arguments.backends:
            before = found.setdefault(library, {}).get(backend, {}).get("models", {})
            now = _run(library, backend, arguments)
            if arguments.only or arguments.doors:  # what was not tried now stays as it was
                cells = {m: before.get(m, {}) | new for m, new in now["models"].items()}
                now["models"] = before | cells
            found[library][backend] = now
            RECORD.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            PAGE.write_text(page(found))
    sys.exit(_count([found[name] for name in libraries]))


def _arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("libraries", nargs="*")
    parser.add_argument("--backends", nargs="+", default=BACKENDS)
    parser.add_argument("--only", default="", metavar="TEXT", help="models with this in the name")
    parser.add_argument("--doors", nargs="+", default=[], help="some of the columns, by name")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--load", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _all_libraries():
    from libraries import LIBRARIES

    return list(LIBRARIES)


def _run(library, backend, arguments):
    """Runs the two processes of a library and returns what they found."""
    environment = dict(os.environ, KERAS_BACKEND=backend)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, library, "--only", arguments.only, "--inside", folder]
        command += ["--doors", *arguments.doors] if arguments.doors else []
        for step in ([], ["--load"]):
            process = subprocess.run([*command, *step], env=environment)
            result = Path(folder, "result.json")
            if process.returncode or not result.exists():
                return {"died": f"the process ended with {process.returncode}", "models": {}}
        return json.loads(result.read_text())


def _try(arguments, folder):
    """The first process: every door of every model; what is to be loaded stays in `folder`."""
    result = {"versions": _versions(arguments.libraries[0]), "models": {}}
    try:
        cases = _cases(arguments)
    except ImportError as error:
        result["died"] = _line(error)
        cases = []
    for number, case in enumerate(cases):
        place = folder / str(number)
        place.mkdir()
        result["models"][case.name] = _doors(case, place, arguments.doors)
        (folder / "result.json").write_text(json.dumps(result))
    (folder / "result.json").write_text(json.dumps(result))


def _cases(arguments):
    from libraries import LIBRARIES

    cases = LIBRARIES[arguments.libraries[0]].cases()
    return [case for case in cases if arguments.only in case.name]


def _doors(case, folder, chosen):
    import doors
    import keras

    try:
        case.model()
    except Exception as error:
        return {"builds": [KERAS, _line(error)]}
    cells = {}
    for name, door in doors.DOORS.items():
        if chosen and name not in chosen:
            continue
        if name in doors.ONLY_TENSORFLOW and keras.backend.backend() != "tensorflow":
            cells[name] = [MISSING, "TensorFlow only"]
            continue
        start = time.perf_counter()
        cells[name] = _cell(case, name, lambda door=door: door(case, folder), folder)
        _say(f"{case.name}: {name}: {' '.join(cells[name])} ({time.perf_counter() - start:.0f} s)")
    return cells


def _cell(case, name, call, folder):
    """Returns what came of `call` and, where it failed, what Keras alone makes of it."""
    import doors

    from smh.errors import SmhError

    try:
        call()
    except SmhError as error:
        return [REFUSED, _line(error)]
    except Exception as error:
        if os.environ.get("TRACE"):
            traceback.print_exc()
        dense = doors.DENSE.get(name)
        try:
            if dense is not None:
                dense(case, folder)
        except Exception as other:
            return [KERAS, _line(other)]
        return [FAILS, _line(error)]
    return [OK, ""]


def _load(arguments, folder):
    """The second process: loads every file that the first has written."""
    import doors

    result = json.loads((folder / "result.json").read_text())
    cases = _cases(arguments) if result["models"] else []
    for number, case in enumerate(cases):
        cells, place = result["models"][case.name], folder / str(number)
        for door in doors.LOADS:
            if cells.get(door, [None])[0] == OK:
                cells[door] = _cell(
                    case, door, lambda d=door, c=case, p=place: doors.load(c, d, p), place
                )
                _say(f"{case.name}: {door}, in a new process: {' '.join(cells[door])}")
    (folder / "result.json").write_text(json.dumps(result))


def _versions(library):
    import keras

    try:
        own = metadata.version(library)
    except metadata.PackageNotFoundError:
        own = "not installed"
    backend = keras.backend.backend()
    package = "tensorflow-cpu" if backend == "tensorflow" else backend
    try:
        below = metadata.version(package)
    except metadata.PackageNotFoundError:
        below = metadata.version(backend)
    return {library: own, "keras": keras.__version__, backend: below} | {
        "python": platform.python_version()
    }


def _line(error):
    """The first line of a message, and whose it is where it is not smh's."""
    text = " ".join(str(error).split())
    kind = type(error).__name__
    text = text if kind == "NotEqual" else f"{kind}: {text}"
    return text if len(text) <= 300 else text[:300] + "..."


def _say(text):
    print(f"  {text}", flush=True)


def _count(libraries):
    """Prints how many cells hold, and returns 1 if one fails that Keras alone does not."""
    kinds = [
        cell[0]
        for backends in libraries
        for result in backends.values()
        for cells in result["models"].values()
        for cell in cells.values()
    ]
    died = sum("died" in result for backends in libraries for result in backends.values())
    failed = kinds.count(FAILS) + died
    others = f"{kinds.count(REFUSED)} refused, {kinds.count(KERAS)} where Keras fails too"
    print(f"{kinds.count(OK)} passed, {failed} failed\n({others})")
    return int(failed > 0)


if __name__ == "__main__":
    main()
