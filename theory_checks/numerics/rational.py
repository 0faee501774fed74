"""Algorithm 1 in exact rational arithmetic: floating-point inputs are rational numbers, so nothing is rounded.

The second method behind the kernel claims. Vectors are lists of `fractions.Fraction`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import mpmath
from torch import Tensor

__all__ = [
    "Vector",
    "combine",
    "determinant",
    "dot",
    "from_tensor",
    "log",
    "relative_error",
    "solve",
    "solve_dense",
    "textbook_direction",
]

Vector = list[Fraction]


def from_tensor(x: Tensor) -> Vector:
    """Return the entries of a tensor as exact fractions."""
    return [Fraction(value) for value in x.double().flatten().tolist()]


def dot(u: Sequence[Fraction], v: Sequence[Fraction]) -> Fraction:
    """Return the inner product."""
    return sum((a * b for a, b in zip(u, v, strict=True)), start=Fraction(0))


def combine(a: Fraction, u: Sequence[Fraction], b: Fraction, v: Sequence[Fraction]) -> Vector:
    """Return ``a u + b v``."""
    return [a * x + b * y for x, y in zip(u, v, strict=True)]


def textbook_direction(e: Vector, p: Vector, damping: Fraction, mixing: Fraction) -> Vector:
    """Return ``(lambda I + v v^T)^{-1} e`` times ``lambda``: Algorithm 1, steps 7, 11 and 12, by Eq. 8."""
    v = combine(mixing, p, 1 - mixing, e)
    return combine(Fraction(1), e, -dot(v, e) / (damping + dot(v, v)), v)


def relative_error(measured: Sequence[Fraction], direction: Vector, length_of: Vector) -> float:
    """Return ``|measured - x| / |x|`` for ``x`` in the direction of ``direction`` with the length of ``length_of``."""
    with mpmath.workdps(60):
        squared = Fraction(dot(length_of, length_of), dot(direction, direction))
        scale = mpmath.sqrt(mpmath.mpf(squared.numerator) / squared.denominator)
        total = mpmath.mpf(0)
        for m, r in zip(measured, direction, strict=True):
            exact = scale * r.numerator / r.denominator
            total += (mpmath.mpf(m.numerator) / m.denominator - exact) ** 2
        length = dot(length_of, length_of)
        return float(mpmath.sqrt(total / (mpmath.mpf(length.numerator) / length.denominator)))


def solve(s: Vector, damping: Fraction, x: Vector) -> Vector:
    """Solve ``(lambda I + s s^T) y = x`` by elimination on the dense matrix, with no use of its structure."""
    d = range(len(s))
    return solve_dense([[damping * (i == j) + s[i] * s[j] for j in d] for i in d], x)


def solve_dense(matrix: Sequence[Vector], x: Vector) -> Vector:
    """Solve ``matrix y = x`` for a positive definite matrix by elimination."""
    d = len(x)
    rows = [[*row, b] for row, b in zip(matrix, x, strict=True)]
    _eliminate(rows)
    y = [Fraction(0)] * d
    for i in reversed(range(d)):
        y[i] = (rows[i][d] - dot(rows[i][i + 1 : d], y[i + 1 :])) / rows[i][i]
    return y


def determinant(s: Vector, damping: Fraction) -> Fraction:
    """Return ``det(lambda I + s s^T)`` by elimination on the dense matrix."""
    d = len(s)
    rows = [[damping * (i == j) + s[i] * s[j] for j in range(d)] for i in range(d)]
    _eliminate(rows)
    product = Fraction(1)
    for i in range(d):
        product *= rows[i][i]
    return product


def log(x: Fraction) -> float:
    """Return the natural logarithm of a positive fraction, computed in 60 digits and rounded once."""
    with mpmath.workdps(60):
        return float(mpmath.log(mpmath.mpf(x.numerator) / x.denominator))


def _eliminate(rows: list[Vector]) -> None:
    """Bring a positive definite system to upper triangular form, in place; no pivot is zero."""
    for i in range(len(rows)):
        for k in range(i + 1, len(rows)):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
