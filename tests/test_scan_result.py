"""What is made of a scan: table, CSV file, picture, and a suggestion."""

import csv
import dataclasses
import itertools

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib import image
from matplotlib.text import Text

import smh
from smh.errors import ArgumentError
from smh.sensitivity import ScanResult, ScanRow, picture
from smh.sensitivity.suggestion import free, free_most, make_curve, predict

pytestmark = pytest.mark.backend_agnostic
LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
quick = settings(deadline=None, max_examples=80, derandomize=True)


@pytest.fixture(autouse=True)
def repeatable():
    """Takes the place of the fixture in conftest.py: only the slow test makes a model."""


def scan(count=3, levels=LEVELS, kind="sparsity", keep=None, loss=lambda i, level: level * i / 100):
    """A made-up scan of weights of 1000 numbers and more, that lose `loss` of their accuracy."""
    rows = [
        ScanRow(
            f"network/stage{i // 9}_block{i % 9}_convolution/kernel",
            level,
            1000 * (i + 1),
            32,
            {"loss": 0.1 + loss(i, level), "accuracy": 0.9 - loss(i, level)},
        )
        for i in range(count)
        for level in levels
    ]
    return ScanResult(
        "network",
        kind,
        "accuracy",
        True,
        {"loss": 0.1, "accuracy": 0.9},
        tuple(rows[:keep]),
        len(rows),
    )


# Table, file, picture


@pytest.mark.parametrize("count", [1, 50])
@pytest.mark.parametrize("levels", [LEVELS, tuple(np.arange(1, 20) / 20)], ids=["5", "19"])
def test_the_table_fits_80_columns(count, levels, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    text = str(scan(count, levels))
    lines = text.splitlines()
    assert max(map(len, lines)) <= 80
    assert "accuracy 90.00% unchanged" in lines[0] and "accuracy (%) with" in text
    assert len(lines) == count + 3  # no path is folded
    assert f"{levels[0]:g}" in lines[1] and f"{levels[-1]:g}" in lines[1]
    assert lines[-2].endswith(f" {90 - levels[-1] * (count - 1):.1f}")
    assert ("of 19 levels" in text) == (len(levels) == 19)


def test_the_csv_holds_all_and_replaces_whole(tmp_path, monkeypatch):
    result, path = scan(2, keep=7), tmp_path / "scan.csv"
    result.to_csv(path)
    with path.open() as file:
        first, *rows = csv.DictReader(file)
    assert first == {
        "weight": "(unchanged)",
        "numel": "3000",
        "sparsity": "0.0",
        "loss": "0.1",
        "accuracy": "0.9",
        "drop": "0.0",
    }
    assert len(rows) == 7
    for row, expected in zip(rows, result.rows, strict=True):
        assert (row["weight"], float(row["sparsity"])) == (expected.path, expected.level)
        assert float(row["accuracy"]) == expected.metrics["accuracy"]
        assert float(row["drop"]) == result.drop(expected)
        assert row["drop"] != "-0.0"
    monkeypatch.setattr(ScanResult, "drop", lambda self, row: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        scan(1).to_csv(path)
    assert len(path.read_text().splitlines()) == 9 and len(list(tmp_path.iterdir())) == 1


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn during a test."""
    drawn = []
    make = picture.new_figure
    monkeypatch.setattr(picture, "new_figure", lambda: drawn.append(make()) or drawn[-1])
    return drawn


def overlaps(boxes):
    return [(a, b) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)]


@pytest.mark.parametrize("count", [1, 3, 8, 12, 50])
def test_one_curve_per_weight_and_names_that_can_be_read(count, tmp_path, figures):
    # All end at the same height, where names would lie on each other.
    scan(count, loss=lambda i, level: min(level * (i + 1), 0.8)).to_png(tmp_path / "a.png")
    assert image.imread(tmp_path / "a.png").ndim == 3
    figures[0].set_dpi(150)
    figures[0].canvas.draw()
    axes, *others = figures[0].axes
    curves = [line for line in axes.lines if len(line.get_xdata()) == 1 + len(LEVELS)]
    assert len(curves) == count
    named = [text for text in axes.texts if text.get_text()]
    assert len(named) == (count if count <= 8 else 6)
    boxes = [Text.get_window_extent(text) for text in named]  # without their leaders
    assert not overlaps(boxes)
    assert all(figures[0].bbox.x1 >= box.x1 and box.y0 >= 0 for box in boxes)
    markers = {
        (line.get_marker(), line.get_linestyle()) for line in curves if line.get_zorder() == 3
    }
    assert len(markers) == len(named)  # apart in grey
    if count > 8:
        rows = [label for label in others[0].get_yticklabels() if label.get_text()]
        assert len(rows) == count and not overlaps([r.get_window_extent() for r in rows])
        (drawn,) = others[0].images
        points = [30, 80, 80, 80, 80]
        np.testing.assert_allclose(drawn.get_array()[2], points, atol=11)


def test_what_is_missing_or_not_finite_is_shown_as_that(tmp_path, figures):
    result = scan(
        10, keep=48, loss=lambda i, level: float("nan") if i == 4 and level > 0.6 else 0.1
    )
    result.to_png(tmp_path / "a.png")
    axes, below = figures[0].axes[:2]
    assert [text.get_text() for text in below.texts] == ["not finite"] * 2
    cells = np.ma.getmaskarray(below.images[0].get_array())
    assert cells.sum() == 2 and cells[9, 3:].all()
    assert any("block4_" in text.get_text() for text in axes.texts)  # among the worst
    with pytest.raises(ArgumentError, match="no weight was measured"):
        scan(1, keep=0).to_png(tmp_path / "b.png")


@pytest.mark.parametrize(
    "kind, axis, label",
    [
        ("accuracy", "accuracy (%, higher is better)", "drop of accuracy (points)"),
        ("loss", "loss (lower is better)", "rise of loss"),
    ],
)
def test_shares_are_drawn_in_percent(kind, axis, label, tmp_path, figures):
    result = dataclasses.replace(scan(12), metric=kind, higher_is_better=kind == "accuracy")
    result.to_png(tmp_path / "a.png")
    labels = [one.get_ylabel() for one in figures[0].axes]
    assert axis in labels and label in labels
    unit = 100 if kind == "accuracy" else 1
    assert figures[0].axes[0].lines[0].get_ydata()[0] == unit * result.baseline[kind]


def test_the_ending_of_a_picture_is_one_that_can_be_written(tmp_path):
    for name in ("a.svg", "a.PNG", "a"):
        scan(2).to_png(tmp_path / name)
    with pytest.raises(ArgumentError, match=r"one of .*\.png.* got '.*x\.foo'"):
        scan(2).to_png(tmp_path / "x.foo")
    assert {path.name for path in tmp_path.iterdir()} == {"a.svg", "a.PNG", "a"}


def test_bits_are_drawn_from_many_to_few(tmp_path, figures):
    scan(2, (8, 4, 2), "bits").to_png(tmp_path / "a.png", title="a title")
    (axes,) = figures[0].axes
    assert [label.get_text() for label in axes.get_xticklabels()] == ["full", "8", "4", "2"]
    assert axes.get_title(loc="left") == "a title" and "bits" in axes.get_xlabel()


# Suggestions


curves = st.lists(
    st.lists(st.floats(-0.1, 1), min_size=1, max_size=4).map(
        lambda drops: make_curve(range(10, 10 * len(drops) + 10, 10), drops)
    ),
    min_size=1,
    max_size=4,
)


def choices(curves):
    """Every combination of measured points: what each frees, and what all lose."""
    for points in itertools.product(*(range(len(curve.freed)) for curve in curves)):
        freed = [float(c.freed[p]) for c, p in zip(curves, points, strict=True)]
        yield freed, float(sum(c.drop[p] for c, p in zip(curves, points, strict=True)))


@quick
@given(curves=curves, share=st.floats(0, 1))
def test_a_target_is_reached_and_hulls_bound_the_best_choice(curves, share):
    target = share * sum(c.freed[-1] for c in curves)
    freed = free(curves, target, measured_only=False)
    assert sum(freed) == pytest.approx(target, abs=1e-6)
    assert all(0 <= f <= c.freed[-1] + 1e-9 for f, c in zip(freed, curves, strict=True))
    whole = free(curves, target, measured_only=True)
    assert sum(whole) >= target - 1e-6
    assert all(f in c.freed for f, c in zip(whole, curves, strict=True))
    # As good as the best of all choices that free a little more.
    more = target * (1 + len(curves) / 4096)
    enough = [loss for f, loss in choices(curves) if sum(f) >= more]
    assert not enough or predict(curves, whole) <= min(enough) + 1e-9


@quick
@given(curves=curves, max_drop=st.floats(0, 2), measured_only=st.booleans())
def test_a_drop_is_never_exceeded_and_more_allows_more(curves, max_drop, measured_only):
    freed = free_most(curves, max_drop, measured_only)
    assert predict(curves, freed) <= max_drop + 1e-9
    assert sum(free_most(curves, max_drop + 0.5, measured_only)) >= sum(freed) - 1e-6
    if measured_only:
        assert all(f in c.freed for f, c in zip(freed, curves, strict=True))
        most = max(sum(f) for f, loss in choices(curves) if loss <= max_drop)
        assert sum(freed) >= most - max(np.diff(c.freed).max() * len(c.freed) for c in curves)


def test_convex_curves_give_the_optimum_of_linear_programming():
    optimize = pytest.importorskip("scipy.optimize")
    rng = np.random.default_rng(0)
    for _ in range(20):
        steps = [np.sort(rng.uniform(0, 1, 4)) for _ in range(3)]
        curves = [make_curve([1, 2, 3, 4], np.cumsum(s)) for s in steps]
        target = rng.uniform(1, 11)
        best = optimize.linprog(
            np.concatenate(steps), A_eq=np.ones((1, 12)), b_eq=[target], bounds=(0, 1)
        )
        assert predict(curves, free(curves, target, False)) == pytest.approx(best.fun)
        most = free_most(curves, best.fun, False)
        assert sum(most) == pytest.approx(target)


def test_noise_is_averaged_and_what_is_not_finite_ends_a_curve():
    curve = make_curve([1, 2, 3, 4], [0.0, 0.4, 0.2, 0.5])
    np.testing.assert_allclose(curve.drop, [0, 0, 0.3, 0.3, 0.5])
    np.testing.assert_array_equal(make_curve([1, 2], [-0.2, -0.1]).drop, [0, 0, 0])
    np.testing.assert_array_equal(make_curve([1, 2, 3], [0, np.nan, 0]).freed, [0, 1])


def test_the_weights_that_lose_least_go_furthest():
    result = scan(3, loss=lambda i, level: level**2 * [0.5, 0.02, 0.1][i])
    pairs = dict(result.suggest(budget=0.6))
    first, second, third = (pairs.get(path, 0) for path in result.paths)
    assert second == 0.9 > third > first
    total = (1000 * first + 2000 * second + 3000 * third) / 6000
    assert 0.6 <= total <= 0.6 + 1e-4
    assert result.predicted_drop(list(pairs.items())) < result.predicted_drop(
        [(path, 0.6) for path in result.paths]
    )
    kept = dict(result.suggest(budget=2400))
    assert sum(1000 * (i + 1) * (1 - kept.get(p, 0)) for i, p in enumerate(result.paths)) == (
        pytest.approx(2400, abs=1)
    )
    for max_drop in (0.001, 0.01, 0.1, 1):
        assert result.predicted_drop(result.suggest(max_drop=max_drop)) <= max_drop
    assert dict(result.suggest(max_drop=1)) == dict.fromkeys(result.paths, 0.9)
    assert result.suggest(budget=0) == []


def test_bits_count_the_codebooks():
    result = scan(3, (8, 4, 2), "bits", loss=lambda i, level: [0.01, 0.002, 0.1][i] * (8 - level))
    chosen = dict(result.suggest(budget=6))
    numbers = {path: 1000 * (i + 1) for i, path in enumerate(result.paths)}
    stored = sum(
        n * chosen[p] + 32 * 2 ** chosen[p] if p in chosen else 32 * n for p, n in numbers.items()
    )
    assert stored / 6000 <= 6 and set(chosen.values()) <= {2, 4, 8}
    assert chosen[result.paths[1]] == 2  # it hardly loses
    # 8 bits and their codebook take more than 16 bits a number of this weight.
    small = ScanResult(
        "m",
        "bits",
        "accuracy",
        True,
        {"accuracy": 0.9},
        (ScanRow("w", 8, 300, 16, {"accuracy": 0.9}),),
        1,
    )
    assert small.suggest(max_drop=1) == []


@pytest.mark.parametrize(
    "kind, arguments, message",
    [
        ("sparsity", {}, "exactly one of budget and max_drop"),
        ("sparsity", {"budget": 0.5, "max_drop": 1}, "exactly one of budget and max_drop"),
        ("sparsity", {"budget": -1}, "a sparsity below 1 or a whole number .* got -1"),
        ("sparsity", {"budget": 1.5}, "got 1.5"),
        ("sparsity", {"budget": float("nan")}, "got nan"),
        ("sparsity", {"budget": "0.5"}, "got '0.5'"),
        ("sparsity", {"max_drop": -0.1}, "at least 0, got -0.1"),
        ("sparsity", {"budget": 0.95}, r"out of reach: .* a sparsity of 0.9 \(600 numbers kept\)"),
        ("sparsity", {"budget": 599}, "budget=599 is out of reach"),
        ("bits", {"budget": 0}, "bits per number, above 0, got 0"),
        ("bits", {"budget": 1}, "out of reach: .* it is 2.07 bits on average"),
    ],
)
def test_a_budget_that_cannot_be_kept(kind, arguments, message):
    result = scan(3, (8, 4, 2) if kind == "bits" else LEVELS, kind)
    with pytest.raises(ArgumentError, match=message):
        result.suggest(**arguments)


def test_only_what_was_scanned_is_predicted():
    with pytest.raises(ArgumentError, match="Not scanned: 'other'"):
        scan().predicted_drop([("other", 0.5)])


@pytest.mark.slow
def test_a_suggestion_beats_the_same_sparsity_everywhere():
    """LeNet-5 on the digits: what a user does with a scan, by hand."""
    from smh.datasets import digits
    from smh.zoo import lenet_5

    keras.utils.set_random_seed(0)
    data, model = digits(), lenet_5()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(data.x_train, data.y_train, batch_size=64, epochs=8, verbose=0)
    valid = data.x_train[:500], data.y_train[:500]
    result = smh.sensitivity_scan(model, valid, verbose=0)
    trained = model.get_weights()

    def accuracy_at(pairs):
        for variable, value in zip(model.weights, trained, strict=True):
            level = dict(pairs).get(variable.path, 0)
            floor = np.quantile(np.abs(value), level)
            variable.assign(np.where(np.abs(value) < floor, 0, value))
        return model.evaluate(data.x_test, data.y_test, verbose=0, return_dict=True)["accuracy"]

    unpruned = accuracy_at([])
    assert unpruned > 0.9
    suggested = accuracy_at(result.suggest(budget=0.85))
    assert suggested > unpruned - 0.03
    assert suggested > accuracy_at([(path, 0.85) for path in result.paths]) + 0.03
