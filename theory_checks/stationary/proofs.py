r"""Proofs for S1 to S3, C1 and C6: the dynamics of Eq. 7 on densities of which nothing is known.

``log q`` is a function symbol L, so that ``s = grad L`` and ``H = hess L`` are whatever they may be.
"""

from __future__ import annotations

from itertools import product

import sympy
from sympy import Function, Matrix, diff, exp, eye, symbols

from theory_checks.convergence import gaussian_gap
from theory_checks.hessian.proofs import coordinates, gradient, hessian
from theory_checks.ledger.proofs import Proof

__all__ = ["PROOFS"]

lam = symbols("lambda", positive=True)
Coordinates = tuple[sympy.Symbol, ...]


def log_density(x: Coordinates) -> sympy.Expr:
    """Return ``L(x) = log q(x)``, a function of which nothing is known."""
    return Function("L", real=True)(*x)


def inverse(s: Matrix) -> Matrix:
    """Return ``M = (lambda I + s s^T)^{-1}``, by Eq. 8 (proven with K1)."""
    return (eye(s.rows) - s * s.T / (lam + s.dot(s))) / lam


def divergence(field: Matrix, x: Coordinates) -> Matrix:
    """Return ``sum_j d_j M_ij`` of a matrix field by differentiation."""
    return Matrix([sum(diff(field[i, j], x[j]) for j in range(len(x))) for i in range(len(x))])


def claimed_divergence(s: Matrix, H: Matrix) -> Matrix:
    """Return ``-(1/lambda)[(H s + s tr H)/(lambda + |s|^2) - 2 s (s^T H s)/(lambda + |s|^2)^2]``."""
    total = lam + s.dot(s)
    return -((H * s + s * H.trace()) / total - 2 * s * (s.T * H * s)[0] / total**2) / lam


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


def claimed_rate(s: sympy.Expr, slope: sympy.Expr, p: sympy.Expr, p_slope: sympy.Expr) -> sympy.Expr:
    """Return ``R = -(p' + p^2 + s p + s')/(lambda + s^2)``."""
    return -(p_slope + p**2 + s * p + slope) / (lam + s**2)


def barta() -> sympy.Expr:
    """``(L f)'/f' + R`` for ``f' = h/M``, ``h = exp(P)``, ``p = P'``."""
    (x,) = coordinates(1)
    L, P = log_density((x,)), Function("P", real=True)(x)
    s = diff(L, x)
    M = 1 / (lam + s**2)
    slope = exp(P) / M
    generator = diff(exp(L) * M * slope, x) / exp(L)
    return diff(generator, x) / slope + claimed_rate(s, diff(s, x), diff(P, x), diff(P, x, 2))


def tail() -> sympy.Expr:
    """R at ``p = -theta s`` less ``(1 - theta)(theta s^2 - s')/(lambda + s^2)``."""
    (x,) = coordinates(1)
    theta = symbols("theta", positive=True)
    s = diff(log_density((x,)), x)
    slope = diff(s, x)
    closed = (1 - theta) * (theta * s**2 - slope) / (lam + s**2)
    return claimed_rate(s, slope, -theta * s, -theta * slope) - closed


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


def gaussian_eigenfunction() -> Matrix:
    """``L f + mu f`` over ``exp(|x|^2/(2 lambda))``, d = 1, 2, 3; see `gaussian_gap.eigenfunction_residual`."""
    return Matrix([gaussian_gap.eigenfunction_residual(d) for d in (1, 2, 3)])


def gaussian_barta() -> sympy.Expr:
    """``(-L w/w - 1/4)(lambda + x^2)^2 - (2 - lambda)(x^2 + lambda + 4)/4``; see `gaussian_gap.barta_excess`."""
    damping, x = symbols("lambda x", positive=True)
    return sympy.expand(gaussian_gap.barta_excess() - (2 - damping) * (x**2 + damping + 4) / 4)


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
    Proof(
        "an eigenfunction for N(0, I) in d = 1, 2, 3",
        ("C6",),
        r"L f = -\frac{\lambda - 1}{\lambda^2}\,f, \quad f = x_1\,e^{|x|^2/2\lambda}",
        gaussian_eigenfunction,
    ),
    Proof(
        "Barta's inequality for N(0, 1)",
        ("C6",),
        r"\left(-\frac{L w}{w} - \frac14\right)(\lambda + x^2)^2 = \frac{(2 - \lambda)(x^2 + \lambda + 4)}{4}, \quad "
        r"w = x\,e^{x^2/4}",
        gaussian_barta,
    ),
    Proof(
        "the rate of a trial function, for every density and every p in d = 1",
        ("C1c",),
        r"\frac{(L f)'}{f'} = \frac{p' + p^2 + s\,p + s'}{\lambda + s^2} = -R, \quad M f' = e^{\int p}",
        barta,
    ),
    Proof(
        "the rate in the tails, for every density in d = 1",
        ("C1c",),
        r"p = -\theta s \;\Rightarrow\; R = \frac{(1 - \theta)(\theta s^2 - s')}{\lambda + s^2}",
        tail,
    ),
)
