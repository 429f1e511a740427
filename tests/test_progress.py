"""Long work says how far it is: to whoever listens, on a terminal, and never elsewhere."""

import contextlib
import io
import re

import keras
import pytest

import smh
from smh import progress
from smh.progress import notebook
from smh.progress.words import clock, count, time_left
from smh.training.data import measure


class Heard:
    """Remembers what it is told."""

    def __init__(self):
        self.tasks, self.open = [], 0

    def __call__(self, doing, steps):
        return self._listen(doing, steps)

    @contextlib.contextmanager
    def _listen(self, doing, steps):
        entry = [doing, steps, 0]
        self.tasks.append(entry)
        self.open += 1
        try:
            yield lambda more: entry.__setitem__(2, entry[2] + more)
        finally:
            self.open -= 1


@pytest.fixture
def heard():
    listener = Heard()
    with progress.listening(listener):
        yield listener


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_without_a_listener_the_items_themselves_come_back():
    items = [1, 2]
    assert progress.track(items, "counting") is items
    with progress.task("waiting") as advance:
        advance(1)


def test_work_on_many_weights_is_told_weight_by_weight(heard):
    model = smh.zoo.lenet_300_100((8, 8, 1))
    smh.prune(model, 0.5)
    smh.cluster(model, bits=2)
    smh.quantize_weights(smh.zoo.lenet_300_100((8, 8, 1)), bits=4)
    smh.quantize_factors(smh.compress(smh.zoo.lenet_300_100((8, 8, 1)), 0.3), bits=4)
    assert heard.tasks == [
        ["pruning", 3, 3],
        ["finding shared values", 3, 3],
        ["rounding", 3, 3],
        ["rounding", 2, 2],
    ]


def test_evaluation_is_told_batch_by_batch(heard):
    model = smh.zoo.lenet_300_100((8, 8, 1))
    x = keras.ops.convert_to_numpy(keras.random.uniform((300, 8, 8, 1), seed=0))
    measure(model, x, [0] * 300)
    assert heard.tasks == [["evaluating", 2, 2]]


def test_what_fails_ends_its_task(heard):
    with pytest.raises(ZeroDivisionError):
        for number in progress.track([1, 0], "dividing"):
            1 // number
    with pytest.raises(ZeroDivisionError), progress.task("waiting"):
        raise ZeroDivisionError
    assert heard.tasks == [["dividing", 2, 1], ["waiting", None, 0]] and heard.open == 0


def test_a_scan_shows_one_bar_and_not_those_of_its_evaluations(heard, capsys):
    model = smh.zoo.lenet_300_100((8, 8, 1))

    def evaluate(model):
        with progress.task("evaluating"):
            return 1.0

    smh.sensitivity_scan(model, evaluate, [0.5], higher_is_better=True, verbose=1)
    assert heard.tasks == []


def test_bars_are_shown_on_a_terminal_and_taken_away(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with progress.shown(terminal):
        with progress.task("outer"):
            for _ in progress.track(range(3), "[inner] work"):
                pass
        with progress.task("later"):
            pass
    text = terminal.getvalue()
    assert all(word in text for word in ("outer", "[inner] work", "later"))
    # Older versions of rich leave an empty line.
    assert re.search(r"\x1b\[2K\n?\x1b\[\?25h\s*$", text), "a bar, or no cursor, is left"
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") == 2


def test_how_long_it_will_take_is_told_by_what_is_done():
    assert [clock(s) for s in (0, 65.4, 3723)] == ["0:00", "1:05", "1:02:03"]
    assert time_left(30, 1, 4) == "1:30 left"
    assert {
        time_left(30, 0, 4),
        time_left(30, 4, 4),
        time_left(30, 5, 4),
        time_left(3, 1, None),
    } == {""}
    assert [count(3, 10), count(3, None), count(11, 10)] == ["3/10", "3", "11"]


def test_a_notebook_shows_html_that_goes_away(monkeypatch):
    shown, places = [], []

    class Handle:
        def update(self, data, raw):
            shown.append(data)

    def display(data, raw, display_id):
        places.append(display_id)
        shown.append(data)
        return Handle()

    monkeypatch.setattr(notebook, "_PAUSE", 0)
    with progress.listening(notebook.notebook_bars(display)):
        for _ in progress.track(range(2), "<outer> work"):
            with pytest.raises(ZeroDivisionError), progress.task("waiting") as advance:
                advance(3)
                raise ZeroDivisionError
    pages = [one["text/html"] for one in shown]
    assert len(places) == 1, "each task has a place of its own in the cell"
    assert pages[0].startswith('<div>&lt;outer&gt; work <progress value="0" max="2">')
    assert "</div><div>waiting <progress></progress> 3, 0:00</div>" in pages[2]
    assert "1/2" in pages[4] and "left" in pages[4] and "2/2" in pages[8] and not pages[9]
    assert len(pages) == 10
    assert notebook.in_notebook() is None


def test_elsewhere_nothing_is_shown():
    file = io.StringIO()
    with progress.shown(file), progress.task("waiting") as advance:
        advance(3)
    assert file.getvalue() == ""
