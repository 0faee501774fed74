"""Standings: an arm over the best sampler without a correction, target by target, in one number and its range."""

import math

import pandas as pd
import pytest

from image_exps.sweeps.standings import baselines_of, standing, standings_table


def row(target, arm, value, evaluations=5, **others):
    place, _, correction = arm.partition("/")
    base, _, spacing = place.partition("@")
    return {
        "target": target, "model": "exact", "distance": "endpoint-rmse", "arm": arm, "base": base,
        "spacing": spacing or "log-snr",
        "correction": correction or "none", "evaluations": evaluations, "value": value, "higher_is_better": False,
    } | others  # fmt: skip


ROWS = [
    row("digits", "ddim", 4.0),
    row("digits", "unipc-3", 2.0),
    row("digits", "ddim/lml", 1.0),
    row("digits", "ddim@tuned", 0.5),
    row("ring", "ddim", 3.0),
    row("ring", "unipc-3", 6.0),
    row("ring", "ddim/lml", 24.0),
    row("ring", "ddim@tuned", 3.0),
]


def at(rows, arm, evaluations=5):
    return standing(pd.DataFrame(rows), arm, evaluations, distance="endpoint-rmse")


def test_an_arm_is_divided_by_the_best_baseline_of_each_target():
    found = at(ROWS, "ddim/lml")  # 1/2 on digits, where UniPC is best, and 24/3 on ring, where DDIM is
    assert (found.least, found.largest, found.targets) == (0.5, 8.0, 2)
    assert found.mean == pytest.approx(2.0, rel=1e-15)  # the geometric mean
    assert str(found) == "2.00 (0.50 to 8.00)"


def test_neither_a_corrected_arm_nor_one_with_levels_of_its_own_is_a_baseline():
    better = [{**r, "value": 1e-3} if r["arm"] in ("ddim/lml", "ddim@tuned") else r for r in ROWS]
    assert at(better, "unipc-3") == at(ROWS, "unipc-3")
    assert at(ROWS, "unipc-3").least == 1.0


def test_the_baselines_are_the_same_on_every_target_as_far_as_a_sweep_has_come():
    assert at([*ROWS, row("digits", "pndm", 1e-3)], "unipc-3") == at(ROWS, "unipc-3")
    everywhere = [*ROWS, row("digits", "pndm", 1e-3), row("ring", "pndm", math.nan)]  # it broke there
    assert at(everywhere, "unipc-3").largest == pytest.approx(2000)


@pytest.mark.parametrize("name", ["unipc-3@time", "unipc-3@karras", "ipndm-4", "ipndm-4@karras"])
def test_a_baseline_counts_at_every_spacing_that_was_not_learned(name):
    assert at([*ROWS, row("digits", name, 0.25), row("ring", name, 3.0)], "ddim/lml").least == 4.0


def test_the_text_says_which_baselines_the_results_have_and_which_they_lack():
    text = baselines_of(pd.DataFrame([*ROWS, row("digits", "ipndm-4@karras", 1.0)]), distance="endpoint-rmse")
    assert text.startswith("Baselines: `ddim` at time; `ipndm-4` at karras; `unipc-3` at log-snr. Not measured: ")
    assert "`ddim` at log-snr, karras" in text.partition("Not measured")[2]


def test_there_is_none_unless_every_target_has_a_figure():
    assert at(ROWS, "pndm") is None
    assert at(ROWS, "ddim", 10) is None
    assert at([*ROWS, row("digits", "pndm", 1.0)], "pndm") is None
    assert at([*ROWS, row("third", "ddim", 1.0, 10)], "ddim") is None  # a target that lacks these evaluations
    assert at([r if r["arm"] != "ddim/lml" else {**r, "value": math.nan} for r in ROWS], "ddim/lml") is None


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_there_is_none_where_a_figure_is_not_above_zero(value):
    """An estimate without bias can be: that of the energy distance, of samples that are as good as exact ones."""
    arm = [{**r, "value": value} if r["arm"] == "ddim/lml" and r["target"] == "ring" else r for r in ROWS]
    assert at(arm, "ddim/lml") is None
    assert at(arm, "unipc-3") == at(ROWS, "unipc-3")
    best = [{**r, "value": value} if r["arm"] == "unipc-3" and r["target"] == "digits" else r for r in ROWS]
    assert at(best, "ddim/lml") is None


def test_the_table_has_the_best_mean_bold_and_leaves_out_what_has_no_entry():
    rows = pd.DataFrame([*ROWS, row("digits", "pndm", 9.0), row("digits", "ddim", 1.0, 10)])
    assert standings_table(rows, distance="endpoint-rmse").splitlines() == [
        "| evaluations | 5 |",
        "| --- | ---: |",
        "| ddim | 1.41 (1.00 to 2.00) |",
        "| unipc-3 | 1.41 (1.00 to 2.00) |",
        "| ddim/lml | 2.00 (0.50 to 8.00) |",
        "| ddim@tuned | **0.50 (0.25 to 1.00)** |",
    ]
    chosen = standings_table(rows, distance="endpoint-rmse", arms=["unipc-3", "pndm"], evaluations=[5, 10])
    assert chosen.splitlines()[2:] == ["| unipc-3 | **1.41 (1.00 to 2.00)** |  |", "| pndm |  |  |"]


def test_a_distance_of_which_the_largest_is_the_best_is_refused():
    rows = pd.DataFrame([*ROWS, row("digits", "ddim", 1.0, distance="recall", higher_is_better=True)])
    with pytest.raises(ValueError, match="distance must be one of endpoint-rmse with model 'exact', got 'recall'"):
        standings_table(rows, distance="recall")
