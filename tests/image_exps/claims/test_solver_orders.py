"""Claims D: the orders of multistep solvers; their injected faults."""

import math

import pytest
from fault_cases import kills

from image_exps.claims import FAMILY
from image_exps.claims.solver_steps import by_coefficients, exact_integral, limit_of, read_steps
from image_exps.judge.what import find
from theory_checks.ledger.mutation import judge

CLAIMS = {claim: FAMILY.claim(claim) for claim in ("D1", "D2", "D3", "D4")}
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills("D1", "D2", "D3", "D4")]


@pytest.mark.parametrize("claim", CLAIMS)
def test_the_reduced_check_is_green_without_a_fault(claim):
    trial = judge(None, CLAIMS[claim])
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_an_injected_fault_turns_the_check_red(fault, claim):
    trial = judge(fault, CLAIMS[claim])
    assert trial.passed, f"{trial.outcome} {trial.record.error}"


def test_the_step_of_ddim_is_of_first_order_by_its_coefficients():
    found = by_coefficients(read_steps(find("ddim"), (16, 32, 64, 128)))
    assert abs(found.order.value - 2) <= found.order.error + 0.01
    assert found.power == 1


@pytest.mark.parametrize("sign", [1, -1])
def test_the_integrals_of_powers_are_those_in_closed_form(sign):
    h = 0.7
    assert exact_integral(0, h, sign) == pytest.approx(sign * math.expm1(sign * h), rel=1e-14)
    assert exact_integral(1, h, sign) == pytest.approx(math.exp(sign * h) * (sign * h - 1) + 1, rel=1e-12)


def test_an_order_that_settles_has_a_small_error():
    found = limit_of([h**3 * (1 + h) for h in (0.1, 0.05, 0.025, 0.0125)])
    assert abs(found.value - 3) < found.error < 0.1
