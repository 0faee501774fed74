"""Claim K5 and its faults."""

import pytest
from fault_cases import faults_of

from theory_checks.kernel import FAMILY
from theory_checks.kernel.released_code import check_released, draw_released
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("K5")


@pytest.fixture(scope="module")
def finding():
    return check_released(Settings())


def test_the_claim_holds_and_draws(finding):
    assert finding.verdict is FAMILY.claim("K5").expected is Verdict.HOLDS
    assert draw_released(finding).axes


def test_the_published_step_of_ddim_goes_the_other_way_by_the_closed_form(finding):
    # Equal steps of 0.4 in half-log-SNR: -1/(e^h - 1), up to the rounding of a projection.
    factor = finding.figure("published move over Algorithm 1's in one DDIM step")
    assert factor.low == pytest.approx(-1 / (2.718281828459045**0.4 - 1), rel=1e-6)
    assert factor.high == pytest.approx(factor.low, rel=1e-6)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert check_released(Settings()).verdict is not Verdict.HOLDS
