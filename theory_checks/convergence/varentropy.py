r"""Claim C7: a bound on the spectral gap of the corrected dynamics, which falls as dimensions add up (ours).

``log q`` as a test function: its gradient is s, and ``s^T M s = |s|^2/(lambda + |s|^2) < 1``, so

    ``gap <= E_q[|s|^2/(lambda + |s|^2)]/Var_q(log q) < 1/Var_q(log q)``.

For a product of d equal factors the variance of ``log q`` (the varentropy) is d times that of one; for a Gaussian it is
d/2. Nothing makes it grow for every density: for others it is measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from scipy import integrate, stats
from torch import Tensor

import toy
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import Interval
from theory_checks.numerics.levels import levels
from theory_checks.numerics.quadrature import grid
from theory_checks.numerics.spectral import COARSE, spectral_gap
from toy import GaussianMixture

__all__ = ["check_varentropy", "draw_varentropy", "log_density_quotient"]


def _variance_interval(samples: np.ndarray, level: float, comparisons: int) -> Interval:
    """Return the variance of samples (n,) with an interval that does not assume normality.

    The standard error of a sample variance is ``sqrt((m_4 - m_2^2)/n)``; the log transform keeps the interval positive.
    """
    centred = samples - samples.mean()
    m2, m4 = float((centred**2).mean()), float((centred**4).mean())
    relative = math.sqrt(max(m4 - m2**2, 0.0) / len(samples)) / m2
    half = float(stats.norm.ppf(0.5 + 0.5 * (1 - (1 - level) / comparisons))) * relative
    return Interval(m2, m2 * math.exp(-half), m2 * math.exp(half))


def log_density_quotient(q: GaussianMixture, damping: float, spacing: float) -> float:
    """Return ``E_q[|s|^2/(lambda + |s|^2)]/Var_q(log q)``, the Rayleigh quotient of ``log q``, in 1-d and 2-d."""
    x, cell = grid(q, spacing)
    log_q = q.log_density(x)
    density = log_q.exp() * cell
    mean = float((density * log_q).sum())
    variance = float((density * (log_q - mean) ** 2).sum())
    squared = (q.score(x) ** 2).sum(1)
    return float((density * squared / (damping + squared)).sum()) / variance


def _radial_bound(d: int, damping: float) -> float:
    r"""Return the Rayleigh quotient of ``|x|^2`` for N(0, I): ``E[4 r^2/(lambda + r^2)]/(2 d)``, by quadrature."""
    law = stats.chi2(d)
    low, high = law.ppf(1e-14), law.isf(1e-14)
    energy, _ = integrate.quad(lambda r2: law.pdf(r2) * 4 * r2 / (damping + r2), low, high, limit=200)
    return float(energy) / (2 * d)


#: Targets in many dimensions, with the log-SNR of the level; the full profile adds two.
_CASES = (("random-8d", 0.0), ("digits", 2.0), ("emoji", -2.0), ("emoji", 2.0))
_MORE_CASES = (("random-64d", 0.0), ("digits", -2.0))


def check_varentropy(
    settings: Settings,
    cases: Sequence[tuple[str, float]] | None = None,
    names: Sequence[str] = ("gauss-1d", "bimodal-1d", "skewed-1d", "gauss-2d", "cross-2d"),
) -> Finding:
    r"""C7: ``gap <= E_q[|s|^2/(lambda + |s|^2)]/Var_q(log q) <= 1/Var_q(log q)``, with the test function ``log q``."""
    generator = settings.generator()
    cases = settings.pick(_CASES, (*_CASES, *_MORE_CASES)) if cases is None else cases
    bounds: dict[str, Interval] = {}
    dims: list[int] = []
    for name, log_snr in track(cases, "variance of log q"):
        (q,) = levels(toy.target(name), (log_snr,))
        samples: Tensor = q.sample(settings.pick(1500, 8000) if q.dim > 1000 else 20_000, generator=generator)
        variance = _variance_interval(q.log_density(samples).numpy(), 0.95, len(cases))
        dims.append(q.dim)
        bounds[f"{name}, log-SNR {log_snr:g}"] = Interval(1 / variance.value, 1 / variance.high, 1 / variance.low)

    # Where gaps can be computed they must lie below.
    worst = MaxError()
    for name in track(names, "computed gaps"):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        for damping in (0.1, 1.0, 10.0):
            fine, coarse = (log_density_quotient(q, damping, spacing) for spacing in (0.2, 0.3))
            bound = fine - abs(fine - coarse)
            gap = spectral_gap(q, damping=damping, dynamics="corrected", **COARSE[q.dim])
            worst.update("gap", (gap.value - gap.error) / bound)
    # For N(0, I) the varentropy is d/2 and the bound the quotient of |x|^2.
    exact = max(abs(_radial_bound(d, 1e-3) * d / 2 - 1) for d in (64, 3072))
    emoji = [interval for name, interval in bounds.items() if name.startswith("emoji")] or list(bounds.values())
    largest = max(emoji, key=lambda i: i.value)
    figures = (
        Measured("computed gap over its bound, the largest (1-d and 2-d)", worst["gap"], limit=1,
                 basis="a theorem; the gap less its error, the bound less what another spacing changes"),
        Measured("bound on the gap of lambda M at lambda = 0.001, emoji", 1e-3 * largest.value, low=1e-3 * largest.low,
                 high=1e-3 * largest.high, basis="95 % simultaneous interval of Var(log q), fourth moments"),
        Measured("bound for N(0, I) in 64 and 3072 dimensions against 2/d, relative", exact, limit=1e-3 / 62,
                 basis="lambda E[1/r^2] = lambda/(d - 2), and 1e-14 of the law left out"),
        Measured("gap of plain Langevin for N(0, I), any d (control)", 1.0,
                 basis="not bounded by this: it does not know d"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading="corrected dynamics in the clock of M; multiply by lambda for that of lambda M",
        methods=("one test function, log q, and sampling", "finite elements in 1-d and 2-d; N(0, I) in closed form"),
        assumption="log q has a finite variance.",
        remark="Along s the diffusion is at most 1/|s|^2, so log q itself relaxes slowly, and the more dimensions add "
        "up in it, the slower. (That Var(log q) grows with d is measured: of a density that is flat on its support it "
        "would not be true.) It is a bound from above: for the pictures nothing here says how far below it the gap "
        "is; for Gaussians C8 has both sides. For pictures of d = 3072 at lambda = 0.001 a relaxation takes more than "
        "a million times as long as a Langevin relaxation of N(0, I). Exponential convergence (C1) is true, and of no "
        "use at such a rate.",
        data={
            "name": np.array(list(bounds)),
            "dim": np.array(dims),
            "value": np.array([b.value for b in bounds.values()]),
            "low": np.array([b.low for b in bounds.values()]),
            "high": np.array([b.high for b in bounds.values()]),
        },
    )


def draw_varentropy(finding: Finding) -> Figure:
    """Draw the bound of each target against its dimension, with that of a standard normal."""
    figure, (axis,) = panels(1, width=5.6, height=3.0)
    data = finding.data
    rows = np.arange(len(data["name"]))[::-1]
    axis.hlines(rows, data["low"], data["high"], color=COLOURS["corrected"], lw=2)
    axis.plot(data["value"], rows, "o", color=COLOURS["corrected"], ms=4, label=r"$1/\mathrm{Var}(\log q)$")
    axis.plot(2 / data["dim"], rows, "|", color=COLOURS["target"], ms=12, label=r"$2/d$, a standard normal's")
    axis.axvline(0.25, color=COLOURS["limit"], lw=0.8)
    axis.set_yticks(rows, data["name"])
    axis.set(xscale="log", xlabel="bound on the spectral gap of $M$ (95 % simultaneous)")
    axis.set_title("The bound falls like $1/d$", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
