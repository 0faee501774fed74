"""Claim A4: the corrected SDE against closed forms and autograd, its faults, and what it costs in few steps."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from fault_cases import faults_of

import toy
from theory_checks.annealing import FAMILY
from theory_checks.annealing.corrected_sde import marginal_errors, step_at_a_mode
from theory_checks.annealing.faults import REDUCED
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.faults import find_faults, injected
from theory_checks.numerics.clock import graded_times, level_at
from theory_checks.numerics.reverse_particles import (
    ReverseSDE,
    coupled,
    divergence,
    ends,
    features_of,
    sliced_wasserstein,
)
from theory_checks.numerics.reverse_plane import planar_ends
from theory_checks.numerics.reverse_time import ReverseFlow

A4 = FAMILY.claim("A4")
FAULTS = faults_of("A4")


@pytest.fixture(scope="module")
def finding():
    return REDUCED["A4"](Settings())


@pytest.fixture(scope="module")
def cross():
    return toy.target("cross-2d")


def normals(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_the_reduced_check_holds_and_draws(finding):
    assert finding.verdict is A4.expected is Verdict.HOLDS
    assert len(A4.load_draw()(finding).axes) == 3


def test_eq_9_is_rejected_by_the_same_discretisations_at_ten_times_their_error(finding):
    controls = [figure for figure in finding.figures if "(control)" in figure.name]
    assert len(controls) == 2
    assert all(figure.value > 10 for figure in controls)


def test_the_claim_has_its_faults_in_formulas_grid_and_particles():
    assert len(FAULTS) >= 2
    places = {fault.target.partition(":")[0].rpartition(".")[2] for fault in find_faults() if "A4" in fault.kills}
    assert places == {"reverse_particles", "reverse_time", "corrected_sde", "proofs"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_an_injected_fault_turns_the_check_red(fault):
    with injected(fault):
        assert REDUCED["A4"](Settings()).verdict is not Verdict.HOLDS


@pytest.mark.parametrize("dim", [1, 2, 8])
def test_the_divergence_is_that_of_autograd(dim):
    q = toy.target({1: "skewed-1d", 2: "cross-2d", 8: "random-8d"}[dim]).diffuse(0.9, 0.3)
    damping, x = 0.3, normals(4, dim)

    def log_density(point):
        # log q by its own formula: the derivatives are autograd's, not those of the target.
        m, C = q.alpha * q.means, q.component_covariances.dense()
        r = point - m
        log_parts = q.weights.log() - 0.5 * torch.logdet(C) - 0.5 * (r * torch.linalg.solve(C, r)).sum(1)
        return torch.logsumexp(log_parts, 0)

    def inverse(point):
        (s,) = torch.autograd.grad(log_density(point), point, create_graph=True)
        return torch.linalg.inv(damping * torch.eye(dim, dtype=torch.float64) + torch.outer(s, s))

    slopes = [torch.autograd.functional.jacobian(inverse, p) for p in x]
    by_autograd = torch.stack([slope.diagonal(dim1=1, dim2=2).sum(1) for slope in slopes])
    s, H = q.score(x), q.hessian(x)
    M = torch.linalg.inv(damping * torch.eye(dim, dtype=torch.float64) + s[:, :, None] * s[:, None, :])
    # Inverses of condition (lambda + |s|^2)/lambda, of a few hundred here.
    torch.testing.assert_close(divergence(M, s, H), by_autograd, rtol=1e-9, atol=1e-10)


def test_coefficients_are_bounded_as_the_existence_of_the_process_asks():
    # Any s and any symmetric H: at one x a density has whatever score and Hessian.
    generator = torch.Generator().manual_seed(0)
    for dim in (1, 2, 8):
        s, H = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((5000, dim), (dim, dim)))
        s = s * torch.logspace(-3, 3, 5000, dtype=torch.float64)[:, None]
        along = s[:, :, None] * s[:, None, :] / (s * s).sum(1)[:, None, None]  # the direction in which the bound is met
        for hessians in (along, -along, (H + H.mT).expand(5000, -1, -1)):
            norm, trace = torch.linalg.matrix_norm(hessians, 2), hessians.diagonal(dim1=1, dim2=2).sum(1).abs()
            for damping in (1e-3, 1.0, 50.0):
                M = torch.linalg.inv(damping * torch.eye(dim, dtype=torch.float64) + s[:, :, None] * s[:, None, :])
                bound = damping**-1.5 * ((0.5 + 3 * 3**0.5 / 8) * norm + trace / 2)
                # Inverses of condition |s|^2/lambda, up to 1e10.
                assert bool((divergence(M, s, hessians).norm(dim=1) <= bound * (1 + 1e-5)).all())
                assert bool(((M @ s[:, :, None])[:, :, 0].norm(dim=1) <= 0.5 * damping**-0.5 * (1 + 1e-5)).all())


@pytest.mark.parametrize("name", ["cross-2d", "ring-2d"])
def test_score_and_hessian_have_the_means_that_bound_them_at_every_level(name):
    for tau in (1.0, 0.1, 1e-3):
        q = level_at(toy.target(name), tau)
        x = q.sample(4000, generator=torch.Generator().manual_seed(3))
        H = q.hessian(x)
        assert float(q.score(x).norm(dim=1).mean()) <= math.sqrt(2) / q.sigma
        assert float(torch.linalg.matrix_norm(H, 2).mean()) <= 4 / q.sigma**2
        assert float(H.diagonal(dim1=1, dim2=2).sum(1).abs().mean()) <= 4 / q.sigma**2


def test_the_two_methods_have_the_same_drift_and_noise_though_they_share_no_code(cross):
    x, tau, damping = normals(6, 2), 0.4, 0.3
    u = math.exp(tau) * x
    b, root = ReverseFlow(cross, "corrected", damping, 2.5).coefficients(u, tau)
    found = ReverseSDE(cross, "corrected", damping).at(x, tau)
    # u = x e^tau falls by dtau: du = e^tau (dx - x dtau).
    torch.testing.assert_close(b, math.exp(tau) * (found.drift - x))
    columns = torch.stack([root(e.expand(6, 2)) for e in torch.eye(2, dtype=torch.float64)], 2)
    torch.testing.assert_close(
        columns @ columns.mT, 2 * math.exp(2 * tau) * found.factor @ found.factor.mT, rtol=1e-10, atol=1e-10
    )


def test_the_grid_keeps_the_marginals_at_second_order_on_every_level():
    flow = ReverseFlow(toy.target("bimodal-1d"), "corrected", 1.0, 2.5)
    (taus, coarse, _), (_, fine, _) = marginal_errors(flow, 320), marginal_errors(flow, 640)
    assert taus == pytest.approx([2.0, 1.5, 1.0, 0.5, 0.0])
    np.testing.assert_allclose(np.log2(coarse / fine), 2, atol=0.2)


def test_finite_elements_that_know_no_divergence_end_at_the_data():
    data = toy.target("bimodal-2d")
    coarse, fine = (
        planar_ends(data, 1.0, start=2.5, cells=cells, steps=steps, half_width=9.0, corrected=True)
        for cells, steps in ((10, 10), (16, 20))
    )
    # Between second and third order in both: from 0.03 to 0.01.
    assert fine.distance("sde", "data") < 0.5 * coarse.distance("sde", "data")
    assert fine.distance("sde", "data") < 0.015


@pytest.mark.parametrize("name", ["corrected", "plain"])
def test_particles_of_a_gaussian_keep_its_covariance(name):
    data = toy.GaussianMixture(torch.ones(1), torch.zeros(1, 2), torch.tensor([[[1.0, 0.4], [0.4, 0.5]]]))
    sde = ReverseSDE(data, name, 1.0)
    x = sde.level(2.5).sample(8000, generator=torch.Generator().manual_seed(0))
    y = ends(sde, x, graded_times(2.5, 80), torch.Generator().manual_seed(1))
    # Five standard errors of a variance of one, and the bias of 80 steps, which is below 0.05.
    torch.testing.assert_close(torch.cov(y.T), data.covariance(), atol=5 * (2 / 8000) ** 0.5 + 0.05, rtol=0)


def test_halved_steps_share_their_noise(cross):
    sde, x = ReverseSDE(cross, "plain", 1.0), normals(500, 2)
    coarse, fine = coupled(sde, x, x, graded_times(1.0, 40), torch.Generator().manual_seed(0))
    other = ends(sde, x, graded_times(1.0, 40), torch.Generator().manual_seed(1))
    assert (coarse - fine).norm() < 0.3 * (other - fine).norm()
    with pytest.raises(ValueError, match="even number of steps"):
        coupled(sde, x, x, graded_times(1.0, 3), torch.Generator())


def test_the_exact_means_of_the_features_are_those_of_samples(cross):
    q, features = cross.diffuse(0.8, 0.6), features_of(2)
    seen = features.of(q.sample(40_000, generator=torch.Generator().manual_seed(2)))
    error = (seen.mean(0) - features.mean(q)).abs() / (seen.std(0) / 200)
    assert float(error.max()) < 4.5


def test_w2_of_a_shifted_and_stretched_gaussian_is_its_closed_form():
    q = toy.GaussianMixture(torch.ones(1), torch.zeros(1, 1), torch.tensor([1.0]))
    rank = (torch.arange(4000, dtype=torch.float64) + 0.5) / 4000
    x = 0.7 + 1.5 * math.sqrt(2) * torch.erfinv(2 * rank - 1)[:, None]
    # sqrt(0.7^2 + 0.5^2); midpoints of ranks miss the outermost tails, by 1/4000 of a squared distance of some 4.
    assert sliced_wasserstein(x, q) == pytest.approx(math.hypot(0.7, 0.5), rel=2e-3)


@pytest.mark.parametrize(("damping", "variance"), [(1e-3, 0.01), (1.0, 0.01), (1.0, 0.5)])
def test_the_stable_step_at_a_mode_shrinks_with_the_variance_times_the_damping(damping, variance):
    measured, derived = step_at_a_mode(damping, variance)
    assert measured == pytest.approx(derived, rel=4e-6)
    product = damping * variance
    # Without the drift of f, 1 against 2/v, the ratio is lambda v/(1 + lambda v).
    assert derived == pytest.approx(product / (1 + product), rel=variance)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_divergence_pulls_to_a_mode_with_the_dimension_and_one(dim):
    damping, variance = 0.1, 0.04
    s = 1e-4 * damping**0.5 * normals(3, dim) / dim**0.5
    x, H = -variance * s, -torch.eye(dim, dtype=torch.float64).expand(3, -1, -1) / variance
    M = torch.linalg.inv(damping * torch.eye(dim, dtype=torch.float64) + s[:, :, None] * s[:, None, :])
    pull = damping * divergence(M, s, H)
    # The next term is of relative size |s|^2/lambda ~ 1e-8.
    torch.testing.assert_close(pull, -(dim + 1) / (damping * variance**2) * x, rtol=1e-6, atol=0)


def test_bad_arguments_are_refused(cross):
    sde = ReverseSDE(cross, "corrected", 1.0)
    with pytest.raises(ValueError, match="name must be one of"):
        dataclasses.replace(sde, name="ode")
    for damping in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="damping must be"):
            dataclasses.replace(sde, damping=damping)
    with pytest.raises(ValueError, match="dim must be 1 or 2"):
        features_of(3)
