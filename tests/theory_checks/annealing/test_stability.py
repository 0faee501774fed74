"""Claim A7: its limits against known intervals, the reduced check and its faults."""

import itertools
import math

import numpy as np
import pytest
from fault_cases import faults_of

from lml.samplers import Level
from lml.samplers.exponential import step_size
from theory_checks.annealing import FAMILY
from theory_checks.annealing.faults_steps import REDUCED
from theory_checks.annealing.stability import (
    SOLVERS,
    characteristic,
    draw_stability,
    guidance_limit,
    interval,
    recurrence,
    slope,
)
from theory_checks.annealing.step_rounding import error_of_the_step, rounding_of_a_step
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("A7")
CHECK = REDUCED["A7"]


@pytest.fixture(scope="module")
def finding():
    return CHECK(Settings())


def test_the_reduced_check_holds_and_draws(finding):
    assert finding.verdict is FAMILY.claim("A7").expected is Verdict.HOLDS
    assert draw_stability(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_seeded_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.HOLDS


# The real intervals of Euler's method and of Adams and Bashforth's (Hairer & Wanner 1996, Sec. V.1).
@pytest.mark.parametrize(("label", "known"), [("ddim", 2), ("extrapolation, eta = 1/2", 1), ("pndm", 3 / 10)])
def test_small_steps_have_the_known_interval(label, known):
    h = 1e-6
    assert -math.expm1(-h) * guidance_limit(SOLVERS[label], h) == pytest.approx(known, rel=1e-5)


def test_the_interval_of_no_extrapolation_is_that_of_ddim():
    assert (interval(0), interval(0.5)) == (2, 1)


def test_a_guided_class_is_the_class_at_one_and_the_whole_at_zero():
    assert slope(1.0, 1.0, 0.25, 4.0) == pytest.approx(1 / 1.25)
    assert slope(1.0, 0.0, 0.25, 4.0) == pytest.approx(1 / 5)
    assert slope(1.0, 7.0, 1e-12, 1e12) == pytest.approx(7)


def test_ddim_is_its_own_recurrence():
    r = [2.0, 1.0, 0.5]
    end, size = recurrence(r, 0.0, 1.0, 1.0, 4.0)
    factors = [1 - (1 - b / a) * a**2 / (1 + a**2) for a, b in itertools.pairwise(r)]
    assert end == pytest.approx(np.prod(factors))
    assert size >= end


def test_data_predictions_of_one_past_are_ddim():
    solver = SOLVERS["dpm-solver++-2m"]
    plain = type(solver)("ddim", lambda h: (1.0,), data=True)
    np.testing.assert_allclose(characteristic(plain, 0.3, 5.0), characteristic(SOLVERS["ddim"], 0.3, 5.0), rtol=1e-12)


@pytest.mark.parametrize("h", [0.03, 0.05, 0.3, 0.7, 1.1, 2.0])
def test_the_step_that_a_sampler_finds_is_within_its_rounding(h):
    i = np.arange(81)
    levels = [Level(1.0, math.exp(-h * j)) for j in range(82)]
    error = np.array([abs(step_size(a, b) - h) for a, b in itertools.pairwise(levels)])
    assert (error <= error_of_the_step(h, i)).all()
    if h in (0.3, 0.7, 1.1):  # what grows is the rounding of h i: the bound of the first step does not hold for all
        assert error.max() > error_of_the_step(h, np.array(0))


def test_the_rounding_of_a_step_grows_along_the_trajectory_and_as_steps_shrink():
    assert (np.diff(rounding_of_a_step(0.1, np.arange(9))) > 0).all()
    assert rounding_of_a_step(0.01, np.array(0)) > 10 * rounding_of_a_step(1.0, np.array(0))
