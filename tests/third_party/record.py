"""`found.json`, what has been found so far, and the page that shows it.

Every cell is written as soon as it is known, so that a run that is stopped has lost nothing. Two
runs may go at once: each takes the file for itself, reads it anew and puts its own cells in.
"""

import contextlib
import fcntl
import json
import os
from pathlib import Path

from page import page

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "compatibility.md"
RECORD = HERE / "found.json"


def read():
    """Returns library -> backend -> `{"versions": ..., "models": {model: {door: cell}}}`."""
    return json.loads(RECORD.read_text()) if RECORD.exists() else {}


def put(library, backend, model, cells):
    """Adds these cells of a model to what was found before."""
    with _result(library, backend) as result:
        result["models"].setdefault(model, {}).update(cells)


def replace(library, backend, model):
    """Forgets every cell of a model."""
    with _result(library, backend) as result:
        result["models"][model] = {}


def began(library, backend, versions):
    with _result(library, backend) as result:
        result["versions"] = versions
        result.pop("died", None)


def died(library, backend, why):
    with _result(library, backend) as result:
        result["died"] = why


def keep(library, backend, models):
    """Forgets the models that are not among these: the table has them no more."""
    with _result(library, backend) as result:
        result["models"] = {name: result["models"].get(name, {}) for name in models}


@contextlib.contextmanager
def _result(library, backend):
    """One backend's result of a library, to be changed; the file and the page follow."""
    with open(RECORD.with_suffix(".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        found = read()
        yield found.setdefault(library, {}).setdefault(backend, {"versions": {}, "models": {}})
        _write(RECORD, json.dumps(found, indent=1, sort_keys=True) + "\n")
        _write(PAGE, page(found))


def _write(path, text):
    """In one go: whoever is killed here leaves the old file or the new one."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    os.replace(new, path)
