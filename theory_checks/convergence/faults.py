"""Faults of claims C: the decay, the gap and its ceilings, divergences, log-Sobolev constants, their proofs."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sympy
import torch
from flint import arb, arb_series
from skfem.helpers import grad
from torch import Tensor

from theory_checks.convergence.against_langevin import check_against_langevin
from theory_checks.convergence.certified_gap import Line, check_certified_gap
from theory_checks.convergence.decay import check_decay
from theory_checks.convergence.divergences import check_divergences
from theory_checks.convergence.gap_ceiling import check_ceiling
from theory_checks.convergence.gaussian_gap import check_gaussian
from theory_checks.convergence.log_sobolev import check_log_sobolev
from theory_checks.convergence.varentropy import check_varentropy
from theory_checks.ledger.faults import fault
from theory_checks.numerics.fokker_planck import ReversibleFlow
from theory_checks.numerics.quadrature import grid
from theory_checks.numerics.symbolic_calculus import lam
from toy import GaussianMixture

Method = Callable[..., Tensor]
Number = Callable[..., float]
Formula = Callable[..., Any]

REDUCED = {
    "C1": partial(check_decay, cases=(("bimodal-1d", 10.0),)),
    "C1c": partial(check_certified_gap, cases=(("gauss-1d", 4.0), ("bimodal-1d", 1.0))),
    "C2": partial(check_divergences, cases=(("bimodal-1d", 1.0),)),
    "C3": partial(check_against_langevin, names=("bimodal-1d",), dampings=(0.1, 100.0)),
    "C4": partial(check_ceiling, names=("gauss-1d",)),
    "C5": partial(check_log_sobolev, names=("gauss-1d", "bimodal-1d")),
    "C6": partial(check_gaussian, strengths=(0.5, 10.0)),
    "C7": partial(check_varentropy, cases=(("random-8d", 0.0),), names=("gauss-1d", "bimodal-1d")),
}


@fault("theory_checks.numerics.euler_chain:drift", "C1")
def chain_without_the_divergence(original: Method) -> Method:
    """The chain's drift is ``M s``, the literal one."""
    return lambda at, *, damping, dynamics: original(at, damping=damping, dynamics="literal")


@fault("theory_checks.numerics.fokker_planck:diffusion_matrix", "C1")
def diffusion_matrix_of_the_volumes_squared(original: Method) -> Method:
    """``M^2`` in place of ``M`` between the cells."""
    return lambda s, *, damping, dynamics: original(s, damping=damping, dynamics=dynamics) ** 2


@fault("theory_checks.numerics.fokker_planck:_symmetric_matrix", "C1")
def conductances_without_the_diffusion_matrix(original: Callable[..., Any]) -> Callable[..., Any]:
    """``c = q/h``: plain Langevin."""
    return lambda log_q, log_c, D, h: original(log_q, log_c, np.ones_like(D), h)


@fault("theory_checks.numerics.fokker_planck:ReversibleFlow.chi_squared", "C1")
def chi_squared_at_half_its_rate(original: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    """``sum c_k^2 exp(-mu_k t)``: the square of the amplitude, but not of its decay."""

    def chi_squared(self: ReversibleFlow, start: np.ndarray, times: np.ndarray) -> np.ndarray:
        return original(self, start, 0.5 * times)

    return chi_squared


@fault("theory_checks.numerics.spectral:_root_gradient", "C1", "C4", "C7")
def half_of_the_root_left_out(original: Callable[..., Any]) -> Callable[..., Any]:
    """``grad g - s g``, as if ``g = q f``."""
    return lambda g, s: np.asarray(grad(g) - s * g)


@fault("theory_checks.numerics.finite_elements:diffusion_matrix", "C3", "C4", "C6")
def clock_of_the_other_dynamics(original: Method) -> Method:
    """``M`` and ``lambda M`` exchanged."""
    other = {"corrected": "corrected_normalised", "corrected_normalised": "corrected", "langevin": "langevin"}
    return lambda s, *, damping, dynamics: original(s, damping=damping, dynamics=other[dynamics])


@fault("theory_checks.numerics.finite_elements:diffusion_matrix", "C3")
def outer_product_added(original: Method) -> Method:
    """``I + s s^T/(lambda + |s|^2)``: a sign of Sherman and Morrison."""

    def diffusion_matrix(s: Tensor, *, damping: float, dynamics: str) -> Tensor:
        flat = original(0 * s, damping=damping, dynamics=dynamics)
        return 2 * flat - original(s, damping=damping, dynamics=dynamics)

    return diffusion_matrix


@fault("theory_checks.numerics.finite_elements:diffusion_matrix", "C3")
def langevin_with_half_the_noise(original: Method) -> Method:
    """``D = I/2`` for Langevin: the convention ``dX = s/2 dt + dB``, another clock."""

    def diffusion_matrix(s: Tensor, *, damping: float, dynamics: str) -> Tensor:
        return original(s, damping=damping, dynamics=dynamics) * (0.5 if dynamics == "langevin" else 1.0)

    return diffusion_matrix


@fault("theory_checks.numerics.finite_elements:diffusion_matrix", "C4")
def root_of_the_diffusion_matrix(original: Method) -> Method:
    """``M^{1/2}`` in place of ``M``, in one dimension."""
    return lambda s, *, damping, dynamics: original(s, damping=damping, dynamics=dynamics).sqrt()


def _powers(q: GaussianMixture, a: float, spacing: float) -> tuple[float, float]:
    """Return ``J(2a)`` and ``J(a)`` of claim C4."""
    x, cell = grid(q, spacing, reach=9.5 / math.sqrt(1 - 2 * a))
    log_q = q.log_density(x)
    return float(torch.exp((1 - 2 * a) * log_q).sum() * cell), float(torch.exp((1 - a) * log_q).sum() * cell)


@fault("theory_checks.convergence.gap_ceiling:quotient_bound", "C4")
def exponent_not_squared(original: Number) -> Number:
    """``a`` in place of ``a^2``."""
    return lambda q, a, *, spacing: original(q, a, spacing=spacing) / a


@fault("theory_checks.convergence.gap_ceiling:quotient_bound", "C4")
def mean_of_the_test_function_not_squared(original: Number) -> Number:
    """``J(2a) - J(a)`` in place of the variance."""

    def quotient_bound(q: GaussianMixture, a: float, *, spacing: float) -> float:
        double, single = _powers(q, a, spacing)
        return a**2 * double / (double - single)

    return quotient_bound


@fault("theory_checks.convergence.gap_ceiling:quotient_bound", "C4")
def mean_of_the_test_function_not_removed(original: Number) -> Number:
    """``E_q[f^2]`` in place of the variance: ``a^2``, which tends to 1/4 as well, but from below."""
    return lambda q, a, *, spacing: a**2


@fault("theory_checks.convergence.gaussian_gap:gaussian_gap", "C6")
def damping_over_the_variance(original: Number) -> Number:
    """``lambda/v`` in place of ``lambda v``."""
    return lambda damping, variance: original(damping, 1 / variance)


@fault("theory_checks.convergence.gaussian_gap:gaussian_gap", "C6")
def eigenvalue_without_its_square(original: Number) -> Number:
    """``(lambda v - 1)/(lambda v)``, which is the gap in the clock of ``lambda M``."""
    return lambda damping, variance: (
        original(damping, variance) * (damping * variance if damping * variance > 2 else 1.0)
    )


@fault("theory_checks.convergence.gaussian_gap:gaussian_gap", "C6")
def eigenfunction_taken_where_it_is_not_integrable(original: Number) -> Number:
    """The closed form without its condition ``lambda v > 2``."""
    return lambda damping, variance: (damping * variance - 1) / (damping * variance) ** 2


@fault("theory_checks.convergence.varentropy:log_density_quotient", "C7")
def second_moment_for_the_variance(original: Number) -> Number:
    """``E_q[(log q)^2]`` in place of the variance: the mean is not removed."""

    def quotient(q: GaussianMixture, damping: float, spacing: float) -> float:
        x, cell = grid(q, spacing)
        log_q = q.log_density(x)
        density = log_q.exp() * cell
        mean, second = float((density * log_q).sum()), float((density * log_q**2).sum())
        return original(q, damping, spacing) * (second - mean**2) / second

    return quotient


@fault("theory_checks.convergence.varentropy:_radial_bound", "C7")
def gradient_without_its_two(original: Number) -> Number:
    """``grad |x|^2 = x``: a quarter of the energy."""
    return lambda d, damping: original(d, damping) / 4


@fault("theory_checks.convergence.varentropy:_radial_bound", "C7")
def variance_of_one_coordinate(original: Number) -> Number:
    """``Var(|x|^2) = 2`` in place of ``2 d``."""
    return lambda d, damping: original(d, damping) * d


# --- divergences and log-Sobolev constants


@fault("theory_checks.numerics.euler_chain:drift", "C2")
def drift_without_the_divergence(original: Any) -> Any:
    """The Ito form is that of the literal reading: its drift lacks div M."""
    return lambda at, *, damping, dynamics: original(at, damping=damping, dynamics="literal")


@fault("theory_checks.numerics.fokker_planck:diffusion_matrix", "C2")
def diffusion_matrix_is_its_root(original: Any) -> Any:
    """The conductances are made of M^{1/2}."""
    return lambda s, **options: original(s, **options).sqrt()


@fault("theory_checks.convergence.divergences:DIVERGENCES", "C2")
def hellinger_without_the_root(original: Any) -> Any:
    """Hellinger's distance is given squared, and so falls at twice its rate."""
    return {**original, "Hellinger": lambda p, q: original["Hellinger"](p, q) ** 2}


@fault("theory_checks.convergence.divergences:DIVERGENCES", "C2")
def kl_the_wrong_way_round(original: Any) -> Any:
    """KL is taken of q from rho, which no chi-squared of rho from q bounds."""
    return {**original, "KL": lambda p, q: original["KL"](q, p + 1e-300)}


@fault("theory_checks.convergence.divergences:wasserstein", "C2")
def wasserstein_without_the_root(original: Any) -> Any:
    """The cost of transport is given for its root."""
    return lambda edges, p, q: original(edges, p, q) ** 2


@fault("theory_checks.numerics.fokker_planck:ReversibleFlow.gap", "C2", "C5")
def gap_is_the_third_eigenvalue(original: Any) -> Any:
    """The rate is read from the eigenvalue after the gap."""
    return property(lambda self: float(self.eigenvalues[2]))


@fault("theory_checks.convergence.log_sobolev:_criterion", "C5")
def criterion_of_the_plain_metric(original: Any) -> Any:
    """The integral of 1/(q M) is taken for that of 1/q, so that every reading has Langevin's constant."""
    return lambda log_p, resistance, step: original(log_p, 1 + 0 * resistance, step)


@fault("theory_checks.convergence.log_sobolev:log_sobolev_quotient", "C5")
def gradient_of_the_square(original: Any) -> Any:
    """The energy is that of q^{-a} instead of its root: four times as much."""

    def quotient(*args: Any, **options: Any) -> tuple[float, float]:
        value, bound = original(*args, **options)
        return value / 4, bound

    return quotient


@fault("theory_checks.convergence.log_sobolev:gaussian_bound", "C5")
def log_determinant_with_the_wrong_sign(original: Any) -> Any:
    """KL between two Gaussians adds the log of the ratio of variances that it must subtract."""
    return lambda a, d: original(a, d) - 2 * d / a**2 * math.log1p(-a)


# --- the certified gap


@fault("theory_checks.convergence.certified_gap:barta_rate", "C1c")
def rate_without_the_mixed_term(original: Formula) -> Formula:
    """``s p`` left out of the Riccati expression."""
    return lambda s, slope, p, p_slope, damping: (
        original(s, slope, p, p_slope, damping) + s * p / (arb(damping) + s * s)
    )


@fault("theory_checks.convergence.certified_gap:rayleigh", "C1c")
def energy_halved(original: Formula) -> Formula:
    """``E[M f'^2]/(2 Var f)``: the rate of chi-squared for that of its root."""
    return lambda energy, variance: original(energy, 2 * variance)


@fault("theory_checks.convergence.certified_gap:Line.score", "C1c")
def spread_of_the_components_twice(original: Formula) -> Formula:
    """``s' = -sum_k r_k/v_k + sum_{jk} r_j r_k (s_j - s_k)^2``, each pair in both orders."""

    def score(self: Line, x: arb_series) -> tuple[arb_series, arb_series]:
        s, slope = original(self, x)
        r = self.responsibilities(x)
        within = sum((-a / arb(v) for a, v in zip(r, self.variances, strict=True)), 0 * x)
        return s, 2 * slope - within

    return score


# --- symbolic proofs


@fault("theory_checks.convergence.gaussian_gap:eigenfunction_residual", "C6")
def eigenvalue_of_langevin(original: Formula) -> Formula:
    """``mu = 1/lambda``: Langevin's in the same clock."""
    return lambda d: original(d) + sympy.Symbol("x1", real=True) / lam**2


@fault("theory_checks.convergence.gaussian_gap:barta_excess", "C6")
def barta_with_a_larger_constant(original: Formula) -> Formula:
    """1/2 in place of 1/4."""
    x = sympy.symbols("x", positive=True)
    return lambda: original() - (lam + x**2) ** 2 / 4


@fault("theory_checks.convergence.proofs:claimed_rate", "C1c")
def rate_without_the_slope_of_the_score(original: Formula) -> Formula:
    """``s'`` left out."""
    return lambda s, slope, p, p_slope: original(s, sympy.Integer(0), p, p_slope)
