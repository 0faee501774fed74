"""Claim C5: its constants where they are known, its test functions, and the injected faults."""

import math

import numpy as np
import pytest
import torch
from fault_cases import faults_of

import toy
from theory_checks.convergence import FAMILY
from theory_checks.convergence.faults import REDUCED
from theory_checks.convergence.log_sobolev import bracket, gaussian_bound, log_sobolev_quotient
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected

FAULTS = faults_of("C5")
CHECK = REDUCED["C5"]


def test_the_reduced_check_holds_with_a_correction_and_draws():
    finding = CHECK(Settings())
    assert finding.verdict is FAMILY.claim("C5").expected is Verdict.CORRECTED
    assert FAMILY.claim("C5").load_draw()(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.CORRECTED


@pytest.mark.parametrize("variance", [1.0, 0.25])
def test_the_bracket_holds_the_constant_of_a_normal_under_langevin(variance):
    # Gross: Ent(f^2) <= 2 v E|f'|^2 for N(0, v), sharp; restricted to 12 deviations it is the same to 1e-30.
    q = toy.GaussianMixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([variance]))
    found = bracket(q, 12 * math.sqrt(variance), damping=None, points=8001)
    assert found.low <= variance <= found.high
    assert found.quotient <= variance * (1 + 1e-6)


def test_the_constant_of_a_large_damping_is_langevins_times_the_damping():
    q = toy.target("gauss-1d")
    slow, plain = (bracket(q, 6.0, damping=value, points=4001) for value in (1e8, None))
    # lambda + s^2 is lambda to a relative 36e-8.
    assert slow.low / 1e8 == pytest.approx(plain.low, rel=1e-6)
    assert slow.high / 1e8 == pytest.approx(plain.high, rel=1e-6)


def test_the_bracket_does_not_care_which_side_is_the_worse():
    q = toy.target("skewed-1d")
    mirrored = toy.GaussianMixture(q.weights, -q.means, q.component_covariances.dense())
    assert bracket(q, 8.0, damping=1.0, points=4001).high == pytest.approx(
        bracket(mirrored, 8.0, damping=1.0, points=4001).high, rel=5e-3  # the median is on the grid
    )  # fmt: skip


@pytest.mark.parametrize("d", [1, 2])
def test_the_entropy_of_the_test_function_is_kl_of_two_normals(d):
    q = toy.target(f"gauss-{d}d")
    for a in (0.2, 0.7):
        _, bound = log_sobolev_quotient(q, a, damping=2.0, spacing=0.4)
        assert bound == pytest.approx(gaussian_bound(a, d), rel=1e-12)
        # KL(N(0, w) | N(0, 1)) with w = 1/(1 - a).
        w = 1 / (1 - a)
        assert gaussian_bound(a, d) == pytest.approx(2 / a**2 * d / 2 * (w - 1 - math.log(w)), rel=1e-12)


def test_as_a_vanishes_the_quotient_is_that_of_poincare_for_log_q():
    # f = 1 - (a/2) log q + ..: Ent(f^2) = 2 Var(f) + .., so the quotient tends to Var(log q)/E[s^T M s] (C7).
    q = toy.target("gauss-1d")
    quotient, _ = log_sobolev_quotient(q, 1e-3, damping=1.0, spacing=0.2)
    x = np.linspace(-9.5, 9.5, 4001)
    density = np.exp(-0.5 * x**2)
    density /= density.sum()
    assert quotient == pytest.approx(0.5 / float(density @ (x**2 / (1 + x**2))), rel=3e-3)
