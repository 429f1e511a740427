"""Every page of the documentation: its code runs and prints what it says; the site builds."""

import argparse
import ast
import inspect
import json
import re
import runpy
import shlex
import subprocess
import sys

import documents
import keras
import pytest

import smh
from smh import cli

DOCS = documents.ROOT / "docs"
PAGES = sorted(
    page.relative_to(DOCS).as_posix()
    for page in DOCS.rglob("*.md")
    if documents.blocks(page) and not page.is_relative_to(DOCS / "notebooks")
)
# Together more than `make test` can afford; what they use is tested elsewhere as well.
SLOW = {
    "first_hour.md",
    "guide.md",  # its Python in tests/test_readme.py
    "how_to/budget.md",
    "how_to/choose.md",  # its calls in README.md and on the pages it links to
    "how_to/command_line.md",
    "how_to/export.md",
    "how_to/share_weights.md",
    "how_to/what_runs_where.md",  # its calls in tests/test_low_bit_exports.py
    "how_to/shrink.md",  # its call in README.md
    "migrating/deep_compression.md",
    "migrating/feathermap.md",
    "migrating/tensorflow_toolkit.md",
}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="pages use TensorFlow's doors")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(p, marks=pytest.mark.slow) if p in SLOW else p for p in PAGES]
)
def test_a_page_runs_and_prints_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for _ in documents.run(DOCS / name, {}):
        pass


def test_the_helper_sees_every_block_and_compares(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "```{code-block} python\nno\n```\n\n```python\nprint(1 + 1)\n```\n\n```text\n3\n```\n"
    )
    (block,) = documents.blocks(page)
    assert (block.text, block.line, block.printed, block.like) == (
        "print(1 + 1)\n",
        6,
        "3\n",
        False,
    )
    with pytest.raises(AssertionError, match=r"page.md:6 prints\s+2"):
        list(documents.run(page, {}))
    page.write_text(page.read_text().replace("text\n3", "text like\n345"))
    list(documents.run(page, {}))
    page.write_text("```console\n$ ls\n$ smh frob \\\n  --x  # no\nout\n```\n")
    (block,) = documents.blocks(page)
    assert documents.commands_of(block.text) == [("ls", ""), ("smh frob    --x", "out\n")]


def test_no_page_has_code_that_is_not_run():
    for page in DOCS.rglob("*.md"):
        fences = re.findall(r"^```(.+)$", page.read_text(), flags=re.M)
        known = {"python", "console", "text", "text like", "dictionary"}
        assert all(f in known or f.startswith("{") for f in fences), page


def test_the_reference_has_every_public_name():
    text = "".join(page.read_text() for page in (DOCS / "api").glob("*.md"))
    documented = set(re.findall(r"auto(?:function|class):: ([\w.]+)", text))
    missing = {f"smh.{name}" for name in smh.__all__ if not name.startswith("__")} - documented
    assert not missing
    overview = (DOCS / "api" / "index.md").read_text()
    for name in dir(smh):
        assert f"`smh.{name}`" in overview or name.startswith("__"), name


def first_cells(page):
    """The code that begins each row of a page's tables."""
    return re.findall(r"^\| `(.+?)` \|", page.read_text(), flags=re.M)


def test_the_cheat_sheet_has_every_name_and_calls_as_one_may():
    cells = [cell for cell in first_cells(DOCS / "cheat_sheet.md") if cell.startswith("smh.")]
    calls = [ast.parse(cell, mode="eval").body for cell in cells]
    named = set()
    for cell, call in zip(cells, calls, strict=True):
        names = ast.unparse(call.func if isinstance(call, ast.Call) else call).split(".")[1:]
        found = smh
        for name in names:
            found = getattr(found, name)
        if isinstance(call, ast.Call):
            given = {word.arg: None for word in call.keywords}
            inspect.signature(found).bind(*call.args, **given)  # raises TypeError, or all is well
        named.add(names[0])
        assert cells.count(cell) == 1, cell
    assert named == {name for name in dir(smh) if name in smh.__all__ or "__" not in name}


def test_the_cheat_sheet_has_every_command_with_flags_that_it_takes():
    lines = [cell for cell in first_cells(DOCS / "cheat_sheet.md") if cell.startswith("smh ")]
    parser = cli._parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    for line in lines:
        parser.parse_args(shlex.split(line)[1:])  # raises SystemExit, or all is well
    assert {line.split()[1] for line in lines} == set(commands.choices)


# How a number is written in a table, and what it is called where it was measured.
_NUMBER = re.compile(r"(?<![\w-])\d[\d,.]*\d|(?<![\w-])\d(?![\w-])")


def test_the_guide_to_ways_says_only_what_was_measured_where_it_links_to():
    page = DOCS / "how_to" / "choose.md"
    rows = re.findall(r"^\| (.+) \| \[.+\]\((.+?)(?:#.*)?\) \|$", page.read_text(), flags=re.M)
    assert len(rows) > 20
    for said, link in rows:
        target = (page.parent / link).resolve()
        included = re.search(r"{include} (.+)", target.read_text())
        source = target.parent / included[1] if included else target
        missing = set(_NUMBER.findall(said)) - set(_NUMBER.findall(source.read_text()))
        assert not missing, f"{source.name} has no {missing} of: {said}"


def test_versions_are_listed_newest_first_and_the_newest_is_where_one_arrives(tmp_path):
    for name in ("0.9.0", "0.10.0", "0.10.0rc1", "0.10.0rc2", "_sources", "1.0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").touch()
    (tmp_path / "2.0").mkdir()  # was not built
    versions = runpy.run_path(str(DOCS / "versions.py"))
    versions["main"](tmp_path)
    listed = json.loads((tmp_path / "versions.json").read_text())
    assert listed == ["1.0", "0.10.0", "0.10.0rc2", "0.10.0rc1", "0.9.0"]
    assert "url=1.0/index.html" in (tmp_path / "index.html").read_text()


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run(
        [*command, "-d", tmp_path / "doctrees", DOCS, tmp_path / "site"],
        capture_output=True,
        text=True,
        cwd=documents.ROOT,
    )
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "api" / "compress.html").read_text()
    assert 'id="smh.compress"' in page and "slices of one product" in page
