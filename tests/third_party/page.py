"""The tables of `docs/compatibility.md`."""

import re

DOORS = ("compress", "fit", "prune", "cluster", "materialize", "deploy")
DOORS += (".smh", ".keras", "weights", "SavedModel", "LiteRT", "ONNX")
MARKS = {"ok": "ok", "refused": "refused", "fails": "**fails**", "Keras fails too": "as Keras"}
MARKS |= {"refused, as Keras": "refused, as Keras", "-": "–"}
BACKENDS = {"tensorflow": "TensorFlow", "jax": "JAX"}
NOTE = 200  # characters; `found.json` has more of a message

HEAD = """# Other libraries

What smh does with models of other people's Keras 3 libraries: small, with random weights, made and
tried by `make test-zoo` (`tests/third_party/`). Written by that command; do not edit.

- *ok*: it works, and the outputs are equal to 1e-4 of their range where they should be. What
  `.smh`, `.keras` and `weights` (`.weights.h5`) wrote was loaded in a new process.
- *refused*: an error of smh, before anything was changed or written, that says what to do.
- *as Keras*: the dense model without smh fails here too; *refused, as Keras*: smh says so before.
- **fails**: a fault.
- –: a door for TensorFlow only. No mark: not run yet.

Behind each table, the begin of each message.
"""


def page(found):
    """Returns the page for what `record.py` has read."""
    return "\n".join([HEAD, *(_library(name, found[name]) for name in sorted(found))])


def _library(name, backends):
    order = [backend for backend in BACKENDS if backend in backends]
    models = {model: None for backend in order for model in backends[backend]["models"]}
    rows = [
        (model, backend, backends[backend]["models"][model])
        for model in sorted(models)
        for backend in order
        if model in backends[backend]["models"]
    ]
    lines = [f"## {name}\n", f"{_versions(name, [backends[b] for b in order])}\n"]
    if rows:
        lines.append(f"| model | backend | {' | '.join(DOORS)} |")
        lines.append("| --- | --- |" + " --- |" * len(DOORS))
        lines += [_row(*row) for row in rows]
        lines.append("")
    notes = [note for row in rows for note in _notes(*row)]
    notes += [
        f"- {BACKENDS[b]}: {_short(backends[b]['died'])}" for b in order if "died" in backends[b]
    ]
    return "\n".join([*lines, *notes, *([""] if notes else [])])


def _versions(name, results):
    found = {}
    for result in results:
        found.update(result.get("versions", {}))
    first = [name] if name in found else []
    return ", ".join(f"{what} {found[what]}" for what in first + sorted(found.keys() - {name}))


def _row(model, backend, cells):
    marks = [MARKS.get(cells.get(door, [""])[0], "") for door in DOORS]
    return f"| {model} | {BACKENDS[backend]} | {' | '.join(marks)} |"


def _notes(model, backend, cells):
    """A line for each message of a model; one for all doors that have the same."""
    doors = {}
    for door, (kind, text) in cells.items():
        if kind not in ("ok", "-"):
            doors.setdefault((MARKS[kind], _short(text)), []).append(door)
    for (mark, text), names in doors.items():
        yield f"- {model}, {BACKENDS[backend]}, {', '.join(sorted(names))}: {mark}: {text}"


def _short(text):
    """The first sentence of a message, as code."""
    text = re.sub(r"^ArgumentError: '\w+' cannot be exported to \w+: ", "", text)
    first = text.replace("`", "'").split(". ")[0]
    return f"`{first if len(first) <= NOTE else first[:NOTE] + '...'}`"
