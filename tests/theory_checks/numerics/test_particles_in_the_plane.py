"""Particles and finite elements of the corrected dynamics follow one path in the plane, from the same start."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from theory_checks.numerics.density_ratio import DensityRatioFlow
from theory_checks.numerics.levels import named_level
from theory_checks.numerics.particles import Proposal, euler

CENTRE, WIDTH = torch.tensor([1.0, 0.5], dtype=torch.float64), 0.4
TIME = 2.0
COUNT = 10_000


def start_density(x):
    return torch.exp(-0.5 * ((x - CENTRE) ** 2).sum(1) / WIDTH**2) / (2 * math.pi * WIDTH**2)


def by_elements(q, damping, dynamics, cells, steps):
    """E[x_1], E[x_2], E|x|^2 at the time: the functions are in the space, so that the moments are products with B."""
    flow = DensityRatioFlow(q, damping=damping, dynamics=dynamics, cells=cells, drop=40.0)
    f = flow.evolved(flow.start(start_density), TIME / steps, steps)[-1]
    x = np.asarray(flow.basis.doflocs)
    return np.array([g @ (flow.B @ f) for g in (x[0], x[1], (x**2).sum(0))])


def by_particles(q, damping, dynamics, steps):
    generator = torch.Generator().manual_seed(0)
    x = CENTRE + WIDTH * torch.randn((COUNT, 2), generator=generator, dtype=torch.float64)
    x = euler(Proposal(q, damping, dynamics, TIME / steps), x, steps, generator)
    samples = torch.stack([x[:, 0], x[:, 1], (x * x).sum(1)], 1).numpy()
    return samples.mean(0), samples.std(0) / COUNT**0.5


@pytest.mark.parametrize("name", ["gauss-2d", "ring-2d@0"])
@pytest.mark.parametrize(("damping", "dynamics"), [(4.0, "corrected"), (1.0, "corrected"), (1.0, "langevin")])
def test_particles_agree_with_the_solver(name, damping, dynamics):
    q = named_level(name)
    fine, coarse = by_elements(q, damping, dynamics, 40, 80), by_elements(q, damping, dynamics, 20, 40)
    (mean, error), (before, _) = (by_particles(q, damping, dynamics, steps) for steps in (128, 64))
    # First order in the step: what halving it changes is what remains. Eighteen moments, together at 99.9 %.
    quantile = stats.norm.ppf(1 - 0.001 / 36)
    limit = quantile * error + np.abs(mean - before) + np.abs(fine - coarse)
    assert (np.abs(mean - fine) <= limit).all(), (mean, fine, limit)
    moved = np.abs(fine - np.array([1.0, 0.5, 1.25 + 2 * WIDTH**2]))
    assert (moved > 2 * limit).any()  # the time is long enough to tell


def test_the_literal_drift_does_not_follow_the_corrected_flow():
    q = named_level("ring-2d@0")
    fine = by_elements(q, 1.0, "corrected", 40, 80)
    mean, error = by_particles(q, 1.0, "literal", 128)
    assert (np.abs(mean - fine) > 10 * error).any()
