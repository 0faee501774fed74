"""Spectral gaps by finite elements against closed forms."""

import math

import numpy as np
import pytest
import torch

import toy
from theory_checks.convergence.gaussian_gap import gaussian, gaussian_gap
from theory_checks.numerics.spectral import COARSE, eigenvalues, spectral_gap
from toy import GaussianMixture


def plane(variance):
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixture(one, torch.zeros((1, 2), dtype=torch.float64), variance * one)


@pytest.mark.parametrize("v", [1e-4, 0.3, 1.0, 1e4])
def test_the_gap_of_langevin_for_a_gaussian_is_one_over_its_variance(v):
    gap = spectral_gap(gaussian(v), dynamics="langevin", **COARSE[1])
    assert gap.value == pytest.approx(1 / v, rel=1e-6)
    assert abs(gap.value - 1 / v) <= gap.error + 1e-9 / v  # 1e-9: of the iteration's tolerance and the shift's rounding


@pytest.mark.parametrize("strength", [1e-3, 0.3, 2.0, 3.0, 10.0, 1e4])
@pytest.mark.parametrize("v", [1e-4, 1e4])
def test_the_gap_of_the_corrected_dynamics_for_a_gaussian_is_the_closed_form(strength, v):
    gap = spectral_gap(gaussian(v), damping=strength / v, dynamics="corrected", **COARSE[1])
    assert abs(gap.value - gaussian_gap(strength / v, v)) <= gap.error
    assert gap.error < 0.1 * gap.value


@pytest.mark.parametrize("strength", [10.0, 100.0])
@pytest.mark.parametrize("v", [0.01, 1.0])
def test_in_the_plane_the_gap_at_large_damping_is_that_of_the_line(strength, v):
    # x_1 exp(|x|^2/(2 lambda v^2)) is an eigenfunction in any dimension; radial ones are faster there.
    gap = spectral_gap(plane(v), damping=strength / v, dynamics="corrected", **COARSE[2])
    exact = (strength - 1) / strength**2
    assert abs(gap.value - exact) <= gap.error < 0.05 * exact


def test_in_the_plane_the_eigenvalue_of_the_line_is_double():
    found = eigenvalues(plane(1.0), damping=10.0, dynamics="corrected", cells=32, drop=60.0, count=4)
    assert abs(found[0]) < 1e-4
    assert found[2] == pytest.approx(found[1], rel=1e-8)  # x_1 and x_2: the mesh has the symmetry of the square
    assert found[3] > 1.3 * found[1]


@pytest.mark.parametrize("dynamics", ["langevin", "corrected"])
def test_galerkin_values_fall_as_nested_meshes_are_refined(dynamics):
    q = toy.target("bimodal-1d")
    values = [
        eigenvalues(q, damping=1.0, dynamics=dynamics, cells=n, drop=60.0, count=2)[1] for n in (50, 100, 200, 400)
    ]
    assert np.all(np.diff(values) <= 1e-9 * values[-1])  # quadrature and iteration are exact to about this


def test_the_gap_of_a_wider_box_is_smaller_at_the_threshold():
    values = [
        eigenvalues(gaussian(1.0), damping=1.0, dynamics="corrected", cells=n, drop=drop, count=2)[1]
        for n, drop in ((500, 50.0), (1000, 200.0))
    ]
    assert values[0] > values[1] > 0.25


def test_on_50_to_50_the_gap_of_the_standard_normal_is_that_of_the_theory_page():
    # 50 standard deviations are a drop of 1250; THEORY.md, C4: 0.2502.
    value = eigenvalues(gaussian(1.0), damping=1.0, dynamics="corrected", cells=3000, drop=1250.0, count=2)[1]
    assert round(value, 4) == 0.2502


@pytest.mark.parametrize("damping", [0.1, 3.0])
def test_normalised_is_damping_times_corrected(damping):
    q = toy.target("skewed-1d")
    ours = [
        eigenvalues(q, damping=damping, dynamics=name, cells=400, drop=60.0, count=2)[1]
        for name in ("corrected_normalised", "corrected")
    ]
    assert ours[0] == pytest.approx(damping * ours[1], rel=1e-8)


def test_a_translation_does_not_change_the_gap():
    one = torch.ones(1, dtype=torch.float64)
    away = GaussianMixture(one, torch.full((1, 1), 1e3, dtype=torch.float64), one)
    gap = spectral_gap(away, damping=5.0, **COARSE[1])
    assert gap.value == pytest.approx(spectral_gap(gaussian(1.0), damping=5.0, **COARSE[1]).value, rel=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dynamics": "literal"}, "dynamics must be reversible"),
        ({"dynamics": "mirror"}, "dynamics must be one of .* got 'mirror'"),
        ({"damping": 0.0}, "damping must be a finite positive number, got 0.0"),
        ({"damping": math.inf}, "damping must be a finite positive number, got inf"),
        ({"cells": 0}, "cells must be at least 8, .* got 0"),
        ({"drop": 0.0}, "drop must be a finite positive number, got 0.0"),
    ],
)
def test_bad_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        spectral_gap(gaussian(1.0), **arguments)


@pytest.mark.parametrize("name", ["random-8d", "points-1d"])
def test_other_targets_are_refused(name):
    with pytest.raises(ValueError, match="target must be a GaussianMixture in one or two dimensions"):
        spectral_gap(toy.target(name))
