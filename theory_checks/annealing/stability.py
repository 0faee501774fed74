r"""Claim A7: how far an extrapolation of the noise narrows DDIM's interval of stability, and what guidance does to it.

*Model.* Let the noise prediction be linear, ``eps = m u/r`` in ``u = x/alpha``, ``r = sigma/alpha``: the flow
``du/dl = -m u`` in the half-log-SNR l decays at the rate m. A Gaussian class ``N(0, c)`` of a Gaussian whole
``N(0, C)`` under guidance w has ``m = w r^2/(c + r^2) - (w - 1) r^2/(C + r^2)``, which is w where ``c << r^2 << C``. On
equal steps h, with ``k = 1 - e^{-h}``, a solver that uses ``sum_j b_j eps_{i-j}`` is the recurrence

    ``u_{i+1} = u_i - k m sum_j b_j e^{-jh} u_{i-j}``,                                                          (noise)
    ``u_{i+1} = e^{-h} u_i + k (1 - m) sum_j b_j u_{i-j}``,                                (data, ``x0 = (1 - m) u``)

stable where no root of its characteristic polynomial is outside the unit circle.

*Claim.* With ``b = (1 + eta, -eta)`` it is stable if ``0 < k m (1 + eta + eta e^{-h}) < 2``, and unstable beyond; as
``h -> 0``, where ``k m -> h mu``: for ``|h mu| < 2/(1 + 2 eta)``. At ``m = 0`` its roots are 1 and 0 (zero-stable).

*Proof.* ``P(z) = z^2 - (1 - a) z - b`` with ``a = k m (1 + eta)``, ``b = k m eta e^{-h}``. Both roots are inside the
circle if and only if ``|b| < 1``, ``P(1) = a - b > 0`` and ``P(-1) = 2 - a - b > 0`` (Jury). The second always holds,
as ``b < a``; with the third it gives ``2 b < a + b < 2``, the first. Beyond, ``P(-1) < 0``: a root is below -1.

*LML.* With step 13's norm nothing is extrapolated along eps: on a line LML is DDIM, stable up to ``k m = 2``. Across a
noise ``(E, 0)`` that stays as it is, ``eps = (E, v)`` with a small v has ``p' = (0, v_{i-1} - v_i) + O(v^2)`` and
``zeta = eta0 + O(v^2)`` (claim K3), so that the second entry of the turned noise is ``v_i + eta0 (v_i - v_{i-1}) +
O(v^2)``: there LML has the interval of the extrapolation. In d dimensions d - 1 directions are across.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lml.correction import LML, Correction
from lml.samplers import SAMPLERS, Level, sample, trajectory
from lml.samplers.exponential import phi
from theory_checks.annealing.step_rounding import rounding_of_a_step
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics.levels import U

__all__ = [
    "SOLVERS",
    "FixedExtrapolation",
    "Solver",
    "characteristic",
    "check_stability",
    "draw_stability",
    "guidance_limit",
    "interval",
    "recurrence",
    "slope",
]


@dataclass(frozen=True)
class FixedExtrapolation(Correction):
    """``e + eta (e - p)`` with one eta for all samples."""

    eta: float

    @property
    def depth(self) -> int:
        return 1

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        return vector + self.eta * (vector - history[0]) if history else vector


def _third(h: float) -> tuple[float, ...]:
    """Return the weights of three predictions, h the step of the noise and minus that of the data."""
    first, second = phi(2, h) / phi(1, h), phi(3, h) / phi(1, h)
    return 1 + 1.5 * first + 0.5 * second, -2 * first - second, 0.5 * first + 0.5 * second


@dataclass(frozen=True)
class Solver:
    """A sampler of `lml.samplers`, and the weights that it must have.

    Attributes:
        sampler: by name.
        weights: ``b_j`` on equal steps h.
        data: whether they weigh data predictions.
        eta: for DDIM with an extrapolation by eta (0: DDIM itself).
    """

    sampler: str
    weights: Callable[[float], Sequence[float]]
    data: bool = False
    eta: float | None = None

    @property
    def correction(self) -> Correction | None:
        """What is done to the sampler's noise."""
        return FixedExtrapolation(self.eta) if self.eta else None


def _extrapolated(eta: float) -> Solver:
    return Solver("ddim", lambda h: (1 + eta, -eta), eta=eta)


SOLVERS: dict[str, Solver] = {
    "ddim": Solver("ddim", lambda h: (1.0,), eta=0.0),
    "extrapolation, eta = 1/4": _extrapolated(0.25),
    "extrapolation, eta = 1/2": _extrapolated(0.5),
    "extrapolation, eta = 1": _extrapolated(1.0),
    "dpm-solver-2m": Solver("dpm-solver-2m", lambda h: (1.5, -0.5)),
    "dpm-solver-3m": Solver("dpm-solver-3m", _third),
    "dpm-solver++-2m": Solver("dpm-solver++-2m", lambda h: (1.5, -0.5), data=True),
    "dpm-solver++-3m": Solver("dpm-solver++-3m", lambda h: _third(-h), data=True),
    "pndm": Solver("pndm", lambda h: (55 / 24, -59 / 24, 37 / 24, -9 / 24)),
}


def interval(eta: float) -> float:
    """Return ``2/(1 + 2 eta)``, the claimed bound of ``|h mu|`` for small steps."""
    return 2 / (1 + 2 * eta)


def characteristic(solver: Solver, h: float, m: float) -> np.ndarray:
    """Return the coefficients of the characteristic polynomial, highest power first."""
    k, b = -math.expm1(-h), solver.weights(h)
    coefficients = np.zeros(len(b) + 1)
    coefficients[:2] = (1.0, -math.exp(-h)) if solver.data else (1.0, -1.0)
    for j, weight in enumerate(b):
        coefficients[1 + j] += -k * (1 - m) * weight if solver.data else k * m * weight * math.exp(-j * h)
    return coefficients


def guidance_limit(solver: Solver, h: float) -> float:
    """Return the rate m at which -1 is a root: ``k m sum_j (-1)^j b_j e^{-jh} = 2`` for noise predictions.

    For data predictions ``k (m - 1) sum_j (-1)^j b_j = 1 + e^{-h}``.
    """
    k, b = -math.expm1(-h), solver.weights(h)
    if solver.data:
        return 1 + (1 + math.exp(-h)) / (k * sum(weight * (1 - 2 * (j % 2)) for j, weight in enumerate(b)))
    return 2 / (k * sum(weight * (1 - 2 * (j % 2)) * math.exp(-j * h) for j, weight in enumerate(b)))


def _radius(solver: Solver, h: float, m: float) -> float:
    return float(np.abs(np.roots(characteristic(solver, h, m))).max())


_STEPS = 80


def _run(name: str, correction: Correction | None, h: float, m: float, beside: float | None = None) -> np.ndarray:
    """Return ``u`` after each step of a sampler on a plateau, (steps,), from one.

    Args:
        name: of the sampler.
        correction: of its noise.
        h: the step.
        m: the rate of the plateau.
        beside: a constant noise in a second coordinate, across which the first one is turned.
    """
    levels = [Level(1.0, math.exp(-h * i)) for i in range(_STEPS + 1)]
    x = torch.ones((1, 1), dtype=torch.float64)
    constant = torch.zeros((1, 0), dtype=torch.float64)
    if beside is not None:
        # A point mass at zero in the second coordinate: along DDIM's path its noise x/sigma is this constant, which is
        # given as it is: the rounding of x/sigma would drown what is across it.
        x = torch.tensor([[1.0, beside]], dtype=torch.float64)
        constant = x[:, 1:]

    def noise(y: Tensor, level: Level) -> Tensor:
        return torch.cat((m * y[:, :1] / level.sigma, constant), 1)

    path = trajectory(SAMPLERS[name], noise, x, levels, correction)
    return np.array([float(state.x[0, 0]) for state, _ in path])


def _terms(solver: Solver, h: float, m: float) -> np.ndarray:
    """Return what multiplies ``|u_{i+1}|, |u_i|, ..`` in the sum of absolute terms that a step is computed from.

    In `characteristic` terms of opposite sign have been added up, as in ``1 - k m b_0`` and ``x0 = (1 - m) u``.
    """
    k, b = -math.expm1(-h), solver.weights(h)
    terms = np.zeros(len(b) + 1)
    terms[:2] = (1.0, math.exp(-h) if solver.data else 1.0)
    for j, weight in enumerate(b):
        terms[1 + j] += k * abs(weight) * ((1 + m) if solver.data else m * math.exp(-j * h))
    return terms


_FIRST = 6  # steps that are left out: the first ones of a solver are of lower order


def _residual(u: np.ndarray, solver: Solver, h: float, m: float) -> float:
    """Return by how much a run ``u_1, u_2, ..`` misses the recurrence of a solver, over the rounding of a step."""
    coefficients, terms = characteristic(solver, h, m), _terms(solver, h, m)
    windows = np.lib.stride_tricks.sliding_window_view(u[_FIRST:], len(coefficients))[:, ::-1]
    # The first number of u is the result of step 0.
    steps = _FIRST + len(coefficients) - 1 + np.arange(len(windows))
    return float((np.abs(windows @ coefficients) / (rounding_of_a_step(h, steps) * (np.abs(windows) @ terms))).max())


def _grows(u: np.ndarray) -> bool:
    """Whether a run ends larger than it was after half its steps; oscillations are passed over by their largest."""
    last, middle = (float(np.abs(part).max()) for part in (u[-8:], u[_STEPS // 2 : _STEPS // 2 + 8]))
    return last > middle


def slope(r: float, w: float, c: float, whole: float) -> float:
    """Return ``m = w r^2/(c + r^2) - (w - 1) r^2/(C + r^2)``."""
    return w * r * r / (c + r * r) - (w - 1) * r * r / (whole + r * r)


def _end(solver: Solver, levels: Sequence[Level], w: float, c: float, whole: float) -> float:
    """Return ``u`` at the last level, from one, by the sampler on a guided Gaussian."""

    def noise(x: Tensor, level: Level) -> Tensor:
        return slope(level.sigma / level.alpha, w, c, whole) * x / level.sigma

    start = torch.full((1, 1), levels[0].alpha, dtype=torch.float64)
    return float(sample(SAMPLERS[solver.sampler], noise, start, levels, solver.correction)) / levels[-1].alpha


def recurrence(r: Sequence[float], eta: float, w: float, c: float, whole: float) -> tuple[float, float]:
    """Return the same for DDIM with an extrapolation, and the sum of its terms' absolute values.

    ``u_{i+1} = u_i + (r_{i+1} - r_i)(e_i + eta (e_i - e_{i-1}))``, ``e = m u/r``.
    """
    u, size, before, before_size = 1.0, 1.0, 0.0, 0.0
    for i in range(len(r) - 1):
        rate = slope(r[i], w, c, whole) / r[i]
        e, e_size, ahead = rate * u, abs(rate) * size, eta if i else 0.0
        u += (r[i + 1] - r[i]) * ((1 + ahead) * e - ahead * before)
        size += abs(r[i + 1] - r[i]) * ((1 + ahead) * e_size + ahead * before_size)
        before, before_size = e, e_size
    return u, size


_CLASS, _WHOLE = 1e-4, 1.0
_RANGE = (-1.0, 7.0)
_COUNTS = (16, 32)  # from 15 steps on no solver lowers its order at the end


def _breaking(solver: Solver, steps: int, worst: MaxError) -> float:
    """Return the least guidance at which the end is as far from the class's mean as the start was."""
    low, high = _RANGE
    levels = [Level(1.0, math.exp(-low - (high - low) * i / steps)) for i in range(steps + 1)]
    r = [level.sigma / level.alpha for level in levels]
    # Each step adds a few roundings of its terms, and the slopes carry some more.
    rounding = 20 * steps * U
    broken = math.inf
    for w in np.geomspace(1.0, 40.0, 100):
        end = _end(solver, levels, float(w), _CLASS, _WHOLE)
        if solver.eta is not None:
            value, size = recurrence(r, solver.eta, float(w), _CLASS, _WHOLE)
            worst.update("ends", abs(end - value) / (rounding * size))
        if abs(end) > 1:
            broken = min(broken, float(w))
    return broken


@with_proofs("A7")
def check_stability(settings: Settings, labels: Sequence[str] | None = None) -> Finding:
    """A7: an extrapolation by eta narrows DDIM's interval of stability from 2 to ``2/(1 + 2 eta)``.

    Args:
        settings: profile and seed.
        labels: of `SOLVERS`; all by default.
    """
    chosen = {label: SOLVERS[label] for label in labels or SOLVERS}
    worst = MaxError()
    sizes = settings.pick((0.25, 1.0), (0.05, 0.25, 0.5, 1.0, 2.0))
    data: dict[str, np.ndarray] = {"h": np.geomspace(0.03, 2.0, 40)}
    for label, solver in track(list(chosen.items()), "runs on a plateau"):
        data[f"{label}:limit"] = np.array([guidance_limit(solver, h) for h in data["h"]])
        for h in sizes:
            limit = guidance_limit(solver, h)
            worst.update("edge", abs(_radius(solver, h, limit) - 1) / 1e-9)
            for share in (0.95, 1.05):
                m = share * limit
                u = _run(solver.sampler, solver.correction, h, m)
                worst.update("recurrence", _residual(u, solver, h, m))
                outside = _radius(solver, h, m) > 1
                worst.update("side", 0.0 if outside == (share > 1) == _grows(u) else math.inf)
    half, lml = SOLVERS["extrapolation, eta = 1/2"], LML(damping=1e-12, mixing=0.5e-12)
    for h in sizes:
        for share in (0.95, 1.05):
            m = share * guidance_limit(half, h)
            # So large that the first coordinate's noise stays small beside it.
            u = _run("ddim", lml, h, m, beside=1e120)
            worst.update("across", _residual(u, half, h, m) / (1 + 1e-12 / U))
            worst.update("side", 0.0 if (share > 1) == _grows(u) else math.inf)
            m = share * guidance_limit(SOLVERS["ddim"], h)
            u = _run("ddim", lml, h, m)
            worst.update("along", _residual(u, SOLVERS["ddim"], h, m))
    small = 1e-4
    for eta in (0.25, 0.5, 1.0):
        found = -math.expm1(-small) * guidance_limit(_extrapolated(eta), small)
        worst.update("interval", abs(found / interval(eta) - 1) / small)
    for label, solver in chosen.items():
        roots = np.sort(np.abs(np.roots(characteristic(solver, 0.3, 0.0 if not solver.data else 1.0))))
        worst.update("zero", float(abs(roots[-1] - (math.exp(-0.3) if solver.data else 1.0))) / 1e-7)
        worst.update("zero", float(roots[-2]) / 1e-7 if len(roots) > 1 else 0.0)
        data[f"{label}:broken"] = np.array([_breaking(solver, n, worst) for n in _COUNTS])
    order = [float(data[f"{label}:broken"][-1]) for label in chosen]
    limits = [guidance_limit(solver, (_RANGE[1] - _RANGE[0]) / 32) for solver in chosen.values()]
    rank = np.array([np.sign((a - b) * (c - d)) for a, c in zip(order, limits, strict=True)
                     for b, d in zip(order, limits, strict=True) if abs(c / d - 1) > 0.1])  # fmt: skip
    agreeing = float((rank > 0).mean()) if len(rank) else 0.0
    ratios = [b / m for b, m in zip(order, limits, strict=True)]
    figures = (
        *worst.figures(
            ("recurrence", "what a sampler's run on a plateau misses its recurrence by, over rounding",
             "rounding of a step: levels, the step found from them, weights, sums"),
            ("edge", "largest root at the derived limit, minus 1, over 1e-9", "rounding of the roots"),
            ("side", "roots or runs on the wrong side 5 % below or above the limit", "none"),
            ("across", "LML across a constant noise: the same with the extrapolation's recurrence",
             "the same, and kappa = 5e-13"),
            ("along", "LML on a line: the same with DDIM's recurrence", "the same"),
            ("interval", "limit of k m for h = 1e-4 against 2/(1 + 2 eta), relative, over h", "next order in h"),
            ("zero", "roots at m = 0: distance from 1 and 0, over 1e-7", "a root of order q is known to u^(1/q)"),
            ("ends", "end on guided Gaussians: sampler against recurrence, over rounding",
             "20 n u times the sum of absolute terms"),
        ),
        Measured("pairs of solvers that break on guided Gaussians in the order of their limits",
                 agreeing, low=agreeing, high=1.0,
                 basis="32 steps, limits more than 10 % apart"),
        Measured("guidance that breaks over the limit of a plateau", float(np.median(ratios)), low=min(ratios),
                 high=max(ratios), basis="median and range over solvers: a class of a hundredth of the whole's width "
                 "has a short plateau"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures) if agreeing == 1 else Verdict.OPEN,
        figures=figures,
        reading=f"linear noise predictions on equal steps of log-SNR: {', '.join(chosen)}; and guided Gaussians, a "
        f"class N(0, {_CLASS:g}) of a whole N(0, {_WHOLE:g})",
        methods=(
            "roots of the characteristic polynomial that is derived for each solver",
            "runs of lml's samplers themselves, and their ends on guided Gaussians",
        ),
        assumption="A linear noise prediction whose rate stays in place for a few steps.",
        remark="Guidance w multiplies the rate where the class is narrow and the whole is wide, and only there: where "
        "both have one covariance it shifts the mean and no solver is the less stable. Between, the limit tells the "
        "order in which solvers break, not the guidance itself, which depends on how many steps the plateau takes.",
        data=data,
    )


def draw_stability(finding: Finding) -> Figure:
    """Draw the limit of each solver against the step, and where each broke on guided Gaussians."""
    figure, (axis,) = panels(1, width=5.8, height=3.6)
    data, h = finding.data, finding.data["h"]
    styles = (
        ("ddim", "target", "-"),
        ("extrapolation, eta = 1/4", "lml", ":"),
        ("extrapolation, eta = 1/2", "lml", "-"),
        ("extrapolation, eta = 1", "lml", "--"),
        ("dpm-solver-3m", "corrected", "-"),
        ("dpm-solver++-2m", "bound", "--"),
        ("dpm-solver++-3m", "bound", ":"),
        ("pndm", "literal", "-"),
    )
    at = (_RANGE[1] - _RANGE[0]) / np.array(_COUNTS)
    for label, colour, dashes in styles:
        if f"{label}:limit" in data:
            axis.loglog(h, data[f"{label}:limit"], dashes, color=COLOURS[colour], label=label.replace("eta", r"$\eta$"))
            axis.loglog(at, data[f"{label}:broken"], "o", ms=3, color=COLOURS[colour])
    axis.loglog([], [], "o", ms=3, color=COLOURS["limit"], label="broke on guided Gaussians")
    axis.set_yticks([1, 2, 5, 10, 20, 50], ["1", "2", "5", "10", "20", "50"])
    axis.set_xticks([0.05, 0.1, 0.25, 0.5, 1, 2], ["0.05", "0.1", "0.25", "0.5", "1", "2"])
    axis.minorticks_off()
    axis.set(xlabel="step in half-log-SNR", ylabel="guidance", ylim=(0.5, 90))
    axis.set_title("The guidance up to which a plateau is stable", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
