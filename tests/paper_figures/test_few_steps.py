"""The figure of solvers in few steps: its numbers are those of the rows, and what was not measured is left out."""

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

from image_exps.search.few_steps_plan import BESIDE, CHOSEN, FOR_SCHEDULE, Cell, arms_of, file_of
from paper_figures import few_steps
from paper_figures.layout import finish
from paper_figures.style import style
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.plotting import on_a_phone

GALAXIES = Cell("galaxy-hsc-32", "constant", 8, 3)
CLOTHES = Cell("fashion-mnist", "linear", 5, 3)
RING = Cell("ring-2d", "flow", 8, 3)


def write(folder, cell, errors):
    """Write the rows of a cell: its errors by arm, those of baselines beside."""
    key = dict(zip(("problem", "schedule", "evaluations"), cell.key, strict=True))
    for part in ("published", "for_schedule", "calibrate"):
        kind, arms = ("baseline", ("a", "b")) if part == "published" else ("ours", arms_of(cell, part))
        rows = [
            {**key, "kind": kind, "arm": arm, "errors": np.array(errors[arm], dtype=np.float32), "detail": ""}
            for arm in arms
            if arm in errors
        ]
        if rows:
            path = file_of(folder, cell, part)
            path.parent.mkdir(parents=True, exist_ok=True)
            pd.DataFrame(rows).to_parquet(path)


@pytest.fixture
def folder(tmp_path):
    base = {"a": [1.0, 2.0, 3.0], "b": [4.0, 4.0, 4.0]}
    write(tmp_path, GALAXIES, {**base, BESIDE: [0.5, 1.0, 1.5], CHOSEN[BESIDE]: base["a"]})
    write(tmp_path, CLOTHES, {**base, BESIDE: [2.0, 4.0, 6.0], CHOSEN[BESIDE]: base["b"]})
    write(tmp_path, RING, {**base, BESIDE: [0.25, 0.5, 0.75], CHOSEN[BESIDE]: base["a"], FOR_SCHEDULE: base["b"]})
    return tmp_path


def ratio_of(data, cell, arm):
    chosen = (data["problem"] == cell.problem) & (data["evaluations"] == cell.evaluations) & (data["arm"] == arm)
    return data["ratio"][chosen]


def test_ratios_are_to_the_oracle_and_to_the_chosen_baseline(folder):
    data = few_steps.compute(Settings(), folder=folder)
    # Every sample has the same ratio to the oracle's: the interval is that value.
    assert ratio_of(data, GALAXIES, BESIDE) == pytest.approx(np.full((1, 3), 0.5))
    assert ratio_of(data, CLOTHES, BESIDE) == pytest.approx(np.full((1, 3), 2.0))
    assert ratio_of(data, CLOTHES, "paired")[0, 0] == pytest.approx(1.0)
    assert ratio_of(data, RING, "paired") == pytest.approx(np.full((1, 3), 0.25))
    assert len(ratio_of(data, GALAXIES, FOR_SCHEDULE)) == 0
    assert data["baselines"] == 2


def test_texts_count_the_cells(folder):
    write(folder, CLOTHES, {BESIDE: [2.0, 4.0, 6.0], CHOSEN[BESIDE]: [1.0, 2.0, 3.0]})
    facts = few_steps.facts(few_steps.compute(Settings(), folder=folder))
    assert (facts["networks_beat"], facts["networks_oracle"]) == ("1 of 2", "1 of 2")
    assert (facts["targets_beat"], facts["targets_oracle"]) == ("1 of 1", "1 of 1")
    assert (facts["networks_sure"], facts["targets_sure"]) == ("1 and 1", "1 and 0")
    assert facts["worse"] == "fashion-mnist (linear) in 5: 2.00"
    assert "calibrate 2.00 in 5 (1), 0.50 in 8 (1)" in facts["networks_means"]
    assert "calibrate 0.25 in 8 (1)" in facts["targets_means"]


def test_a_geometric_mean_is_drawn_of_the_targets(folder):
    write(folder, RING._replace(schedule="linear"), {"a": [1.0] * 3, BESIDE: [4.0] * 3})
    with style():
        drawn = few_steps.draw(few_steps.compute(Settings(), folder=folder))
    assert [text.get_text() for text in drawn.axes[-1].texts] == ["1.00"]  # of a quarter and four


@pytest.mark.parametrize("layout", [nullcontext, on_a_phone])
def test_what_was_not_measured_has_no_column_or_says_so(folder, layout):
    def panels():
        with style(), layout():
            drawn = few_steps.draw(few_steps.compute(Settings(), folder=folder))
            finish(drawn)
        return [(axis.get_ylabel(), [text.get_text() for text in axis.texts]) for axis in drawn.axes]

    found = panels()
    assert len(found) == 6
    assert found[0][1] == ["not measured"]  # for_schedule on networks
    file_of(folder, RING, "for_schedule").unlink()
    assert len(panels()) == 4
    file_of(folder, RING, "calibrate").unlink()
    found = panels()
    assert len(found) == 2
    assert found[0][0] == "networks, over the oracle"


def test_without_a_solver_there_is_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(few_steps, "RESULTS", tmp_path)
    write(tmp_path, GALAXIES, {"a": [1.0, 2.0, 3.0]})
    assert "few_steps" in few_steps.missing()
    with pytest.raises(ValueError, match="folder must have rows of a solver"):
        few_steps.compute(Settings(), folder=tmp_path)
    write(tmp_path, GALAXIES, {BESIDE: [1.0, 2.0, 3.0]})
    assert few_steps.missing() == ""
    assert len(few_steps._inputs()) == 2
