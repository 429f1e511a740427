"""The page of a model's sizes: what is on it, what names may hold, what a browser makes of it."""

import csv
import json
from html.parser import HTMLParser

import numpy as np
import pytest
from browser import open_page, picture

import smh
from smh import cli
from smh.errors import ArgumentError, ArtifactError
from smh.report_page import write_page
from smh.report_page.charts import ticks
from smh.report_page.curves import training_section
from smh.report_page.scan_files import read_scan
from smh.sizes.rows import PoolMap, Row, SizeReport

HOSTILE = "<script>document.title='ran'</script>\"'><img src=x onerror=alert(1)>&amp;"


class Elements(HTMLParser):
    """The elements of a page; fails where tags do not match."""

    EMPTY = {"meta", "wbr"}

    def __init__(self, page):
        super().__init__()
        self.found, self.open, self.text = [], [], {}
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        tag = self.open[-1] if self.open else None
        self.text[tag] = self.text.get(tag, "") + data

    def count(self, tag, **attributes):
        return sum(
            name == tag and attributes.items() <= known.items() for name, known in self.found
        )

    def with_class(self, name):
        return [tag for tag, known in self.found if name in known.get("class", "").split()]


def page_of(tmp_path, sizes, source=None):
    write_page(tmp_path / "page.html", sizes, source)
    return Elements((tmp_path / "page.html").read_text())


def many_layers(count=120):
    """A report of as many layers as large networks have, some of which are stored in each way."""
    rows = [Row(f"net/{HOSTILE}/kernel", (2, 3), "float32", HOSTILE, 6, 6, 6, 24, 32, 24)]
    kinds = ("pool", "dense", "pruned", "shared", "rounded", "computed")
    begin, slots = 0, []
    for i in range(count - 1):
        size, kind, path = 100 * (i * 37 % 101 + 1), kinds[i % 6], f"net/block_{i}/conv/kernel"
        kept = size // 2 if kind in ("pruned", "shared") else size
        trained = 1 if kind == "pool" else kept
        rows.append(
            Row(path, (size,), "float32", kind, size, kept, trained, 4 * trained, 32, 77, kind)
        )
        if kind == "pool":
            slots.append((path, ((begin, begin + size),)))
            begin += size
    rows.append(Row("Pool/left", (50, 9), "float32", "factor", 0, 450, 450, 1800, 4, 230, "factor"))
    side = int(np.ceil(begin**0.5))
    pool = PoolMap("Pool", side * side, side, ((side, 9), (9, side)), tuple(slots))
    return SizeReport(f"a network {HOSTILE}", tuple(rows), (pool,))


def test_shows_every_layer_and_weight_of_a_model(tmp_path):
    model = smh.compress(smh.zoo.lenet_5(), 0.1, seed=0)
    sizes = smh.report(model)
    page = page_of(tmp_path, sizes)
    assert page.count("tr") == 1 + 4 + 1 + 1  # heading, layers, pool, total
    assert page.text["h1"] == model.name and "4 layers, 1 pool" in page.text["h2"]
    for number in (sizes.trained_params, sizes.original_params, sizes.bytes):
        assert f"{number:,}" in page.text["dd"] + page.text["td"]
    assert len(page.with_class("slot")) == 4
    assert set(page.with_class("is-pool")) == {"rect"} and len(page.with_class("is-pool")) == 5
    shown = "".join(page.text[tag] for tag in ("th", "span"))
    for row in sizes.rows:
        assert all(part in shown for part in row.path.split("/"))


@pytest.mark.parametrize("kind", ["cyclic hash pool", "combined", "kronecker", "pruned", "dense"])
def test_shows_whatever_a_model_is_made_of(tmp_path, kind):
    model = smh.zoo.lenet_300_100((8, 8, 1))
    if kind == "cyclic hash pool":
        store = smh.IndexStoreType.cyclic
        pool = smh.HashVariablePool(True, pool_size=9000, fraction=0.1, index_store_type=store)
        smh.compress(model, pool=pool)
    elif kind == "combined":
        smh.compress(model, pool=smh.MetaVariablePool(True, pool_size=6e4, fraction=0.1))
    elif kind == "kronecker":
        options = {"pool_size": 6e4, "fraction": 0.1, "use_kronecker_product": True}
        smh.compress(model, pool=smh.ProductVariablePool(True, **options))
    elif kind == "pruned":
        smh.cluster(smh.prune(model, [(".*fc1", 0.9)]), [(".*fc2", 3)])
    page = page_of(tmp_path, smh.report(model))
    drawn = len(page.with_class("slot"))
    assert drawn >= 3 if kind in ("cyclic hash pool", "combined", "kronecker") else drawn == 0
    if kind == "pruned":
        legend = page.text["li"]
        assert all(word in legend for word in ("dense", "shared values", "pruned: zero"))


def test_what_names_hold_is_text(tmp_path):
    page = page_of(tmp_path, many_layers())
    assert page.count("script") == 1 and page.count("img") == 0
    assert not any(key.startswith("on") for _, known in page.found for key in known)
    assert HOSTILE in page.text["h1"]


def test_holds_nothing_from_elsewhere(tmp_path):
    page = page_of(tmp_path, many_layers())
    outside = {"src", "href", "action", "srcset", "data", "poster"}
    assert not any(outside & known.keys() for _, known in page.found)
    assert not any(name in page.text["style"] for name in ("@import", "//", "url(h"))
    (policy,) = (known["content"] for _, known in page.found if "http-equiv" in known)
    assert policy.startswith("default-src 'none';") and "unsafe" not in policy


def test_of_a_file_shows_its_bytes(tmp_path):
    file = tmp_path / "m.smh"
    smh.save(smh.compress(smh.zoo.lenet_300_100((8, 8, 1)), 0.2), file, bits=4)
    page = page_of(tmp_path, smh.report(smh.load(file)), file)
    found = smh.inspect(file)
    assert f"{found.bytes:,}" in page.text["dd"]
    assert all(part.name in page.text["th"] for part in found.parts)
    assert "m.smh, byte by byte" in page.text["h2"]


@pytest.fixture
def run_directory(tmp_path):
    """What `smh train` leaves, without the training."""
    run = tmp_path / "run"
    run.mkdir()
    model = smh.zoo.lenet_300_100((8, 8, 1))
    model.save(run / "model.keras")
    smh.save(model, run / "model.smh")
    (run / "config.json").write_text(json.dumps({"model": "lenet_300_100", "data": "digits"}))
    (run / "result.json").write_text(json.dumps({"test_accuracy": 0.875, "test_images": 540}))
    columns = "epoch,loss,accuracy,val_loss,val_accuracy,learning_rate\n"
    lines = [f"{e},{1 / e},{1 - 1 / e},nan,{1 - 1 / e},0.01\n" for e in range(1, 40)]
    (run / "metrics.csv").write_text(columns + "".join(lines))
    smh.report(model).to_csv(run / "report.csv")
    write_scan(run / "scan.csv", [f"layer_{i}" for i in range(12)], [0.3, 0.6, 0.9])
    return run


def write_scan(path, weights, levels, kind="sparsity"):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["weight", "numel", kind, "loss", "accuracy", "drop"])
        writer.writerow(["(unchanged)", 100, "", 0.25, 0.9, 0.0])
        for i, weight in enumerate(weights):
            for level in levels:
                drop = round(0.01 * i * level, 6)
                writer.writerow([weight, 10, level, "nan", 0.9 - drop, 0.9 - (0.9 - drop)])


def test_of_a_run_shows_curves_and_scans(tmp_path, run_directory, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report", "run", "--html", "page.html"]) == 0
    page = Elements((tmp_path / "page.html").read_text())
    charts = page.with_class("chart")
    assert len(charts) == 4  # loss, accuracy, rate, scan
    assert "87.50%" in page.text["dd"] and "model.keras" in page.text["dd"]
    assert "Scan of sparsity: scan.csv" in page.text["h2"]
    assert page.text["figcaption"].endswith("drop of accuracy (points)")
    assert len(page.with_class("faint")) == 6  # of 12 weights 6 have names
    assert len(page.with_class("drops")) == 1 and page.text["td"].count("10.80") == 0
    assert page.text["td"].count("9.90") == 1  # points: 100 * 0.01 * 11 * 0.9
    assert cli.main(["report", "run", "--html", "page.html"]) == 2
    assert "--force replaces it" in capsys.readouterr().err


RESULTS = {
    "test accuracy": ({"test_accuracy": 0.5, "test_loss": 2, "test_images": 9}, "50.00%"),
    "test sign accuracy": ({"test_loss": 2, "test_sign_accuracy": 1, "test_images": 9}, "100.00%"),
    "test loss": ({"test_loss": 0.25, "test_mae": 0.4, "test_images": 9}, "0.25"),
}


@pytest.mark.parametrize("name", RESULTS)
def test_of_a_run_shows_what_it_predicts_best(name, tmp_path, run_directory):
    result, shown = RESULTS[name]
    (run_directory / "result.json").write_text(json.dumps(result))
    write_page(tmp_path / "page.html", many_layers(3), run_directory)
    page = (tmp_path / "page.html").read_text()
    assert f"<dt>{name}</dt>" in page and shown in page


RATE = "learning_rate"
RUNS = {  # columns of metrics.csv: the charts, and the axis of the first
    "classes": (["loss", "accuracy", RATE], ["loss", "accuracy"], "loss (cross-entropy, nats)"),
    "numbers": (["loss", "mae", RATE], ["loss", "mae"], "loss (mean square error)"),
    "several": (
        ["c_accuracy", "c_loss", "loss", "r_loss", RATE],
        ["loss", "c accuracy", "c loss", "r loss"],
        "loss",
    ),
    "a loss alone": (["loss", RATE], ["loss"], "loss"),
}


@pytest.mark.parametrize("kind", RUNS)
def test_every_metric_of_a_run_has_a_chart_under_its_name(kind):
    columns, titles, axis = RUNS[kind]
    names = [*columns, *(f"val_{name}" for name in columns if name != RATE)]
    rows = [{"epoch": e, **dict.fromkeys(names, 1.0)} for e in (1, 2)]
    page = Elements(training_section(rows))
    assert page.text["figcaption"] == "".join([*titles, "learning rate"])
    labels = [known["aria-label"] for _, known in page.found if known.get("class") == "chart"]
    assert labels[0] == f"loss: {axis} by epoch"
    shares = [label for label in labels if "(%)" in label]
    assert len(shares) == sum("accuracy" in title for title in titles)
    assert "100.2" not in page.text["text"]  # no more than all are right


def test_a_loss_rises_and_one_bit_is_one(tmp_path, run_directory):
    lines = ["weight,numel,bits,loss,mae,drop", "(unchanged),9,,0.5,1.0,0.0", "a,9,1,0.75,2.0,0.25"]
    (run_directory / "bits.csv").write_text("\n".join(lines))
    write_page(tmp_path / "page.html", many_layers(3), run_directory)
    page = (tmp_path / "page.html").read_text()
    assert "rise of loss" in page and "1 bit<" in page and "1 bits" not in page
    assert "drop of loss" not in page and "540 examples" in page


def test_a_scan_is_told_from_other_tables(run_directory):
    assert read_scan(run_directory / "report.csv") is None
    scan = read_scan(run_directory / "scan.csv")
    assert (scan.kind, scan.shown.metric, scan.levels) == ("sparsity", "accuracy", (0.3, 0.6, 0.9))
    write_scan(run_directory / "bits.csv", ["a"], [2, 8, 4], "bits")
    assert read_scan(run_directory / "bits.csv").levels == (8, 4, 2)
    (run_directory / "scan.csv").write_text("weight,numel,bits,loss,drop\na,1,many,2,3\n")
    with pytest.raises(ArtifactError, match="scan.csv is damaged"):
        read_scan(run_directory / "scan.csv")


def test_is_written_whole_or_not_at_all(tmp_path, run_directory):
    page, sizes = tmp_path / "page.html", many_layers(5)
    page.write_text("old")
    (run_directory / "result.json").write_text("{}")
    with pytest.raises(ArtifactError, match="result.json is damaged"):
        write_page(page, sizes, run_directory)
    with pytest.raises(ArgumentError, match=r"must be what smh.report\(model\) returned, got str"):
        write_page(page, "sizes")
    with pytest.raises(OSError):
        write_page(tmp_path / "none" / "page.html", sizes)
    assert page.read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "run"}


def test_ticks_are_round_and_hold_all_values():
    for values in ([0.013, 0.97], [3.0, 3.0], [-5e-9, 2e-9], [0.0, 1e6], [-0.2, 0.81]):
        marks = ticks(values)
        assert marks[0] <= min(values) and marks[-1] >= max(values) and 2 <= len(marks) <= 8
        steps = np.diff(marks)
        np.testing.assert_allclose(steps, steps[0], rtol=1e-6)


# In a browser. The pages are of many layers and of names that try to get out of the text.


def rows_of(dom):
    """The layers' names in the order in which they stand."""
    table = dom[dom.index('id="layers"') : dom.index("<tfoot")]
    return [part.split('"')[0] for part in table.split('<th scope="row" data-value="')[1:]]


@pytest.fixture
def page(tmp_path):
    write_page(tmp_path / "page.html", many_layers())
    return tmp_path / "page.html"


@pytest.mark.browser
def test_a_browser_sorts_the_layers_and_has_nothing_to_complain_of(page, tmp_path):
    sizes = many_layers()
    plain = open_page(page, tmp_path / "a")
    by_size = open_page(page, tmp_path / "b", fragment="layers:dense numbers")
    assert plain.console == by_size.console == ()
    assert 'data-ready="yes"' in plain.dom and 'aria-sort="descending"' in by_size.dom
    names = rows_of(plain.dom)
    assert len(names) == len(sizes.rows) and names != rows_of(by_size.dom)
    wanted = sorted(sizes.rows, key=lambda row: -row.original)
    assert rows_of(by_size.dom)[:60] == [row.path.rpartition("/")[0] for row in wanted][:60]
    assert f"<title>{'a network &lt;script&gt;'}" in plain.dom  # and not 'ran'


@pytest.mark.browser
def test_a_browser_runs_no_other_script(page, tmp_path):
    text = page.read_text()
    page.write_text(text.replace("<footer>", "<script>document.title='ran'</script><footer>"))
    seen = open_page(page, tmp_path / "profile")
    assert "<title>ran" not in seen.dom and 'data-ready="yes"' in seen.dom
    assert any("Content Security Policy" in line for line in seen.console)


@pytest.mark.browser
def test_a_browser_shows_it_wide_narrow_and_dark(page, tmp_path):
    wide = picture(page, tmp_path / "a", 1200)
    narrow = picture(page, tmp_path / "b", 500)
    dark = picture(page, tmp_path / "c", 1200, "--blink-settings=preferredColorScheme=0")
    for image in (wide, narrow, dark):
        assert image.std() > 0.05, "nothing is drawn"
        assert (image[:, -6:] == image[0, 0]).all(), "something runs out of the window"
    assert wide.mean() > 0.8 > 0.3 > dark.mean()
    assert (narrow.shape[1], wide.shape[1]) == (500, 1200)
