"""Calibration: better on noises that it has not seen, at the cost that it says, kept, and honest where it cannot be."""

from __future__ import annotations

import logging

import pytest
import torch

import toy
from lml.samplers import SAMPLERS, sample
from lml.solver import Schedule, calibrate, cost, for_schedule, of_method
from lml.solver.calibration import LEAST_SAMPLES, fingerprint
from lml.solver.fitting import BOUND

SCHEDULE = Schedule.of_betas(torch.linspace(1e-4, 0.02, 1000).tolist())
TARGET = toy.noise_model(toy.target("random-16d"))


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LML_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def made(_cache):
    lines = []
    found = calibrate(TARGET, SCHEDULE, 5, shape=(16,), dtype=torch.float64, progress=lines.append)
    return found, lines


def test_it_is_nearer_to_the_flow_on_noises_that_it_has_not_seen(made):
    found, _ = made
    x = torch.randn(96, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(77))
    levels = SCHEDULE.levels(400, "time")
    exact = sample(SAMPLERS["dpm-solver++-3m"], TARGET, x, levels)
    errors = [
        (solver.sample(TARGET, x) - exact).square().mean(1).sqrt().mean()
        for solver in (found.solver, of_method(found.baseline, SCHEDULE, 5))
    ]
    assert found.solver.method == "fitted"
    assert errors[0] < 0.95 * errors[1]
    assert found.solver.validation.low < 1
    assert all(abs(eta) <= BOUND for row in found.solver.weights for eta in row)


def test_it_costs_what_it_says_first(made):
    found, lines = made
    assert lines[0] == f"cost: about {cost(5)} evaluations of one sample"
    assert found.spent <= cost(5) <= 4 / 3 * found.spent


def test_the_same_question_is_answered_from_what_was_kept(made):
    found, _ = made
    again = calibrate(TARGET, SCHEDULE, 5, shape=(16,), dtype=torch.float64, progress=pytest.fail)
    assert again == found
    fresh = calibrate(TARGET, SCHEDULE, 5, shape=(16,), dtype=torch.float64, kept=False)
    assert fresh == found


def test_another_network_has_another_digest():
    x = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    digests = {fingerprint(lambda y, level, s=s: s * TARGET(y, level), SCHEDULE, x) for s in (1.0, 1.01, 0.9)}
    assert len(digests) == 3


def test_it_says_what_to_paste_and_what_to_expect(made):
    found, _ = made
    assert str(found).startswith("Chosen      fitted in 5 evaluations\nTo expect   ")
    assert "16 trajectories, each held out" in str(found)
    assert "solver=load('my.json')" in found.paste("my.json")


def test_too_few_trajectories_give_the_choice_for_the_schedule_and_say_so(caplog):
    with caplog.at_level(logging.WARNING):
        found = calibrate(TARGET, SCHEDULE, 5, LEAST_SAMPLES - 1, shape=(16,), dtype=torch.float64)
    assert found.solver == for_schedule(SCHEDULE, 5)
    assert "7 trajectories are too few to judge by, at least 8 are needed" in found.advice
    assert found.advice in caplog.text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"evaluations": 2}, r"evaluations must be an integer in \[3, 51\), got 2"),
        ({"samples": 0}, "samples must be a positive integer"),
        ({"shape": (16, 0)}, r"shape must be positive integers, got \(16, 0\)"),
        ({"shape": ()}, "shape must be positive integers"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
        ({"batch": 0}, "batch must be a positive integer"),
        ({"noise_model": lambda x, level: x * float("nan")}, "noise_model must return finite numbers"),
        ({"noise_model": lambda x, level: x[:, :2]}, "noise_model must return a tensor of shape"),
    ],
)
def test_what_does_not_fit_is_refused_before_any_work(options, message):
    given = {"noise_model": TARGET, "schedule": SCHEDULE, "evaluations": 5, "shape": (16,), **options}
    with pytest.raises(ValueError, match=message):
        calibrate(**given)
