r"""Proofs for S1b, S5 and S6: conventions of the noise, the literal generator, law and scale of a Gaussian's radius.

For S6: for any law of the data ``s = m(x) - x`` in the unit sigma, with the posterior mean m; here m is any vector.
"""

from __future__ import annotations

import sympy
from sympy import Function, Matrix, diff, eye, symbols

from theory_checks.ledger.proofs import Proof
from theory_checks.numerics.symbolic_calculus import Coordinates, coordinates, divergence, inverse, lam, log_density

__all__ = ["PROOFS"]

theta = symbols("theta", real=True)
first, second = symbols("phi1 phi2", real=True)
r, v, dim = symbols("r v d", positive=True)


def claimed_terms(d: int, t2: sympy.Expr, tm: sympy.Expr, tp2: sympy.Expr) -> tuple[sympy.Expr, sympy.Expr]:
    """Return A and B of claim S6 for ``t^2``, ``t m`` and ``t^2 p^2``."""
    D = lam * t2 + (1 - tm) ** 2 + tp2
    return (d - 1) / lam - (1 - tm - t2) / D, t2 / D * (1 + tp2 / t2 / lam)


def radial_generator() -> Matrix:
    """``<M s, grad f> + tr(M hess f) - (2 phi' A + 4 phi'' |x|^2 B)`` for ``f = phi(|x|^2)``, any m, d = 2, 3."""
    rows = []
    for d in (2, 3):
        x, m = Matrix(coordinates(d)), Matrix(symbols(f"m1:{d + 1}", real=True))
        s, r2, along = m - x, x.dot(x), m.dot(x)
        M = inverse(s)
        slope, curvature = 2 * first * x, 2 * first * eye(d) + 4 * second * x * x.T
        A, B = claimed_terms(d, 1 / r2, along / r2, (m.dot(m) - along**2 / r2) / r2)
        rows.append((M * s).dot(slope) + (M * curvature).trace() - 2 * first * A - 4 * second * r2 * B)
    return Matrix(rows)


def claimed_scale_slope() -> sympy.Expr:
    """Return ``(d - 1)/r - (r/v)(1 - (d - 1)/(lambda v))``, minus the slope of the logarithm of the scale density."""
    return (dim - 1) / r - r / v * (1 - (dim - 1) / (lam * v))


def gaussian_scale() -> Matrix:
    """``b/M_r`` less its claimed form for ``N(0, v I)``, every d, and at ``lambda v = d - 1`` less ``(d - 1)/r``."""
    M = 1 / (lam + r**2 / v**2)
    b = (dim - 1) / (lam * r) - r / v * M
    equal = claimed_scale_slope().subs(lam, (dim - 1) / v)
    return Matrix([b / M - claimed_scale_slope(), equal - (dim - 1) / r])


def claimed_law() -> sympy.Expr:
    """Return ``(lambda + r^2/v^2) r^{d-1} exp(-(r^2/(2 v))(1 - (d-1)/(lambda v)))``."""
    return (lam + r**2 / v**2) * r ** (dim - 1) * sympy.exp(-(r**2) / (2 * v) * (1 - (dim - 1) / (lam * v)))


def zero_flux() -> sympy.Expr:
    """``b - (M_r p)'/p`` for the claimed law of the radius, every d, lambda and v."""
    M = 1 / (lam + r**2 / v**2)
    b = (dim - 1) / (lam * r) - r / v * M
    return sympy.simplify(b - diff(M * claimed_law(), r) / claimed_law())


def claimed_exponent() -> sympy.Expr:
    """Return ``theta - 1``, the power of M in the density of no flux in one dimension."""
    return theta - 1


def line_flux() -> sympy.Expr:
    """``M s + theta M' - (M rho)'/rho`` for ``rho = q M^{theta - 1}``, every q and every positive M in d = 1."""
    (x,) = coordinates(1)
    L, N = log_density((x,)), Function("N", positive=True)(x)
    rho_slope = diff(L, x) + claimed_exponent() * diff(N, x) / N
    return N * diff(L, x) + theta * diff(N, x) - diff(N, x) - N * rho_slope


def claimed_correction(R: Matrix, x: Coordinates) -> Matrix:
    """Return ``div(R R) - R div R``."""
    return divergence(R * R, x) - R * divergence(R, x)


def noise_correction() -> Matrix:
    """``sum_jk (d_j R_ik) R_jk`` less its claimed form, for every symmetric matrix field R in d = 1, 2, 3."""
    rows = []
    for d in (1, 2, 3):
        x = coordinates(d)
        R = Matrix(d, d, lambda i, j, x=x: Function(f"R{min(i, j) + 1}{max(i, j) + 1}", real=True)(*x))
        direct = [sum(diff(R[i, k], x[j]) * R[j, k] for j in range(d) for k in range(d)) for i in range(d)]
        rows += list(Matrix(direct) - claimed_correction(R, x))
    return Matrix(rows)


PROOFS = (
    Proof(
        "the density of no flux under every convention, for every density and every M in d = 1",
        ("S1b",),
        r"(M s + \theta M')\,\rho - (M \rho)' = 0 \quad\mathrm{for}\quad \rho = q\,M^{\theta - 1}",
        line_flux,
    ),
    Proof(
        "the drift that a convention adds, for every symmetric root in d = 1, 2, 3",
        ("S1b",),
        r"\sum_{jk} (\partial_j R_{ik})\,R_{jk} = \left(\nabla\!\cdot\! M - R\,\nabla\!\cdot\! R\right)_i, \quad M = "
        r"R R",
        noise_correction,
    ),
    Proof(
        "the law of the radius has no flux, for every d, damping and variance",
        ("S5",),
        r"\frac{d-1}{\lambda r} - \frac{r}{v}\,M_r = \frac{(M_r\,p)'}{p}, \quad p = \left(\lambda + \frac{r^2}{v^2}"
        r"\right) r^{d-1} e^{-\frac{r^2}{2v}\left(1 - \frac{d-1}{\lambda v}\right)}",
        zero_flux,
    ),
    Proof(
        "the scale density of the radius, and at equality, for every d",
        ("S5",),
        r"\frac{b}{M_r} = \frac{d-1}{r} - \frac{r}{v}\left(1 - \frac{d-1}{\lambda v}\right), \quad = \frac{d-1}{r} "
        r"\;\mathrm{at}\; \lambda v = d - 1",
        gaussian_scale,
    ),
    Proof(
        "the literal generator on functions of the radius, for every posterior mean in d = 2, 3",
        ("S6",),
        r"L\,\phi(|x|^2) = 2\,\phi' A + 4\,\phi''\,|x|^2 B, \quad A = \frac{d-1}{\lambda} - \frac{1 - t m - t^2}{D}, "
        r"\quad B = \frac{t^2}{D}\left(1 + \frac{p^2}{\lambda}\right)",
        radial_generator,
    ),
)
