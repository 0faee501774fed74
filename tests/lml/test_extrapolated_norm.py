"""The norm of a turned noise: extrapolated as the direction is, in every dtype, at every scale."""

import math

import pytest
import torch

from lml.controls import extrapolation_coefficient
from lml.correction import LML, Memory
from lml.extrapolated_norm import extrapolated_norm, turn_weight

PLAIN, EXTRAPOLATED = LML(damping=1e-3, mixing=5e-4), LML(damping=1e-3, mixing=5e-4, norm="extrapolated")


def noises(dtype=torch.float64, scale=1.0):
    generator = torch.Generator().manual_seed(0)
    e = torch.randn((5, 3, 4), generator=generator, dtype=torch.float64)
    p = e + 0.3 * torch.randn((5, 3, 4), generator=generator, dtype=torch.float64)
    return (scale * e).to(dtype), (scale * p).to(dtype)


def norms(x):
    return x.double().flatten(1).norm(dim=1)


def test_the_norm_is_extrapolated_by_the_weight_of_the_turn_and_the_direction_is_that_of_lml():
    e, p = noises()
    turned, memory = EXTRAPOLATED.correct(e, Memory((p,)))
    plain, _ = PLAIN.correct(e, Memory((p,)))
    own, past = norms(e), norms(p)
    D = (p - e).flatten(1)
    E, X = own**2, (e.flatten(1) * D).sum(1)
    kappa, lam = 5e-4, 1e-3 * E
    zeta = kappa * (E + kappa * X) / (lam + kappa**2 * (D.square().sum(1) - X**2 / E))
    torch.testing.assert_close(norms(turned), own + zeta * (own - past))
    torch.testing.assert_close(zeta, torch.full((5,), 0.5, dtype=torch.float64), rtol=1e-3, atol=0)
    scale = turned / plain
    torch.testing.assert_close(scale, scale[:, :1, :1].expand_as(scale))
    assert memory.history[0] is e


def test_the_weight_is_that_of_the_rotation_itself():
    e, p = noises()
    kappa, lam = 0.3, 2.0
    turned = LML(lam, kappa, damping_mode="absolute").direction(e, (p,)).flatten(1)
    flat, across = e.flatten(1), (p - e).flatten(1)
    across = across - (flat * across).sum(1, keepdim=True) / (flat * flat).sum(1, keepdim=True) * flat
    zeta = turn_weight(e, p, damping=lam, mixing=kappa)
    expected = flat - zeta[:, None] * across
    torch.testing.assert_close(turned / norms(e)[:, None], expected / expected.norm(dim=1, keepdim=True))


def test_the_norm_never_exceeds_that_of_the_extrapolation():
    e, p = noises()
    for eta in (0.1, 0.5, 2.0):
        free = norms(e + eta * (e - p))
        assert bool((extrapolated_norm(e, p, eta) <= free + 1e-14).all())


def test_a_norm_that_would_not_be_positive_is_the_current_one():
    e, p = noises()
    torch.testing.assert_close(extrapolated_norm(e, 10 * p, 0.5), norms(e))


def test_the_first_noise_and_no_mixing_are_left_as_they_are():
    e, p = noises()
    assert EXTRAPOLATED.correct(e, Memory())[0] is e
    assert LML(mixing=0.0, norm="extrapolated").correct(e, Memory((p,)))[0] is e


@pytest.mark.parametrize(("dtype", "unit"), [(torch.float32, 2**-24), (torch.float16, 2**-11), (torch.bfloat16, 2**-8)])
def test_the_dtype_is_kept_and_costs_its_rounding(dtype, unit):
    e, p = noises(dtype)
    turned, _ = EXTRAPOLATED.correct(e, Memory((p,)))
    exact, _ = EXTRAPOLATED.correct(e.double(), Memory((p.double(),)))
    assert (turned.dtype, turned.shape) == (dtype, e.shape)
    # The direction is rounded once, and once more with its norm.
    assert bool(((turned.double() - exact).abs() <= 2.1 * unit * exact.abs()).all())


@pytest.mark.parametrize("scale", [1e-100, 1e150])
def test_the_unit_of_the_noise_does_not_matter(scale):
    e, p = noises()
    e_scaled, p_scaled = noises(scale=scale)
    turned = EXTRAPOLATED.direction(e_scaled, (p_scaled,))
    torch.testing.assert_close(turned / scale, EXTRAPOLATED.direction(e, (p,)))


def test_no_noise_stays_no_noise_and_a_large_one_stays_finite():
    zero = torch.zeros((2, 3), dtype=torch.float64)
    assert EXTRAPOLATED.direction(zero, (zero,)).equal(zero)
    assert bool(EXTRAPOLATED.direction(zero, (zero + 1,)).isfinite().all())
    large = torch.full((1, 8), 6e4, dtype=torch.float16)
    assert bool(EXTRAPOLATED.direction(large, (large / 8,)).isfinite().all())


def test_a_sample_does_not_depend_on_its_batch():
    e, p = noises(torch.float32)
    whole = EXTRAPOLATED.direction(e, (p,))
    assert all(EXTRAPOLATED.direction(e[i : i + 1], (p[i : i + 1],)).equal(whole[i : i + 1]) for i in range(5))


def test_it_has_a_derivative():
    e, p = noises()
    e = e[:2].requires_grad_()
    assert torch.autograd.gradcheck(lambda x: EXTRAPOLATED.direction(x, (p[:2],)), e)


def test_a_turn_that_no_extrapolation_gives_has_a_norm_that_is_bounded():
    """Where ``lambda + kappa X + kappa^2 Q = 1e-9`` the control extrapolates by 1e8, and the turn has weight 1/2."""
    e, p = torch.tensor([[1.0, 0.0]], dtype=torch.float64), torch.tensor([[-1.0, 0.5]], dtype=torch.float64)
    kappa, X, Q = 0.25, -2.0, 4.25
    lam = -kappa * X - kappa**2 * Q + 1e-9
    assert float(extrapolation_coefficient(e, p, damping=lam, mixing=kappa)) == pytest.approx(1.25e8, rel=1e-6)
    assert float(turn_weight(e, p, damping=lam, mixing=kappa)) == pytest.approx(0.5, rel=1e-6)
    turned = LML(lam, kappa, damping_mode="absolute", norm="extrapolated").direction(e, (p,))
    assert float(norms(turned)) == pytest.approx(1 + 0.5 * (1 - math.sqrt(1.25)), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"norm": "free"}, "norm must be one of kept, extrapolated, got 'free'"),
        ({"norm": "extrapolated", "rank": 2}, "rank must be 1 with norm='extrapolated', got 2"),
    ],
)
def test_what_does_not_fit_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LML(**options)
