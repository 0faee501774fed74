"""Finite volumes: a reversible Markov chain at any resolution, and the right one as the cells shrink."""

import math

import numpy as np
import pytest
import torch

import toy
from theory_checks.numerics.fokker_planck import DIVERGENCES, _symmetric_matrix, reversible_flow
from theory_checks.numerics.spectral import COARSE, spectral_gap

TIMES = np.linspace(0.0, 5.0, 21)


def flow(name="bimodal-1d", dynamics="corrected", damping=1.0, cells=400, reach=10.0):
    return reversible_flow(toy.target(name), damping=damping, dynamics=dynamics, low=-reach, high=reach, cells=cells)


def start(x, mean=-1.0, width=0.4):
    p = np.exp(-0.5 * ((x - mean) / width) ** 2)
    return p / p.sum()


@pytest.mark.parametrize("cells", [40, 400])
@pytest.mark.parametrize("dynamics", ["langevin", "corrected", "corrected_normalised"])
def test_mass_is_kept_and_probabilities_stay_positive(dynamics, cells):
    found = flow(dynamics=dynamics, cells=cells)
    p = found.probabilities(start(found.x), TIMES)
    # Rounding: eigenvectors are orthonormal to n u, amplified by sqrt(pi) over its root, at most 1.
    np.testing.assert_allclose(p.sum(1), 1, atol=cells * 1e-13)
    assert p.min() > -1e-12
    np.testing.assert_allclose(p[0], start(found.x), atol=1e-12)


@pytest.mark.parametrize("dynamics", ["langevin", "corrected"])
def test_every_divergence_falls_in_time(dynamics):
    found = flow(dynamics=dynamics)
    p = found.probabilities(start(found.x), TIMES)
    assert set(DIVERGENCES) == {"chi-squared", "KL", "total variation", "Hellinger"}
    for name, divergence in DIVERGENCES.items():
        inside = found.weight > 1e-20
        values = [divergence(row[inside].clip(0), found.weight[inside]) for row in p]
        assert np.all(np.diff(values) < 1e-9), name
    chi = found.chi_squared(start(found.x), TIMES)
    assert np.all(np.diff(chi) < 0)
    inside = found.weight > 1e-20
    direct = [((row[inside] - found.weight[inside]) ** 2 / found.weight[inside]).sum() for row in p]
    np.testing.assert_allclose(chi, direct, rtol=1e-6)


def test_the_generator_is_in_detailed_balance_and_keeps_q():
    q = toy.target("skewed-1d")
    h = 0.05
    x = -6 + h * (np.arange(240) + 0.5)
    log_q = q.log_density(torch.from_numpy(x)[:, None]).numpy()
    log_c = q.log_density(torch.from_numpy(x[:-1] + h / 2)[:, None]).numpy()
    diagonal, off = _symmetric_matrix(log_q, log_c, np.linspace(1, 2, 239), h)
    matrix = np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1)
    # Rows of -L vanish on constants: in the symmetric variable on sqrt(pi).
    root = np.exp(0.5 * log_q)
    np.testing.assert_allclose((matrix @ root) / (diagonal * root), 0, atol=1e-12)
    rates = -off * root[1:] / root[:-1]  # L_{i,i+1}
    back = -off * root[:-1] / root[1:]
    np.testing.assert_allclose(np.exp(log_q[:-1]) * rates, np.exp(log_q[1:]) * back, rtol=1e-12)


def test_an_ornstein_uhlenbeck_process_is_reproduced_to_second_order():
    def error(cells):
        found = flow("gauss-1d", "langevin", cells=cells)
        p = found.probabilities(start(found.x, 1.0, 0.5), np.array([0.7]))[0]
        mean, variance = math.exp(-0.7), 1 + (0.25 - 1) * math.exp(-1.4)
        exact = np.exp(-((found.x - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
        return 0.5 * np.abs(p - exact * (found.x[1] - found.x[0])).sum()

    errors = [error(n) for n in (200, 400, 800)]
    assert errors[-1] < 1e-4
    assert math.log2(errors[1] / errors[2]) == pytest.approx(2, abs=0.05)  # the next power is h^4, 0.6 % of the first


@pytest.mark.parametrize(("name", "damping"), [("bimodal-1d", 1.0), ("bimodal-1d", 10.0)])
def test_the_gap_tends_to_that_of_finite_elements_at_second_order(name, damping):
    elements = spectral_gap(toy.target(name), damping=damping, **COARSE[1])
    gaps = [flow(name, damping=damping, cells=n, reach=12.0).gap for n in (300, 600, 1200)]
    assert math.log2((gaps[0] - gaps[1]) / (gaps[1] - gaps[2])) == pytest.approx(2, abs=0.1)
    step = (gaps[2] - gaps[1]) / 3
    assert abs(gaps[2] + step - elements.value) <= elements.error + abs(step)


def test_langevin_does_not_know_the_damping():
    assert flow(dynamics="langevin", damping=1.0).gap == flow(dynamics="langevin", damping=7.0).gap


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dynamics": "literal"}, "dynamics must be reversible"),
        ({"dynamics": "mirror"}, "dynamics must be one of"),
        ({"damping": -1.0}, "damping must be a finite positive number, got -1.0"),
        ({"cells": 1}, "cells must be at least 2, got 1"),
        ({"reach": 0.0}, "low must be below high"),
        ({"reach": 60.0}, "low and high must keep log q above -650"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        flow(**arguments)


def test_the_divergences_are_their_definitions():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.25, 0.5, 0.25])
    assert DIVERGENCES["chi-squared"](p, q) == pytest.approx(0.5)
    assert DIVERGENCES["KL"](p, q) == pytest.approx(0.5 * math.log(2))
    assert DIVERGENCES["total variation"](p, q) == pytest.approx(0.25)
    # 1 - H^2 = sum sqrt(p q).
    overlap = math.sqrt(0.125) + 0.5
    assert DIVERGENCES["Hellinger"](p, q) == pytest.approx(math.sqrt(1 - overlap))


def test_kl_of_nearly_equal_densities_is_half_their_chi_squared_to_all_digits():
    # KL = chi2/2 - E r^3/6 + ..: with r = 1e-6 sin, odd, the next term is of relative order r^2.
    q = np.full(1000, 1e-3)
    p = q * (1 + 1e-6 * np.sin(2 * np.pi * np.arange(1000) / 1000))
    assert DIVERGENCES["KL"](p, q) == pytest.approx(0.25e-12, rel=1e-8)


def test_kl_counts_cells_that_are_empty():
    p, q = np.array([0.0, 1.0]), np.array([0.25, 0.75])
    assert DIVERGENCES["KL"](p, q) == pytest.approx(math.log(4 / 3), rel=1e-14)
