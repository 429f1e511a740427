"""Tries every door of smh on models of other libraries and writes `docs/compatibility.md`.

    make test-zoo                                  # an environment of its own, then all of them
    python tests/third_party/run.py keras-tcn      # one library, in an environment that has it

Each library has a process for each backend, and one more that loads what was saved. Each cell goes
to `found.json` beside this script as soon as it is known (`record.py`), so a run may be stopped,
and a library, a model or a door run again by itself. The closing line says how many cells hold; the
exit code is 1 where smh fails and Keras alone does not.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import traceback
from importlib import metadata
from pathlib import Path

import record

BACKENDS = ("tensorflow", "jax")
OK, REFUSED, FAILS, KERAS, MISSING = "ok", "refused", "fails", "Keras fails too", "-"
BOTH = "refused, as Keras"


def main():
    arguments = _arguments()
    if arguments.inside:
        (_load if arguments.load else _try)(arguments, Path(arguments.inside))
        return
    libraries = arguments.libraries or _all_libraries()
    for library in libraries:
        for backend in arguments.backends:
            _run(library, backend, arguments)
    found = record.read()
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
    """Runs the two processes of a library; they record what they find."""
    environment = dict(os.environ, KERAS_BACKEND=backend)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, library, "--only", arguments.only, "--inside", folder]
        command += ["--doors", *arguments.doors] if arguments.doors else []
        for step in ([], ["--load"]):
            code = subprocess.run([*command, *step], env=environment).returncode
            if code:
                _ended(library, backend, Path(folder, "now.json"), f"the process ended with {code}")


def _ended(library, backend, now, why):
    """Records that a process has ended, for the cell that it was at, if it was at one."""
    if now.exists():
        model, door = json.loads(now.read_text())
        record.put(library, backend, model, {door: [FAILS, why]})
    else:
        record.died(library, backend, why)


def _try(arguments, folder):
    """The first process: every door of every model; what is to be loaded stays in `folder`."""
    library, backend = arguments.libraries[0], _backend()
    record.began(library, backend, _versions(library))
    try:
        cases = _cases(arguments)
    except ImportError as error:
        record.died(library, backend, _line(error))
        return
    for case in cases:
        _doors(case, _place(folder, case), arguments)
    if not arguments.only:
        record.keep(library, backend, [case.name for case in cases])
    (folder / "now.json").unlink(missing_ok=True)


def _cases(arguments):
    from libraries import LIBRARIES

    cases = LIBRARIES[arguments.libraries[0]].cases()
    return [case for case in cases if arguments.only in case.name]


def _place(folder, case):
    place = folder / re.sub(r"\W+", "-", case.name)
    place.mkdir(exist_ok=True)
    return place


def _doors(case, place, arguments):
    import doors

    library, backend = arguments.libraries[0], _backend()
    try:
        case.model()
    except Exception as error:
        record.replace(library, backend, case.name)
        record.put(library, backend, case.name, {"builds": [KERAS, _line(error)]})
        return
    if not arguments.doors:
        record.replace(library, backend, case.name)
    for name in arguments.doors or doors.DOORS:
        if name in doors.ONLY_TENSORFLOW and backend != "tensorflow":
            cell = [MISSING, "TensorFlow only"]
        else:
            (place.parent / "now.json").write_text(json.dumps([case.name, name]))
            cell = _timed(case, name, place)
        if name in doors.LOADS and cell[0] == OK:  # not known before it has been loaded
            (place / f"to load: {name}").touch()
        else:
            record.put(library, backend, case.name, {name: cell})


def _timed(case, name, place):
    import doors

    start = time.perf_counter()
    cell = _cell(case, name, lambda: doors.DOORS[name](case, place), place)
    _say(f"{case.name}: {name}: {' '.join(cell)} ({time.perf_counter() - start:.0f} s)")
    return cell


def _cell(case, name, call, folder):
    """Returns what came of `call` and, where it failed, what Keras alone makes of it."""
    from smh.errors import SmhError

    try:
        with case.scope():
            call()
    except SmhError as error:
        return [REFUSED if _dense_error(case, name, folder) is None else BOTH, _line(error)]
    except Exception as error:
        if os.environ.get("TRACE"):
            traceback.print_exc()
        dense = _dense_error(case, name, folder)
        return [FAILS, _line(error)] if dense is None else [KERAS, _line(dense)]
    return [OK, ""]


def _dense_error(case, name, folder):
    """Returns how Keras alone fails at a door, or `None`."""
    import doors

    try:
        with case.scope():
            doors.DENSE.get(name, lambda case, folder: None)(case, folder)
    except Exception as error:
        return error
    return None


def _load(arguments, folder):
    """The second process: loads every file that the first has written."""
    import doors

    cases = _cases(arguments) if any(folder.iterdir()) else []
    for case in cases:
        place = _place(folder, case)
        for door in doors.LOADS:
            if (place / f"to load: {door}").exists():
                (folder / "now.json").write_text(json.dumps([case.name, door]))
                cell = _cell(case, door, lambda d=door, c=case, p=place: doors.load(c, d, p), place)
                record.put(arguments.libraries[0], _backend(), case.name, {door: cell})
                _say(f"{case.name}: {door}, in a new process: {' '.join(cell)}")


def _backend():
    import keras

    return keras.backend.backend()


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
    """A message without folders of this machine, and whose it is where it is not smh's."""
    text = re.sub(r"(?<![\w.])/([\w.+-]+/)+", "", " ".join(str(error).split()))
    kind = type(error).__name__
    text = text if kind == "NotEqual" else f"{kind}: {text}"
    return text if len(text) <= 600 else text[:600] + "..."


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
    refused, too = kinds.count(REFUSED), kinds.count(KERAS) + kinds.count(BOTH)
    others = f"{refused} refused, {too} where Keras fails too"
    print(f"{kinds.count(OK)} passed, {failed} failed\n({others})")
    return int(failed > 0)


if __name__ == "__main__":
    main()
