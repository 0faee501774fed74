"""The measurement of solvers: its plan is as it was fixed, a cell has all arms, and what is interrupted goes on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from image_exps.distances.own_flow import FlowFrechet
from image_exps.distances.reference import Reference
from image_exps.problems.endpoints import Endpoints
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.search.few_steps import main, measure, once
from image_exps.search.few_steps_controls import calibration_of, noisy
from image_exps.search.few_steps_frechet import rows_of
from image_exps.search.few_steps_plan import (
    BESIDE,
    CONTROLLED,
    EVALUATIONS,
    LML_ARMS,
    NETWORKS,
    PARTS,
    PLAN,
    SCHEDULES,
    SEEDS,
    TARGETS,
    Cell,
    arms_of,
    file_of,
    read,
    read_frechet,
)
from image_exps.search.few_steps_problems import SCHEDULES as MADE
from image_exps.search.few_steps_problems import problem_of
from lml.solver import of_method


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_CACHE", str(tmp_path / "cache"))


def test_the_plan_is_every_problem_at_every_number_of_evaluations_once():
    keys = [cell.key for cell in PLAN]
    pairs = {*NETWORKS.items(), *((name, schedule) for name in TARGETS for schedule in SCHEDULES)}
    assert len(set(keys)) == len(keys)
    assert set(keys) == {(*pair, n) for pair in pairs for n in EVALUATIONS}
    assert sorted(EVALUATIONS) == [4, 5, 6, 7, 8, 10, 12, 15, 20]


def test_the_cells_that_say_most_are_first():
    first = PLAN[: 3 * (len(NETWORKS) + len(TARGETS) * len(SCHEDULES))]
    assert list(dict.fromkeys(cell.evaluations for cell in first)) == [8, 5, 10]
    assert {cell.evaluations for cell in first} == set(CONTROLLED)


def test_the_plan_has_no_network_that_is_kept_for_the_end():
    assert not any(name in cell.problem for cell in PLAN for name in ("quasar", "lsst", "roman"))
    assert len(set(SEEDS.values())) == len(SEEDS)


def test_the_rows_are_of_the_plan_and_whole():
    rows = read()
    cells = {cell.key: cell for cell in PLAN}
    for key, part in rows.groupby(["problem", "schedule", "evaluations"]):
        cell = cells[key]
        assert part["arm"].is_unique
        for each in PARTS:
            assert len(set(part["arm"]) & set(arms_of(cell, each))) in (0, len(arms_of(cell, each)))
        assert set(part["arm"]) <= {arm for each in PARTS for arm in arms_of(cell, each)}
        assert {len(errors) for errors in part["errors"]} == {cell.samples}
        ours = part[part["kind"] == "ours"]["errors"]
        assert all(np.isfinite(errors).all() for errors in ours)
    assert {cells[key].problem for key in read_frechet().groupby(["problem", "schedule", "evaluations"]).groups} <= set(
        NETWORKS
    )


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_exact_target_is_sampled_with_any_schedule(schedule):
    on = problem_of("ring-2d", schedule)
    x = on.start("figures", 64)
    first, last = on.levels.range
    assert first < -2 < 2 < last
    ends = on.ends(x)
    # The modes of the ring lie at radius one or so: what is exact ends there, whatever the schedule.
    exact = problem_of("ring-2d", "linear").ends(problem_of("ring-2d", "linear").start("figures", 64))
    assert float(ends.norm(dim=1).mean()) == pytest.approx(float(exact.norm(dim=1).mean()), rel=0.1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_reference_is_far_nearer_than_any_baseline(schedule):
    on = problem_of("random-16d", schedule)
    x = on.start("figures", 16)
    exact = on._replace(steps=2 * on.steps).ends(x)
    off = (on.ends(x) - exact).square().mean(1).sqrt().mean()
    names = ("ipndm-3@log-snr", "ipndm-4@log-snr", "dpm-solver-3m@log-snr", "unipc-2@log-snr")
    solvers = [of_method(name, on.levels, 20) for name in names]
    least = min((solver.sample(on.model, x) - exact).square().mean(1).sqrt().mean() for solver in solvers)
    assert off < 0.02 * least


def test_a_network_has_its_own_schedule_alone():
    assert set(MADE) == set(SCHEDULES)
    with pytest.raises(ValueError, match="schedule must be constant for galaxy-hsc-32, got 'flow'"):
        problem_of("galaxy-hsc-32", "flow")


def test_a_cell_is_measured_with_all_arms():
    cell = Cell("ring-2d", "flow", 5, 6)
    frames = {part: measure(cell, part) for part in PARTS if part != "controls"}
    frames["controls"] = measure(cell, "controls", frames["calibrate"])
    for part, rows in frames.items():
        assert tuple(sorted(rows["arm"])) == tuple(sorted(arms_of(cell, part)))
        assert {len(errors) for errors in rows["errors"]} == {6}
    # The distances are those of the solver that is kept.
    on, found = problem_of("ring-2d", "flow"), calibration_of(frames["calibrate"], BESIDE)
    x = on.start("figures", 6)
    apart = (found.solver.sample(on.model, x) - on.ends(x)).square().mean(1).sqrt()
    errors = frames["calibrate"].set_index("arm").at[BESIDE, "errors"]
    np.testing.assert_allclose(errors, apart, rtol=2.0**-14)
    # It is the same again: every draw has a seed.
    pd.testing.assert_frame_equal(measure(cell, "controls", frames["calibrate"]), frames["controls"])


def test_other_cells_have_no_controls():
    assert {cell.evaluations for cell in PLAN if arms_of(cell, "controls")} == set(CONTROLLED)


def test_more_trajectories_are_taken_where_they_cost_least():
    more = {
        name: [c.evaluations for c in PLAN if c.problem == name and arms_of(c, "calibrate_more")] for name in NETWORKS
    }
    assert sorted(more["galaxy-hsc-32"]) == sorted(CONTROLLED)
    assert more["emoji"] == []
    assert all(arms_of(cell, "calibrate") for cell in PLAN)


def test_noise_changes_rows_by_as_much_as_a_fit():
    levels = problem_of("ring-2d", "linear").levels
    published, fitted = (of_method(name, levels, 6) for name in ("ipndm-2@time", "ipndm-4@time"))
    for noise in noisy(published, fitted, draws=2):
        for drawn, own, other in zip(noise.weights, published.weights, fitted.weights, strict=True):
            drawn, own, other = (torch.tensor(row, dtype=torch.float64) for row in (drawn, own, other))
            torch.testing.assert_close((drawn - own).norm(), (other - own).norm())


def test_a_run_writes_the_parts_that_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr("image_exps.search.few_steps.PLAN", (Cell("ring-2d", "linear", 4, 4),))
    chosen = ["--folder", str(tmp_path), "--problem", "ring-2d", "--part", "published"]
    first = CliRunner().invoke(main, chosen)
    assert first.exit_code == 0, first.output
    assert "ring-2d linear 4 4, published, " in first.output
    assert CliRunner().invoke(main, chosen).output == ""
    rows = read(tmp_path)
    assert list(rows["arm"]) == [*BASELINE_ARMS, *LML_ARMS]
    assert not list(tmp_path.rglob("*.lock"))
    refused = CliRunner().invoke(main, [*chosen, "--evaluations", "9"])
    assert refused.exit_code
    assert "evaluations must be one of 4, 5, 6, 7, 8, 10, 12, 15, 20, got 9" in refused.output


def test_two_processes_do_not_measure_the_same(tmp_path):
    file = file_of(tmp_path, PLAN[0], "calibrate")
    with once(file) as missing:
        assert missing
        with once(file) as again:
            assert not again
    file.touch()
    with once(file) as missing:
        assert not missing


def test_the_rows_give_the_frechet_distance_of_any_resample():
    generator = torch.Generator().manual_seed(0)
    draws, exact, end = (torch.randn(n, 1, 4, 4, generator=generator) for n in (400, 200, 200))
    ends = Endpoints(exact, torch.zeros(200))
    by_arm = rows_of({"exact": exact, "wide": 2 * end}, ends, draws).set_index("arm")
    assert by_arm.at["wide", "frechet"] > 5 * by_arm.at["exact", "frechet"]
    statistic = FlowFrechet(Reference("a", (1, 4, 4), real=torch.empty(0, 16)), ends, draws).prepare(2 * end)
    weights = torch.bincount(torch.randint(200, (200,), generator=generator), minlength=200).double()
    influence = by_arm.at["wide", "influence"].astype(float)
    change = float((weights.numpy() - 1) @ influence)
    # Influences are rounded to 14 bits.
    rounding = 2.0**-14 * float(np.abs((weights.numpy() - 1) * influence).sum())
    assert by_arm.at["wide", "frechet"] + change == pytest.approx(statistic(weights), rel=0, abs=rounding)
