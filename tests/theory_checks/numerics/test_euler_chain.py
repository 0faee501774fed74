"""The Euler chain on a grid against what is known of it in closed form."""

import math

import numpy as np
import pytest
import torch

import toy
from theory_checks.numerics.euler_chain import Coefficients, EulerChain, euler_chain, euler_grid, euler_limit


def ornstein_uhlenbeck(x):
    """``dX = -X dt + sqrt(2) dB``: the stationary law is N(0, 1)."""
    return -x, np.ones_like(x)


def chain(h, reach=9.0):
    return euler_chain(ornstein_uhlenbeck, h, euler_grid(ornstein_uhlenbeck, h, -reach, reach))


@pytest.mark.parametrize("h", [0.02, 0.1, 0.5])
def test_the_euler_chain_of_ornstein_and_uhlenbeck_has_the_variance_1_over_1_minus_half_h(h):
    # X' = (1 - h) X + sqrt(2 h) z: v = (1 - h)^2 v + 2 h gives v = 1/(1 - h/2).
    found = chain(h)
    p = found.stationary()
    variance = 1 / (1 - h / 2)
    exact = np.exp(-(found.x**2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    # The rule's error of 4e-13 a step, over 1/h steps of memory, times the largest density.
    assert np.abs(p - exact).max() < 4e-13 / h
    assert p @ found.x**2 * found.spacing == pytest.approx(variance, abs=4e-12 / h)


def test_rows_are_transition_probabilities():
    found = chain(0.1)
    assert found.matrix.min() >= 0
    np.testing.assert_allclose(found.matrix.sum(1), 1, rtol=1e-14)


def test_a_gaussian_evolves_as_the_recursion_of_its_moments():
    h, doublings = 0.05, 5
    found = chain(h)
    mean, variance = 1.0, 0.25
    start = np.exp(-((found.x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
    densities = found.evolved(start, doublings)
    # The first step's integrand, start times kernel, is the narrowest: the rule errs by
    # 2 exp(-2 (pi c)^2) with c the cells that it spans.
    narrowest = math.sqrt(1 / (1 / variance + (1 - h) ** 2 / (2 * h)))
    bound = 2 * math.exp(-2 * (math.pi * narrowest / found.spacing) ** 2)
    assert densities.shape == (doublings + 1, len(found.x))
    for k in range(2**doublings):
        mean, variance = (1 - h) * mean, (1 - h) ** 2 * variance + 2 * h
        if k + 1 in (1, 2, 4, 8, 16, 32):
            exact = np.exp(-((found.x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
            assert np.abs(densities[int(math.log2(k + 1))] - exact).max() < bound


def test_the_limit_is_the_law_of_the_diffusion_and_its_error_covers_it():
    h = 0.1
    limit = euler_limit(ornstein_uhlenbeck, EulerChain.stationary, h, -9.0, 9.0)
    exact = np.exp(-(limit.x**2) / 2) / math.sqrt(2 * math.pi)
    off = 0.5 * np.abs(limit.density - exact).sum() * limit.spacing
    plain = chain(h / 4)
    gauss = np.exp(-(plain.x**2) / 2) / math.sqrt(2 * math.pi)
    without = 0.5 * np.abs(plain.stationary() - gauss).sum() * plain.spacing
    assert off < limit.error < 0.1 * without


def test_the_error_of_the_limit_falls_like_h_squared():
    errors = [euler_limit(ornstein_uhlenbeck, EulerChain.stationary, h, -8.0, 8.0).error for h in (0.08, 0.04)]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(2, abs=0.1)  # the next power of h is 4 % of the first


def test_coefficients_are_those_of_the_dynamics():
    q = toy.target("gauss-1d")
    x = np.linspace(-3, 3, 7)
    b, D = Coefficients(q, 2.0, "literal")(x)
    np.testing.assert_allclose(D, 1 / (2 + x**2), rtol=1e-14)
    np.testing.assert_allclose(b, -x / (2 + x**2), rtol=1e-14)
    b, _ = Coefficients(q, 2.0, "corrected")(x)
    # div M = d/dx 1/(lambda + x^2) = -2 x/(lambda + x^2)^2.
    np.testing.assert_allclose(b, -x / (2 + x**2) - 2 * x / (2 + x**2) ** 2, rtol=1e-13, atol=1e-16)


def test_a_target_in_the_plane_is_refused():
    with pytest.raises(ValueError, match="q must have one dimension, got 2"):
        Coefficients(toy.target("gauss-2d"), 1.0, "literal")


def test_the_chain_of_langevin_keeps_no_density_of_another_target():
    q = toy.target("bimodal-1d")
    limit = euler_limit(Coefficients(q, 1.0, "langevin"), EulerChain.stationary, 0.02, -6.0, 6.0)
    density = q.log_density(torch.from_numpy(limit.x)[:, None]).exp().numpy()
    assert 0.5 * np.abs(limit.density - density).sum() * limit.spacing < limit.error < 1e-2
