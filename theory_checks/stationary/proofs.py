r"""Proofs for S1 to S3 and C1: the dynamics of Eq. 7 on densities of which nothing is known.

``log q`` is a function symbol L, so that ``s = grad L`` and ``H = hess L`` are whatever they may be.
"""

from __future__ import annotations

from itertools import product

import sympy
from sympy import Function, Matrix, diff, exp, eye, symbols

from theory_checks.ledger.proofs import Proof
from theory_checks.numerics.symbolic_calculus import (
    claimed_divergence,
    coordinates,
    divergence,
    gradient,
    hessian,
    inverse,
    lam,
    log_density,
)

__all__ = ["PROOFS"]


def divergence_formula() -> Matrix:
    """``div M`` by differentiation less the formula, for every L in d = 1, 2, 3."""
    rows: list[sympy.Expr] = []
    for d in (1, 2, 3):
        x = coordinates(d)
        L = log_density(x)
        s = gradient(L, x)
        rows += list(divergence(inverse(s), x) - claimed_divergence(s, hessian(L, x)))
    return Matrix(rows)


def claimed_literal_density(L: sympy.Expr, s: sympy.Expr) -> sympy.Expr:
    """Return ``q (lambda + s^2)``."""
    return exp(L) * (lam + s**2)


def literal_flux() -> sympy.Expr:
    """``M s rho - (M rho)'`` over q for ``rho = q (lambda + s^2)``, every q in one dimension, Ito."""
    (x,) = coordinates(1)
    L = log_density((x,))
    s = diff(L, x)
    M, rho = 1 / (lam + s**2), claimed_literal_density(L, s)
    return (M * s * rho - diff(M * rho, x)) / exp(L)


def corrected_drift(s: Matrix, H: Matrix) -> Matrix:
    """Return ``M s + div M``."""
    return inverse(s) * s + claimed_divergence(s, H)


def corrected_flux() -> Matrix:
    """``b q - div(M q)`` over q for ``b = M s + div M``, every q in d = 1, 2."""
    rows: list[sympy.Expr] = []
    for d in (1, 2):
        x = coordinates(d)
        L = log_density(x)
        s = gradient(L, x)
        flux = corrected_drift(s, hessian(L, x)) - divergence(exp(L) * inverse(s), x) / exp(L)
        rows += list(flux)
    return Matrix(rows)


def gradient_form() -> Matrix:
    """The flux of any density ``rho = f q`` is ``-q M grad f``: over q, for every q and f in d = 1, 2.

    With it ``d chi2/dt = -2 E_q <grad f, M grad f>`` after one integration by parts.
    """
    rows: list[sympy.Expr] = []
    for d in (1, 2):
        x = coordinates(d)
        L, f = log_density(x), Function("f", real=True)(*x)
        s = gradient(L, x)
        M = inverse(s)
        rho = f * exp(L)
        flux = corrected_drift(s, hessian(L, x)) * f - divergence(rho * M, x) / exp(L)
        rows += list(flux + M * gradient(f, x))
    return Matrix(rows)


def claimed_defect(s: Matrix, H: Matrix, i: int, j: int, k: int) -> sympy.Expr:
    """Return ``T_ijk = H_ik s_j - H_ij s_k``."""
    return H[i, k] * s[j] - H[i, j] * s[k]


def mirror_defect() -> Matrix:
    """``d_k G_ij - d_j G_ik - (H_ik s_j - H_ij s_k)`` for every L in d = 2, 3."""
    rows = []
    for d in (2, 3):
        x = coordinates(d)
        L = log_density(x)
        s = gradient(L, x)
        G, H = lam * eye(d) + s * s.T, hessian(L, x)
        for i, j, k in product(range(d), repeat=3):
            rows.append(diff(G[i, j], x[k]) - diff(G[i, k], x[j]) - claimed_defect(s, H, i, j, k))
    return Matrix(rows)


def claimed_squared_defect(s: Matrix, H: Matrix) -> sympy.Expr:
    """Return ``|T|^2 = 2 (|H|^2 |s|^2 - |H s|^2)``."""
    return 2 * (sum(h**2 for h in H) * s.dot(s) - (H * s).dot(H * s))


def squared_defect() -> Matrix:
    """``sum_ijk T_ijk^2`` less its closed form, every symmetric H and every s, d = 2, 3."""
    rows = []
    for d in (2, 3):
        s = Matrix(symbols(f"s1:{d + 1}", real=True))
        H = Matrix(d, d, lambda i, j: symbols(f"h{min(i, j) + 1}{max(i, j) + 1}", real=True))
        total = sum(claimed_defect(s, H, i, j, k) ** 2 for i, j, k in product(range(d), repeat=3))
        rows.append(total - claimed_squared_defect(s, H))
    return Matrix(rows)


def gaussian_defect() -> Matrix:
    """For ``N(0, P^{-1})`` the defect of G itself, differentiated, is ``2 (|P|^2 |P x|^2 - |P^2 x|^2)``; d = 2, 3.

    P is diagonal, as any covariance is after a rotation. The last row of each d is the case ``P = I``, where that is
    ``2 (d - 1)|x|^2``: zero in one dimension only.
    """
    rows = []
    for d in (2, 3):
        x = coordinates(d)
        P = sympy.diag(*symbols(f"p1:{d + 1}", positive=True))
        s = -P * Matrix(x)
        G = lam * eye(d) + s * s.T
        total = sum((diff(G[i, j], x[k]) - diff(G[i, k], x[j])) ** 2 for i, j, k in product(range(d), repeat=3))
        rows.append(total - claimed_squared_defect(s, -P))
        plain = total.subs({P[i, i]: 1 for i in range(d)})
        rows.append(plain - 2 * (d - 1) * sum(c**2 for c in x))
    return Matrix(rows)


PROOFS = (
    Proof(
        "the divergence of M, for every density in d = 1, 2, 3",
        ("S2",),
        r"\nabla\!\cdot\! M = -\frac1\lambda\left[\frac{H s + s\,\mathrm{tr} H}{\lambda + |s|^2} - "
        r"\frac{2\,s\,(s^\top H s)}{(\lambda + |s|^2)^2}\right]",
        divergence_formula,
    ),
    Proof(
        "where the literal dynamics come to rest, for every density in d = 1",
        ("S1",),
        r"M s\,\rho - (M \rho)' = 0 \quad\mathrm{for}\quad \rho = q\,(\lambda + s^2),\; M = \frac{1}{\lambda + s^2}",
        literal_flux,
    ),
    Proof(
        "no flux with the corrected drift, for every density in d = 1, 2",
        ("S2",),
        r"(M s + \nabla\!\cdot\! M)\,q - \nabla\!\cdot(M q) = 0",
        corrected_flux,
    ),
    Proof(
        "the flux is a gradient's, for every density and every start in d = 1, 2",
        ("S2", "C1"),
        r"(M s + \nabla\!\cdot\! M)\,f q - \nabla\!\cdot(M f q) = -q\,M\,\nabla f",
        gradient_form,
    ),
    Proof(
        "the defect of the mirror reading, for every density in d = 2, 3",
        ("S3",),
        r"\partial_k G_{ij} - \partial_j G_{ik} = H_{ik} s_j - H_{ij} s_k",
        mirror_defect,
    ),
    Proof(
        "its size, for every symmetric H and every s in d = 2, 3",
        ("S3",),
        r"\sum_{ijk} (H_{ik} s_j - H_{ij} s_k)^2 = 2\,(|H|^2 |s|^2 - |H s|^2)",
        squared_defect,
    ),
    Proof(
        "a Gaussian of precision P in d = 2, 3",
        ("S3",),
        r"\sum_{ijk} (\partial_k G_{ij} - \partial_j G_{ik})^2 = 2\,(|P|^2 |P x|^2 - |P^2 x|^2), \quad"
        r"= 2\,(d-1)\,|x|^2 \;\mathrm{for}\; P = I",
        gaussian_defect,
    ),
)
