"""Faults of claims C8 to C10: the sectors of a Gaussian, the constant metric, the order of chi-squared, proofs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import sympy
import torch
from torch import Tensor

from theory_checks.convergence.chi_squared_order import check_order
from theory_checks.convergence.constant_metric import check_constant_metric
from theory_checks.convergence.gaussian_gap_high_dimension import check_high_dimension
from theory_checks.convergence.proofs_gaussian import d, r
from theory_checks.ledger.faults import fault

Formula = Callable[..., Any]

REDUCED = {
    "C8": partial(check_high_dimension, cases=((2, 1.0), (8, 30.0), (64, 0.01))),
    "C9": partial(check_constant_metric, planar=("cross-2d@0", "ring-2d@-3"), mixtures=()),
    "C10": check_order,
}


# --- the gap in any dimension


@fault("theory_checks.convergence.gaussian_gap_high_dimension:radial_exponent", "C8")
def exponent_of_one_dimension_fewer(original: Formula) -> Formula:
    """The radius's weight is taken for ``r^{d-2}``."""
    return lambda d, strength: original(d - 1, strength)


@fault("theory_checks.convergence.gaussian_gap_high_dimension:isotropic_gap", "C8")
def gap_without_its_square(original: Formula) -> Formula:
    """``2 a`` in place of ``2 a - 4 a^2``."""

    def gap(d: int, damping: float, variance: float) -> float:
        value = original(d, damping, variance)
        return float(0.5 * (1 - (1 - 4 * value) ** 0.5))

    return gap


@fault("theory_checks.convergence.gaussian_gap_high_dimension:isotropic_gap", "C8")
def radius_forgotten(original: Formula) -> Formula:
    """The value of degree one for every damping, or 1/4, as on the line."""

    def gap(d: int, damping: float, variance: float) -> float:
        strength = damping * variance
        return (strength - 1) / strength**2 if strength > 2 else 0.25

    return gap


@fault("theory_checks.convergence.gaussian_gap_high_dimension:_slopes", "C8")
def slopes_of_the_next_polynomial(original: Formula) -> Formula:
    """``L_n' = L_{n-1}`` with the sign and the terms below it left out."""
    return lambda alpha, count: np.abs(np.tril(np.triu(original(alpha, count), -1)))


# --- the constant metric


@fault("theory_checks.convergence.constant_metric:preconditioner", "C9")
def metric_not_inverted(original: Formula) -> Formula:
    """``E_q[s s^T]`` itself: the narrow directions get the long steps."""
    return lambda outer: torch.linalg.cholesky(outer)


@fault("theory_checks.convergence.constant_metric:linear_bound", "C9")
def bound_of_the_narrowest_direction(original: Formula) -> Formula:
    """The least eigenvalue in place of the largest: Cramer and Rao turned round."""

    def bound(covariance: Tensor, outer: Tensor) -> float:
        root = torch.linalg.cholesky(covariance)
        return 1 / float(torch.linalg.eigvalsh(root.mT @ outer @ root).min() * 0.9)

    return bound


@fault("theory_checks.convergence.constant_metric:moved", "C9")
def metric_moved_the_wrong_way(original: Formula) -> Formula:
    """``R x`` in place of ``R^{-1} x``."""
    return lambda q, R: original(q, torch.linalg.inv(R))


@fault("theory_checks.numerics.particles:Proposal.log_density", "C9")
def moves_taken_for_symmetric(original: Formula) -> Formula:
    """The way back of an adjusted chain is taken to be as likely: its accept rate, and its speed, are others."""
    return lambda self, local, y: 0.0 * original(self, local, y)


# --- chi-squared is not ordered


@fault("theory_checks.convergence.chi_squared_order:PLAIN", "C10")
def conductances_alike(original: Any) -> tuple[int, int]:
    """Both chains are the same: nothing overtakes."""
    return 1, 1


@fault("theory_checks.convergence.chi_squared_order:row_generator", "C10")
def inflow_twice(original: Formula) -> Formula:
    """The neighbours' part is counted twice: the constants are no equilibrium."""

    def generator(conductances: tuple[int, ...]) -> list[list[int]]:
        rows = original(conductances)
        return [[v if i == j else 2 * v for j, v in enumerate(row)] for i, row in enumerate(rows)]

    return generator


@fault("theory_checks.convergence.chi_squared_order:langevin_chi_squared", "C10")
def wave_at_half_the_time(original: Formula) -> Formula:
    """``e^{-t}`` in place of ``e^{-2t}``."""
    return lambda wave, times: original(wave, times / 2)


@fault("theory_checks.numerics.fokker_planck:diffusion_matrix", "C10")
def clock_of_the_geometry(original: Formula) -> Formula:
    """``M`` in place of ``lambda M`` between the cells."""
    return lambda s, *, damping, dynamics: (
        original(s, damping=damping, dynamics=dynamics) / (1.0 if dynamics == "langevin" else damping)
    )


# --- symbolic proofs


@fault("theory_checks.convergence.proofs_gaussian:claimed_rate", "C8")
def symbolic_gap_without_its_square(original: Formula) -> Formula:
    """``2 a`` in place of ``2 a - 4 a^2``."""
    return lambda exponent: 2 * exponent


@fault("theory_checks.convergence.proofs_gaussian:claimed_excess", "C8")
def excess_of_one_dimension(original: Formula) -> Formula:
    """The terms in ``d - 1`` left out."""
    return lambda: original().subs(d, 1)


@fault("theory_checks.convergence.proofs_gaussian:claimed_crossing", "C8")
def crossing_one_too_early(original: Formula) -> Formula:
    """``L = d`` in place of ``L = d + 1``."""
    return lambda: original().subs(d, d - 1)


@fault("theory_checks.convergence.proofs_gaussian:log_slope", "C8")
def weight_without_its_power(original: Formula) -> Formula:
    """``(log w)' = -r``: the volume of the sphere forgotten."""
    return lambda: -r


@fault("theory_checks.convergence.proofs_gaussian:claimed_eigenvalues", "C10")
def gap_of_equal_conductances(original: Formula) -> Formula:
    """``3 - sqrt(3)`` taken for 1."""
    return lambda: (sympy.Integer(3), sympy.Integer(1))


@fault("theory_checks.convergence.proofs_gaussian:claimed_wave", "C10")
def wave_that_keeps_its_size(original: Formula) -> Formula:
    """The exponential left out."""
    t, wave = sympy.symbols("t w", positive=True)
    return lambda: sympy.sin(wave * sympy.exp(-t) * sympy.Symbol("x", real=True))
