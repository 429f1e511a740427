"""The table of `docs/compatibility.md`."""

DOORS = ("compress", "fit", "prune", "cluster", "materialize", "deploy")
DOORS += (".smh", ".keras", "weights", "SavedModel", "LiteRT", "ONNX")
MARKS = {"ok": "ok", "refused": "refused", "fails": "**fails**", "Keras fails too": "as Keras"}

HEAD = """# Other libraries

What smh does with models of other people's Keras 3 libraries: small, with random weights, made and
tried by `make test-zoo` (`tests/third_party/`). Written by that command; do not edit.

- *ok*: it works, and the outputs are equal to 1e-4 of their range where they should be. What
  `.smh`, `.keras` and `weights` (`.weights.h5`) wrote was loaded in a new process.
- *refused*: an error of smh, before anything was changed or written, that says what to do.
- *as Keras*: the dense model without smh fails here too.
- **fails**: a fault. The notes below the table have the message.
- no mark: not run yet, or a door for TensorFlow only. Other models of
  `tests/third_party/libraries.py` have not been run yet either.
"""


def page(found):
    """Returns the page for what `run.py` has found."""
    parts = [HEAD]
    for library in sorted(found):
        parts.append(f"## {library}\n")
        parts += [_of_backend(library, name, found[library][name]) for name in found[library]]
    return "\n".join(parts)


def _of_backend(library, backend, result):
    versions = ", ".join(
        f"{name} {version}" for name, version in result.get("versions", {}).items()
    )
    lines = [f"{versions or backend}:\n"]
    if "died" in result:
        return f"{lines[0]}\nNot tried: {result['died']}\n"
    lines += [f"| model | {' | '.join(DOORS)} |", "| --- |" + " --- |" * len(DOORS)]
    notes = []
    for model, cells in result["models"].items():
        marks = [MARKS.get(cells.get(door, [""])[0], "") for door in DOORS]
        lines.append(f"| {model} | {' | '.join(marks)} |")
        notes += [
            f"- {model}, {door}: {cell[0]}: `{cell[1].replace('`', chr(39))}`"
            for door, cell in cells.items()
            if cell[0] not in ("ok", "-")
        ]
    return "\n".join([*lines, "", *notes, ""])
