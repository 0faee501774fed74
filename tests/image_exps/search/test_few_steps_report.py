"""The figures of the page on solvers: they are those of the rows, and computed rightly."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from image_exps.search.few_steps_figures import doubled, frechets, on_networks, oracle, ratios, summary
from image_exps.search.few_steps_plan import (
    BASELINE,
    BESIDE,
    CHOSEN,
    CONTROLS,
    EXACT,
    LML_ARMS,
    OURS,
    PLAN,
    read,
    read_frechet,
)
from image_exps.search.few_steps_report import BEGIN, END, PAGE, block, with_block


def made(ours, bases, key=("galaxy-hsc-32", "constant", 5), *, kinds=("lml", "ours", "chosen", "control")):
    arms = {"lml": LML_ARMS, "ours": OURS, "chosen": tuple(CHOSEN.values()), "control": CONTROLS}
    rows = [("baseline", arm, errors) for arm, errors in bases.items()]
    rows += [(kind, arm, ours) for kind in kinds for arm in arms[kind]]
    frame = pd.DataFrame(
        {"kind": kind, "arm": arm, "errors": np.array(errors, dtype=np.float32), "detail": ""}
        for kind, arm, errors in rows
    )
    return frame.assign(problem=key[0], schedule=key[1], evaluations=key[2])


def test_the_page_has_the_figures_of_the_rows():
    page = PAGE.read_text(encoding="utf-8")
    assert with_block(page, block(read(), read_frechet())) == page, "run: python -m image_exps.search.few_steps_report"


def test_a_ratio_is_to_the_best_baseline_of_its_own_measure():
    part = made([1.0, 3.0], {"a": [1.0, 5.0], "b": [3.5, 3.5], "broken": [np.inf, 1.0]})
    found = ratios(part)["calibrate"]
    assert oracle(part) == ("a", 3.0)
    assert found.mean == pytest.approx(2 / 3)
    assert found.square == pytest.approx(np.sqrt(5 / 12.25))
    assert found.low <= found.mean <= found.high


def test_an_interval_covers_the_ratio_as_often_as_it_says():
    rng, covered = np.random.default_rng(1), 0
    for _ in range(200):
        errors = rng.exponential(size=(2, 100))
        found = ratios(made(0.8 * errors[0], {"a": errors[1]}))["calibrate"]
        covered += found.low <= 0.8 <= found.high
    # 200 intervals of 90 %: five standard deviations of a binomial count are 21, and a bootstrap lacks some percent.
    assert 155 <= covered <= 200


def test_a_solver_that_is_not_finite_is_infinitely_far():
    assert ratios(made([np.inf, 1.0], {"a": [1.0, 1.0]}))["calibrate"].mean == np.inf


def test_twice_the_evaluations_are_those_of_the_other_cell():
    rows = pd.concat([
        made([1.0, 1.0], {"a": [2.0, 2.0]}, ("galaxy-hsc-32", "constant", 5)),
        made([0.1, 0.1], {"a": [0.5, 0.5]}, ("galaxy-hsc-32", "constant", 10)),
        made([0.1, 0.1], {"a": [0.5, 0.5]}, ("galaxy-ztf-32", "constant", 5)),
    ])  # fmt: skip
    found = doubled(rows)
    assert [cell.key for cell in found] == [("galaxy-hsc-32", "constant", 5)]
    assert {ratio.mean for by_arm in found.values() for ratio in by_arm.values()} == {2.0}


def test_a_summary_is_geometric():
    found = summary(ratios(made([value], {"a": [1.0]}))["calibrate"] for value in (0.5, 2.0))
    assert found.mean == found.square == pytest.approx(1)
    assert found.largest == 2
    assert found.cells == 2


def test_one_method_for_all_networks_is_found_where_most_were_measured():
    rows = pd.concat([
        made([1.0], {"a": [1.0], "b": [2.0]}, ("galaxy-hsc-32", "constant", 5)),
        made([1.0], {"a": [4.0], "b": [1.0]}, ("galaxy-ztf-32", "constant", 5)),
        made([1.0], {"a": [1.0], "b": [9.0]}, ("galaxy-hsc-32", "constant", 8)),
        made([1.0], {"a": [1.0], "b": [9.0]}, ("ring-2d", "flow", 5)),
    ])  # fmt: skip
    found = on_networks(rows)
    assert list(found) == [5]
    assert list(found[5].index) == ["b", "a"]
    assert found[5].at["b", "mean"] == pytest.approx(2**0.5)
    assert found[5].at["a", "largest"] == 4
    assert on_networks(rows.iloc[:0]) == {}


def test_frechet_distances_are_compared_sample_by_sample():
    key = {"problem": "galaxy-hsc-32", "schedule": "constant", "evaluations": 8}
    noise = np.random.default_rng(0).normal(size=50).astype(np.float32)
    rows = pd.DataFrame([
        {**key, "arm": EXACT, "method": EXACT, "frechet": 0.1, "influence": noise},
        {**key, "arm": BASELINE, "method": "ddim@time", "frechet": 2.0, "influence": noise},
        {**key, "arm": BESIDE, "method": "fitted", "frechet": 1.5, "influence": noise},
    ])  # fmt: skip
    ((cell, found),) = frechets(rows).items()
    assert (cell.problem, found.name, found.exact) == ("galaxy-hsc-32", "ddim@time", 0.1)
    # What the noises change in both is not in the interval of the difference.
    assert found.low == found.high == pytest.approx(-0.5)


def test_what_was_not_measured_is_listed():
    rows = made([1.0, 3.0], {name: [1.0, 5.0] for name in ("a", "ddim@time")}, PLAN[0].key)
    text = block(rows, read_frechet().iloc[:0])
    missing = [line for line in text.splitlines() if line.startswith("Of the plan")]
    assert len(missing) == 6
    assert "`galaxy-hsc-32` in 4, 5, 6, 7, 10, 12, 15, 20" in missing[0]
    assert "`galaxy-hsc-64`" in missing[2]
    assert "`galaxy-hsc-64`" not in missing[3]  # three times the cost: in few cells
    assert "the controls: `galaxy-ztf-32` in 5, 8, 10; " in missing[4]
    assert "`galaxy-hsc-32` in 5, 8, 10; `galaxy-ztf-32` in 5, 8, 10." in missing[5]
    assert "| calibrate | calibrate, 48 |" in text
    without = block(rows[~rows["arm"].str.contains("48")], read_frechet().iloc[:0])
    assert "| calibrate | chosen, 16 |" in without  # no column of dashes
    assert "calibrate, 48" not in without


def test_published_methods_are_shown_before_the_solvers_are_measured():
    text = block(made([1.0], {"a": [2.0], "ddim@time": [3.0]}, PLAN[0].key, kinds=("lml",)), read_frechet().iloc[:0])
    assert "| constant | 8 | `a` 2 | - | - | - | 0.50 |" in text


def test_a_page_without_marks_is_refused():
    assert with_block(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\n\nnew\n\n{END} b"
    with pytest.raises(ValueError, match="the page must have the marks"):
        with_block("a", "new")
