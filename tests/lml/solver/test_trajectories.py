"""Accurate trajectories: where the flow ends, as accurate as they say, at the cost that is said; answers checked."""

from __future__ import annotations

import pytest
import torch

import toy
from lml.samplers import SAMPLERS, Level, sample
from lml.solver import Schedule
from lml.solver.trajectories import STEPS, Checked, distances, reference, reference_cost

TABLE = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist())
SCHEDULE = Schedule.sampled(toy.noise_schedule("vp-linear"))
TARGET = toy.noise_model(toy.target("random-16d"))


def noise(count=12, seed=0):
    return torch.randn(count, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("schedule", [SCHEDULE, TABLE, Schedule.flow(shift=3.0)], ids=["betas", "table", "flow"])
def test_they_end_where_the_flow_does(schedule):
    found = reference(TARGET, schedule, noise())
    levels = schedule.continuous.levels(800, "log-snr")
    torch.testing.assert_close(found.x, levels[0].sigma * noise())
    exact = sample(SAMPLERS["dpm-solver++-3m"], TARGET, found.x, levels)
    assert bool((distances(found.ends, exact) <= found.refinement).all())
    # Good enough to measure what is nearer to the flow than any method in ten evaluations.
    few = sample(SAMPLERS["unipc-2"], TARGET, found.x, schedule.levels(10, "log-snr"))
    assert float(found.refinement.mean()) < 0.1 * float(distances(few, exact).mean())


def test_a_network_of_integer_timesteps_is_asked_between_them():
    asked = []

    def model(x, level):
        asked.append(level.time)
        return TARGET(x, level)

    reference(model, TABLE, noise(1))
    assert max(asked) == 999
    assert sum(time != int(time) for time in asked) > STEPS


def test_evaluations_are_counted_and_their_number_is_known_beforehand():
    model, lines = Checked(TARGET, batch=5), []
    reference(model, SCHEDULE, noise(7), lines.append)
    assert model.count == reference_cost(7)
    assert lines[0] == f"accurate trajectories: step 1 of {STEPS}"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda x: x[:, :3], r"noise_model must return a tensor of shape \(4, 16\), got \(4, 3\)"),
        (lambda x: None, r"noise_model must return a tensor of shape \(4, 16\), got NoneType"),
        (lambda x: x / 0, "noise_model must return finite numbers, got some that are not at log"),
    ],
)
def test_answers_of_a_network_that_are_none_are_refused(answer, message):
    with pytest.raises(ValueError, match=message):
        Checked(lambda x, level: answer(x))(noise(4), Level(0.6, 0.8, 3.0))


def test_numbers_may_overflow_where_a_solver_is_only_tried():
    wild = Checked(lambda x, level: x / 0)
    assert not bool(torch.isfinite(wild.unchecked(noise(4), Level(0.6, 0.8))).any())
    with pytest.raises(ValueError, match="shape"):
        Checked(lambda x, level: x[:1]).unchecked(noise(4), Level(0.6, 0.8))


def test_a_network_is_asked_in_its_type_and_answers_in_that_of_the_solver():
    asked = []

    def model(x, level):
        asked.append((x.dtype, len(x)))
        return x

    x = noise(5)
    made = Checked(model, batch=2, dtype=torch.float16)(x, Level(0.6, 0.8))
    assert asked == [(torch.float16, 2), (torch.float16, 2), (torch.float16, 1)]
    assert made.dtype == torch.float64
    torch.testing.assert_close(made, x, rtol=2.0**-11, atol=0)  # rounded to half once


def test_batches_do_not_change_what_comes_out():
    one, other = (reference(Checked(TARGET, batch), SCHEDULE, noise()) for batch in (12, 5))
    # Each answer is that of its sample alone, up to the order in which a product of matrices is summed.
    torch.testing.assert_close(one.ends, other.ends, rtol=0, atol=1e-11)
