"""The choice for a schedule: exact targets, the rule that lets LML in, what ships, what is kept."""

from __future__ import annotations

import json

import pytest
import torch

from lml.samplers import Level, sample, sampler
from lml.solver import Method, Schedule, Solver, for_schedule, of_method
from lml.solver.choice import ALLOWED, CANDIDATES, MARGIN, TARGETS, TRIED, Choice, choose
from lml.solver.ensemble import ENSEMBLE, ensemble_model
from lml.solver.path import end

SMALL = Schedule.edm(sigma_min=0.1, sigma_max=10.0)


@pytest.mark.parametrize("name", [name for name in ENSEMBLE if name != "guidance"])
def test_the_noise_of_a_target_is_its_score(name):
    """``e = -sigma grad log q`` by automatic differentiation of the density."""
    cloud, dim = ensemble_model(name)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(5, dim, dtype=torch.float64, generator=generator).requires_grad_()
    level = Level(0.8, 0.6)
    v = level.alpha**2 * cloud.tau**2 + level.sigma**2
    apart = (x[:, None] - level.alpha * cloud.points).square().sum(2)
    density = torch.logsumexp(-apart / (2 * v), 1).sum()
    (score,) = torch.autograd.grad(density, x)
    torch.testing.assert_close(cloud(x.detach(), level), -level.sigma * score, rtol=1e-9, atol=1e-9)


def test_guidance_goes_from_all_to_a_class():
    model, dim = ensemble_model("guidance")
    x = torch.randn(5, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    level = Level(0.6, 0.8)
    expected = model.whole(x, level) + 3.0 * (model.part(x, level) - model.whole(x, level))
    torch.testing.assert_close(model(x, level), expected, rtol=1e-12, atol=1e-12)


def test_the_fast_path_is_the_solvers():
    model, dim = ensemble_model("smooth pictures")
    x = torch.randn(5, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    schedule = Schedule.of_betas([0.01] * 300)
    for name in ("unipc-3@karras", "ipndm-4@time", "ddim@log-snr/lml(0.5)", "unipc-2@time/lml(0.2)"):
        solver = of_method(name, schedule, 7)
        torch.testing.assert_close(end(solver, model, x), solver.sample(model, x), rtol=0, atol=1e-12)
    restoring = Solver("fitted", schedule.levels(3, "time"), ((), (1.0,), (1.0, 0.0)), (1.0,) * 3)
    with pytest.raises(ValueError, match="restored must be 0"):
        end(restoring, model, x)


def errors_of(table):
    """Errors of every candidate: 2 everywhere but where the table says otherwise."""
    names = [each.name for each in TRIED]
    return {t: {name: (table.get((t, name), 2.0),) * 2 for name in names} for t in "abc"}


BASE, LML = ALLOWED[5].name, next(each.name for each in CANDIDATES if each.strength)


def test_lml_is_chosen_where_it_is_better_on_targets_left_out():
    table = {(t, BASE): 1.0 for t in "abc"} | {(t, LML): 0.8 for t in "abc"}
    assert choose(errors_of(table)) == Choice(LML, BASE, pytest.approx(0.8), pytest.approx(0.8))


def test_lml_is_not_chosen_where_it_is_worse_on_one_target_left_out():
    table = {(t, BASE): 1.0 for t in "abc"} | {(t, LML): 0.3 for t in "ab"} | {("c", LML): MARGIN + 0.01}
    assert choose(errors_of(table)) == Choice(BASE, BASE, 1.0, 1.0)
    table[("c", LML)] = MARGIN - 0.01
    assert choose(errors_of(table)).method == LML


def test_what_failed_on_networks_is_not_chosen():
    failed = "unipc-3-noise@time"
    assert choose(errors_of({(t, failed): 0.1 for t in "abc"})).method != failed


def test_the_worst_target_counts_most():
    other = ALLOWED[7].name
    table = {("a", BASE): 0.5, ("b", BASE): 0.5, ("c", BASE): 1.5, ("a", other): 0.8, ("b", other): 0.8,
             ("c", other): 0.8}  # fmt: skip
    assert choose(errors_of(table)).method == other


def test_anything_else_is_computed_once_with_progress_and_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_CACHE", str(tmp_path))
    lines = []
    made = for_schedule(SMALL, 3, progress=lines.append)
    assert len(lines) == len(TARGETS)
    assert lines[0].startswith("4 evaluations: target 1 of")
    kept = list((tmp_path / "solvers").iterdir())
    assert len(kept) == 1
    assert for_schedule(SMALL, 3, progress=pytest.fail) == made
    kept[0].write_text('["heun@time", ')
    assert for_schedule(SMALL, 3) == made
    assert json.loads(kept[0].read_text())[0] == made.method


@pytest.mark.parametrize("n", [2, 51, True, 4.0])
def test_other_numbers_of_evaluations_are_refused(n):
    with pytest.raises(ValueError, match=r"evaluations must be an integer in \[3, 51\)"):
        for_schedule(SMALL, n)


def test_a_schedule_of_few_levels_is_refused():
    with pytest.raises(ValueError, match="evaluations must be below the 5 entries"):
        for_schedule(Schedule.of_betas([0.1] * 5), 5)


def test_an_exact_target_is_solved_by_every_candidate_in_many_steps():
    model, dim = ensemble_model("low rank")
    schedule = Schedule.edm(sigma_min=0.1, sigma_max=10.0)
    x = 10 * torch.randn(4, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    exact = sample(sampler("dpm-solver++-3m"), model, x, schedule.levels(400, "log-snr"))
    apart = (end(of_method(Method("ipndm-4", "log-snr"), schedule, 50), model, x) - exact).norm()
    coarse = (end(of_method(Method("ipndm-4", "log-snr"), schedule, 10), model, x) - exact).norm()
    assert apart < coarse / 10
