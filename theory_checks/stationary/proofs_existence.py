r"""Proofs for S5 and S6: the literal generator on functions of the radius, and law and scale of a Gaussian's radius.

For any law of the data ``s = m(x) - x`` in the unit sigma, with the posterior mean m; here m is any vector.
"""

from __future__ import annotations

import sympy
from sympy import Matrix, diff, eye, symbols

from theory_checks.ledger.proofs import Proof
from theory_checks.numerics.symbolic_calculus import coordinates, inverse, lam

__all__ = ["PROOFS"]

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


PROOFS = (
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
