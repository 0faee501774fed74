"""Algorithm 1 in exact rational arithmetic, the oracle of the kernel's tests; it knows nothing of the form K3.

Floating-point numbers are rational, so the only rounding is that of the final square root, to 50 digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import mpmath
import torch
from torch import Tensor

Vector = list[Fraction]

PRECISIONS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def fractions(x: Tensor) -> Vector:
    return [Fraction(value) for value in x.double().flatten().tolist()]


def dot(u: Vector, v: Vector) -> Fraction:
    return sum((a * b for a, b in zip(u, v, strict=True)), start=Fraction(0))


def solve(matrix: list[Vector], rhs: Vector) -> Vector:
    """Solve a positive definite system by Gaussian elimination."""
    d = len(rhs)
    rows = [[*row, b] for row, b in zip(matrix, rhs, strict=True)]
    for i in range(d):
        for k in range(i + 1, d):
            factor = rows[k][i] / rows[i][i]
            rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    x = [Fraction(0)] * d
    for i in reversed(range(d)):
        x[i] = (rows[i][d] - dot(rows[i][i + 1 : d], x[i + 1 :])) / rows[i][i]
    return x


def damped_direction(e: Vector, history: list[Vector], damping: Fraction, mixing: Fraction) -> Vector:
    """Steps 7, 11 and 12: ``(lambda I + sum_j v_j v_j^T)^{-1} e`` with ``v_j = kappa p_j + (1 - kappa) e``."""
    v = [[mixing * a + (1 - mixing) * b for a, b in zip(p, e, strict=True)] for p in history]
    d = range(len(e))
    matrix = [[damping * (i == j) + sum(u[i] * u[j] for u in v) for j in d] for i in d]
    return solve(matrix, e)


def distance(out: Tensor, e: Vector, r: Vector) -> float:
    """Return ``|out - |e| r/|r||``: the error of a result against step 13."""
    with mpmath.workdps(50):
        scale = mpmath.sqrt(_mpf(dot(e, e) / dot(r, r)))
        return float(mpmath.sqrt(sum((_mpf(a) - scale * _mpf(b)) ** 2 for a, b in zip(fractions(out), r, strict=True))))


def _mpf(x: Fraction) -> mpmath.mpf:
    return mpmath.mpf(x.numerator) / x.denominator


@dataclass(frozen=True)
class Conditioning:
    """The exact scalars of one rotation, lengths in units of ``|e|``, and what rounding may do to them.

    Attributes:
        w: ``|p'|``, with ``p'`` the part of the previous noise orthogonal to ``e``.
        length: ``|p|``.
        slope: ``<e, p - e>``.
        lam, kappa: the damping (in units of ``|e|^2``) and the mixing.
        moved: the change of ``zeta p'`` when every inner product has the relative error ``c u`` of its terms and ``p'``
            the error ``c u (|p| + |e|)``, ``u = 2^-53``.
    """

    w: float
    length: float
    slope: float
    lam: float
    kappa: float
    moved: float

    @classmethod
    def of(cls, noise: Tensor, previous: Tensor, damping: float, mixing: float, c: float) -> Conditioning:
        e, p = fractions(noise), fractions(previous)
        E, P = dot(e, e), dot(p, p)
        along = dot(e, p) / E
        with mpmath.workdps(50):
            w, length = mpmath.sqrt(_mpf(P / E - along * along)), mpmath.sqrt(_mpf(P / E))
            lam, k = _mpf(Fraction(damping) / E), mpmath.mpf(mixing)
            slack = c * 2.0**-53 * (1 + length)
            a = abs(1 + k * _mpf(along - 1))
            a_most = a + c * 2.0**-53 * (1 + k * length)
            # The denominators at the p' nearest to and furthest from zero that rounding allows.
            most = k * a_most / (lam + k**2 * max(mpmath.mpf(0), w - slack) ** 2)
            least = k * a / (lam + k**2 * (w + slack) ** 2)
            moved = most * slack + (most - least) * (w + slack) + c * 2.0**-53 * most * w
            return cls(*(float(x) for x in (w, length, _mpf(along - 1), lam, k, moved)))

    def zeta(self, floor: float = 0.0) -> float:
        """Return ``zeta``; with a floor, that of a ``w`` whose square was increased by the floor's."""
        a = abs(1 + self.kappa * self.slope)
        return self.kappa * a / (self.lam + self.kappa**2 * (self.w**2 + floor**2))

    @property
    def cos(self) -> float:
        """The cosine of the exact rotation."""
        return 1 / math.hypot(1, self.zeta() * self.w)
