"""Seeded faults of claims C1, C3, C4, C6 and C7."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from skfem.helpers import grad
from torch import Tensor

from theory_checks.convergence.decay import check_against_langevin, check_decay
from theory_checks.convergence.gap_ceiling import check_ceiling
from theory_checks.convergence.gaussian_gap import check_gaussian
from theory_checks.convergence.varentropy import check_varentropy
from theory_checks.ledger.faults import fault
from theory_checks.numerics.fokker_planck import ReversibleFlow
from theory_checks.numerics.quadrature import grid
from toy import GaussianMixture

Method = Callable[..., Tensor]
Number = Callable[..., float]

REDUCED = {
    "C1": partial(check_decay, cases=(("bimodal-1d", 10.0),)),
    "C3": partial(check_against_langevin, names=("bimodal-1d",), dampings=(0.1, 100.0)),
    "C4": partial(check_ceiling, names=("gauss-1d",)),
    "C6": partial(check_gaussian, strengths=(0.5, 10.0)),
    "C7": partial(check_varentropy, cases=(("random-8d", 0.0),), names=("gauss-1d", "bimodal-1d")),
}


@fault("theory_checks.numerics.euler_chain:drift", "C1")
def chain_without_the_divergence(original: Method) -> Method:
    """The chain's drift is ``M s``, the literal one."""
    return lambda at, *, damping, dynamics: original(at, damping=damping, dynamics="literal")


@fault("theory_checks.numerics.fokker_planck:diffusion_matrix", "C1")
def mobility_of_the_volumes_squared(original: Method) -> Method:
    """``M^2`` in place of ``M`` between the cells."""
    return lambda s, *, damping, dynamics: original(s, damping=damping, dynamics=dynamics) ** 2


@fault("theory_checks.numerics.fokker_planck:_symmetric_matrix", "C1")
def conductances_without_the_mobility(original: Callable[..., Any]) -> Callable[..., Any]:
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
def root_of_the_mobility(original: Method) -> Method:
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
