import math

import numpy as np
import pytest
import torch

import toy
from theory_checks.numerics.density_ratio import EULER_STEPS, DensityRatioFlow

U = torch.finfo(torch.float64).eps / 2


def normal(mean, width):
    mean = torch.tensor(mean, dtype=torch.float64)

    def density(x):
        return torch.exp(-0.5 * ((x - mean) ** 2).sum(1) / width**2) / (2 * math.pi * width**2) ** (len(mean) / 2)

    return density


@pytest.mark.parametrize(("name", "mean"), [("bimodal-1d", [1.0]), ("cross-2d", [1.0, 0.5])])
@pytest.mark.parametrize("dynamics", ["langevin", "corrected", "corrected_normalised"])
@pytest.mark.parametrize("dt", [0.01, 100.0])
def test_mass_is_kept_and_chi_squared_never_grows_on_any_mesh_for_any_step(name, mean, dynamics, dt):
    flow = DensityRatioFlow(toy.target(name), damping=0.3, dynamics=dynamics, cells=12)
    path = flow.evolved(flow.start(normal(mean, 0.7)), dt, 6)
    # A solve leaves a residual of 10 u |B + dt A/2| |f| an entry (an entry's fill, and the scaling), which is what mass
    # changes by, since A 1 = 0; chi-squared changes by it times |f|.
    stiff = abs(flow.B) + 0.5 * dt * abs(flow.A)
    residual = 10 * U * max((stiff @ abs(f)).sum() for f in path)
    assert max(abs(flow.mass(f) - 1) for f in path) <= 6 * residual
    chi = np.array([flow.chi_squared(f) for f in path])
    assert np.diff(chi).max() <= 10 * U * max(abs(f) @ (stiff @ abs(f)) for f in path)
    assert chi[-1] < chi[0]


@pytest.mark.parametrize(("name", "mean"), [("gauss-1d", [1.0]), ("gauss-2d", [1.0, -0.5])])
def test_the_mean_of_an_ornstein_uhlenbeck_process_decays_as_the_rule_says(name, mean):
    # x is in the space and an eigenfunction of rate one: a step multiplies it by (1 - dt/2)/(1 + dt/2), an Euler step
    # by (1 + dt/2)^-2. The box leaves out exp(-40), and quadrature of x^2 q converges with order six of the cells.
    flow = DensityRatioFlow(toy.target(name), damping=1.0, dynamics="langevin", cells=40)
    x = np.asarray(flow.basis.doflocs)[0]
    dt, steps = 0.1, 12
    path = flow.evolved(flow.start(normal(mean, 0.6)), dt, steps)
    means = np.array([x @ (flow.B @ f) for f in path])
    left = [(1 + dt / 2) ** -2 if k < EULER_STEPS else (1 - dt / 2) / (1 + dt / 2) for k in range(steps)]
    np.testing.assert_allclose(means, means[0] * np.cumprod([1.0, *left]), rtol=1e-7)
    assert means[0] == pytest.approx(mean[0], rel=1e-3)


def test_the_halves_of_implicit_euler_damp_what_the_midpoint_rule_would_leave():
    flow = DensityRatioFlow(toy.target("gauss-1d"), damping=1.0, dynamics="langevin", cells=60)
    path = flow.evolved(flow.start(normal([0.0], 0.05)), 1.0, 40)
    # Of the slowest even mode, of rate 2, a step of 1 leaves nothing; what is left is rough and must be small.
    assert flow.chi_squared(path[-1]) < 1e-6 * flow.chi_squared(path[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dynamics": "literal"}, "dynamics must be reversible"),
        ({"dynamics": "newton"}, "dynamics must be one of"),
        ({"drop": 0.0}, "drop must lie in"),
        ({"drop": 1e3}, "drop must lie in"),
    ],
)
def test_bad_input_names_the_argument(change, message):
    with pytest.raises(ValueError, match=message):
        DensityRatioFlow(toy.target("gauss-1d"), damping=1.0, **change)


def test_more_than_two_dimensions_are_refused():
    with pytest.raises(ValueError, match="target must have one or two dimensions, got 8"):
        DensityRatioFlow(toy.target("random-8d"), damping=1.0)
