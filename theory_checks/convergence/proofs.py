r"""Proofs for C1c and C6: a rate of decay from a trial function, and the gap of a Gaussian."""

from __future__ import annotations

import sympy
from sympy import Function, Matrix, diff, exp, symbols

from theory_checks.convergence import gaussian_gap
from theory_checks.ledger.proofs import Proof
from theory_checks.numerics.symbolic_calculus import coordinates, lam, log_density

__all__ = ["PROOFS"]


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


def gaussian_eigenfunction() -> Matrix:
    """``L f + mu f`` over ``exp(|x|^2/(2 lambda))``, d = 1, 2, 3; see `gaussian_gap.eigenfunction_residual`."""
    return Matrix([gaussian_gap.eigenfunction_residual(d) for d in (1, 2, 3)])


def gaussian_barta() -> sympy.Expr:
    """``(-L w/w - 1/4)(lambda + x^2)^2 - (2 - lambda)(x^2 + lambda + 4)/4``; see `gaussian_gap.barta_excess`."""
    damping, x = symbols("lambda x", positive=True)
    return sympy.expand(gaussian_gap.barta_excess() - (2 - damping) * (x**2 + damping + 4) / 4)


PROOFS = (
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
)
