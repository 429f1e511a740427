"""What prints a table shows the same one in a notebook, whatever it is called."""

import importlib
import xml.etree.ElementTree
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

import smh
from smh.artifact.inspection import Inspection, Part
from smh.doors.slimming.report import SlimReport, SlimRow
from smh.doors.slimming.wiring import Left
from smh.sensitivity import ScanResult, ScanRow
from smh.shrinking import report as shrinking
from smh.shrinking.searching.tries import SearchResult, Try
from smh.sizes.planning import Plan, PlanRow
from smh.sizes.rows import Row, SizeReport
from smh.tables import Printed

pytestmark = pytest.mark.backend_agnostic
ROOT = Path(smh.__file__).parent
NAME = '<b>&amp;"[/i][red]:x:</td>'
TRIES = (Try(0.1, 8, 12_345, 0.25, 0.91, True), Try(0.05, 4, 6_789, 0.15, 0.87, False))
ATTEMPT = shrinking.Attempt(1.5, 54_321, 0.03, 0.9)


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py: nothing here has a model."""


def rows_of_a_scan(levels):
    return tuple(
        ScanRow(f"{NAME}{i}/kernel", level, 1234 * i, 32, {"loss": 0.5 * i + 1 / level})
        for i in (1, 2)
        for level in levels
    )


CASES = {
    "report": SizeReport(
        NAME,
        (
            Row(f"{NAME}/a", (3, 4), "float32", "dense", 12, 12, 12, 48, 32, 48),
            Row(f"{NAME}/b", (), "float32", "pool 1:2", 1, 1, 345, 1380, 4, 173, "pool"),
        ),
        notes=(f"a copy of {NAME} takes 17 bytes", "and so on"),
    ),
    "plan": Plan(
        NAME,
        (PlanRow(0.1, 3, 43_210, 172_840, 43_300, 21_700, 9_876, None),),
        0.00305,
        431_080,
        431_081,
        1_724_324,
        2_293_000,
        f"Not counted in it: {NAME}.",
    ),
    "plan of nothing": Plan(NAME, (), 0.5, 8, 8, 32, None, ""),
    "inspection": Inspection(
        f"{NAME}.smh",
        (
            Part("header", "names", "deflated JSON", 0, 0, 345),
            Part("0", NAME, "4 bits", 6789, 345, 4321),
        ),
        (NAME, "second"),
    ),
    "sensitivity": ScanResult(
        NAME, "sparsity", "loss", False, {"loss": 0.125}, rows_of_a_scan((0.5, 0.9)), 5
    ),
    "bits": ScanResult(NAME, "bits", "loss", False, {"loss": 0.125}, rows_of_a_scan((8, 4)), 4),
    "stopped scan": ScanResult(NAME, "bits", "loss", False, {"loss": 0.125}, (), 4),
    "search by size": SearchResult(None, TRIES[0], TRIES),
    "search by drop": SearchResult(None, TRIES[1], TRIES, 0.92),
    "shrink": shrinking.ShrinkReport(
        NAME,
        (
            shrinking.Row(f"{NAME}/a", 1234, 2.34, 567, 0.89, 0.1, "inputs"),
            shrinking.Row(f"{NAME}/b", 4321, 4.32, 765, 0.98, 0.9, "numbers"),
        ),
        54_321,
        1_234_567,
        (ATTEMPT,),
        ATTEMPT,
        0.92,
    ),
    "slim": SlimReport(
        NAME,
        (SlimRow(f"{NAME}/a", "Dense", (500,), (250,), (1_234, None)),),
        (431_080, 107_890),
        (2_293_000, 600_000),
        (Left(NAME, "Odd", "has no rule"),),
    ),
}


class Reader(HTMLParser):
    """The elements, and that each is closed."""

    def __init__(self):
        super().__init__()
        self.seen, self.open = set(), []

    def handle_starttag(self, tag, attrs):
        self.seen.add(tag)
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"style"}  # no scripts, nothing from elsewhere

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("case", CASES)
def test_html_has_every_word_and_number_of_the_text(case, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    printed, html = str(CASES[case]), CASES[case]._repr_html_()
    root = xml.etree.ElementTree.fromstring(html)
    words = Counter(" ".join(root.itertext()).split())
    missing = Counter(printed.replace("─", " ").split()) - words
    assert not missing
    assert NAME not in html
    assert (NAME in "".join(root.itertext())) == (NAME in printed)


@pytest.mark.parametrize("case", CASES)
def test_html_is_whole_and_has_no_elements_but_those_of_a_table(case):
    reader = Reader()
    reader.feed(CASES[case]._repr_html_())
    reader.close()
    assert not reader.open
    assert reader.seen <= {"div", "table", "caption", "thead", "tbody", "tr", "th", "td"}


def test_lines_that_stand_out_do_so_in_html():
    root = xml.etree.ElementTree.fromstring(CASES["report"]._repr_html_())
    first, second = root.iter("tbody")
    assert len(first) == 2 and "border-top" in second.get("style")
    assert [line.get("style") for line in second] == ["font-weight: bold", None]
    assert [cell.text for cell in second[0]][:1] == ["total"]
    assert "text-align: right" in second[0][-1].get("style")


def test_every_result_with_a_table_is_shown_so():
    found = set()
    for path in ROOT.rglob("*.py"):
        if "def __rich__(" in path.read_text():
            name = ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
            own = vars(importlib.import_module(name)).values()
            found |= {
                value for value in own if isinstance(value, type) and "__rich__" in vars(value)
            }
    assert found - {Printed} == {type(case) for case in CASES.values()}
    assert all(issubclass(kind, Printed) for kind in found)
