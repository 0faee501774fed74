"""Seeded faults of the symbolic proofs: a wrong term in a formula, and its identity must no longer reduce to zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import sympy

from theory_checks.kernel import proofs as proofs_kernel
from theory_checks.ledger.faults import fault
from theory_checks.stationary import proofs as proofs_dynamics

Formula = Callable[..., Any]
_lam = proofs_kernel.lam


@fault("theory_checks.kernel.proofs:claimed_inverse", "K1")
def inverse_without_damping_below(original: Formula) -> Formula:
    """``(I - s s^T/|s|^2)/lambda``: the limit of small lambda."""
    return lambda A: (sympy.eye(2) - A / proofs_kernel.S) / _lam


@fault("theory_checks.kernel.proofs:claimed_root", "K1")
def root_without_a_root(original: Formula) -> Formula:
    """``lambda/(lambda + |s|^2)`` in place of its square root."""

    def root(A: sympy.Matrix) -> sympy.Matrix:
        return (sympy.eye(2) - A / (_lam + proofs_kernel.S)) / sympy.sqrt(_lam)

    return root


@fault("theory_checks.kernel.proofs:claimed_log_determinant", "K1")
def determinant_with_a_dimension_too_many(original: Formula) -> Formula:
    """``d log lambda``."""
    return lambda d: original(d) + sympy.log(_lam)


@fault("theory_checks.kernel.proofs:published_direction", "K2", "K3")
def weights_of_the_noises_swapped(original: Formula) -> Formula:
    """``v = (1 - kappa) p + kappa e``."""
    kappa = proofs_kernel.kappa
    return lambda: original().subs(kappa, 1 - kappa)


@fault("theory_checks.kernel.proofs:multistep_direction", "K3")
def multistep_form_with_the_wrong_sign(original: Formula) -> Formula:
    """``+ kappa (E + kappa X) D``."""
    return lambda: sympy.diag(1, -1) * original()


@fault("theory_checks.kernel.proofs:claimed_eta", "K3")
def strength_without_its_denominator(original: Formula) -> Formula:
    """``kappa (E + kappa X)/lambda``: the limit of small kappa."""
    k, X = proofs_kernel.kappa, proofs_kernel.X
    return lambda: k * (proofs_kernel.E + k * X) / _lam


@fault("theory_checks.kernel.proofs:rotation", "K3")
def rotation_with_all_of_the_move(original: Formula) -> Formula:
    """``zeta`` with ``<D,D>`` in place of ``<p',p'>``."""

    def rotation() -> tuple[sympy.Expr, sympy.Matrix, sympy.Expr]:
        zeta, orthogonal, w = original()
        return zeta * (_lam + proofs_kernel.kappa**2 * w) / (_lam + proofs_kernel.kappa**2), orthogonal, w

    return rotation


@fault("theory_checks.kernel.proofs:claimed_cosine", "K3")
def cosine_without_the_parallel_part(original: Formula) -> Formula:
    """``lambda E + kappa^2 E Q``."""
    return lambda: original() + proofs_kernel.kappa**2 * proofs_kernel.X**2


@fault("theory_checks.kernel.proofs:rank_two_zeta", "K3")
def rank_two_without_cross_terms(original: Formula) -> Formula:
    """The diagonal of W alone."""
    return lambda W, a: original(sympy.diag(W[0, 0], W[1, 1]), a)


@fault("theory_checks.hessian.proofs:claimed_residual", "H1")
def residual_doubled(original: Formula) -> Formula:
    """``s s^T - 2 hess(q)/q``."""

    def residual(q: sympy.Expr, x: tuple[sympy.Symbol, ...]) -> sympy.Matrix:
        return original(q, x) - sympy.Matrix(len(x), len(x), lambda i, j: sympy.diff(q, x[i], x[j]) / q)

    return residual


@fault("theory_checks.hessian.proofs:claimed_tweedie", "H2")
def covariance_over_sigma_squared(original: Formula) -> Formula:
    """``(alpha^2/sigma^2) Cov``."""
    sigma = sympy.symbols("sigma", positive=True)
    return lambda covariance: original(sigma**2 * covariance)


@fault("theory_checks.hessian.proofs:claimed_component", "H2")
def component_that_ignores_the_noise(original: Formula) -> Formula:
    """The component's own variance for that of its posterior."""
    return lambda mean, variance, x: (original(mean, variance, x)[0], variance)


@fault("theory_checks.hessian.proofs:claimed_mixture_covariance", "H2")
def covariance_between_components_only(original: Formula) -> Formula:
    """``u_k`` left out."""
    return lambda r, mu, u: original(r, mu, [sympy.Integer(0) for _ in u])


@fault("theory_checks.stationary.proofs:claimed_divergence", "S2")
def divergence_without_the_trace(original: Formula) -> Formula:
    """``s tr H`` left out."""
    return lambda s, H: original(s, H) + s * H.trace() / (_lam + s.dot(s)) / _lam


@fault("theory_checks.stationary.proofs:claimed_literal_density", "S1")
def density_with_the_inverse_metric(original: Formula) -> Formula:
    """``q/(lambda + s^2)``."""
    return lambda L, s: original(L, s) / (_lam + s**2) ** 2


@fault("theory_checks.stationary.proofs:corrected_drift", "S2", "C1")
def drift_as_written(original: Formula) -> Formula:
    """``M s``: the literal reading."""
    return lambda s, H: original(s, H) - proofs_dynamics.claimed_divergence(s, H)


@fault("theory_checks.stationary.proofs:claimed_defect", "S3")
def defect_with_the_wrong_sign(original: Formula) -> Formula:
    """``H_ik s_j + H_ij s_k``."""
    return lambda s, H, i, j, k: H[i, k] * s[j] + H[i, j] * s[k]


@fault("theory_checks.stationary.proofs:claimed_squared_defect", "S3")
def squared_defect_without_a_factor(original: Formula) -> Formula:
    """``|H|^2 |s|^2 - |H s|^2``."""
    return lambda s, H: original(s, H) / 2


@fault("theory_checks.convergence.gaussian_gap:eigenfunction_residual", "C6")
def eigenvalue_of_langevin(original: Formula) -> Formula:
    """``mu = 1/lambda``: Langevin's in the same clock."""
    return lambda d: original(d) + sympy.Symbol("x1", real=True) / _lam**2


@fault("theory_checks.convergence.gaussian_gap:barta_excess", "C6")
def barta_with_a_larger_constant(original: Formula) -> Formula:
    """1/2 in place of 1/4."""
    x = sympy.symbols("x", positive=True)
    return lambda: original() - (_lam + x**2) ** 2 / 4


@fault("theory_checks.hessian.proofs:claimed_square_gap", "H3", "H3c")
def square_gap_without_the_mixed_term(original: Formula) -> Formula:
    """``W`` left out of the quadratic form."""
    return lambda d, A, W, noise: original(d, A, W, noise) + 2 * (noise.T * W * noise)[0]


@fault("theory_checks.hessian.proofs:claimed_trace", "H3", "H3c")
def pairs_counted_twice(original: Formula) -> Formula:
    """``sum_ij`` without the half."""
    return lambda r, y: 2 * original(r, y)


@fault("theory_checks.stationary.proofs:claimed_rate", "C1c")
def rate_without_the_slope_of_the_score(original: Formula) -> Formula:
    """``s'`` left out."""
    return lambda s, slope, p, p_slope: original(s, sympy.Integer(0), p, p_slope)


@fault("theory_checks.annealing.proofs:repaired_drift", "A4")
def repaired_drift_without_the_divergence(original: Formula) -> Formula:
    """``f x - (g^2/2)(s + M s)``."""
    return lambda x, s, M, div_M: original(x, s, M, 0 * div_M)


@fault("theory_checks.annealing.proofs:reverse_change", "A4")
def reverse_time_taken_for_time(original: Formula) -> Formula:
    """``+ (g^2/2) sum_ij d_i d_j (M_ij rho)``: the noise of a forward equation."""

    def change(rho: sympy.Expr, a: sympy.Matrix, M: sympy.Matrix, x: tuple[sympy.Symbol, ...]) -> Any:
        return original(rho, a, -M, x)

    return change


@fault("theory_checks.annealing.proofs:claimed_excess", "A4")
def excess_without_the_divergence(original: Formula) -> Formula:
    """``(g^2/2) div(q (M - I) s)``."""
    return lambda q, x, s, M, div_M: original(q, x, s, M, 0 * div_M)
