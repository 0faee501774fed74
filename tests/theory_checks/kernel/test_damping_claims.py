"""Claims K6 to K8 and their faults."""

from fractions import Fraction

import pytest
from fault_cases import kills

from theory_checks.kernel import FAMILY
from theory_checks.kernel.damping import exact_gain, relative_tangent
from theory_checks.kernel.rank import dense_direction, small_system
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

BY_ID = {name: FAMILY.claim(name) for name in ("K6", "K7", "K8")}
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills("K6", "K7", "K8")]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("claim", BY_ID.values(), ids=BY_ID)
def test_the_claim_holds_for_any_seed_and_draws(claim, seed):
    finding = claim.load_check()(Settings(seed=seed))
    assert finding.verdict is claim.expected is Verdict.HOLDS
    assert claim.load_draw()(finding).axes


@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_an_injected_fault_turns_the_check_red(fault, claim):
    with injected(fault):
        assert BY_ID[claim].load_check()(Settings()).verdict is not Verdict.HOLDS


def test_a_direction_by_hand():
    # e = (1, 0), p = (0, 1), kappa = 1/2: v = (1/2, 1/2), and (I + v v^T)^{-1} e = (5/6, -1/6): zeta = 1/5.
    e, p = [Fraction(1), Fraction(0)], [Fraction(0), Fraction(1)]
    assert dense_direction(e, [p], Fraction(1), Fraction(1, 2)) == [Fraction(5, 6), Fraction(-1, 6)]
    assert small_system(e, [p], Fraction(1), Fraction(1, 2)) == [Fraction(1, 5)]
    assert relative_tangent(1.5707963267948966, 1.0, 1.0, 0.5) == pytest.approx(1 / 5, rel=1e-14)


def test_a_gain_by_hand():
    points = [[Fraction(x), Fraction(y)] for x, y in ((3, 5), (2, 0), (0, 0))]
    assert exact_gain(*points) == Fraction(1, 2)
    assert exact_gain(points[2], points[1], points[2]) == Fraction(1e-6)
