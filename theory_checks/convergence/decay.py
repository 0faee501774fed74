r"""Claim C1: how fast the corrected dynamics converge, in chi-squared (Prop. 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from theory_checks.convergence.sharpness import gaussian_floor, slow_start
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics.density_ratio import EULER_STEPS, DensityRatioFlow
from theory_checks.numerics.euler_chain import Coefficients, EulerChain, euler_limit
from theory_checks.numerics.fokker_planck import ReversibleFlow, reversible_flow
from theory_checks.numerics.levels import named_level
from theory_checks.numerics.quadrature import grid
from theory_checks.numerics.spectral import COARSE, SpectralGap, spectral_gap
from toy import ExactTarget, GaussianMixture

__all__ = ["check_decay", "draw_decay", "literal_plateau"]

#: Targets and dampings whose gap lies below the essential spectrum (C4), so that it is an eigenvalue.
_CASES = (("bimodal-1d", 0.1), ("bimodal-1d", 1.0), ("bimodal-1d", 10.0), ("skewed-1d", 1.0), ("skewed-1d", 10.0))

#: Targets in the plane and dampings.
_PLANAR = (("gauss-2d", 4.0), ("ring-2d@0", 4.0))

# Means and standard deviation of the starts: narrower than every component's tail, so that chi-squared is finite.
_STARTS = (-2.5, 0.0, 2.0)
_START_WIDTH = 0.4

_REACH = 12.0


def _start(x: np.ndarray, mean: float) -> np.ndarray:
    """Return the probabilities of ``N(mean, 0.4^2)`` on a uniform grid (n,)."""
    p = np.exp(-0.5 * ((x - mean) / _START_WIDTH) ** 2)
    return np.asarray(p / p.sum())


@dataclass(frozen=True)
class _Gap:
    """A gap by finite volumes and by finite elements."""

    volumes: float
    volumes_error: float
    elements: SpectralGap
    flow: ReversibleFlow


def _gaps(q: GaussianMixture, damping: float, cells: int) -> _Gap:
    flow, half = (
        reversible_flow(q, damping=damping, dynamics="corrected", low=-_REACH, high=_REACH, cells=n)
        for n in (cells, cells // 2)
    )
    # Second order in the cells: extrapolate, and take the step of the extrapolation as its error.
    step = (flow.gap - half.gap) / 3
    elements = spectral_gap(q, damping=damping, dynamics="corrected", **COARSE[1])
    return _Gap(flow.gap + step, abs(step), elements, flow)


def literal_plateau(q: GaussianMixture, damping: float, spacing: float) -> float:
    r"""Return ``chi2(rho | q) = Var_q(s^2)/(lambda + E_q[s^2])^2`` for the literal stationary density of S1, in 1-d."""
    x, cell = grid(q, spacing)
    density = q.log_density(x).exp() * cell
    squared = q.score(x)[:, 0] ** 2
    mean = float((density * squared).sum())
    return float((density * (squared - mean) ** 2).sum()) / (damping + mean) ** 2


@dataclass
class _Results:
    """What the discretisations gave.

    Attributes:
        worst: errors over their bounds, and chi-squared over its bound.
        slowest: the smallest gap.
        plateau: chi-squared at which the literal dynamics stop, first case.
        plateau_error: what twice the spacing changes of it.
        sharp: the rate that one explicit start cannot exceed, over the gap, by case.
        data: arrays behind the picture.
    """

    worst: MaxError = field(default_factory=MaxError)
    slowest: float = math.inf
    plateau: float = 0.0
    plateau_error: float = 0.0
    sharp: dict[str, float] = field(default_factory=dict)
    data: dict[str, np.ndarray] = field(default_factory=dict)


@with_proofs("C1")
def check_decay(
    settings: Settings,
    cases: Sequence[tuple[str, float]] = _CASES,
    planar: Sequence[tuple[str, float]] = _PLANAR,
) -> Finding:
    r"""C1: ``chi2(rho_t|q) <= exp(-2 t/C) chi2(rho_0|q)`` for the corrected dynamics, with ``1/C`` the spectral gap.

    ``d chi2/dt = -2 E_q[<grad f, M grad f>] <= -(2/C) chi2`` for ``f = rho_t/q``, by the Poincare inequality that
    defines C.
    """
    found = _Results()
    for name, damping in track(cases, "three discretisations"):
        _decay_on_line(found, name, damping, settings.pick(1200, 2400))
    for name, damping in track(planar, "finite elements in the plane"):
        _decay_in_the_plane(found.worst, named_level(name), damping)
    q = toy.target(cases[0][0])
    assert isinstance(q, GaussianMixture)
    found.plateau = literal_plateau(q, cases[0][1], 0.002)
    found.plateau_error = abs(found.plateau - literal_plateau(q, cases[0][1], 0.004))
    verdict, figures = _judge(found, cases)
    return _describe(verdict, figures, found.data, cases)


def _decay_on_line(found: _Results, name: str, damping: float, cells: int) -> None:
    """The gap by two methods, chi-squared along the flow against its bound, and the flow against the Euler chain."""
    q = toy.target(name)
    assert isinstance(q, GaussianMixture)
    gap = _gaps(q, damping, cells)
    error = gap.volumes_error + gap.elements.error
    found.worst.update("gap", abs(gap.volumes - gap.elements.value) / error)
    found.slowest = min(found.slowest, gap.elements.value)
    times = np.linspace(0.0, 6.0, 61) / gap.elements.value
    for mean in _STARTS:
        start = _start(gap.flow.x, mean)
        decay = gap.flow.chi_squared(start, times)
        # The rate of the bound is the gap less all that is not known of it.
        rate = gap.elements.value - error - abs(gap.flow.gap - gap.volumes)
        found.worst.update("above", float((decay / (decay[0] * np.exp(-2 * rate * times))).max()))
        found.data[f"{name}, {damping:g}:{mean:g}"] = decay
    found.data[f"{name}, {damping:g}:times"] = times
    found.data[f"{name}, {damping:g}:gap"] = np.array(gap.elements.value)
    found.worst.update("sharpness", _late_rate_error(gap.flow))
    slow = slow_start(q, damping)
    found.sharp[f"{name}, {damping:g}"] = slow.rate / (gap.elements.value - error)
    # The flow's own rounding and cells: what they change of the gap.
    shift = error + abs(gap.flow.gap - gap.volumes) + slow.error
    floor = np.exp(-2 * (slow.rate + shift) * times)
    decay = gap.flow.chi_squared(slow.start(gap.flow.x, gap.flow.weight), times)
    found.worst.update("below", float((decay[0] * floor / decay).max()))
    if damping >= 1:  # below, M varies so fast that the chain's steps would have to be tiny
        found.worst.update("methods", _against_chain(q, damping, gap.flow))


def _judge(found: _Results, cases: Sequence[tuple[str, float]]) -> tuple[Verdict, tuple[Measured, ...]]:
    """Return the verdict with its figures: the corrected dynamics decay at the gap, the literal ones stop above 0."""
    figures = (
        Measured("chi-squared over its bound, the largest over starts and times", found.worst["above"], limit=1 + 1e-9,
                 basis="rate: the gap less its errors; equality at t = 0, and rounding"),
        Measured("gap by finite volumes against finite elements, over their errors", found.worst["gap"], limit=1,
                 basis="refined mesh and box"),
        Measured("late rate of decay against the gap, over the next mode's share", found.worst["sharpness"], limit=1,
                 basis="what the other modes still add: the rate is sharp"),
        Measured("one explicit start: chi-squared below its lower bound, the most", found.worst["below"],
                 limit=1 + 1e-9, basis="exp(-2 R t), R its quotient by quadrature: no eigenfunction; a theorem"),
        Measured("that R over the gap, less one, the largest of the cases", max(found.sharp.values()) - 1,
                 low=min(found.sharp.values()) - 1, high=max(found.sharp.values()) - 1,
                 basis="no rate above R holds for every start: " + ", ".join(found.sharp)),
        Measured("N(0, 1), lambda = 4: chi-squared below its closed-form lower bound, the most", gaussian_floor(),
                 limit=1 + 1e-6, basis="(E g)^2 exp(-2 t 3/16)/Var g for the g of C6; finite volumes, halved cells"),
        Measured("density at t = 1/gap against the Euler chain, over the errors", found.worst["methods"], limit=1,
                 basis="lambda >= 1; chain: the last halving of h; volumes: halved cells"),
        *found.worst.figures(
            ("planar", "the same in the plane, by finite elements in the density ratio",
             "1, and the rate less its errors; steps of 0.1/gap"),
            ("kept", "change of mass and rise of chi-squared there, over their rounding",
             "exact at the discrete level: n cond(B) u"),
        ),
        Measured("smallest gap", found.slowest, basis="the least of the cases"),
        Measured(f"chi-squared at which the literal dynamics stop, {cases[0][0]}, lambda = {cases[0][1]:g} (control)",
                 found.plateau, low=found.plateau - found.plateau_error, high=found.plateau + found.plateau_error,
                 basis="Var_q(s^2)/(lambda + E_q[s^2])^2, halved spacing"),
    )  # fmt: skip
    holds = all(figure.within for figure in figures) and found.plateau > 0.01
    return (Verdict.CORRECTED if holds else Verdict.OPEN), figures


def _describe(
    verdict: Verdict,
    figures: tuple[Measured, ...],
    data: dict[str, np.ndarray],
    cases: Sequence[tuple[str, float]],
) -> Finding:
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="corrected: drift M s + div M; one dimension, "
        + ", ".join(f"{name} at lambda = {damping:g}" for name, damping in cases),
        methods=(
            "finite volumes in the density ratio, exact in time",
            "finite elements for sqrt(q) f: a Galerkin bound of the gap from above",
            "Euler-Maruyama's transition matrix, extrapolated to h = 0",
            "sharpness: convexity of log chi-squared from one explicit start, and a closed form",
        ),
        assumption="A Poincare inequality in the geometry M, the paper's Assumption 1. It holds here: the gap is "
        "positive, though never above 1/4 (C4).",
        remark="Prop. 4 is true of the corrected dynamics, and sharp. Of the literal dynamics it is not: they "
        "converge exponentially as well, but to another density, and chi-squared against q_t stops at a positive "
        "value.",
        data=data,
    )


def _decay_in_the_plane(worst: MaxError, q: ExactTarget, damping: float) -> None:
    """Chi-squared over its bound, and what the discrete laws of mass and of chi-squared leave, in the plane."""
    assert isinstance(q, GaussianMixture)
    flow = DensityRatioFlow(q, damping=damping, cells=32, drop=40.0)
    gap = spectral_gap(q, damping=damping, cells=32, drop=40.0)
    centre = torch.tensor([1.0, 0.5], dtype=torch.float64)
    width = _START_WIDTH

    def density(x: Tensor) -> Tensor:
        return torch.exp(-0.5 * ((x - centre) ** 2).sum(1) / width**2) / (2 * math.pi * width**2)

    dt = 0.1 / gap.value
    path = flow.evolved(flow.start(density), dt, 60)
    chi = np.array([flow.chi_squared(f) for f in path])
    # What a step leaves of a mode whose rate is the gap less its error; of faster modes it leaves less, up to the
    # stiffest, of which the halves of implicit Euler have left nothing to speak of.
    half = (gap.value - gap.error) * dt / 2
    left = np.where(np.arange(60) < EULER_STEPS, (1 + half) ** -2.0, (1 - half) / (1 + half))
    bound = chi[0] * np.cumprod(np.append(1.0, left**2))
    worst.update("planar", float((chi / bound).max()) / (1 + 1e-9))
    rounding = 100 * len(path[0]) * np.finfo(float).eps
    worst.update("kept", max(abs(flow.mass(f) - 1) for f in path) / rounding)
    worst.update("kept", float(np.diff(chi).max()) / (rounding * chi[0]))


def _late_rate_error(flow: ReversibleFlow) -> float:
    r"""Return ``|rate/gap - 1|`` at a late time over what the next modes can contribute, for a start on one side.

    With ``chi2 = sum c_k^2 e^{-2 mu_k t}`` the rate ``-(1/2) d log chi2/dt`` exceeds the gap by the ``mu_k`` averaged
    with the shares of the other modes: at most ``sum_k (mu_k/mu_1 - 1) share_k``, itself computed at an earlier time.
    """
    start = _start(flow.x, _STARTS[0])
    c = (flow.eigenvectors.T @ (start / np.sqrt(flow.weight)))[1:] ** 2
    mu = flow.eigenvalues[1:]

    t, dt = 8 / mu[0], 0.1 / mu[0]
    chi = flow.chi_squared(start, np.array([t - dt, t + dt]))
    rate = -0.5 * math.log(chi[1] / chi[0]) / (2 * dt)
    shares = c * np.exp(-2 * (mu - mu[0]) * (t - dt))
    excess = float((shares * (mu / mu[0] - 1)).sum() / shares.sum())
    rounding = 1e-9  # of the logarithm of a quotient of sums of a thousand terms, over 2 dt gap
    return float(abs(rate / flow.gap - 1) / (excess + rounding))


def _against_chain(q: ExactTarget, damping: float, flow: ReversibleFlow) -> float:
    """Return the total variation between the flow's and the chain's density at ``t = 1/gap``, over their errors."""
    time = 1 / flow.gap
    doublings = max(6, math.ceil(math.log2(time / (0.04 * damping))))
    h = time / 2**doublings
    mean = _STARTS[0]

    def density(chain: EulerChain) -> np.ndarray:
        start = _start(chain.x, mean) / chain.spacing
        more = round(math.log2(h / chain.h))
        return np.asarray(chain.evolved(start, doublings + more)[-1])

    limit = euler_limit(Coefficients(q, damping, "corrected"), density, h, -6.0, 6.0)

    def on_chain_grid(flow: ReversibleFlow) -> np.ndarray:
        found = flow.probabilities(_start(flow.x, mean), np.array([time]))[0] / (flow.x[1] - flow.x[0])
        return np.asarray(np.interp(limit.x, flow.x, found))

    coarse = reversible_flow(q, damping=damping, dynamics="corrected", low=-_REACH, high=_REACH, cells=len(flow.x) // 2)
    ours, half = on_chain_grid(flow), on_chain_grid(coarse)
    spacing = limit.spacing
    error = limit.error + 0.5 * float(np.abs(ours - half).sum()) * spacing
    return 0.5 * float(np.abs(ours - limit.density).sum()) * spacing / error


def draw_decay(finding: Finding) -> Figure:
    """Draw chi-squared against time in units of 1/gap, with the slope of the bound."""
    figure, axes = panels(3, width=2.7, height=2.7, sharey=True)
    names = [key.removesuffix(":gap") for key in finding.data if key.endswith(":gap")][:3]
    for axis, name in zip(axes, names, strict=False):
        times = finding.data[f"{name}:times"] * finding.data[f"{name}:gap"]
        for mean, dashes in zip(_STARTS, ("-", "--", ":"), strict=True):
            decay = finding.data[f"{name}:{mean:g}"]
            axis.semilogy(times, decay / decay[0], dashes, color=COLOURS["corrected"], label=f"start at {mean:g}")
        axis.semilogy(times, np.exp(-2 * times), color=COLOURS["bound"], lw=1, label=r"$e^{-2t/C}$")
        axis.set(xlabel="time over C", ylim=(1e-7, 2))
        axis.set_title(name.replace(", ", r", $\lambda=$"), loc="left")
    axes[0].set_ylabel(r"$\chi^2(\rho_t|q)$ over its start")
    axes[-1].legend(loc="upper right")
    return figure
