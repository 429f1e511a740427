"""Tables fit their terminal; paths fold behind slashes, and lose nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import smh
from smh.tables import as_text, fold, new_table

LONG = "transformer_encoder_block_with_a_long_name_0/attention_projection_output"


@given(st.text("ab_/ ", max_size=60), st.integers(1, 30))
def test_a_folded_path_fits_and_is_whole(path, most):
    lines = fold(path, most)
    assert all(len(line) <= most for line in lines)
    assert "".join(lines).replace(" ", "") == path.replace(" ", "")


def test_a_path_folds_behind_its_slashes():
    assert fold("block/attention/kernel", 40) == ["block/attention/kernel"]
    assert fold("block/attention/kernel", 17) == ["block/attention/", "kernel"]
    assert fold("a_name_that_is_long/b", 10) == ["a_name_tha", "t_is_long/", "b"]


def large_report():
    """Every column, with names and numbers as long as they get."""
    row = smh.report(smh.zoo.lenet_300_100((8, 8, 1))).rows[0]
    rows = [
        smh.sizes.size_report.Row(
            f"{LONG}_{i}/kernel",
            (3, 3, 2048, 2048),
            row.dtype,
            "16 shared values, 90.0% zero",
            37_748_736,
            3_774_873,
            16,
            37_748_800,
            4,
            6_606_092,
            "shared",
        )
        for i in range(3)
    ]
    return smh.SizeReport("large", tuple(rows))


@pytest.mark.parametrize("columns", [80, 120])
def test_what_is_printed_fits(columns, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", str(columns))
    model = smh.compress(smh.zoo.lenet_300_100((8, 8, 1)), 0.3)
    smh.save(model, tmp_path / "m.smh", bits=4)
    scan = smh.sensitivity_scan(
        model, lambda m: 0.5, [i / 20 for i in range(1, 20)], higher_is_better=True, verbose=0
    )
    for printed in (large_report(), smh.report(model), smh.inspect(tmp_path / "m.smh"), scan):
        lines = str(printed).splitlines()
        assert max(map(len, lines)) <= columns
        assert not any(line.endswith(" ") for line in lines)
        assert "…" not in str(printed).replace(str(tmp_path), "")


def test_long_names_fold_at_their_slashes_and_numbers_never():
    text = str(large_report())
    assert "37,748,800" in text and "6,606,092" in text
    assert "attention_projection" in "".join(line.split(" ")[0] for line in text.splitlines())


def test_names_that_fit_are_never_cut():
    model = smh.quantize_factors(smh.compress(smh.zoo.lenet_5(), 0.1, seed=0), bits=4)
    lines = str(smh.report(model)).splitlines()
    assert max(map(len, lines)) <= 80
    names = [line.split("  ")[0] for line in lines[3 : lines.index("")]]
    cut = [a + b for a, b in zip(names, names[1:], strict=False) if a.endswith("/")]
    assert "ProductVariablePool/variable_left" in cut
    paths = {row.path for row in smh.report(model).rows}
    whole = {name for name in names if not name.endswith("/") and name.count("/") == 2}
    assert set(cut) <= paths and whole <= paths


def test_sections_are_ruled_off():
    table = new_table("title")
    table.add_column("name")
    table.add_row("a")
    table.add_section()
    table.add_row("total")
    assert as_text(table).splitlines()[0] == "title"
    assert as_text(table).splitlines()[-1] == "total"
