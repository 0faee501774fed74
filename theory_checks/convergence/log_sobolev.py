r"""Claim C5: the log-Sobolev inequality that Remark 2 needs for its Wasserstein statement.

For the corrected dynamics it would read ``Ent_q(f^2) <= 2 C E_q<grad f, M grad f>``. No positive density on R^d has
one (Herbst's argument): ``F = -log q`` has ``<grad F, M grad F> = |s|^2/(lambda + |s|^2) < 1``, so it would give

    ``E_q[e^{theta F}] <= exp(theta E_q F + C theta^2/2)``    for every theta,

but at ``theta = 1`` the left side is ``int q^0``, the volume of R^d. (Truncated at n, F is bounded; as its variance is
at most C, its mean is bounded in n as well.) How it fails: with ``J(a) = int q^{1-a}``, ``0 < a < 1``, the function
``f^2 = q^{-a}/J(a)`` has

    ``Ent_q(f^2) = KL(rho_a | q)``,  ``rho_a = q^{1-a}/J(a)``,    ``E_q<grad f, M grad f> < a^2/4``,

so that ``C >= 2 KL(rho_a | q)/a^2``; for a Gaussian in d dimensions this is ``(d/a^2) [a/(1-a) + log(1-a)]``.

In one dimension, on ``[-L, L]`` with reflection, ``b/2 <= C <= 2 B`` (Barthe & Roberto 2003), the larger of
both sides of the median m,

    ``b, B = sup_x mu(x) log(1 + k/mu(x)) int_m^x du/(q M)``,    ``mu(x) = q([x, L])``,    ``k = 1/2, e^2``.

What is left of the statement. In the plain metric q may have a log-Sobolev constant C_E, and then
``W2^2 <= 2 C_E KL`` (Otto & Villani 2000), with ``KL <= log(1 + chi2)``: rate g. With none at all, by Villani 2009,
Theorem 6.15, and Cauchy-Schwarz,

    ``W2^2 <= 2 int |x|^2 |rho - q| <= 2 sqrt(E_q|x|^4 chi2)``:    rate g/2.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from theory_checks.convergence.divergences import STARTS, all_divergences, line_target, narrow_start
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.numerics.fokker_planck import reversible_flow
from theory_checks.numerics.quadrature import grid
from toy import GaussianMixture

__all__ = [
    "Bracket",
    "bracket",
    "check_log_sobolev",
    "draw_log_sobolev",
    "gaussian_bound",
    "log_sobolev_quotient",
]


def gaussian_bound(a: float, d: int) -> float:
    """Return ``2 KL(rho_a|q)/a^2`` for a Gaussian in d dimensions, a lower bound on C for every damping."""
    return d / a**2 * (a / (1 - a) + math.log1p(-a))


def log_sobolev_quotient(q: GaussianMixture, a: float, *, damping: float, spacing: float) -> tuple[float, float]:
    """Return ``Ent(f^2)/(2 E<grad f, M grad f>)`` of ``f^2 = q^{-a}/J``, and ``2 Ent(f^2)/a^2``, which is below it.

    Args:
        q: a mixture in one or two dimensions.
        a: the exponent, ``0 < a < 1``.
        damping: ``lambda``.
        spacing: of the grid, in units of the least standard deviation.
    """
    # rho_a is wider than q by 1/sqrt(1-a).
    x, _ = grid(q, spacing, reach=9.5 / math.sqrt(1 - a))
    log_q = q.log_density(x)
    squared = (q.score(x) ** 2).sum(1)
    # The cell's volume enters -log J: rho_a is a probability on the grid, J an integral.
    weights = torch.softmax((1 - a) * log_q, 0)
    step = float(torch.logsumexp(log_q, 0))  # minus the log of the cell, since q integrates to one
    entropy = float(-a * (weights @ log_q) - torch.logsumexp((1 - a) * log_q, 0)) + step
    energy = a**2 / 4 * float(weights @ (squared / (damping + squared)))
    return entropy / (2 * energy), 2 * entropy / a**2


class Bracket(NamedTuple):
    """Bounds ``low <= C <= high`` of a log-Sobolev constant, and the quotient of a test function between them.

    Each bound is widened by what halving the grid changed of it; ``error`` is that of ``high``.
    """

    low: float
    high: float
    quotient: float
    error: float


def bracket(q: GaussianMixture, reach: float, *, damping: float | None, points: int) -> Bracket:
    """Return the bracket of C on ``[-reach, reach]`` for the corrected dynamics, or plain Langevin's for no damping."""

    def along(n: int) -> tuple[Tensor, Tensor, Tensor, float]:
        x = torch.linspace(-reach, reach, n, dtype=torch.float64)
        log_q = q.log_density(x[:, None])
        squared = q.score(x[:, None])[:, 0] ** 2
        resistance = torch.ones_like(squared) if damping is None else damping + squared
        return log_q - torch.logsumexp(log_q, 0), squared, resistance, float(x[1] - x[0])

    fine, coarse = along(points), along((points + 1) // 2)
    (low, high), (less, more) = (_criterion(log_q, r, step) for log_q, _, r, step in (fine, coarse))
    # The sums are of first order in the spacing: half of the change is left, the other half is margin.
    error = abs(high - more)
    return Bracket(low - abs(low - less), high + error, _best_quotient(*fine[:3]), error)


def _criterion(log_p: Tensor, resistance: Tensor, step: float) -> tuple[float, float]:
    """Return ``b/2`` and ``2 B`` from log probabilities of points (n,): ``1/q`` spans hundreds of orders."""
    low = high = 0.0
    log_r = resistance.log() + 2 * math.log(step)  # once for the integral, once since p is q times the spacing
    median = int((log_p.exp().cumsum(0) < 0.5).sum())
    for p, r in ((log_p[median:], log_r[median:]), (log_p[: median + 1].flip(0), log_r[: median + 1].flip(0))):
        tail = torch.logcumsumexp(p.flip(0), 0).flip(0)
        product = torch.exp(tail + torch.logcumsumexp(r - p, 0))
        b, B = (float((product * _log_one_plus(math.log(k) - tail)).max()) for k in (0.5, math.e**2))
        low, high = max(low, b / 2), max(high, 2 * B)
    return low, high


def _log_one_plus(z: Tensor) -> Tensor:
    """Return ``log(1 + e^z)``."""
    return torch.nn.functional.softplus(z)


def _best_quotient(log_q: Tensor, squared: Tensor, resistance: Tensor) -> float:
    """Return the largest ``Ent(f^2)/(2 E[f'^2/r])`` over ``f^2 = q^{-a}``; on an interval a may be one or more."""
    best = 0.0
    for a in np.linspace(0.1, 1.5, 29):
        log_f2 = -a * log_q
        log_rho = torch.log_softmax(log_q + log_f2, 0)
        rho = log_rho.exp()
        entropy = float(rho @ (log_rho - log_q))
        best = max(best, entropy / (a**2 / 2 * float(rho @ (squared / resistance))))
    return best


def _transport_bounds(name: str, damping: float, cells: int, constant: float) -> dict[str, np.ndarray]:
    """Return W2 along the corrected flow and its two bounds, by name, with the times in units of 1/gap."""
    q = line_target(name)
    flow = reversible_flow(q, damping=damping, dynamics="corrected", low=-12.0, high=12.0, cells=cells)
    edges = np.linspace(-12.0, 12.0, cells + 1)
    times = np.linspace(0.0, 8.0, 17) / flow.gap
    fourth = float(flow.weight @ flow.x**4)
    found: dict[str, np.ndarray] = {"times": times * flow.gap}
    for mean in STARTS:
        start = narrow_start(edges, mean)
        path = [all_divergences(edges, p, flow.weight)["W2"] for p in flow.probabilities(start, times)]
        chi = flow.chi_squared(start, np.zeros(1)) * np.exp(-2 * flow.gap * times)
        found[f"{mean:g}:W2"] = np.array(path)
        found[f"{mean:g}:moment"] = np.sqrt(2 * np.sqrt(fourth * chi))
        found[f"{mean:g}:transport"] = np.sqrt(2 * constant * np.log1p(chi))
    return found


_REACHES = (4.0, 6.0, 8.0, 12.0, 16.0, 24.0)


_NAMES = ("gauss-1d", "bimodal-1d", "skewed-1d", "gauss-2d", "cross-2d")
_DAMPING = 1.0


@dataclass
class _Results:
    """What C5's three methods gave.

    Attributes:
        worst: errors over their bounds, and quotients that must stay below 1.
        least: of the quotient times ``(1 - a)/d``, at the last ``a``, less its error, over the targets.
        growth: least growth of the constant's lower bound from one interval to the next.
        langevin_change: of the upper bound for plain Langevin at the last interval, over its error.
        data: arrays behind the picture.
    """

    worst: MaxError = field(default_factory=MaxError)
    least: float = math.inf
    growth: float = math.inf
    langevin_change: float = 0.0
    data: dict[str, np.ndarray] = field(default_factory=dict)


def check_log_sobolev(settings: Settings, names: Sequence[str] = _NAMES) -> Finding:
    """C5: Remark 2's Wasserstein statement holds, but not by the inequality that the geometry G would need."""
    found = _Results()
    _test_functions(found, settings, names)
    _growing_intervals(found, settings)
    _along_the_flow(found, settings)
    verdict, figures = _judge(found)
    return _describe(verdict, figures, found.data, names)


def _test_functions(found: _Results, settings: Settings, names: Sequence[str]) -> None:
    """The quotient of ``q^{-a/2}`` as a tends to 1, by quadrature and for Gaussians in closed form."""
    u = np.geomspace(0.5, 0.01, settings.pick(6, 10))
    for name in track(names, "test functions"):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        kept = u if q.dim == 1 else u[u > 0.1]
        rows = []
        for a in 1 - kept:
            quotient, bound = log_sobolev_quotient(q, float(a), damping=_DAMPING, spacing=0.4)
            coarse, _ = log_sobolev_quotient(q, float(a), damping=_DAMPING, spacing=0.6)
            found.worst.update("order", bound / quotient)
            rows.append((quotient, bound, abs(quotient - coarse)))
            if name.startswith("gauss"):
                # The trapezoidal rule is exact to rounding, of a sum of terms up to -a log q = 45 at the reach.
                found.worst.update("closed", abs(bound / gaussian_bound(float(a), q.dim) - 1) / 1e-9)
        table = np.array(rows).T
        found.least = min(found.least, float((table[0, -1] - table[2, -1]) * kept[-1] / q.dim))
        found.worst.update("falls", float((table[0, :-1] / table[0, 1:]).max()))
        found.data[f"{name}:a"], found.data[f"{name}:quotient"] = 1 - kept, table[0]


def _growing_intervals(found: _Results, settings: Settings) -> None:
    """Two-sided bounds of the constant on growing intervals, of the corrected dynamics and of plain Langevin."""
    for name in ("gauss-1d", "bimodal-1d"):
        q = line_target(name)
        brackets = {
            key: [bracket(q, L, damping=value, points=settings.pick(12_001, 48_001)) for L in _REACHES]
            for key, value in (("corrected", _DAMPING), ("langevin", None))
        }
        for row in brackets.values():
            for one in row:
                found.worst.update("between", one.quotient / one.high)
        low = [one.low for one in brackets["corrected"]]
        found.growth = min(found.growth, min(b / a for a, b in itertools.pairwise(low)))
        *_, before, last = brackets["langevin"]
        change = abs(last.high - before.high) / (last.error + before.error)
        found.langevin_change = max(found.langevin_change, change)
        for key, row in brackets.items():
            found.data[f"{name}:{key}"] = np.array(row)
    found.data["reaches"] = np.array(_REACHES)


def _along_the_flow(found: _Results, settings: Settings) -> None:
    """W2 along the corrected flow over its two bounds: by fourth moments, and by the plain metric's inequality."""
    for name, value in (("bimodal-1d", 1.0), ("bimodal-1d", 10.0), ("skewed-1d", 10.0)):
        constant = bracket(line_target(name), 12.0, damping=None, points=settings.pick(12_001, 48_001)).high
        path = _transport_bounds(name, value, settings.pick(600, 2400), constant)
        for mean in STARTS:
            for key in ("moment", "transport"):
                found.worst.update(key, float((path[f"{mean:g}:W2"] / path[f"{mean:g}:{key}"]).max()))
        found.data |= {f"{name}, {value:g}:{key}": array for key, array in path.items()}


def _judge(found: _Results) -> tuple[Verdict, tuple[Measured, ...]]:
    """Return the verdict with its figures: no constant in the geometry G, one in the plain metric, and W2 decays."""
    worst, last = found.worst, found.data["gauss-1d:corrected"][-1]
    figures = (
        Measured("(1 - a)/d times the quotient of q^{-a/2} at the last a, least of the targets, less its error",
                 found.least, basis="bounded below: the quotient is unbounded as a -> 1"),
        Measured("quotient at an a over that at the next, the largest", worst["falls"], limit=1, basis="it rises"),
        Measured("2 Ent/a^2 for N(0, I) against its closed form, in units of 1e-9", worst["closed"], limit=1,
                 basis="trapezoidal rule, exact to rounding"),
        Measured("2 Ent/a^2 over the quotient, the largest", worst["order"], limit=1, basis="s^T M s < 1"),
        Measured(f"log-Sobolev constant of the corrected dynamics on [-{_REACHES[-1]:g}, {_REACHES[-1]:g}], N(0, 1)",
                 float(last[2]), low=float(last[0]), high=float(last[1]), basis="best q^{-a/2}; Barthe & Roberto"),
        Measured("its lower bound from one interval to the next, the least growth", found.growth,
                 basis=f"L = {', '.join(f'{L:g}' for L in _REACHES)}"),
        Measured("best quotient of q^{-a/2} over the upper bound, the largest", worst["between"], limit=1,
                 basis="the two methods on the same interval"),
        Measured("upper bound for plain Langevin, change at the last interval, over its error (control)",
                 found.langevin_change, limit=1, basis="halved grid; the plain metric has a log-Sobolev inequality"),
        Measured("W2 over sqrt(2 C_E log(1 + chi2_0 e^{-2gt})), the largest", worst["transport"], limit=1,
                 basis="C_E: upper bound for the plain metric"),
        Measured("W2 over (4 E_q|x|^4 chi2_0 e^{-2gt})^{1/4}, the largest", worst["moment"], limit=1,
                 basis="no log-Sobolev inequality"),
    )  # fmt: skip
    holds = all(figure.within for figure in figures) and found.growth > 1.2 and found.least > 0.1
    return (Verdict.CORRECTED if holds else Verdict.OPEN), figures


def _describe(
    verdict: Verdict, figures: tuple[Measured, ...], data: dict[str, np.ndarray], names: Sequence[str]
) -> Finding:
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="corrected dynamics; the assumed inequality once for these dynamics, in the geometry G, and once for q "
        f"in the plain metric; {', '.join(names)} at lambda = {_DAMPING:g}",
        methods=(
            "test functions q^{-a/2} by quadrature, and in closed form for a Gaussian",
            "Barthe and Roberto's two-sided criterion on growing intervals",
            "W2 along the flow by finite volumes, against both bounds",
        ),
        assumption="q is positive and locally Lipschitz on all of R^d, as every q_t with sigma > 0; chi-squared is "
        "finite at the start, and q has fourth moments.",
        remark="Read as an inequality for the dynamics themselves, which is how a log-Sobolev inequality gives a rate, "
        "Remark 2's assumption is met by no q_t, and the statement says nothing. Read as one for q in the plain metric "
        "it is right: with C1, W2 decays at the rate g. And W2 needs no such assumption to decay exponentially: fourth "
        "moments give half of the rate. What is lost for good is what the inequality in G would add: decay of KL "
        "from every start of finite KL, and hypercontractivity.",
        data=data,
    )


def draw_log_sobolev(finding: Finding) -> Figure:
    """Draw the constants on growing intervals, and W2 with its two bounds."""
    figure, (left, right) = panels(2, width=3.8, height=2.9)
    data = finding.data
    for key, colour, label in (
        ("corrected", "corrected", r"corrected, $\lambda=1$"),
        ("langevin", "target", "Langevin"),
    ):
        low, high, quotient, _ = data[f"gauss-1d:{key}"].T
        left.fill_between(data["reaches"], low, high, color=COLOURS[colour], alpha=0.18, lw=0)
        left.plot(data["reaches"], quotient, "o-", color=COLOURS[colour], ms=3, label=label)
    left.set(xscale="log", yscale="log", xlabel="L", ylabel="log-Sobolev constant")
    left.set_xticks(data["reaches"], [f"{L:g}" for L in data["reaches"]])
    left.minorticks_off()
    left.set_title(r"$N(0,1)$ on $[-L,L]$: bounds, and $q^{-a/2}$", loc="left")
    left.legend(loc="upper left")
    name = "bimodal-1d, 1"
    times, mean = data[f"{name}:times"], f"{STARTS[0]:g}"
    for key, colour, label in (
        ("W2", "corrected", r"$W_2$"),
        ("transport", "bound", r"by the plain metric's $C_E$"),
        ("moment", "control", "by fourth moments"),
    ):
        right.semilogy(times, data[f"{name}:{mean}:{key}"], color=COLOURS[colour], label=label)
    right.set(xlabel="time, in 1/gap", ylabel=r"$W_2(\rho_t, q)$", ylim=(None, 3e3))
    right.set_title(r"bimodal-1d, $\lambda=1$", loc="left")
    right.legend(loc="upper right")
    return figure
