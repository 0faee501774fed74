r"""Symbolic calculus of densities of which nothing is known: derivatives, the damped inverse M and its divergence.

``log q`` is a function symbol L of the coordinates, so that ``s = grad L`` and ``H = hess L`` are whatever they may be.
"""

from __future__ import annotations

from typing import TypeAlias

import sympy
from sympy import Function, Matrix, diff, eye, symbols

__all__ = [
    "Coordinates",
    "claimed_divergence",
    "coordinates",
    "divergence",
    "gradient",
    "hessian",
    "inverse",
    "lam",
    "log_density",
]

#: The damping.
lam = symbols("lambda", positive=True)
Coordinates: TypeAlias = tuple[sympy.Symbol, ...]


def coordinates(d: int) -> Coordinates:
    """Return ``x_1 .. x_d``."""
    return tuple(symbols(f"x1:{d + 1}", real=True))


def log_density(x: Coordinates) -> sympy.Expr:
    """Return ``L(x) = log q(x)``, a function of which nothing is known."""
    return Function("L", real=True)(*x)


def gradient(f: sympy.Expr, x: Coordinates) -> Matrix:
    """Return the column of first derivatives."""
    return Matrix([diff(f, c) for c in x])


def hessian(f: sympy.Expr, x: Coordinates) -> Matrix:
    """Return the matrix of second derivatives."""
    return Matrix(len(x), len(x), lambda i, j: diff(f, x[i], x[j]))


def divergence(field: Matrix, x: Coordinates) -> Matrix:
    """Return ``sum_j d_j M_ij`` of a matrix field by differentiation."""
    return Matrix([sum(diff(field[i, j], x[j]) for j in range(len(x))) for i in range(len(x))])


def inverse(s: Matrix) -> Matrix:
    """Return ``M = (lambda I + s s^T)^{-1}``, by Eq. 8 (proven with K1)."""
    return (eye(s.rows) - s * s.T / (lam + s.dot(s))) / lam


def claimed_divergence(s: Matrix, H: Matrix) -> Matrix:
    """Return ``-(1/lambda)[(H s + s tr H)/(lambda + |s|^2) - 2 s (s^T H s)/(lambda + |s|^2)^2]``."""
    total = lam + s.dot(s)
    return -((H * s + s * H.trace()) / total - 2 * s * (s.T * H * s)[0] / total**2) / lam
