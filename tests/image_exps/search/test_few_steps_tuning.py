"""The record of tuning: its problems are reported nowhere else, its rules are those of calibrate, its page is right."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from image_exps.search import few_steps_efforts, few_steps_joint, few_steps_tuning
from image_exps.search.few_steps_efforts import EFFORTS, efforts
from image_exps.search.few_steps_efforts import SHIPS as EFFORT
from image_exps.search.few_steps_joint import FOLDS, Run, joint
from image_exps.search.few_steps_plan import NETWORKS, TARGETS
from image_exps.search.few_steps_report import PAGE, with_block
from image_exps.search.few_steps_rules import RULES, SHIPS, best_published, ships
from image_exps.search.few_steps_tuning import PLAN, Cell, fit_name, main, measure, read, read_efforts, read_joint
from image_exps.search.few_steps_tuning_problems import mean_and_square, problem_of, trajectories
from image_exps.search.few_steps_tuning_report import BEGIN, END, block, worths
from lml.solver import calibrate, calibration, of_method
from lml.solver.choice import TARGETS as TUNED
from lml.solver.choice import TRIED, Choice
from lml.solver.fitting import RIDGES
from lml.solver.selection import Candidate, difficulties, scores
from lml.solver.trajectories import distances

CHOICE = Choice("unipc-2@log-snr", "unipc-2@log-snr", 1.0, 1.0)


@pytest.fixture
def no_choice(monkeypatch):
    """The choice for a schedule is tested where it is made, and takes long."""
    for module in (calibration, few_steps_tuning):
        monkeypatch.setattr(module, "chosen", lambda *args, **options: CHOICE)


def candidate(rank, errors, name=None):
    return Candidate(name or f"{rank} {errors}", rank, torch.tensor(errors, dtype=torch.float64))


def test_the_page_has_the_tables_of_the_rows():
    page = PAGE.read_text(encoding="utf-8")
    made = with_block(page, block(read(), read_joint(), read_efforts()), BEGIN, END)
    assert made == page, "run: python -m image_exps.search.few_steps_tuning_report"


def test_what_was_tuned_on_is_not_reported():
    assert set(TUNED).isdisjoint({*NETWORKS, *TARGETS})
    assert {cell.problem for cell in PLAN} == set(TUNED)
    assert len(set(PLAN)) == len(PLAN)


def test_every_problem_is_left_out_once():
    assert sorted(name for fold in FOLDS.values() for name in fold) == sorted(TUNED)


def test_the_rows_are_of_the_plan_and_whole():
    rows = read()
    assert len(rows)
    for key, part in rows.groupby(list(Cell._fields)):
        assert Cell(*key) in PLAN
        assert part["candidate"].is_unique
        assert list(part["candidate"])[-3:] == [fit_name(ridge) for ridge in RIDGES]
        assert {len(errors) for errors in part["seen"]} == {16}
        assert {len(errors) for errors in part["fresh"]} == {96}
        # No published method among the candidates is nearer than the oracle.
        plain = [mean_and_square(errors) for errors in part[part["rank"] == 0]["fresh"]]
        assert min(mean for mean, _ in plain) >= part["oracle_mean"].iloc[0]
        assert min(square for _, square in plain) >= part["oracle_square"].iloc[0]
    for (fold, _), part in read_joint().groupby(["fold", "power"]):
        assert set(part["problem"]) == set(FOLDS[fold])


@pytest.mark.parametrize("problem", ["few modes", "many modes"])
def test_the_candidates_and_the_rule_that_ships_are_those_of_calibrate(problem, no_choice):
    on = problem_of(problem)
    found = calibrate(on.model, on.levels, 4, 16, shape=on.shape, seed=1, dtype=on.dtype, kept=False)
    rows = measure(Cell(problem, 4, 1))
    rows = rows[~rows["candidate"].isin([fit_name(ridge) for ridge in RIDGES[:-1]])]
    ours = [candidate(*each) for each in zip(rows["rank"], rows["seen"], rows["candidate"], strict=True)]
    by_name = {each.name: value for each, value in zip(ours, scores(ours, difficulties(ours)).tolist(), strict=True)}
    by_name["levels and rows"] = by_name.pop(fit_name(RIDGES[-1]))
    least = min(by_name.values())
    # Errors are rounded to 2^-14 of themselves; a score has one and the root of another, a ratio two scores.
    assert found.candidates == pytest.approx({name: value / least for name, value in by_name.items()}, rel=3 * 2.0**-14)
    name = ships(ours, rows["refinement"].iloc[0]).name
    assert found.solver.method == ("fitted" if name == fit_name(RIDGES[-1]) else name)
    assert found.baseline == best_published(ours).name
    # What is fresh is of the solver that calibrate returns.
    (x, ends), row = few_steps_tuning.fresh(problem), rows.set_index("candidate").loc[name]
    np.testing.assert_allclose(row["fresh"], distances(found.solver.sample(on.model, x), ends), rtol=2.0**-13)


def test_the_rule_that_ships_gives_way_where_another_is_surely_better():
    near, far = [1.0, 1.1] * 4, [3.0, 3.1] * 4
    base, lml = candidate(0, near, "base"), candidate(1, [0.5] * 8, "lml")
    assert ships([base, candidate(2, far, "fit")], 0.0).name == "base"
    assert ships([base, lml, candidate(2, far, "fit")], 0.0).name == "lml"
    assert ships([base, lml, candidate(2, [math.inf, *near[1:]], "fit")], 0.0).name == "lml"
    assert ships([base, candidate(2, [0.5] * 8, "fit")], 1.04).name == "fit"
    assert ships([base, candidate(2, [0.5] * 8, "fit")], 1.06).name == "base"
    # Within the noise of the other it is the fit: each is better on half of the trajectories.
    assert ships([base, candidate(2, [1.2, 1.0] * 4, "fit")], 0.0).name == "fit"


def test_rules_see_no_fresh_noise_and_fall_back_without_a_fit():
    base, lml = candidate(0, [1.0, 1.0] * 4, "base"), candidate(1, [0.8, 0.8] * 4, "lml")
    fits = [candidate(2, [math.inf] * 8, fit_name(ridge)) for ridge in RIDGES]
    assert {name: rule([base, lml, *fits]).name for name, rule in RULES.items()} == {
        name: "base" if name == "the published method of the best score" else "lml" for name in RULES
    }
    fits = [candidate(2, [value] * 8, fit_name(ridge)) for value, ridge in zip((0.9, 0.7, 0.8), RIDGES, strict=True)]
    chosen = {name: rule([base, lml, *fits]).name for name, rule in RULES.items()}
    assert [chosen[f"the fit always, ridge {ridge:g}"] for ridge in RIDGES] == [fit_name(ridge) for ridge in RIDGES]
    assert chosen["the fit always, at the ridge of the best score"] == fit_name(RIDGES[1])
    assert chosen["the simplest within the noise of the best"] == "lml"


def test_a_worth_is_by_the_oracle_of_its_own_measure():
    errors = {"a": (0, [1.0] * 8, [1.0, 3.0]), "fit, ridge 0.001": (2, [0.5] * 8, [3.0, 3.0])}
    rows = pd.DataFrame(
        {"problem": "blobs", "evaluations": 5, "seed": 1, "candidate": name, "rank": rank, "seen": seen, "fresh": fresh,
         "oracle_mean": 2.0, "oracle_square": 2.5, "refinement": 0.0} for name, (rank, seen, fresh) in errors.items()
    )  # fmt: skip
    found = worths(rows)
    (worth,) = found[SHIPS].values()
    assert worth == pytest.approx((1.5, 1.2))
    (worth,) = found["the published method of the best score"].values()
    assert worth == pytest.approx((1.0, math.sqrt(5) / 2.5))
    text = block(rows, read_joint().iloc[:0], read_efforts().iloc[:0])
    assert f"| {SHIPS} | 1.50 (1.50) | 1 of 1 | 1.20 (1.20) | 1 of 1 | 1 |" in text
    assert "Nearer than what ships in the mean, with the whole interval: the published method of the best score" in text
    assert "in 8 evaluations with seed 2 `blobs`, " in text


def test_a_run_adds_what_is_missing(tmp_path, monkeypatch, no_choice):
    monkeypatch.setattr(few_steps_tuning, "PLAN", (Cell("few modes", 5, 1),))
    monkeypatch.setattr(few_steps_tuning, "JOINT", ())
    monkeypatch.setattr(few_steps_tuning, "GROUPS", {})
    first = CliRunner().invoke(main, ["--folder", str(tmp_path)])
    assert first.exit_code == 0, first.output
    assert first.output.startswith("few modes 5 1, ")
    assert CliRunner().invoke(main, ["--folder", str(tmp_path)]).output == ""
    kept = read(tmp_path)
    monkeypatch.setattr(few_steps_tuning, "PLAN", (Cell("few modes", 5, 1), Cell("few modes", 5, 2)))
    assert CliRunner().invoke(main, ["--folder", str(tmp_path)]).output.startswith("few modes 5 2, ")
    pd.testing.assert_frame_equal(read(tmp_path).iloc[: len(kept)], kept)


def test_the_joint_fit_sees_nothing_of_what_is_left_out(monkeypatch):
    seen, names = [], ("few modes", "many modes", "low rank")
    errors = {}
    for name in names:
        on, flow = problem_of(name), trajectories(name, 1)
        errors[name] = {
            each.name: mean_and_square(distances(of_method(each, on.levels, 5).sample(on.model, flow.x), flow.ends))
            for each in TRIED
        }
    monkeypatch.setattr(few_steps_joint, "FOLDS", {"left": ("low rank",)})
    monkeypatch.setattr(few_steps_joint, "_errors", lambda evaluations: errors)
    monkeypatch.setattr(
        few_steps_joint, "trajectories", lambda name, seed: seen.append(name) or trajectories(name, seed)
    )
    rows = joint(Run("left", 5, 1.0))
    assert seen == ["few modes", "many modes"]
    assert set(rows["problem"]) == {"low rank"}
    assert rows["ridge"].is_monotonic_decreasing
    # It is not the method that it began with, and the further from it the smaller the ridge.
    apart = (rows["mean"] / rows["begun_mean"] - 1).abs()
    assert (apart > 0).all()
    assert (rows["begun_mean"] >= rows["oracle_mean"]).all()


def test_an_effort_is_judged_on_fresh_noises(monkeypatch):
    monkeypatch.setattr(few_steps_efforts, "EVALUATIONS", 6)
    rows = efforts("few modes").set_index("effort")
    assert list(rows.index) == ["none", *EFFORTS]
    assert (rows["mean"] != rows.at["none", "mean"]).sum() == len(EFFORTS)  # each has moved
    assert rows.at["none", "mean"] >= rows["oracle_mean"].iloc[0]
    assert rows["cost"].idxmax() == next(iter(EFFORTS))
    assert rows.at[EFFORT, "cost"] < 0.4 * rows["cost"].max()
