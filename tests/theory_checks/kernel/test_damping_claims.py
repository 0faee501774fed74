"""Claims K6 to K8 and their faults."""

import math
from fractions import Fraction

import pytest
import torch
from fault_cases import kills

from theory_checks.kernel import FAMILY
from theory_checks.kernel.damping import exact_gain, relative_tangent
from theory_checks.kernel.rank import dense_direction, error_bound, small_system
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


@pytest.mark.parametrize("damping", [1, Fraction(1, 100)])
def test_the_bound_of_rounding_by_hand(damping):
    # e = (1, 0), p = (1, 2), kappa = 1/2: D = p' = (0, 2), a = 1, zeta = (1/2)/(lambda + 1), r = (1, -2 zeta).
    lam, u, c = float(damping), 2.0**-53, 12 * 2.0**-53
    delta, da = 2 * c, c + 2 * u
    dS = (4 * delta + delta**2 + 4 * c) / 4 + 12 * u * (lam + 1)
    zeta = 0.5 / (lam + 1)
    length = min(0.5 * (1 + da) / lam, 2 * (zeta + 0.5 * da / lam))
    gain = min(1 / math.sqrt(lam), 2 / lam)
    moved = delta * length + gain * (da / 2 + dS * length) + 3 * u * (1 + 2 * length)
    expected = 2 * moved / math.hypot(1, 2 * zeta) + c
    e, p = [Fraction(1), Fraction(0)], [Fraction(1), Fraction(2)]
    assert error_bound(e, [p], Fraction(damping), Fraction(1, 2), torch.float64) == pytest.approx(expected, rel=1e-13)


def test_a_gain_by_hand():
    points = [[Fraction(x), Fraction(y)] for x, y in ((3, 5), (2, 0), (0, 0))]
    assert exact_gain(*points) == Fraction(1, 2)
    assert exact_gain(points[2], points[1], points[2]) == Fraction(1e-6)
