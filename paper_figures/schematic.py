r"""The method: Algorithm 1 as a turn and a restored norm, the identity at mixing zero, and the published code.

Algorithm 1 mixes ``v = kappa eps_prev + (1 - kappa) eps``, solves ``r = lambda (lambda I + v v^T)^{-1} eps =
eps - v <v, eps>/(lambda + |v|^2)`` and restores the norm, ``eps_lml = |eps| r/|r|``. A step of DDIM from the level
``(alpha, sigma)`` to ``(alpha', sigma')`` is ``x'/alpha' = x0 + (sigma'/alpha') eps`` with ``x0 = x/alpha -
(sigma/alpha) eps``: Algorithm 1 has ``eps_lml`` in both places, the published code keeps ``eps`` in ``x0`` (claim K5).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lml import kernel
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, NOTE, QUIET, ROLES
from theory_checks.ledger.claim import Settings

# What is large enough to be seen: degrees between two noises, and mixing and damping over the squared norm.
_DEGREES, _MIXING, _DAMPING = 55.0, 0.45, 0.6

# The noise points up and to the right.
_UP = 62.0

# sigma/alpha before and after the step of the last panel.
_BEFORE, _AFTER = 1.5, 0.7

_DRAW_GREY = "#777777"

# Of the ends of a step: offset in points, and which side of the text is there.
_DRAW_STEP_LABELS = {"base": ((4, 0), "left", "center"), "algorithm": ((2, 4), "right", "bottom"),
                "published": ((4, 0), "left", "center")}  # fmt: skip

# Of every panel, in lengths of the noise.
_DRAW_WIDE, _DRAW_HIGH = (-0.85, 1.25), (-0.55, 1.3)


def compute(settings: Settings) -> Data:
    """Return the vectors of Algorithm 1 in the plane, of length one, and the points of a step; nothing is random."""
    e, p = (_unit(_UP), _unit(_UP + _DEGREES))
    found: dict[str, np.ndarray] = {"eps": e, "previous": p}
    for name, kappa in (("mixed", _MIXING), ("plain", 0.0)):
        v = kappa * p + (1 - kappa) * e
        solved = e - v * (v @ e) / (_DAMPING + v @ v)
        turned = kernel.lml_direction(_row(e), _row(p), damping=_DAMPING, mixing=kappa)[0].numpy()
        found |= {f"{name}: v": v, f"{name}: solved": solved, f"{name}: turned": turned}
    turned = found["mixed: turned"]
    start = np.zeros(2)
    for name, first, last in (("base", e, e), ("algorithm", turned, turned), ("published", e, turned)):
        x0 = start - _BEFORE * first
        found[f"step: {name}"] = np.stack((start, x0, x0 + _AFTER * last))
    angle = math.degrees(math.acos(min(1.0, float(e @ turned))))
    return {
        **found,
        "angle": np.array(angle),
        "shown": np.array((_DEGREES, _MIXING, _DAMPING)),
        "ratios": np.array((_BEFORE, _AFTER)),
    }


def _unit(degrees: float) -> np.ndarray:
    return np.array((math.cos(math.radians(degrees)), math.sin(math.radians(degrees))))


def _row(vector: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(vector)[None]


def draw(data: Data) -> Figure:
    """Draw the solve, the norm, the identity, and a step by Algorithm 1 and by the published code."""
    figure, (axes,) = panels(1, 4, height=1.9)
    titles = ("damped solve", "norm restored", r"$\kappa=0$: the identity", "one step of DDIM")
    for axis, title in zip(axes, titles, strict=True):
        axis.set(aspect="equal", xlim=_DRAW_WIDE, ylim=_DRAW_HIGH)
        axis.set_axis_off()
        axis.set_title(title)
    _draw_solve(axes[0], data)
    _draw_norm(axes[1], data)
    _draw_identity(axes[2], data)
    _draw_step(axes[3], data)
    label_panels(axes)
    return figure


def _draw_arrow(
    axis: Axes, vector: np.ndarray, colour: str, label: str = "", *, dashes: str = "-", away: float = 0.14
) -> None:
    arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "linestyle": dashes, "shrinkA": 0, "shrinkB": 0}
    axis.annotate("", tuple(vector), (0, 0), arrowprops=arrow)
    if label:
        _draw_name(axis, vector, tuple(away * vector / np.linalg.norm(vector)), label, colour)


def _draw_name(axis: Axes, point: np.ndarray, away: tuple[float, float], name: str, colour: str) -> None:
    axis.text(point[0] + away[0], point[1] + away[1], name, color=colour, ha="center", va="center", fontsize=10)


def _draw_circle(axis: Axes) -> None:
    around = np.radians(np.linspace(-8, 150, 200))
    axis.plot(np.cos(around), np.sin(around), color=LIMIT, lw=0.6, ls=(0, (4, 3)))


def _draw_below(axis: Axes, text: str) -> None:
    axis.text(0.5, 0.0, text, transform=axis.transAxes, ha="center", va="bottom", fontsize=9)


def _draw_solve(axis: Axes, data: Data) -> None:
    """Draw what the solve takes from the noise: a part along v."""
    e, r = data["eps"], data["mixed: solved"]
    _draw_arrow(axis, data["previous"], LIMIT, r"$\epsilon_{\mathrm{prev}}$")
    _draw_arrow(axis, data["mixed: v"], _DRAW_GREY, "$v$", dashes="--")
    _draw_arrow(axis, e, ROLES["exact"].colour, r"$\epsilon$")
    _draw_arrow(axis, r, ROLES["LML"].colour)
    _draw_name(axis, r, (0.13, -0.02), "$r$", ROLES["LML"].colour)
    axis.annotate(
        "", tuple(r), tuple(e), arrowprops={"arrowstyle": "->", "color": _DRAW_GREY, "lw": 0.9, "ls": ":", "shrinkB": 1}
    )
    beside = (e + r) / 2
    axis.text(beside[0] + 0.09, beside[1] - 0.02, "along $-v$", color=QUIET, fontsize=NOTE, va="center")
    _draw_below(axis, r"$r=\epsilon-v\,\dfrac{\langle v,\epsilon\rangle}{\lambda+|v|^2}$")


def _draw_norm(axis: Axes, data: Data) -> None:
    e, turned = data["eps"], data["mixed: turned"]
    _draw_circle(axis)
    _draw_arrow(axis, e, ROLES["exact"].colour, r"$\epsilon$")
    _draw_arrow(axis, turned, ROLES["LML"].colour, r"$\epsilon_{\mathrm{lml}}$", away=0.2)
    r = data["mixed: solved"]
    axis.plot(*r, "o", color=ROLES["LML"].colour, mfc="white", ms=4)
    _draw_name(axis, r, (0.1, -0.1), "$r$", ROLES["LML"].colour)
    ends = [math.atan2(v[1], v[0]) for v in (turned, e)]
    arc = np.linspace(ends[0], ends[1], 40)
    axis.plot(0.55 * np.cos(arc), 0.55 * np.sin(arc), color=_DRAW_GREY, lw=0.8)
    middle = float(np.mean(ends))
    axis.text(0.66 * math.cos(middle), 0.66 * math.sin(middle), rf"{float(data['angle']):.0f}$\degree$", fontsize=NOTE,
              color=QUIET, ha="center", va="center")  # fmt: skip
    _draw_below(axis, r"$\epsilon_{\mathrm{lml}}=|\epsilon|\;r/|r|$")


def _draw_identity(axis: Axes, data: Data) -> None:
    e, r = data["eps"], data["plain: solved"]
    _draw_circle(axis)
    _draw_arrow(axis, data["previous"], LIMIT, r"$\epsilon_{\mathrm{prev}}$")
    _draw_arrow(axis, e, ROLES["exact"].colour)
    _draw_name(axis, e, (0.24, 0.14), r"$\epsilon_{\mathrm{lml}}=\epsilon$", ROLES["exact"].colour)
    axis.plot(*r, "o", color=ROLES["LML"].colour, mfc="white", ms=4, zorder=5)
    _draw_name(axis, r, (0.13, -0.06), "$r$", ROLES["LML"].colour)
    _draw_below(axis, r"$v=\epsilon$, so $r\,\parallel\,\epsilon$, for every $\lambda$")


def _draw_step(axis: Axes, data: Data) -> None:
    """Draw a step back to the data's estimate and forward to the next level, in three ways."""
    looks = {
        "base": ("base", ROLES["ddim"], "-"),
        "algorithm": ("Algorithm 1", ROLES["LML"], "-"),
        "published": ("published", ROLES["released"], "--"),
    }
    points = np.stack([data[f"step: {name}"] for name in looks])
    for name, (label, look, dashes) in looks.items():
        start, x0, end = data[f"step: {name}"]
        axis.plot(*np.stack((start, x0)).T, color=look.colour, lw=0.9, ls=dashes, alpha=0.55)
        arrow = {"arrowstyle": "-|>", "color": look.colour, "lw": 1.4, "ls": dashes, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", end, x0, arrowprops=arrow)
        offset, side, height = _DRAW_STEP_LABELS[name]
        axis.annotate(label, end, offset, textcoords="offset points", ha=side, va=height, color=look.colour,
                      fontsize=NOTE)  # fmt: skip
    for point, label, place in ((points[0, 0], "$x$", (0.0, 0.17)), (points[0, 1], r"$\hat x_0$", (-0.16, -0.05)),
                                (points[1, 1], r"$\hat x_0^{\,\mathrm{lml}}$", (-0.1, 0.2))):  # fmt: skip
        axis.plot(*point, "o", color="#222222", ms=3, zorder=6)
        _draw_name(axis, point, place, label, ROLES["exact"].colour)
    # As many lengths are shown as in the other panels, times a scale.
    scale, (left, _) = 0.92, points.reshape(-1, 2).min(0)
    axis.set(xlim=(left - 0.3, left - 0.3 + scale * (_DRAW_WIDE[1] - _DRAW_WIDE[0])),
             ylim=(0.27 - scale * (_DRAW_HIGH[1] - _DRAW_HIGH[0]), 0.27))  # fmt: skip


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    degrees, mixing, damping = data["shown"]
    before, after = data["ratios"]
    identity = float(np.abs(data["plain: turned"] - data["eps"]).max())
    apart = data["step: published"][2] - data["step: algorithm"][2]
    return {
        "degrees": f"{degrees:.0f}",
        "kappa": f"{mixing:g}",
        "lam": f"{damping:g}",
        "angle": f"{float(data['angle']):.0f}",
        "before": f"{before:g}",
        "after": f"{after:g}",
        "identity": f"{identity:g}",
        "apart": f"{float(np.linalg.norm(apart)):.2f}",
    }


FIGURE = PaperFigure(
    name="schematic",
    title="the method: Algorithm 1 as a turn and a restored norm, the identity at mixing zero, and the published code",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""The method. (a) Algorithm 1 mixes the noise with the previous one into v; a damped solve takes a part
    along v from the noise. (b) The norm is restored: a turn by {angle} degrees, away from the previous noise. (c)
    At mixing zero v is the noise, and the restored norm undoes the solve, whatever the damping (claim K2). (d) DDIM
    steps back to the data's estimate, then forward; the published code turns the forward part alone (claim K5).""",
    methods="""Drawn to scale, from the kernel: noises at {degrees} degrees, mixing {kappa}, damping {lam} of the
    squared norm; in (c) the direction differs from the noise by {identity}. (d) In units of x over alpha, sigma
    over alpha from {before} to {after}: the two ends are {apart} of the noise's norm apart. Real turns are of a few
    degrees (figure geometry). Nothing here is random.""",
)
