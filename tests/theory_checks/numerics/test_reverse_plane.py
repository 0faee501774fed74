import math

import numpy as np
import pytest
import torch

import toy
from theory_checks.numerics.reverse_plane import planar_ends
from theory_checks.numerics.reverse_time import ReverseFlow, particles

START = 2.5  # log-SNR -5


def pair():
    return toy.target("bimodal-2d")


def ends(damping, cells, steps, half_width=50.0):
    return planar_ends(pair(), damping, start=START, cells=cells, steps=steps, half_width=half_width)


def test_without_damping_both_flows_reach_the_data():
    coarse, fine = ends(math.inf, 16, 30, 7.0), ends(math.inf, 24, 60, 7.0)
    assert fine.distance("ode", "data") < 1e-6
    assert fine.distance("sde", "data") < 0.5 * coarse.distance("sde", "data")
    assert fine.distance("sde", "data") < 0.02
    assert float(fine.sde @ fine.weights) == pytest.approx(1, abs=1e-9)


@pytest.mark.slow
def test_with_damping_they_part_from_each_other_and_from_the_data():
    coarse, fine = ends(1.0, 20, 28), ends(1.0, 28, 40)
    for a, b, times in (("sde", "ode", 3), ("ode", "data", 100), ("sde", "data", 10)):
        error = abs(fine.distance(a, b) - coarse.distance(a, b))
        assert fine.distance(a, b) > times * error, (a, b, fine.distance(a, b), error)
    assert float(fine.sde @ fine.weights) == pytest.approx(1, abs=1e-9)
    assert float(fine.ode @ fine.weights) == pytest.approx(1, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "flow"), [("sde", "literal"), ("ode", "ode")])
def test_particles_end_as_the_grid_says(name, flow):
    coarse, fine = ends(1.0, 20, 28), ends(1.0, 28, 40)
    generator = torch.Generator().manual_seed(0)
    count = 20_000
    x, before = (particles(ReverseFlow(pair(), flow, 1.0, START), count, n, generator) for n in (400, 200))
    inside = lambda y: float(((y * y).sum(1) < 16).double().mean())

    def on_grid(found, width=4.0):
        return float((getattr(found, name) * found.weights)[found.radius < width].sum())

    error = 5 / (2 * count**0.5) + abs(inside(x) - inside(before)) + 2 * abs(on_grid(fine) - on_grid(coarse))
    assert abs(inside(x) - on_grid(fine)) <= error
    assert np.isfinite(error)
    assert error < 0.1
