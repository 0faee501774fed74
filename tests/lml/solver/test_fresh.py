"""The comparison on fresh noises: as accurate as it must be, at the cost that it says, in rounds."""

from __future__ import annotations

import pytest
import torch

import toy
from lml.samplers import SAMPLERS, sample
from lml.solver import Schedule, of_method
from lml.solver.fresh import ROUNDS, fresh_cost, fresh_errors, steps_of
from lml.solver.trajectories import STEPS, Checked, distances

SCHEDULE = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000).tolist())
TARGET = toy.noise_model(toy.target("random-16d"))
NOISE = torch.randn(ROUNDS, 6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_errors_are_those_to_the_exact_flow_but_for_a_few_per_cent(n):
    solvers = [of_method(name, SCHEDULE, n) for name in ("ipndm-3@log-snr", "unipc-2@log-snr")]
    found = fresh_errors(TARGET, SCHEDULE, NOISE, solvers)
    x = NOISE.flatten(0, 1) * SCHEDULE.levels(n, "time")[0].sigma
    ends = sample(SAMPLERS["dpm-solver++-3m"], TARGET, x, SCHEDULE.levels(400, "time"))
    for errors, solver in zip(found, solvers, strict=True):
        exact = distances(solver.sample(TARGET, x), ends)
        assert float((errors - exact).abs().mean()) < 0.05 * float(exact.mean())


@pytest.mark.parametrize("n", [3, 6, 20, 50])
def test_it_asks_in_rounds_as_often_as_it_says(n):
    model = Checked(TARGET)
    sizes = []

    def seen(x, level):
        sizes.append(len(x))
        return model(x, level)

    fresh_errors(seen, SCHEDULE, NOISE, [of_method(name, SCHEDULE, n) for name in ("ddim@time", "ipndm-2@time")])
    assert model.count == fresh_cost(n, 6)
    assert set(sizes) == {6}


def test_references_have_more_steps_for_more_evaluations_and_never_more_than_trajectories():
    assert [steps_of(n) for n in (3, 6, 7, 24, 50)] == [24, 24, 28, STEPS, STEPS]


def test_a_solver_that_diverges_has_errors_that_are_not_finite():
    def model(x, level):
        return TARGET(x, level) / (0 if level.time == bad else 1)

    bad = SCHEDULE.levels(5, "time")[2].time
    wild, sound = fresh_errors(
        model, SCHEDULE, NOISE, [of_method(name, SCHEDULE, 5) for name in ("ddim@time", "ddim@log-snr")]
    )
    assert not bool(torch.isfinite(wild).any())
    assert bool(torch.isfinite(sound).all())
