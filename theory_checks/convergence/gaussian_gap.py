r"""Claim C6: the spectral gap of the corrected dynamics for a Gaussian, in closed form (ours)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import sympy
import torch
from matplotlib.figure import Figure

from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.numerics.spectral import COARSE, spectral_gap
from toy import GaussianMixture

__all__ = [
    "barta_excess",
    "check_gaussian",
    "draw_gaussian",
    "eigenfunction_residual",
    "gaussian",
    "gaussian_gap",
]


def gaussian_gap(damping: float, variance: float) -> float:
    r"""Return the spectral gap of the corrected dynamics for ``N(0, v)`` in one dimension.

    ``(lambda v - 1)/(lambda v)^2`` for ``lambda v > 2``, and ``1/4`` below; claim C6.
    """
    strength = damping * variance
    return (strength - 1) / strength**2 if strength > 2 else 0.25


def gaussian(variance: float) -> GaussianMixture:
    """Return ``N(0, variance)`` in one dimension."""
    one = torch.ones(1, dtype=torch.float64)
    return GaussianMixture(one, torch.zeros((1, 1), dtype=torch.float64), variance * one)


def eigenfunction_residual(d: int) -> sympy.Expr:
    r"""Return ``L f + mu f`` over ``exp(|x|^2/(2 lambda))`` for N(0, I) in d dimensions: zero if f is an eigenfunction.

    ``f = x_1 exp(|x|^2/(2 lambda))`` and ``mu = (lambda - 1)/lambda^2``. The reason is that
    ``M grad f = e_1 exp(|x|^2/(2 lambda))/lambda``, so ``L f = (1/q) d_1 (q exp(|x|^2/(2 lambda)))/lambda``.
    """
    lam = sympy.symbols("lambda", positive=True)
    x = sympy.symbols(f"x1:{d + 1}", real=True)
    column = sympy.Matrix(x)
    squared = sum(c**2 for c in x)
    M = (sympy.eye(d) - column * column.T / (lam + squared)) / lam
    q = sympy.exp(-squared / 2)
    f = x[0] * sympy.exp(squared / (2 * lam))
    flux = q * M * sympy.Matrix([sympy.diff(f, c) for c in x])
    generator = sum(sympy.diff(flux[i], x[i]) for i in range(d)) / q
    return sympy.simplify((generator + (lam - 1) / lam**2 * f) / sympy.exp(squared / (2 * lam)))


def barta_excess() -> sympy.Expr:
    r"""Return ``(-L w/w - 1/4)(lambda + x^2)^2`` for ``w = x exp(x^2/4)``, N(0, 1), as a polynomial in x and lambda.

    ``w`` is positive on the half-line and vanishes at zero. Where ``-L w >= w/4`` the odd functions have no eigenvalue
    below 1/4 (Barta 1937), and the first eigenfunction after the constants is odd, having one zero.
    """
    lam, x = sympy.symbols("lambda x", positive=True)
    w = x * sympy.exp(x**2 / 4)
    q = sympy.exp(-(x**2) / 2)
    generator = sympy.diff(q / (lam + x**2) * sympy.diff(w, x), x) / q
    return sympy.factor(sympy.simplify((-generator / w - sympy.Rational(1, 4)) * (lam + x**2) ** 2))


def check_gaussian(settings: Settings, strengths: Sequence[float] = (0.01, 0.5, 2.0, 4.0, 10.0, 1000.0)) -> Finding:
    r"""C6: for N(0, v) the gap of M is ``(lambda v - 1)/(lambda v)^2`` if ``lambda v > 2``, and 1/4 otherwise (d = 1).

    For ``lambda v > 2``, ``f = x exp(x^2/(2 lambda v^2))`` is square integrable, odd, has one zero and is an
    eigenfunction. For ``lambda v <= 2`` Barta's inequality with ``w = x exp(x^2/(4 v))`` gives at least 1/4, and C4 at
    most.
    """
    residuals = sum(eigenfunction_residual(d) != 0 for d in (1, 2, 3))
    lam, x = sympy.symbols("lambda x", positive=True)
    # (2 - lambda)/4 (x^2 + lambda + 4): never negative for lambda <= 2.
    negative = int(sympy.expand(barta_excess() - (2 - lam) * (x**2 + lam + 4) / 4) != 0)
    worst = MaxError()
    values, errors = [], []
    for strength in track(strengths, "finite elements"):
        for variance in (1.0, 1e-4, 100.0) if strength in (0.5, 10.0) else (1.0,):
            q = gaussian(variance)
            gap = spectral_gap(q, damping=strength / variance, dynamics="corrected", **COARSE[1])
            worst.update("gap", abs(gap.value - gaussian_gap(strength / variance, variance)) / gap.error)
            if variance == 1.0:
                values.append(gap.value)
                errors.append(gap.error)
    figures = (
        Measured("gap by finite elements against the closed form, over its error", worst["gap"], limit=1,
                 basis="refined mesh and box; lambda v from 0.01 to 1000, v from 1e-4 to 100"),
        Measured("dimensions in which L f = -mu f is not an identity", residuals, limit=0, basis="sympy, d = 1, 2, 3"),
        Measured("Barta's inequality, other than (2 - lambda)(x^2 + lambda + 4)/4", negative, limit=0, basis="sympy"),
        Measured("gap at lambda = 0.001, v = 1, in the clock of lambda M", 1e-3 * gaussian_gap(1e-3, 1.0),
                 basis="Langevin's is 1"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading="corrected dynamics on one Gaussian, one dimension; the eigenfunction in any",
        methods=("eigenfunction and Barta's inequality, symbolically", "finite elements, without either"),
        remark="In the clock of lambda M the gap is (1/v)(1 - 1/(lambda v)), or lambda/4: the damped dynamics never "
        "reach Langevin's 1/v. In d dimensions x_i exp(|x|^2/(2 lambda v^2)) is still an eigenfunction, with the "
        "same value; radial functions may then be slower (C7).",
        data={"strength": np.array(strengths), "gap": np.array(values), "error": np.array(errors)},
    )


def draw_gaussian(finding: Finding) -> Figure:
    """Draw the closed form with the finite elements."""
    figure, (axis,) = panels(1, width=5.2, height=3.0)
    strengths = np.geomspace(3e-3, 3e3, 400)
    axis.loglog(strengths, [gaussian_gap(s, 1.0) for s in strengths], color=COLOURS["bound"], label="closed form")
    axis.errorbar(finding.data["strength"], finding.data["gap"], yerr=finding.data["error"], fmt="o", ms=4,
                  color=COLOURS["corrected"], label="finite elements")  # fmt: skip
    axis.loglog(
        strengths, 1 / strengths, ":", color=COLOURS["limit"], label=r"Langevin in the same clock, $1/(\lambda v)$"
    )
    axis.set(xlabel=r"$\lambda v$", ylabel="spectral gap of $M$", ylim=(5e-4, 3))
    axis.set_title("The gap for $N(0,v)$: 1/4, then $(\\lambda v-1)/(\\lambda v)^2$", loc="left")
    axis.legend(loc="lower left")
    return figure
