"""Text that is written for another place, made to fit the site.

Docstrings read as plain text, with Markdown's code spans and tables; Sphinx reads reStructuredText.
`results/README.md` and its like have links that hold where they lie; the site includes them
elsewhere.
"""

from __future__ import annotations

import inspect
import os
import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

import smh
from smh import errors, index_store, virtual_variable
from smh.pools import base as pool_base
from smh.virtual_variable import weight_spec

_CODE = re.compile(r"(?<![`:\w])`([^`]+)`(?!`)")
_ERROR = re.compile(r"    ( |[\w, ]+: )")  # an error, or the next line about it
_NAME = re.compile(r"smh(\.\w+)+(\(\))?")
_LINK = re.compile(r"(!?)\[([^\]\n]*)\]\(([^)\s]+)\)")

# Where the reference has the classes that signatures name.
_ROOMS = (errors, smh, virtual_variable, pool_base, weight_spec, index_store)
_RETURNS = re.compile(r"(?<=^Returns:\n)(?:    .*\n|\n(?=    ))+", flags=re.M)
_COLON = "\ue000"  # in place of one that Napoleon must not see

# What the site shows of a file that is not one of its pages, below docs/.
_PAGES = {
    "README.md": "index.md",
    "results/README.md": "results.md",
    "benchmarks/README.md": "benchmarks.md",
}


def markdown_in_docstring(app, what, name, obj, options, lines: list[str]) -> None:
    """Turns code spans into literals, names of smh into links, and tables into tables.

    Comes before Napoleon, which reads the sections.
    """
    del app, name, obj, options
    text = _CODE.sub(_literal, "\n".join(_with_tables(_said_of_all_errors(lines))))
    # Napoleon takes what stands before a colon there for a type.
    sentences = text if what == "property" else "".join(_RETURNS.findall(text))
    lines[:] = text.replace(sentences, sentences.replace(":", _COLON)).split("\n")


def colons_again(app, what, name, obj, options, lines: list[str]) -> None:
    """Comes after Napoleon."""
    del app, what, name, obj, options
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def signature_of_init(app, what, name, obj, options, signature, returns):
    """Shows what a Keras layer's constructor takes, which its class does not say."""
    del app, name, options
    if what != "class" or signature != "(*args, **kwargs)":
        return signature, returns
    parameters = list(inspect.signature(obj.__init__).parameters.values())[1:]
    shown = str(inspect.Signature(parameters))
    shown = re.sub(r"<class '[\w.]*?(\w+)'>", r"\1", shown)
    return re.sub(r"<(\w+\.\w+): '\w+'>", r"\1", shown), returns


def _said_of_all_errors(lines: list[str]) -> list[str]:
    """Puts a sentence that stands among the errors behind them; Napoleon takes it for an error."""
    kept: list[str] = []
    sentence: list[str] = []
    inside = False
    for line in [*lines, "End:"]:
        if inside and line and not line.startswith(" "):
            kept += [*sentence, ""] if sentence else []
            sentence, inside = [], False
        inside = inside or line == "Raises:"
        if inside and line.startswith("    ") and (sentence or not _ERROR.match(line)):
            sentence.append(line.strip())
        else:
            kept.append(line)
    return kept[:-1]


def _literal(match: re.Match) -> str:
    code = " ".join(match[1].split())
    # Left to the default role, which knows the name if the reference has it.
    span = f"`{code.removesuffix('()')}`" if _NAME.fullmatch(code) else f"``{code}``"
    following = match.string[match.end() : match.end() + 1]
    return span + ("\\ " if following.isalnum() else "")


def _with_tables(lines: list[str]) -> list[str]:
    """Rewrites each pipe table as a `list-table`."""
    made: list[str] = []
    for i, line in enumerate(lines):
        if not line.lstrip().startswith("|"):
            made.append(line)
            continue
        indent = line[: len(line) - len(line.lstrip())]
        if i == 0 or not lines[i - 1].lstrip().startswith("|"):
            made += [f"{indent}.. list-table::", f"{indent}   :header-rows: 1", ""]
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if all(set(cell) <= set("-: ") for cell in cells):
            continue
        marks = ["* - ", *["  - "] * (len(cells) - 1)]
        made += [f"{indent}   {mark}{cell}" for mark, cell in zip(marks, cells, strict=True)]
    return made


def relative_links(app, path: Path, parent: str, content: list[str]) -> None:
    """Makes the links of an included file lead where they lead in that file.

    A folder has no page: of a link to one the text stays.
    """
    del parent
    source = Path(app.srcdir)
    folder = (source / path).resolve().parent
    if folder.is_relative_to(source):
        return

    def moved(match: re.Match) -> str:
        image, text, target = match.groups()
        if re.match(r"[a-z]+:|#", target):
            return match[0]
        file, _, anchor = target.partition("#")
        goal = (folder / file).resolve()
        if goal.is_dir():
            return text
        known = goal.relative_to(source.parent).as_posix()
        page = _PAGES.get(f"{known}#{anchor}") or _PAGES.get(known)
        # "/" is docs/, whichever page includes the file.
        return f"{image}[{text}](/{page or os.path.relpath(goal, source)})"

    content[0] = _LINK.sub(moved, content[0])


def names_of_others(app, doctree: nodes.document) -> None:
    """Leaves types of other projects as text, and completes the names of smh's own.

    Sphinx would take `bytes` in a signature for any attribute of that name, and Keras' `Tensor`
    for that of `smh.container`.
    """
    del app
    for reference in list(doctree.findall(addnodes.pending_xref)):
        target = reference["reftarget"]
        if reference["refdomain"] != "py" or target.startswith("smh"):
            continue
        room = next((room for room in _ROOMS if _is_class_of_smh(room, target)), None)
        if room is None:
            reference.replace_self(reference.children)
        else:
            reference["reftarget"] = f"{room.__name__}.{target}"


def _is_class_of_smh(room, name: str) -> bool:
    found = getattr(room, name, None)
    return inspect.isclass(found) and found.__module__.startswith("smh")
