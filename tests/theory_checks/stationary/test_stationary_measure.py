"""Claims S1, S2, S3 and S5: their closed forms against quadrature and automatic differentiation, golden figures."""

import itertools
import math

import numpy as np
import pytest
import sympy
import torch
from scipy import integrate

import toy
from theory_checks.ledger.claim import Settings
from theory_checks.numerics.dynamics import drift, fields
from theory_checks.stationary import FAMILY
from theory_checks.stationary.gaussian import class_of, mean_square, scale_integral, simulate
from theory_checks.stationary.mirror_map import circulation, defect
from theory_checks.stationary.proofs_existence import zero_flux
from theory_checks.stationary.stationary_measure import (
    WeakForm,
    chain_limit,
    literal_bias,
    literal_density,
    total_variation,
)


@pytest.mark.parametrize(("damping", "golden"), [(0.1, "0.42"), (1.0, "0.25"), (10.0, "0.05")])
def test_the_bias_of_the_literal_reading_is_that_of_the_theory_page(damping, golden):
    bias = literal_bias(toy.target("bimodal-1d"), damping, 0.002)
    assert f"{bias:.2f}" == golden
    assert bias == pytest.approx(literal_bias(toy.target("bimodal-1d"), damping, 0.004), abs=1e-6)


@pytest.mark.parametrize("damping", [0.1, 10.0])
def test_the_literal_density_has_no_flux(damping):
    # (M rho)' = M s rho, with the derivative by automatic differentiation.
    q = toy.target("skewed-1d")
    x = torch.linspace(-3, 3, 41, dtype=torch.float64)

    def carried(y):
        s = q.score(y[None, None])[0, 0]
        return literal_density(q, y[None, None], damping)[0] / (damping + s**2)

    slope = torch.stack([torch.func.jacrev(carried)(y) for y in x])
    s = q.score(x[:, None])[:, 0]
    flux = s * literal_density(q, x[:, None], damping) / (damping + s**2)
    torch.testing.assert_close(flux, slope, rtol=1e-10, atol=1e-14)


def test_the_literal_density_is_normalised_by_damping_plus_the_mean_squared_score():
    q, damping = toy.target("bimodal-1d"), 0.7
    x = torch.linspace(-9, 9, 3001, dtype=torch.float64)[:, None]
    cell = float(x[1] - x[0])
    mean = float((q.log_density(x).exp() * q.score(x)[:, 0] ** 2).sum()) * cell
    assert float(literal_density(q, x, damping).sum()) * cell == pytest.approx(damping + mean, rel=1e-10)


def test_the_literal_density_is_for_the_line():
    with pytest.raises(ValueError, match="q must have one dimension, got 2"):
        literal_density(toy.target("gauss-2d"), torch.zeros((1, 2), dtype=torch.float64), 1.0)


@pytest.mark.parametrize(("dynamics", "stationary"), [("corrected", True), ("literal", False), ("langevin", True)])
def test_the_chain_ends_at_q_for_the_reversible_dynamics_only(dynamics, stationary):
    q = toy.target("bimodal-1d")
    limit = chain_limit(q, 3.0, dynamics)
    off = total_variation(limit.density, q.log_density(torch.from_numpy(limit.x)[:, None]).exp().numpy(), limit.spacing)
    assert (off <= limit.error) is stationary
    if not stationary:
        assert off > 10 * limit.error


def test_the_derivatives_of_the_test_functions_are_right():
    # E_q[L f] for N(0, 1) and f = x^2 under Langevin: 2 E[x s + 1] = 0, of terms of size 2 E[x^2] + 2 = 4.
    value, size = WeakForm(toy.target("gauss-1d"), 0.1).residuals(damping=1.0, dynamics="langevin")["x_1^2"]
    assert abs(value) < 1e-13
    assert size == pytest.approx(4, rel=1e-12)


def test_the_weak_form_sees_the_missing_divergence():
    q = toy.target("cross-2d")
    form = WeakForm(q, 0.25)
    for value, size in form.residuals(damping=1.0, dynamics="corrected").values():
        assert abs(value) < 1e-3 * size
    literal = form.residuals(damping=1.0, dynamics="literal")
    assert max(abs(value) / size for value, size in literal.values()) > 0.1


def test_the_defect_is_the_norm_of_its_tensor():
    generator = torch.Generator().manual_seed(3)
    s = torch.randn((4, 5), dtype=torch.float64, generator=generator)
    H = torch.randn((4, 5, 5), dtype=torch.float64, generator=generator)
    H = H + H.mT
    T = torch.einsum("bik,bj->bijk", H, s) - torch.einsum("bij,bk->bijk", H, s)
    torch.testing.assert_close(defect(s, H), T.flatten(1).norm(dim=1), rtol=1e-12, atol=0)


def test_the_defect_vanishes_where_the_hessian_is_a_multiple_of_the_outer_product():
    s = torch.randn((3, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    H = -0.7 * s[:, :, None] * s[:, None, :]
    # The root of a difference of equal squares.
    assert float(defect(s, H).max()) < 1e-7 * float(H.flatten(1).norm(dim=1).max() * s.norm(dim=1).max())
    across = torch.eye(4, dtype=torch.float64) + H
    assert float(defect(s, across).min()) > 1


def test_the_circulation_does_not_depend_on_the_damping_and_vanishes_in_a_symmetric_square():
    q = toy.target("gauss-2d")
    corner = torch.tensor([-0.5, -0.5], dtype=torch.float64)
    assert float(circulation(q, 2.0, corner, 1.0, 12).norm()) < 1e-14  # Stokes: (int y, - int x), odd
    away = torch.tensor([1.0, 0.0], dtype=torch.float64)
    ours = [circulation(q, damping, away, 1.0, 12) for damping in (0.1, 5.0)]
    torch.testing.assert_close(ours[0], ours[1], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("d", "damping", "v"), [(1, 0.3, 2.0), (2, 3.0, 1.0), (3, 4.0, 1.0), (8, 3.5, 4.0), (64, 70.0, 1.0)]
)
def test_the_mean_square_of_the_radius_is_that_of_its_density(d, damping, v):
    rate = (1 - (d - 1) / (damping * v)) / (2 * v)
    peak = math.sqrt((d + 1) / (2 * rate))

    def density(r):
        return (damping + r**2 / v**2) * math.exp((d - 1) * math.log(r / peak) - rate * (r**2 - peak**2))

    ends = (1e-9, peak + 14 / math.sqrt(2 * rate))
    total, second = (
        integrate.quad(f, *ends, epsabs=0, epsrel=1e-11, limit=200, points=[peak])[0]
        for f in (density, lambda r: r**2 * density(r))
    )
    assert mean_square(d, damping, v) == pytest.approx(second / total, rel=1e-8)


@pytest.mark.parametrize(("d", "damping", "v"), [(2, 1.0, 1.0), (2, 0.5, 1.0), (3072, 0.001, 1.0)])
def test_without_a_law_the_mean_square_is_infinite(d, damping, v):
    assert mean_square(d, damping, v) == math.inf


def test_the_law_differs_from_q_also_where_it_exists():
    # Large damping: q again; E|X|^2 falls to v d.
    ratios = [mean_square(3, damping, 1.0) / 3 for damping in (3.0, 30.0, 3000.0)]
    assert all(a > b > 1 for a, b in itertools.pairwise(ratios))
    assert ratios[-1] < 1.01


def test_the_symbolic_flux_of_the_radius_vanishes():
    assert zero_flux() == 0


def test_the_drift_of_the_particles_is_the_literal_one():
    # One step without noise to speak of: h so small that sqrt(2 h) z is removed by averaging over +-z.
    generator = torch.Generator().manual_seed(0)
    found = simulate(2, 3.0, 1.0, h=0.01, steps=200, count=4000, generator=generator)
    assert found.shape == (4000,)
    # Euler-Maruyama from q at t in (1, 2): between E|X|^2 of q and of the law.
    assert 2 < found.mean() < mean_square(2, 3.0, 1.0)


def test_the_wrong_density_of_the_radius_would_have_a_flux():
    r, v, lam, d = sympy.symbols("r v lambda d", positive=True)
    M = 1 / (lam + r**2 / v**2)
    b = (d - 1) / (lam * r) - r / v * M
    of_q = r ** (d - 1) * sympy.exp(-(r**2) / (2 * v))
    assert sympy.simplify(b - sympy.diff(M * of_q, r) / of_q) != 0


def test_the_literal_drift_alone_enters_the_chain_of_s1():
    q = toy.target("bimodal-1d")
    x = torch.tensor([[0.4]], dtype=torch.float64)
    at = fields(q, x)
    s = float(at.s)
    assert float(drift(at, damping=2.0, dynamics="literal")) == pytest.approx(s / (2 + s * s), rel=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("claim", [FAMILY.claim(name) for name in ("S1", "S2", "S3", "S5")], ids=lambda c: c.id)
def test_the_verdict_does_not_hang_on_the_seed(claim, seed):
    finding = claim.load_check()(Settings(seed=seed))
    assert finding.verdict is claim.expected
    assert all(np.isfinite(figure.value) for figure in finding.figures)
    assert claim.load_draw()(finding).axes


@pytest.mark.parametrize(
    ("d", "damping", "expected"),
    [
        (1, 1e-3, "positive recurrent"),
        (2, 1.5, "positive recurrent"),
        (2, 1.0, "null recurrent"),
        (2, 0.5, "transient"),
        (3, 2.0, "transient"),
    ],
)
def test_a_gaussian_is_of_the_class_that_its_scale_says(d, damping, expected):
    assert class_of(d, damping, 1.0) == expected
    near, far = (scale_integral(d, damping, 1.0, upper) for upper in (1e3, 1e4))
    assert (far > 1.2 * near) == (expected != "transient")
