"""Claim A6: its limit equation, the reduced check and its faults."""

import pytest
import torch
from fault_cases import faults_of

import toy
from theory_checks.annealing import FAMILY
from theory_checks.annealing.consistency import draw_consistency, turned_flow
from theory_checks.annealing.faults_steps import REDUCED
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("A6")
CHECK = REDUCED["A6"]


@pytest.fixture(scope="module")
def finding():
    return CHECK(Settings())


def test_the_reduced_check_holds_and_draws(finding):
    assert finding.verdict is FAMILY.claim("A6").expected is Verdict.HOLDS
    assert draw_consistency(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_a_seeded_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.HOLDS


def levels():
    return toy.noise_levels(toy.noise_schedule("vp-linear"), 1, log_snr=(-3.0, 1.0))


def test_nothing_turns_for_one_isotropic_gaussian():
    target = toy.target("gauss-2d")
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    torch.testing.assert_close(
        turned_flow(target, x, *levels(), 0.3), toy.probability_flow(target, x, *levels()), rtol=1e-7, atol=1e-7
    )


def test_an_equation_without_solution_by_iteration_is_an_error():
    x = torch.tensor([[1.0, -2.0], [3.0, 1.0]], dtype=torch.float64)
    with pytest.raises(RuntimeError, match="tau = 50 is too large here"):
        turned_flow(toy.target("cross-2d"), x, *levels(), 50)
