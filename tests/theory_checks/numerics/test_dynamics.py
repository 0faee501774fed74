"""Drift, diffusion matrix and generator of the readings of Eq. 7 against automatic differentiation."""

import pytest
import torch

import toy
from theory_checks.numerics.dynamics import (
    DYNAMICS,
    diffusion_matrix,
    drift,
    fields,
    generator_of_square,
    generator_of_wave,
)

DAMPING = 0.7
REVERSIBLE = [name for name in DYNAMICS if name != "literal"]


@pytest.fixture(params=["skewed-1d", "cross-2d", "random-8d"])
def q(request):
    return toy.target(request.param)


@pytest.fixture
def x(q):
    return q.sample(5, generator=torch.Generator().manual_seed(1))


def definition(q, y, dynamics):
    """``D(y)`` for one point, by inversion of G."""
    identity = torch.eye(q.dim, dtype=torch.float64)
    if dynamics == "langevin":
        return identity
    s = q.score(y[None])[0]
    M = torch.linalg.inv(DAMPING * identity + torch.outer(s, s))
    return DAMPING * M if dynamics == "corrected_normalised" else M


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_the_diffusion_matrix_is_the_inverse_of_the_geometry(q, x, dynamics):
    expected = torch.stack([definition(q, y, dynamics) for y in x])
    torch.testing.assert_close(
        diffusion_matrix(q.score(x), damping=DAMPING, dynamics=dynamics), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("dynamics", REVERSIBLE)
def test_the_reversible_drift_is_diffusion_matrix_times_score_plus_divergence(q, x, dynamics):
    expected = []
    for y in x:
        D = definition(q, y, dynamics)
        jacobian = torch.func.jacrev(lambda z: definition(q, z, dynamics))(y) if dynamics != "langevin" else None
        divergence = torch.zeros_like(y) if jacobian is None else torch.einsum("ijj->i", jacobian)
        expected.append(D @ q.score(y[None])[0] + divergence)
    found = drift(fields(q, x), damping=DAMPING, dynamics=dynamics)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-10)


def test_the_literal_drift_has_no_divergence(q, x):
    expected = torch.stack([definition(q, y, "literal") @ q.score(y[None])[0] for y in x])
    torch.testing.assert_close(
        drift(fields(q, x), damping=DAMPING, dynamics="literal"), expected, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize("dynamics", DYNAMICS)
def test_the_generators_are_those_of_the_drift_and_the_diffusion_matrix(q, x, dynamics):
    at = fields(q, x)
    b, D = (
        f
        for f in (
            drift(at, damping=DAMPING, dynamics=dynamics),
            diffusion_matrix(at.s, damping=DAMPING, dynamics=dynamics),
        )
    )
    k = torch.linspace(0.3, 1.1, q.dim, dtype=torch.float64)

    def generator(f):
        first, second = torch.func.jacrev(f), torch.func.jacrev(torch.func.jacrev(f))
        return (b * torch.vmap(first)(x)).sum(1) + (D * torch.vmap(second)(x)).sum((1, 2))

    square = generator_of_square(at, damping=DAMPING, dynamics=dynamics)
    wave = generator_of_wave(at, k, damping=DAMPING, dynamics=dynamics)
    torch.testing.assert_close(square, generator(lambda y: 0.5 * (y * y).sum()), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(wave, generator(lambda y: torch.cos(y @ k)), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("call", [drift, diffusion_matrix])
def test_unknown_dynamics_are_refused(call):
    q = toy.target("gauss-1d")
    x = torch.zeros((1, 1), dtype=torch.float64)
    first = fields(q, x) if call is drift else x
    with pytest.raises(ValueError, match=r"dynamics must be one of langevin, literal, .* got 'mirror'"):
        call(first, damping=1.0, dynamics="mirror")
