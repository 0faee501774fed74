"""Trial functions for the certified bounds of a spectral gap: cubic splines, found in floats and then taken as exact.

Nothing is trusted of them: a bad trial makes a bound weak, never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import scipy.linalg
import torch
from flint import acb, arb, arb_series
from scipy.integrate import solve_ivp

from toy import GaussianMixture

__all__ = ["Ball", "Spline", "eigenfunction", "riccati_solution"]

Ball = TypeVar("Ball", acb, arb_series)

_KNOTS = 1 / 32  # spacing of the Riccati solution
_CELLS = 1 / 8  # spacing of the eigenfunction, whose error counts squared


@dataclass(frozen=True)
class Spline:
    """A cubic spline by its values and slopes at knots; exactly these floats."""

    knots: np.ndarray
    values: np.ndarray
    slopes: np.ndarray

    def piece(self, i: int) -> Callable[[Ball], tuple[Ball, Ball]]:
        """Return the piece between two knots and its derivative, as functions of balls or of Taylor series."""
        a, h = arb(float(self.knots[i])), arb(float(self.knots[i + 1])) - arb(float(self.knots[i]))
        (p0, p1), (d0, d1) = ([arb(float(y)) for y in ys[i : i + 2]] for ys in (self.values, self.slopes))
        mean = (p1 - p0) / h
        c2, c3 = (3 * mean - 2 * d0 - d1) / h, (d0 + d1 - 2 * mean) / (h * h)

        def evaluate(x: Ball) -> tuple[Ball, Ball]:
            t = x - a
            return p0 + t * (d0 + t * (c2 + t * c3)), d0 + t * (2 * c2 + t * (3 * c3))

        return evaluate


def _fields(q: GaussianMixture, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return q, s and s' at points (n,)."""
    at = torch.from_numpy(np.ascontiguousarray(x))[:, None]
    return q.log_density(at).exp().numpy(), q.score(at)[:, 0].numpy(), q.laplacian(at).numpy()


def riccati_solution(q: GaussianMixture, damping: float, rate: float, reach: float) -> Spline:
    """Solve ``p' = -p^2 - s p - s' - rate (lambda + s^2)`` from the left, until ``p = -s/2`` on the right.

    The solution starts with ``p = -theta s``, theta slightly above the smaller root of ``theta (1 - theta) = rate``.
    For a rate below the gap it stays finite, and runs to the larger root on the right.
    """

    def slope(x: float, p: np.ndarray) -> np.ndarray:
        _, s, change = (float(field[0]) for field in _fields(q, np.array([x])))
        return -(p**2) - s * p - change - rate * (damping + s * s)

    count = math.ceil(reach / _KNOTS)
    knots = np.arange(-count, count + 1) * _KNOTS
    theta = 1.02 * (0.5 - math.sqrt(max(0.0, 0.25 - rate)))
    start = -theta * _fields(q, knots[:1])[1]
    found = solve_ivp(slope, (knots[0], knots[-1]), start, t_eval=knots, method="DOP853", rtol=1e-10, atol=1e-12)
    x, p = found.t, found.y[0]
    s = _fields(q, x)[1]
    beyond = x > float(q.means.max()) + 2 * math.sqrt(float(q.component_covariances.dense().max()))
    past = beyond & (p >= -0.5 * s)
    last = int(np.argmax(past)) if past.any() else len(x) - 1
    slopes = np.array([float(slope(a, b)) for a, b in zip(x, p, strict=True)])
    return Spline(x[: last + 1], p[: last + 1], slopes[: last + 1])


def eigenfunction(q: GaussianMixture, damping: float, reach: float) -> Spline:
    """Return the spline on ``[-reach, reach]``, constant beyond, of least ``E_q[M f'^2]/Var_q f``: Galerkin's."""
    cells = math.ceil(2 * reach / _CELLS)
    knots = -reach + 2 * reach / cells * np.arange(cells + 1)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    t, h = 0.5 * (nodes + 1), knots[1] - knots[0]
    # Hermite's basis on a cell: value and slope at its left end, value and slope at its right end.
    basis = np.stack(((1 + 2 * t) * (1 - t) ** 2, h * t * (1 - t) ** 2, t**2 * (3 - 2 * t), h * t**2 * (t - 1)))
    slope = np.stack((6 * t * (t - 1), h * (1 - t) * (1 - 3 * t), 6 * t * (1 - t), h * t * (3 * t - 2))) / h
    density, s, _ = _fields(q, (knots[:-1, None] + h * t).ravel())
    mass = density.reshape(cells, -1) * (0.5 * h * weights)
    energy = mass / (damping + s.reshape(cells, -1) ** 2)
    A, B = np.zeros((2, 2 * cells + 2, 2 * cells + 2))
    for i in range(cells):
        block = slice(2 * i, 2 * i + 4)
        A[block, block] += (slope * energy[i]) @ slope.T
        B[block, block] += (basis * mass[i]) @ basis.T
    # Scaled to ones on the diagonal, A + B stays positive definite however small the density is at the ends.
    scale = 1 / np.sqrt(np.diag(A + B))
    A, B = scale[:, None] * A * scale, scale[:, None] * B * scale
    vector = scale * scipy.linalg.eigh(B, A + B)[1][:, -2]  # 1/(1 + gap); the constants have 1
    return Spline(knots, vector[::2].copy(), vector[1::2].copy())
