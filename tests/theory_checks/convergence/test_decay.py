"""Claims C1, C3, C4, C6 and C7: their formulas against quadrature, sympy and each other."""

import math

import numpy as np
import pytest
import sympy
import torch

import toy
from theory_checks.convergence import FAMILY
from theory_checks.convergence.against_langevin import check_against_langevin
from theory_checks.convergence.decay import _decay_in_the_plane, literal_plateau
from theory_checks.convergence.gap_ceiling import gaussian_quotient, quotient_bound
from theory_checks.convergence.gaussian_gap import barta_excess, eigenfunction_residual, gaussian, gaussian_gap
from theory_checks.convergence.varentropy import _radial_bound, _variance_interval, log_density_quotient
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.max_error import MaxError
from theory_checks.numerics.density_ratio import DensityRatioFlow
from theory_checks.numerics.quadrature import grid
from theory_checks.numerics.spectral import COARSE, spectral_gap
from theory_checks.stationary.stationary_measure import literal_density


@pytest.mark.parametrize("damping", [0.1, 1.0, 10.0])
def test_the_plateau_of_the_literal_dynamics_is_the_chi_squared_of_their_density(damping):
    q = toy.target("bimodal-1d")
    x = torch.linspace(-9, 9, 6001, dtype=torch.float64)[:, None]
    cell = float(x[1] - x[0])
    density = q.log_density(x).exp()
    rho = literal_density(q, x, damping)
    rho = rho / (rho.sum() * cell)
    direct = float(((rho - density) ** 2 / density).sum()) * cell
    assert literal_plateau(q, damping, 0.002) == pytest.approx(direct, rel=1e-8)


def test_the_plateau_falls_to_zero_with_the_geometry():
    q = toy.target("bimodal-1d")
    values = [literal_plateau(q, damping, 0.01) for damping in (1.0, 100.0, 1e6)]
    assert values[0] > values[1] > values[2]
    assert values[2] < 1e-9


@pytest.mark.parametrize(("name", "d"), [("gauss-1d", 1), ("gauss-2d", 2)])
@pytest.mark.parametrize("a", [0.01, 0.25, 0.45])
def test_the_bound_by_powers_of_a_gaussian_is_its_closed_form(name, d, a):
    # The difference of J(2a) and J(a)^2 is 1e-4 of either at a = 0.01.
    assert quotient_bound(toy.target(name), a, spacing=0.3) == pytest.approx(gaussian_quotient(d, a), rel=1e-9)


@pytest.mark.parametrize("name", ["gauss-1d", "bimodal-1d", "skewed-1d"])
def test_the_bound_by_powers_starts_at_the_varentropy_and_ends_at_a_quarter(name):
    q = toy.target(name)
    x, cell = grid(q, 0.25)
    log_q = q.log_density(x)
    density = log_q.exp() * cell
    variance = float(density @ (log_q - density @ log_q) ** 2)
    ends = [quotient_bound(q, a, spacing=0.25) * variance - 1 for a in (1e-3, 5e-4)]
    assert ends[0] == pytest.approx(2 * ends[1], rel=0.02)  # the next term is of order a, the one behind it a^2
    assert abs(ends[1]) < 1e-2
    # Above 1/4 by J(a)^2/(4 J(2a)), of order sqrt(1 - 2a) in one dimension; the next term is 1 % of it.
    top = [quotient_bound(q, 0.5 - u, spacing=0.4) - 0.25 for u in (1e-5, 1e-7)]
    assert top[1] > 0
    assert top[1] / top[0] == pytest.approx(0.1, rel=0.05)


@pytest.mark.parametrize("name", ["bimodal-1d", "skewed-1d", "cross-2d"])
def test_the_bound_by_powers_does_not_depend_on_the_grid(name):
    q = toy.target(name)
    assert quotient_bound(q, 0.45, spacing=0.4) == pytest.approx(quotient_bound(q, 0.45, spacing=0.2), rel=1e-6)


@pytest.mark.parametrize("d", [1, 2, 3])
def test_the_eigenfunction_is_one(d):
    assert eigenfunction_residual(d) == 0


def test_another_eigenvalue_leaves_a_residual():
    # f = x exp(x^2/(2 lambda)), by hand: the residual is (mu - (lambda - 1)/lambda^2) x.
    lam, x, mu = sympy.symbols("lambda x mu", positive=True)
    f = x * sympy.exp(x**2 / (2 * lam))
    q = sympy.exp(-(x**2) / 2)
    generator = sympy.diff(q * sympy.diff(f, x) / (lam + x**2), x) / q
    residual = sympy.simplify((generator + mu * f) / sympy.exp(x**2 / (2 * lam)))
    assert sympy.simplify(residual - (mu - (lam - 1) / lam**2) * x) == 0
    assert sympy.simplify(residual.subs(mu, (lam - 1) / lam)) != 0


def test_bartas_inequality_holds_up_to_damping_two_and_no_further():
    lam, x = sympy.symbols("lambda x", positive=True)
    excess = barta_excess()
    assert sympy.expand(excess - (2 - lam) * (x**2 + lam + 4) / 4) == 0
    assert excess.subs({lam: 1, x: 3}) > 0
    assert excess.subs({lam: 3, x: 3}) < 0


def test_the_closed_form_is_continuous_and_never_above_a_quarter():
    assert gaussian_gap(2.0, 1.0) == gaussian_gap(1.0, 1.0) == 0.25
    assert gaussian_gap(2.0 + 1e-6, 1.0) == pytest.approx(0.25, abs=1e-12)
    assert gaussian_gap(6.0, 0.5) == gaussian_gap(3.0, 1.0) == pytest.approx(2 / 9)
    assert max(gaussian_gap(s, 1.0) for s in np.geomspace(1e-3, 1e6, 200)) == 0.25


def test_the_quotient_of_the_log_density_of_a_gaussian():
    # Var(x^2/2) = 1/2; E[x^2/(lambda + x^2)] = 1 - sqrt(pi lambda/2) e^(lambda/2) erfc(sqrt(lambda/2)).
    for damping in (0.1, 1.0, 10.0):
        mean = 1 - math.sqrt(math.pi * damping / 2) * math.exp(damping / 2) * math.erfc(math.sqrt(damping / 2))
        # The integrand has poles at +- i sqrt(lambda): the rule errs by exp(-2 pi sqrt(lambda)/spacing).
        spacing = 0.05
        error = 20 * math.exp(-2 * math.pi * math.sqrt(damping) / spacing) + 1e-12
        assert log_density_quotient(toy.target("gauss-1d"), damping, spacing) == pytest.approx(2 * mean, abs=error)


@pytest.mark.parametrize("d", [1, 2, 64])
def test_the_radial_quotient_at_large_damping_is_that_of_langevin_over_the_damping(d):
    # |x|^2 has the eigenvalue 2 under Langevin.
    assert 1e6 * _radial_bound(d, 1e6) == pytest.approx(2, rel=(d + 2) * 1e-6 + 2e-8)  # 2e-8: quad's own error


def test_the_radial_quotient_at_small_damping_is_two_over_d():
    assert _radial_bound(64, 1e-9) == pytest.approx(2 / 64, rel=1e-9)


def test_the_gap_of_the_plane_lies_below_the_radial_quotient():
    for damping in (0.1, 1.0):
        gap = spectral_gap(toy.target("gauss-2d"), damping=damping, **COARSE[2])
        assert gap.value - gap.error < _radial_bound(2, damping)


def test_the_interval_of_a_variance_covers_it_as_often_as_it_says():
    rng = np.random.default_rng(5)
    runs = 1000
    # Of a chi-squared law with 8 degrees of freedom, the law of log q of a Gaussian: variance 16.
    hits = 0
    for _ in range(runs):
        interval = _variance_interval(rng.chisquare(8, 2000), 0.9, 1)
        hits += interval.low <= 16 <= interval.high
    # Four standard errors of a share; the law of large numbers is off by 1 % at n = 2000 at most.
    assert abs(hits / runs - 0.9) < 4 * math.sqrt(0.9 * 0.1 / runs) + 0.01


def test_more_comparisons_widen_the_interval_of_a_variance():
    samples = np.random.default_rng(6).normal(size=500)
    one, six = (_variance_interval(samples, 0.95, n) for n in (1, 6))
    assert six.low < one.low < one.value < one.high < six.high


@pytest.mark.parametrize("v", [0.1, 5.0])
def test_the_damped_gap_tends_to_langevins_from_below(v):
    langevin = spectral_gap(gaussian(v), dynamics="langevin", **COARSE[1])
    ratios = []
    for strength in (3.0, 30.0, 3000.0):
        gap = spectral_gap(gaussian(v), damping=strength / v, dynamics="corrected_normalised", **COARSE[1])
        ratios.append(gap.value / langevin.value)
        assert ratios[-1] == pytest.approx(1 - 1 / strength, rel=2 * gap.error / gap.value + 1e-6)
    assert ratios[0] < ratios[1] < ratios[2] < 1


def test_a_gap_that_the_mesh_does_not_resolve_is_not_reported_as_the_largest():
    # On 32 cells the components of cross-2d are a third of a cell wide: the error is several times the ratio.
    finding = check_against_langevin(Settings(), names=("gauss-1d", "cross-2d"), dampings=(1e-3, 100.0))
    assert finding.data["cross-2d:error"][0] > finding.data["cross-2d:ratio"][0]
    assert finding.figure("the same, the largest of the targets").value == finding.data["gauss-1d:ratio"][0]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("claim", [FAMILY.claim(name) for name in ("C1", "C3", "C4", "C6", "C7")], ids=lambda c: c.id)
def test_the_verdict_does_not_hang_on_the_seed(claim, seed):
    finding = claim.load_check()(Settings(seed=seed))
    assert finding.verdict is claim.expected
    assert all(np.isfinite(figure.value) for figure in finding.figures)
    assert claim.load_draw()(finding).axes


def test_mass_that_is_not_kept_in_the_plane_is_seen(monkeypatch):
    right, mass = MaxError(), DensityRatioFlow.mass
    _decay_in_the_plane(right, toy.target("cross-2d"), 1.0)
    assert 0 < right["kept"] <= 1
    wrong, once = MaxError(), iter([1 + 1e-6])
    monkeypatch.setattr(DensityRatioFlow, "mass", lambda flow, f: mass(flow, f) * next(once, 1))
    _decay_in_the_plane(wrong, toy.target("cross-2d"), 1.0)
    assert wrong["kept"] > 1
