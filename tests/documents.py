"""Runs what a Markdown page shows: README, and the pages of docs/.

- `python` blocks run in order, in one namespace.
- `$ smh ...` lines of `console` blocks run as the command would; other commands are left alone.
- What stands in a `text` block right behind one of these, or under a command, is what it prints:
  compared as doctest does, where `...` stands for anything and blanks count alike. In a block
  `text like` the numbers are those of one run, and are not compared.

Code of other projects, which a page shows for comparison, is in `{code-block}` directives.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

_FENCE = re.compile(r"^```(.*?)\n(.*?)^```$", flags=re.S | re.M)
_COMMENT = re.compile(r"\s+#\s.*$")
_LOOSELY = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Block:
    """A fenced block, and what a `text` block right behind it says that it prints."""

    language: str
    text: str
    line: int
    printed: str | None
    like: bool


def blocks(page: Path) -> list[Block]:
    """The `python` and `console` blocks of a page, in order."""
    source = page.read_text()
    found = list(_FENCE.finditer(source))
    result = []
    for match, after in zip(found, [*found, None][1:], strict=True):
        if match[1] not in ("python", "console"):
            continue
        shown = after[1] if after and not source[match.end() : after.start()].strip() else ""
        printed = after[2] if after and shown in ("text", "text like") else None
        line = source[: match.start()].count("\n") + 2
        result.append(Block(match[1], match[2], line, printed, shown == "text like"))
    return result


def run(page: Path, names: dict[str, Any], commands: bool = True) -> Iterator[Block]:
    """Runs the blocks of a page in `names`; yields each `python` block when it has run."""
    for block in blocks(page):
        if block.language == "console":
            if commands:
                _run_commands(page, block)
            continue
        # Empty lines in front, so that a traceback names the line of the page.
        code = compile("\n" * (block.line - 1) + block.text, str(page), "exec")
        _compare(page, block, _printed_by(exec, code, names), block.printed)
        yield block


def commands_of(text: str) -> list[tuple[str, str]]:
    """The commands of a `console` block, each with the lines under it."""
    joined = text.replace("\\\n", " ")
    parts = re.split(r"^\$ ", joined, flags=re.M)[1:]
    return [
        (_COMMENT.sub("", first), rest) for first, _, rest in (p.partition("\n") for p in parts)
    ]


def _run_commands(page: Path, block: Block) -> None:
    for command, shown in commands_of(block.text):
        program, *arguments = shlex.split(command)
        if program == "smh":
            printed = _printed_by(_succeed, arguments)
            _compare(page, block, printed, shown if shown.strip() else block.printed)


def _succeed(arguments: list[str]) -> None:
    from smh import cli

    assert cli.main(arguments) == 0, arguments


def _printed_by(function, *arguments) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        function(*arguments)
    return printed.getvalue()


def _compare(page: Path, block: Block, printed: str, expected: str | None) -> None:
    if expected is None:
        return
    sides = [expected, printed]
    if block.like:
        # A number's width decides on a table's, and on where its title ends.
        sides = [re.sub(r"\d[\d,.]*", "0", re.sub(r"[━─]+", "━", side)) for side in sides]
    if not doctest.OutputChecker().check_output(*sides, _LOOSELY):
        raise AssertionError(f"{page.name}:{block.line} prints\n{printed}\nnot\n{expected}")
