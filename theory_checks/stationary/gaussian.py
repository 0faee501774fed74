r"""Claim S5: for a Gaussian in two dimensions or more, literal Eq. 7 may have no stationary law at all (ours).

For ``q = N(0, v I)``, ``s = -x/v``, the radius of ``dX = M s dt + sqrt(2) M^{1/2} dB`` is itself a diffusion: ``M`` is
``M_r = 1/(lambda + r^2/v^2)`` along x and ``1/lambda`` across, so for ``f(r)``

    ``L f = M_r f'' + b f',    b = (d-1)/(lambda r) - (r/v) M_r``.

*No explosion.* ``M <= I/lambda`` and ``|M s| <= 1/(2 sqrt(lambda))``, and both are smooth: there is one solution for
all times. *The origin.* Near it L is that of Bessel's process of dimension d over lambda: for ``d >= 2`` it is not
reached.

*The law.* Zero flux, ``p b = (M_r p)'``, gives ``M_r p ~ exp(int b/M_r)``, that is

    ``p(r) ~ (lambda + r^2/v^2) r^(d-1) exp(-(r^2/(2 v)) (1 - (d-1)/(lambda v)))``,

which can be normalised if and only if ``lambda v > d - 1``. The radius of any stationary law of X is stationary, and a
regular diffusion on the half-line whose origin is not reached has no other stationary law than the one of zero flux: so
this decides for X too. In ``d = 1`` the condition holds for every damping, and the law is that of S1.

*Beyond.* The scale density is ``exp(-int b/M_r) = r^(1-d) exp((r^2/(2 v)) (1 - (d-1)/(lambda v)))``: its integral to
infinity is finite where ``lambda v < d - 1`` (transient). At ``lambda v = d - 1`` it is ``r^(1-d)``: finite for
``d >= 3`` (transient), infinite for ``d = 2`` (recurrent), where ``p ~ r^3`` has no integral (null recurrent). In both
cases there is no law, and where ``lambda v < d - 1`` the squared radius grows without bound:
``d E|X|^2/dt = 2 E[ (d-1)/lambda - v + (v lambda + 1)/(lambda + r^2/v^2) ] >= 2 ((d-1)/lambda - v)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from lml.geometry import DampedOuterProduct
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.ledger.statistics import mean_interval

__all__ = ["check_existence", "class_of", "draw_existence", "mean_square", "scale_integral", "simulate"]


def mean_square(d: int, damping: float, v: float) -> float:
    r"""Return ``E|X|^2`` of the stationary law; infinite where there is none.

    With ``c = v/(1 - (d-1)/(lambda v))`` the law is ``(lambda + r^2/v^2)`` times a chi of scale ``sqrt(c)``, so that
    ``E r^2 = (lambda c d + c^2 d (d+2)/v^2)/(lambda + c d/v^2)``.
    """
    if damping * v <= d - 1:
        return math.inf
    c = v / (1 - (d - 1) / (damping * v))
    return (damping * c * d + c**2 * d * (d + 2) / v**2) / (damping + c * d / v**2)


def simulate(
    d: int, damping: float, v: float, *, h: float, steps: int, count: int, generator: torch.Generator
) -> np.ndarray:
    """Return the mean of ``|X|^2`` over each of ``count`` Euler-Maruyama paths' last half, shape (count,).

    The paths start from q, know ``M`` through `DampedOuterProduct` alone, and nothing of the radius's law.
    """
    x = math.sqrt(v) * torch.randn((count, d), dtype=torch.float64, generator=generator)
    total = torch.zeros(count, dtype=torch.float64)
    for k in range(steps):
        G = DampedOuterProduct(-x / v, damping)
        z = torch.randn(x.shape, dtype=torch.float64, generator=generator)
        x = x + h * G.solve_vector() + math.sqrt(2 * h) * G.sqrt_solve(z)
        if k >= steps // 2:
            total += (x * x).sum(1)
    return (total / (steps - steps // 2)).numpy()


def class_of(d: int, damping: float, v: float) -> str:
    """Return how the literal dynamics of ``N(0, v I)`` behave: positive recurrent, null recurrent or transient."""
    if d == 1 or damping * v > d - 1:
        return "positive recurrent"
    return "null recurrent" if d == 2 and damping * v == 1 else "transient"


def scale_integral(d: int, damping: float, v: float, upper: float) -> float:
    r"""Return ``int_1^upper exp(-int_1^r b/M_r) dr``, with ``b/M_r`` itself integrated by quadrature.

    It converges as ``upper`` grows where the radius is transient; this knows none of the closed forms.
    """

    def slope(u: float, state: np.ndarray) -> np.ndarray:
        # In u = log r: the exponent's derivative, and that of the integral.
        r = math.exp(u)
        M = 1 / (damping + r * r / v**2)
        b = (d - 1) / (damping * r) - r / v * M
        return np.array([-r * b / M, r * math.exp(min(state[0], 600.0))])

    found = solve_ivp(slope, (0.0, math.log(upper)), [0.0, 0.0], method="DOP853", rtol=1e-10, atol=1e-12)
    return float(found.y[1, -1])


#: Dimension, damping and variance: with a stationary law, and without.
_CLASSES = ((1, 1e-3, 1.0), (2, 1.001, 1.0), (2, 1.0, 1.0), (2, 0.999, 1.0), (2, 1e-3, 1.0), (3, 2.0, 1.0),
            (3, 2.1, 1.0), (8, 1.75, 4.0), (8, 1.8, 4.0))  # fmt: skip
_CASES = ((2, 3.0, 1.0), (3, 4.0, 1.0), (8, 3.5, 4.0), (2, 0.5, 1.0), (3, 1.0, 1.0), (64, 10.0, 1.0))


@with_proofs("S5")
def check_existence(settings: Settings, cases: Sequence[tuple[int, float, float]] = _CASES) -> Finding:
    """S5: the literal reading of Eq. 7 for ``N(0, v I)`` has a stationary law if and only if ``lambda v > d - 1``."""
    generator = settings.generator()
    worst = MaxError()
    classes = 0
    for d, damping, v in _CLASSES:
        # From one decade to the next the integral gains a share that stays, grows, or dies out like 10^-(d-2) at most.
        first, second, third = (scale_integral(d, damping, v, upper) for upper in (1e2, 1e3, 1e4))
        # Up to what the quadrature leaves of the whole.
        transient = third - second < max(0.2 * (second - first), 1e-8 * third)
        classes += transient != (class_of(d, damping, v) == "transient")
    beyond, grown = math.inf, math.inf
    data: dict[str, list[float]] = {"d": [], "strength": [], "ratio": [], "low": [], "high": [], "predicted": []}
    count = settings.pick(200, 1000)
    for d, damping, v in track(cases, "particles in up to 64 dimensions"):
        exact = mean_square(d, damping, v)
        # The time scales are lambda v across and, to get there from q, the distance to the law over the drift.
        h = 0.01 * damping * v
        steps = settings.pick(1500, 8000)
        found = simulate(d, damping, v, h=h, steps=steps, count=count, generator=generator)
        half = simulate(d, damping, v, h=h / 2, steps=2 * steps, count=count, generator=generator)
        interval = mean_interval(half, level=0.99, comparisons=len(cases))
        step_error = 2 * abs(float(found.mean() - half.mean()))
        if math.isfinite(exact):
            width = (interval.high - interval.low) / 2 + step_error
            worst.update("law", abs(interval.value - exact) / width)
        else:
            # The mean over the last half of the time T of a square that grows at least at rate 2((d-1)/lambda - v).
            least = v * d + 2 * ((d - 1) / damping - v) * 0.75 * (h * steps)
            beyond = min(beyond, interval.high / least)
            grown = min(grown, interval.low / (v * d))
        for key, value in (
            ("d", d),
            ("strength", damping * v / (d - 1)),
            ("ratio", interval.value / (v * d)),
            ("low", interval.low / (v * d)),
            ("high", interval.high / (v * d)),
            ("predicted", exact / (v * d)),
        ):
            data[key].append(value)
    slowest = (3072 - 1) / 1e-3
    figures = (
        Measured("dampings, dimensions and variances whose scale integral contradicts the class", classes, limit=0,
                 basis="integrals to 100, 1000, 10000 by DOP853; d = 1 to 8, equality at d = 2 and 3 among them"),
        Measured("E|X|^2 of particles from the closed form, over the error, where a law exists", worst["law"], limit=1,
                 basis="99 % simultaneous interval, and twice what halving the step changes"),
        Measured("E|X|^2 of particles over that of q, where none exists, the least", grown, low=grown, high=math.inf,
                 basis="lower end of a 99 % simultaneous interval over the last half of the run"),
        Measured("the same over the lower bound on its growth, the least", beyond, low=0.0, high=beyond,
                 basis="upper end of that interval: not below 1"),
        Measured("lambda v below which there is none, d = 3072", 3071.0, basis="the paper's lambda is 0.001"),
        Measured("rate of growth of E|X|^2 there, at lambda = 0.001 and v = 1, at least", 2 * (slowest - 1)),
    )  # fmt: skip
    verdict = agreement(*figures) if grown > 2 and beyond >= 1 else Verdict.OPEN
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="literal (Ito) reading of Eq. 7 on a single Gaussian",
        methods=(
            "law and scale of the radius in closed form",
            "the scale integral by quadrature alone",
            "Euler-Maruyama particles",
        ),
        assumption="Stationary means a probability. The particles' step is small against lambda v.",
        remark="So literal Prop. 3 does not only end at another law (S1): at the paper's damping, on N(0, I) in "
        "the dimension of any image, it ends nowhere. The noise across s, of variance 2/lambda in each of d - 1 "
        "directions, outruns the drift, which is at most v/|x|. With div M in the drift (S2) the law is q for every "
        "lambda. In d = 1 there is a law for every damping; at d = 2, lambda = 0.001 and v = 1 there is none.",
        data={key: np.array(values) for key, values in data.items()},
    )


def draw_existence(finding: Finding) -> Figure:
    """Draw the closed form of the mean square against the damping, with the particles."""
    figure, (axis,) = panels(1, width=5.4, height=3.2)
    data = finding.data
    strengths = np.geomspace(1.02, 30, 200)
    for d, colour in ((2, "lml"), (8, "control"), (64, "bound")):
        curve = [mean_square(d, s * (d - 1), 1.0) / d for s in strengths]
        axis.loglog(strengths, curve, color=COLOURS[colour], label=f"closed form, d = {d}")
    exists = np.isfinite(data["predicted"])
    low, high = (np.abs(data["ratio"] - data[end]) for end in ("low", "high"))
    axis.errorbar(data["strength"][exists], data["ratio"][exists], yerr=(low[exists], high[exists]), fmt="o", ms=4,
                  color=COLOURS["literal"], label="particles")  # fmt: skip
    axis.loglog(data["strength"][~exists], data["ratio"][~exists], "^", ms=6, mfc="none", color=COLOURS["literal"],
                label="particles, still growing")  # fmt: skip
    axis.axvline(1, color=COLOURS["limit"], lw=0.8)
    axis.axhline(1, color=COLOURS["limit"], lw=0.8, ls=":")
    axis.set(xlabel=r"$\lambda v/(d-1)$", ylabel=r"$E|X|^2$ over that of $q$")
    axis.set_title("Literal Eq. 7 on $N(0, vI)$: no law left of 1", loc="left")
    axis.legend(loc="upper right")
    return figure
