"""The figures of the page on solvers: they are those of the rows, of the plan that was fixed, and computed rightly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.search.few_steps import CONTROLS, OURS, PLAN, SEEDS, Cell, measure, read
from image_exps.search.few_steps_report import BEGIN, END, PAGE, block, ratios, with_block


def test_the_page_has_the_figures_of_the_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert with_block(page, block(read())) == page


def test_the_rows_are_of_the_plan_and_whole():
    rows = read()
    cells = {(cell.problem, cell.evaluations): cell.samples for cell in PLAN}
    for key, part in rows.groupby(["problem", "evaluations"]):
        arms = set(part["arm"])
        assert arms == {*BASELINE_ARMS, *OURS, *CONTROLS}
        assert set(part.groupby("arm")["sample"].nunique()) == {cells[key]}
        assert np.isfinite(part["error"]).all()


def test_the_plan_has_no_network_that_is_kept_for_the_end():
    assert not any(name in cell.problem for cell in PLAN for name in ("quasar", "lsst", "roman"))
    assert len(set(SEEDS.values())) == 3


def made(ours, bases):
    rows = [
        {"problem": "p", "evaluations": 5, "kind": kind, "arm": arm, "sample": i, "error": error, "detail": ""}
        for kind, arms in (("baseline", bases), ("ours", dict.fromkeys(OURS, ours)),
                           ("control", dict.fromkeys(CONTROLS, ours)))
        for arm, errors in arms.items() for i, error in enumerate(errors)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_a_ratio_is_to_the_best_baseline_of_its_own_measure():
    found = ratios(made([1.0, 3.0], {"a": [1.0, 5.0], "b": [3.5, 3.5]}))["calibrate"]
    assert found.mean == pytest.approx(2 / 3)
    assert found.square == pytest.approx(np.sqrt(5 / 12.25))
    assert found.low <= found.mean <= found.high


def test_a_page_without_marks_is_refused():
    assert with_block(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\n\nnew\n\n{END} b"
    with pytest.raises(ValueError, match="the page must have the marks"):
        with_block("a", "new")


def test_a_cell_is_measured_with_all_arms(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_CACHE", str(tmp_path))
    rows = measure(Cell("ring-2d", 4, 6))
    assert set(rows["arm"]) == {*BASELINE_ARMS, *OURS, *CONTROLS}
    assert len(rows) == 6 * rows["arm"].nunique()
    # It is the same again: every draw has a seed.
    pd.testing.assert_frame_equal(measure(Cell("ring-2d", 4, 6)), rows)
