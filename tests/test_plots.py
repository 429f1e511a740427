"""The pictures hold what they are given, and touch nothing of the caller's."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from matplotlib import image

from smh import plots
from smh.errors import ArgumentError

pytestmark = pytest.mark.backend_agnostic


@dataclass(frozen=True)
class Point:
    fraction: float | None
    bytes: int
    accuracy: float
    bits: int | None = None


DENSE = Point(None, 1_750_000, 0.98)
SMH = [Point(0.1, 200_000, 0.97), Point(0.02, 70_000, 0.95)]


@pytest.mark.parametrize("rows", [[DENSE, *SMH], [DENSE], SMH], ids=["both", "dense", "smh"])
def test_writes_an_image(rows, tmp_path):
    plots.accuracy_against_size(rows, tmp_path / "a.png", title="a title")
    assert image.imread(tmp_path / "a.png").ndim == 3


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn during a test."""
    drawn = []
    make = plots.new_figure
    monkeypatch.setattr(plots, "new_figure", lambda: drawn.append(make()) or drawn[-1])
    return drawn


def test_labels_and_axes(tmp_path, figures):
    plots.accuracy_against_size([DENSE, *SMH], tmp_path / "a.png")
    (axes,) = figures[0].axes
    assert {text.get_text() for text in axes.texts} == {"dense", "0.1", "0.02"}
    assert axes.get_xscale() == "log"
    assert "bytes" in axes.get_xlabel() and "%" in axes.get_ylabel()


def test_points_of_one_seed_are_not_joined(tmp_path, figures):
    for joined in (True, False):
        plots.accuracy_against_size(SMH, tmp_path / "a.png", joined=joined)
    styles = [figure.axes[0].lines[0].get_linestyle() for figure in figures]
    assert styles == ["-", "None"]


def test_rounded_factors_are_a_curve_of_their_own(tmp_path, figures):
    rounded = [Point(0.1, 20_000, 0.97, 4), Point(0.02, 7_000, 0.95, 4), Point(0.1, 9_000, 0.9, 2)]
    plots.accuracy_against_size([DENSE, *SMH, *rounded], tmp_path / "a.png")
    (axes,) = figures[0].axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["dense", "smh, by fraction", "smh, 4-bit factors", "smh, 2-bit factors"]


def test_axis_does_not_magnify_noise_nor_pass_100(tmp_path, figures):
    rows = [Point(None, 9_000, 0.999), Point(0.1, 1_000, 0.998)]
    plots.accuracy_against_size(rows, tmp_path / "a.png", test_examples=540)
    low, high = figures[0].axes[0].get_ylim()
    assert high <= 100 and high - low >= 5


def test_no_rows():
    with pytest.raises(ArgumentError, match="no rows"):
        plots.accuracy_against_size([], "unused.png")


def test_leaves_pyplot_alone(tmp_path):
    code = f"""
import sys
from types import SimpleNamespace
from smh.plots import accuracy_against_size
point = SimpleNamespace(fraction=0.1, bytes=200_000, accuracy=0.97)
accuracy_against_size([point], {str(tmp_path / "a.png")!r})
assert "matplotlib.pyplot" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_missing_matplotlib_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install structured-multihashing\[plots\]"):
        plots.accuracy_against_size([DENSE], "unused.png")
