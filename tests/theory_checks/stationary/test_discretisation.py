"""Claim S4: the particles' densities and moves against definitions, the chains on a grid, and the injected faults."""

import math

import numpy as np
import pytest
import torch
from fault_cases import faults_of

import toy
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import injected
from theory_checks.numerics.euler_chain import Coefficients, euler_chain, euler_grid
from theory_checks.numerics.particles import Proposal, adjusted, coupled_euler, euler
from theory_checks.stationary import FAMILY, discretisation
from theory_checks.stationary.discretisation import adjusted_chain, autocorrelation_time, mirror_chain
from theory_checks.stationary.faults import REDUCED

FAULTS = faults_of("S4")
CHECK = REDUCED["S4"]


def test_the_reduced_check_holds_and_draws():
    finding = CHECK(Settings())
    assert finding.verdict is FAMILY.claim("S4").expected is Verdict.HOLDS
    assert FAMILY.claim("S4").load_draw()(finding).axes


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert CHECK(Settings()).verdict is not Verdict.HOLDS


@pytest.mark.parametrize("dynamics", ["langevin", "literal", "corrected"])
def test_the_density_of_a_move_is_that_of_its_normal_law(dynamics):
    q = toy.target("cross-2d")
    x, y = (q.sample(6, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    proposal = Proposal(q, 0.7, dynamics, 0.3)
    local = proposal.at(x)
    covariance = 0.6 * (torch.eye(2).double().expand(6, 2, 2) if local.G is None else torch.linalg.inv(local.G.dense()))
    law = torch.distributions.MultivariateNormal(local.centre, covariance)
    constant = -math.log(4 * math.pi * 0.3)
    torch.testing.assert_close(proposal.log_density(local, y) + constant, law.log_prob(y))
    # A move made of z = 0 ends at the centre, and its covariance is that of the law: L L^T for unit z.
    columns = torch.stack([proposal.move(local, torch.eye(2)[k].double().expand(6, 2)) - local.centre for k in (0, 1)])
    torch.testing.assert_close(torch.einsum("kbi,kbj->bij", columns, columns), covariance)


def test_intervals_in_many_dimensions_are_simultaneous_over_dynamics_adjustment_and_targets(monkeypatch):
    asked = []

    def large(name, settings, comparisons):
        asked.append((name, comparisons))
        return {}, {}

    monkeypatch.setattr(discretisation, "_large", large)
    for name in ("_adjusted_on_grid", "_particles_on_line"):
        monkeypatch.setattr(discretisation, name, lambda *arguments: None)
    discretisation._measure(Settings(), ("random-8d", "digits"))
    every = 2 * len(discretisation._ADJUSTED) * 2
    assert asked == [("random-8d", every), ("digits", every)]


def test_coupled_chains_see_the_same_noise():
    # Without score, M = I: both ends are x plus the same Brownian path, to rounding.
    q = toy.GaussianMixture(torch.ones(1), torch.zeros(1, 3), torch.tensor([1e16]))
    x = torch.zeros(20_000, 3, dtype=torch.float64)
    pair = (Proposal(q, 1.0, "langevin", 0.2), Proposal(q, 1.0, "langevin", 0.1))
    coarse, fine = coupled_euler(*pair, x, 7, torch.Generator().manual_seed(0))
    torch.testing.assert_close(coarse, fine)
    # Seven moves of variance 2 x 0.2 each, to four standard errors of the variance of 60,000 normal numbers.
    assert float(coarse.var()) == pytest.approx(2 * 0.2 * 7, rel=4 * math.sqrt(2 / 60_000))


def test_euler_on_a_normal_has_the_variance_of_its_autoregression():
    # X' = (1 - h) X + sqrt(2h) z: variance 1/(1 - h/2).
    q = toy.target("gauss-1d")
    h = 0.4
    x = euler(Proposal(q, 1.0, "langevin", h), torch.zeros(40_000, 1).double(), 60, torch.Generator().manual_seed(3))
    # Four standard errors of a normal's variance.
    assert float(x.var()) == pytest.approx(1 / (1 - h / 2), rel=4 * math.sqrt(2 / 40_000))


def test_a_refused_particle_keeps_its_place_and_a_short_step_is_taken():
    q = toy.target("random-8d")
    x = q.sample(64, generator=torch.Generator().manual_seed(0))
    wild, _, accepted = adjusted(Proposal(q, 1.0, "corrected", 1e6), x, 1, torch.Generator().manual_seed(1))
    assert accepted < 0.1
    assert bool((wild == x).all(1).float().mean() == 1 - accepted)
    _, _, accepted = adjusted(Proposal(q, 1.0, "corrected", 1e-10), x, 5, torch.Generator().manual_seed(1))
    assert accepted > 0.99


@pytest.mark.parametrize("dynamics", ["langevin", "literal", "corrected"])
def test_the_adjusted_chain_on_a_grid_is_in_detailed_balance(dynamics):
    q = toy.target("skewed-1d")
    x = np.linspace(-6, 5, 301)
    chain = adjusted_chain(q, 1.0, dynamics, 0.5, x)
    weight = q.log_density(torch.from_numpy(x)[:, None]).exp().numpy()
    flow = weight[:, None] * chain.matrix
    np.testing.assert_allclose(flow, flow.T, atol=1e-15)
    np.testing.assert_allclose(chain.matrix.sum(1), 1, atol=1e-13)
    assert chain.matrix.min() > -1e-14


def test_the_mirror_chain_of_a_large_damping_is_langevin_in_a_slow_clock():
    # G = lambda (1 + s^2/lambda): the step h in the clock of M is h/lambda of Langevin's.
    q = toy.target("gauss-1d")
    x = np.linspace(-6, 6, 401)
    damping = 1e6
    mirror = mirror_chain(q, damping, 0.1 * damping, x)
    plain = euler_chain(Coefficients(q, 1.0, "langevin"), 0.1, x)
    np.testing.assert_allclose(mirror.matrix[100:301], plain.matrix[100:301], atol=1e-5)


def test_the_autocorrelation_time_of_an_autoregression_is_its_closed_form():
    # Coefficient r = 1 - h: tau = (1 + r)/(1 - r), and over T steps 1 + 2 sum_k (1 - k/T) r^k.
    q, h, steps = toy.target("gauss-1d"), 0.3, 12
    coefficients = Coefficients(q, 1.0, "langevin")
    x = euler_grid(coefficients, h / 4, -9.0, 9.0)
    chain = euler_chain(coefficients, h, x)
    weight = chain.stationary() * chain.spacing
    r = 1 - h
    assert autocorrelation_time(chain, weight, x) == pytest.approx((1 + r) / (1 - r), rel=1e-6)
    finite = 1 + 2 * sum((1 - k / steps) * r**k for k in range(1, steps))
    assert autocorrelation_time(chain, weight, x, steps) == pytest.approx(finite, rel=1e-6)


@pytest.mark.parametrize(
    ("dynamics", "h", "message"),
    [
        ("mirror", 0.1, "dynamics must be one of"),
        ("corrected_normalised", 0.1, "h lambda"),
        ("literal", 0.0, "h must be"),
        ("literal", math.nan, "h must be"),
    ],
)
def test_bad_proposals_are_refused(dynamics, h, message):
    with pytest.raises(ValueError, match=message):
        Proposal(toy.target("gauss-1d"), 1.0, dynamics, h)


def test_evaluations_count_the_products_of_the_correction():
    q = toy.target("random-8d")
    assert [Proposal(q, 1.0, d, 0.1).evaluations for d in ("langevin", "literal", "corrected")] == [1, 1, 10]
