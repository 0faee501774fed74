r"""That the rate of claim C1 cannot be improved, by bounds from below that use no computed eigenfunction.

For any start ``rho_0 = q (1 + f)`` chi-squared is ``<f, e^{-2 t A} f>``, whose logarithm is convex in t: by Jensen

    ``chi2(rho_t|q) >= chi2(rho_0|q) exp(-2 R t)``,    ``R = E_q[M f'^2]/Var_q f``.

So a rate above R fails for this start. Here ``f' ~ (lambda + s^2)/cosh^2(a (x - c))``, steep where M is small, which is
bounded; R comes from two integrals and a search in a and c.

For ``N(0, v)``, ``lambda v > 2``, ``g = x exp(x^2/(2 lambda v^2))`` is an eigenfunction (C6): ``E g`` decays exactly
like ``exp(-mu t)`` from any start, and by Cauchy and Schwarz ``chi2 >= (E_{rho_0} g)^2 exp(-2 mu t)/E_q[g^2]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

import toy
from theory_checks.numerics.fokker_planck import reversible_flow
from theory_checks.numerics.quadrature import grid
from toy import GaussianMixture

__all__ = ["SlowStart", "gaussian_floor", "quotient", "slow_start"]


def _trial(q: GaussianMixture, damping: float, a: float, centre: float, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return f and ``f'`` on a uniform grid (n, 1), f from the middles of the cells before."""
    slope = (damping + q.score(x)[:, 0] ** 2) / torch.cosh(a * (x[:, 0] - centre)) ** 2
    return (torch.cumsum(slope, 0) - 0.5 * slope) * float(x[1, 0] - x[0, 0]), slope


def quotient(q: GaussianMixture, damping: float, a: float, centre: float, spacing: float) -> float:
    """Return ``E_q[f'^2/(lambda + s^2)]/Var_q f``, in one dimension."""
    x, cell = grid(q, spacing)
    density = q.log_density(x).exp() * cell
    f, slope = _trial(q, damping, a, centre, x)
    mean = float((density * f).sum())
    energy = float((density * slope**2 / (damping + q.score(x)[:, 0] ** 2)).sum())
    return energy / float((density * (f - mean) ** 2).sum())


@dataclass(frozen=True)
class SlowStart:
    """A start ``q (1 + f/(2 max|f|))``, normalised, with the rate R that it cannot exceed.

    Attributes:
        q: the target.
        damping: ``lambda``.
        a: steepness.
        centre: where f changes most.
        rate: R.
        error: what twice the spacing changes of it.
    """

    q: GaussianMixture
    damping: float
    a: float
    centre: float
    rate: float
    error: float

    def start(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return its probabilities on a uniform grid (n,) with the probabilities ``weight`` of q."""
        f, _ = _trial(self.q, self.damping, self.a, self.centre, torch.from_numpy(x)[:, None])
        middle = 0.5 * (f.max() + f.min())
        p = weight * (1 + 0.5 * (f - middle) / (f - middle).abs().max()).numpy()
        return np.asarray(p / p.sum())


def slow_start(q: GaussianMixture, damping: float) -> SlowStart:
    """Return the start of this kind with the smallest R, by a search in a and c."""
    found = minimize(
        lambda v: quotient(q, damping, math.exp(v[0]), v[1], 0.05),
        [0.0, float(q.mean()[0])],
        method="Nelder-Mead",
        options={"xatol": 1e-3, "fatol": 1e-7},
    )
    a, centre = math.exp(found.x[0]), float(found.x[1])
    rate, coarse = (quotient(q, damping, a, centre, spacing) for spacing in (0.01, 0.02))
    return SlowStart(q, damping, a, centre, rate, abs(rate - coarse))


def gaussian_floor(damping: float = 4.0, mean: float = 1.0, width: float = 0.5) -> float:
    """Return the largest of the lower bound over chi-squared by finite volumes, N(0, 1), from ``N(mean, width^2)``.

    With ``c = 1/(2 lambda)``, ``E[x e^{c x^2}] = mean (1 - 2 c w)^{-3/2} exp(c mean^2/(1 - 2 c w))`` for ``w =
    width^2``, and ``E_q[g^2] = (1 - 4 c)^{-3/2}``.
    """
    c, w, mu = 1 / (2 * damping), width**2, (damping - 1) / damping**2
    first = mean * (1 - 2 * c * w) ** -1.5 * math.exp(c * mean**2 / (1 - 2 * c * w))
    floor = first**2 * (1 - 4 * c) ** 1.5
    times = np.linspace(0.0, 8.0, 33) / mu
    q, found = toy.target("gauss-1d"), []
    for cells in (600, 1200):
        flow = reversible_flow(q, damping=damping, dynamics="corrected", low=-12.0, high=12.0, cells=cells)
        p = np.exp(-0.5 * ((flow.x - mean) / width) ** 2)
        found.append(flow.chi_squared(p / p.sum(), times))
    chi = (4 * found[1] - found[0]) / 3
    error = np.abs(chi - found[1]) / 10
    return float((floor * np.exp(-2 * mu * times) / (chi + error)).max())
