"""Claim L2: the injected faults, and what its figures are made of."""

import math

import numpy as np
import pytest
from fault_cases import kills

from image_exps.claims import FAMILY, solver_promise
from image_exps.claims.solver_promise import Repeat, draw_promise
from theory_checks.ledger.claim import Finding, Verdict
from theory_checks.ledger.mutation import judge
from theory_checks.ledger.plotting import drawn


@pytest.mark.slow
@pytest.mark.parametrize("claim", ["L2"])
def test_the_reduced_check_is_green_without_a_fault(claim):
    trial = judge(None, FAMILY.claim(claim))
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "claim"), [pytest.param(*pair, id=pair[0].name) for pair in kills("L2")])
def test_an_injected_fault_turns_the_check_red(fault, claim):
    trial = judge(fault, FAMILY.claim(claim))
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


def test_the_mean_of_what_was_announced_has_the_error_of_repetitions_and_of_the_noises_that_they_share():
    rng = np.random.default_rng(1)
    found = [Repeat("t", "fitted", 1.0, 0.9, 1.1, math.exp(b), 0.3) for b in rng.normal(0.2, 0.5, 400)]
    mean, biases = solver_promise._mean(found), np.array([each.bias for each in found])
    assert mean.value == pytest.approx(biases.mean())
    assert mean.error == pytest.approx(math.hypot(biases.std(ddof=1) / 20, 0.3))
    over = solver_promise._over_targets([mean, mean])
    assert over.value == pytest.approx(mean.value)
    assert over.error == pytest.approx(mean.error / math.sqrt(2))


def test_the_picture_tells_the_intervals_that_hold_the_ratio_from_those_that_do_not():
    found = [Repeat("t", "fitted", 0.5, 0.4, 0.6, m, 0.01) for m in (0.45, 0.8)]
    figure = drawn(draw_promise, Finding(Verdict.CORRECTED, (), "", data=solver_promise._data(found)))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["1 within", "1 outside"]
