r"""Claim C4: the spectral gap of the corrected dynamics never exceeds 1/4.

The test functions are ``f = q^(-a)``, ``0 < a < 1/2``. With ``grad f = -a s q^(-a)`` and
``s^T M s = |s|^2/(lambda + |s|^2) < 1``,

    ``gap <= E_q<grad f, M grad f>/Var_q f < a^2 J(2a)/(J(2a) - J(a)^2),    J(a) = int q^(1-a)``.

As ``a -> 1/2``, ``J(2a) -> int 1 = infinity`` while ``J(1/2) = int sqrt(q)`` stays finite: the right side tends to
``a^2 = 1/4``, for every damping and dimension, and every target whose powers ``q^b``, ``b > 0``, are all integrable.
(As ``a -> 0`` it tends to ``1/Var_q(log q)``: claim C7.)

Heavier tails change nothing. Let ``f = min(q^(-1/2), n)``, bounded and so in the form's domain, and ``V`` the volume of
``{q > 1/n^2}``: ``E_q<grad f, M grad f> < V/4``, and ``E_q[f^2] >= V`` tends to infinity with n. On a compact set K f
stays bounded, so that ``(E_q f)^2/E_q[f^2]`` is in the limit at most ``1 - q(K)``, for every K: it tends to zero. So
the gap is at most 1/4 for every density that is positive and locally Lipschitz on all of R^d.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

import toy
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.numerics.levels import U
from theory_checks.numerics.quadrature import grid
from theory_checks.numerics.spectral import COARSE, spectral_gap
from toy import GaussianMixture

__all__ = ["check_ceiling", "draw_ceiling", "gaussian_quotient", "quotient_bound"]


def quotient_bound(q: GaussianMixture, a: float, *, spacing: float) -> float:
    """Return ``a^2 J(2a)/(J(2a) - J(a)^2)``, ``0 < a < 1/2``, by quadrature in 1-d and 2-d.

    Above the Rayleigh quotient of ``q^(-a)``, and so above the gap, for every damping.
    """
    # q^(1-2a) is wider than q by 1/sqrt(1-2a).
    x, cell = grid(q, spacing, reach=9.5 / math.sqrt(1 - 2 * a))
    log_q = q.log_density(x)
    double = float(torch.exp((1 - 2 * a) * log_q).sum() * cell)
    single = float(torch.exp((1 - a) * log_q).sum() * cell)
    return a**2 * double / (double - single**2)


def gaussian_quotient(d: int, a: float) -> float:
    """Return the same for N(0, I) in closed form: ``a^2/(1 - J(a)^2/J(2a))`` with ``((1-2a)/(1-a)^2)^(d/2)`` inside."""
    return a**2 / (1 - math.pow((1 - 2 * a) / (1 - a) ** 2, d / 2))


def check_ceiling(
    settings: Settings, names: Sequence[str] = ("gauss-1d", "bimodal-1d", "skewed-1d", "gauss-2d", "cross-2d")
) -> Finding:
    """C4: the gap of the corrected dynamics never exceeds 1/4, that of ``lambda M`` never ``lambda/4``."""
    worst = MaxError()
    least = []
    data: dict[str, np.ndarray] = {}
    for name in track(names, "test functions and finite elements"):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        u = np.geomspace(0.3, 1e-3 if q.dim == 1 else 0.03, settings.pick(6, 9))
        exponents = 0.5 - 0.5 * u ** (2 / q.dim)
        bounds = np.array([quotient_bound(q, float(a), spacing=0.4) for a in exponents])
        # J(a)^2/J(2a) is of order u = (1 - 2a)^(d/2), and of order sqrt(u) at most where tails of components meet.
        excess = bounds - 0.25
        worst.update("approach", float(excess[-1] / excess[0] * math.sqrt(u[0] / u[-1])))
        least.append(float(bounds[-1]))
        data[f"{name}:a"], data[f"{name}:bound"] = exponents, bounds
        for damping in (1e-3, 1.0, 100.0) if q.dim == 1 else (0.1,):
            gap = spectral_gap(q, damping=damping, dynamics="corrected", **COARSE[q.dim])
            worst.update("elements", (gap.value - 0.25) / gap.error)
            worst.update("quotient", (gap.value - gap.error) / float(bounds.min()))
    for name, a in (("gauss-1d", 0.3), ("gauss-1d", 0.45), ("gauss-2d", 0.3)):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        exact = gaussian_quotient(q.dim, a)
        # Exponents of up to 50, rounded in each of four operations; the difference in the denominator is above 0.09.
        worst.update("closed", abs(quotient_bound(q, a, spacing=0.4) / exact - 1) / (4 * 50 * U / 0.09))
    narrow = GaussianMixture(
        torch.ones(1, dtype=torch.float64), torch.zeros((1, 1), dtype=torch.float64), torch.tensor([0.1]).double()
    )
    langevin = spectral_gap(narrow, dynamics="langevin")
    figures = (
        Measured("gap by finite elements above 1/4, over its error, the largest", max(worst["elements"], 0.0), limit=1,
                 basis="refined mesh and box; lambda from 0.001 to 100"),
        Measured("bound by q^(-a) for N(0, I) against its closed form, over rounding", worst["closed"], limit=1,
                 basis="d = 1, 2; exponents of up to 50, and a difference"),
        Measured("gap by finite elements, less its error, over the least bound by q^(-a)", worst["quotient"],
                 limit=1, basis="a Rayleigh quotient is above the gap"),
        Measured("bound by q^(-a) at the last a, the largest of the targets", max(least), low=0.25, high=max(least),
                 basis="an upper bound of the gap for every lambda"),
        Measured("its excess over 1/4, last over first, over sqrt((1 - 2a)^(d/2))", worst["approach"], limit=1,
                 basis="the bound tends to 1/4 at this rate or faster"),
        Measured("gap of plain Langevin, N(0, 0.1) (control)", langevin.value, low=langevin.value - langevin.error,
                 high=langevin.value + langevin.error, basis="1/v: no ceiling"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures) if langevin.value > 1 else Verdict.OPEN,
        figures=figures,
        reading="corrected dynamics in the clock of M; in that of lambda M the ceiling is lambda/4",
        methods=("test functions q^(-a), a -> 1/2, by quadrature", "finite elements in 1-d and 2-d"),
        assumption="q is positive and locally Lipschitz on all of R^d, as every q_t with sigma > 0. The test functions "
        "shown need every power of q to be integrable, as for bounded data; truncated they need nothing of the tails.",
        remark="The geometry G stretches the tails: in it the distance to x grows like -log q, and every density "
        "looks exponential far out, whatever lambda, sigma and d. At the paper's lambda = 0.001 the rate in the "
        "clock of lambda M is at most 0.00025; plain Langevin on N(0, v) has 1/v.",
        data=data,
    )


def draw_ceiling(finding: Finding) -> Figure:
    """Draw the Rayleigh quotients against the exponent."""
    figure, (axis,) = panels(1, width=5.8, height=3.0)
    names = [key.removesuffix(":a") for key in finding.data if key.endswith(":a")]
    for name, colour, marker in zip(names, ("target", "lml", "control", "corrected", "bound"), "os^Dv", strict=False):
        axis.semilogx(1 - 2 * finding.data[f"{name}:a"], finding.data[f"{name}:bound"], color=COLOURS[colour],
                      marker=marker, ms=4, lw=1.2, label=name)  # fmt: skip
    axis.axhline(0.25, color=COLOURS["limit"], lw=1)
    axis.text(0.9, 0.255, "1/4", color=COLOURS["limit"], va="bottom", fontsize=8)
    axis.set_ylim(0.2, None)
    axis.invert_xaxis()
    axis.set(xlabel="$1-2a$ (the test function widens to the right)", ylabel="bound on the gap, any $\\lambda$")
    axis.set_title("Test functions $f=q^{-a}$: no gap above 1/4", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
