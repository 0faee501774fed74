"""Schedules: the tables of diffusers, the levels of `toy`, ends that are handled, and what is refused."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import toy
from lml.solver import SPACINGS, Schedule
from lml.solver.schedule import LEAST_SIGNAL


@pytest.mark.parametrize("name", ["vp-linear", "vp-scaled-linear", "cosine", "ve"])
def test_a_sampled_schedule_has_the_levels_of_toy(name):
    schedule, times = toy.noise_schedule(name), (0.99, 1e-3)
    made = Schedule.sampled(schedule, times)
    for spacing in SPACINGS:
        for ours, exact in zip(
            made.levels(7, spacing), toy.noise_levels(schedule, 7, spacing=spacing, times=times), strict=True
        ):
            # Between 4001 entries lambda is interpolated: curvature times a square of their distance, 1e-6.
            assert abs(ours.half_log_snr - exact.half_log_snr) < 2e-4
            if math.isfinite(ours.time):
                assert abs(ours.time - exact.time) < 1e-4


def test_betas_are_the_training_table():
    table = toy.noise_schedule("vp-linear").discrete(1000)
    made = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist())
    assert made.times[0] == 999
    assert made.times[-1] == 0
    assert torch.tensor(made.half_log_snr).flip(0) == pytest.approx((table.log_snr / 2).tolist(), abs=1e-6)
    level = made.at(10.0)
    assert (level.alpha, level.sigma) == pytest.approx((float(table.alpha[10]), float(table.sigma[10])), abs=1e-12)


def test_no_signal_at_the_end_of_a_table_becomes_the_least_of_diffusers():
    made = Schedule.of_betas([0.01] * 9 + [1.0])
    assert made.levels(3, "time")[0].alpha == pytest.approx(LEAST_SIGNAL)
    assert made.levels(3, "time")[0].time == 9
    flow = Schedule.flow()
    assert flow.levels(3, "time")[0].alpha == pytest.approx(LEAST_SIGNAL)
    assert flow.levels(3, "time")[0].time == 1000
    assert flow.levels(3, "time")[-1].sigma == pytest.approx(1e-3)


def test_no_noise_at_the_end_ends_at_the_entry_before():
    made = Schedule.sampled(toy.noise_schedule("flow-matching"), (1.0, 0.0))
    assert made.kind == "flow"
    assert made.levels(4, "karras")[-1].sigma == pytest.approx(1 / 4000)


def test_the_shift_is_that_of_stable_diffusion_3():
    made = Schedule.flow(shift=3.0)
    sigmas = [level.sigma for level in made.levels(4, "time")]
    expected = [3 * s / (1 + 2 * s) for s in (1.0, 0.75025, 0.5005, 0.25075, 0.001)]
    # Near sigma = 1 a few entries have less signal than the first level may: they are left out.
    assert sigmas == pytest.approx(expected, abs=1e-3)
    assert made.levels(4, "time")[2].time == pytest.approx(1000 * sigmas[2], abs=1e-6)


def test_integer_timesteps_are_entries_each_once():
    made = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64).tolist())
    for spacing, n in itertools.product(SPACINGS, (3, 20, 50, 200)):
        times = [level.time for level in made.levels(n, spacing)]
        assert all(time == int(time) for time in times)
        assert all(a > b for a, b in itertools.pairwise(times))
        assert (times[0], times[-1]) == (999, 0)
    with pytest.raises(ValueError, match="evaluations must be below the 10 entries"):
        Schedule.of_betas([0.01] * 10).levels(10, "time")
    assert [level.time for level in Schedule.of_betas([0.01] * 10).levels(9, "log-snr")] == list(range(9, -1, -1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Schedule.of_betas([0.1, 1.0, 0.1]), r"betas must lie in \(0, 1\), the last may be 1, got 1.0 at 1"),
        (lambda: Schedule.of_betas([0.1]), "two numbers or more"),
        (lambda: Schedule.of_betas([0.1, math.nan]), "betas must lie"),
        (lambda: Schedule("preserving", (1.0, 0.0), (1.0, 0.5)), "half_log_snr must rise"),
        (lambda: Schedule("preserving", (0.0, 1.0), (0.0, 0.5)), "times must fall"),
        (lambda: Schedule("preserving", (1.0, 0.0), (-math.inf, 0.5)), "must be finite"),
        (lambda: Schedule("other", (1.0, 0.0), (0.0, 0.5)), "kind must be one of"),
        (lambda: Schedule.flow(shift=0), "shift must be a finite positive number"),
        (lambda: Schedule.edm(sigma_min=3, sigma_max=2), "sigma_min must be below sigma_max"),
        (lambda: Schedule.sampled(object()), r"schedule must have alpha\(t\) and sigma\(t\)"),
        (lambda: Schedule.flow().levels(4, "leading"), "spacing must be one of"),
        (lambda: Schedule.flow().at(2000), r"time must lie in \[1, 1000\]"),
    ],
)
def test_what_is_no_schedule_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_continuous_schedule_has_the_same_table_and_levels_between_its_entries():
    table = Schedule.of_betas([0.01] * 50)
    assert table.integer
    assert not table.continuous.integer
    assert (table.continuous.times, table.continuous.half_log_snr) == (table.times, table.half_log_snr)
    middle = (table.half_log_snr[3] + table.half_log_snr[4]) / 2
    assert table.continuous.level(middle).half_log_snr == pytest.approx(middle)
    assert table.level(middle).time == int(table.level(middle).time)
