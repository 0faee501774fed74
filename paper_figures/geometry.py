"""The size of LML's turn away from the previous noise, against damping and mixing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lml import kernel
from lml.controls import extrapolation_coefficient
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, role
from theory_checks.ledger.claim import Settings

_DIM = 3072
_TURN = 10.0  # degrees between two noises of a trajectory

_DAMPINGS = (1e-4, 1e-3, 1e-2)
_MIXINGS = (1e-8, 1e-7, 1e-6)
_LINES = ("-", "--", ":")


def compute(settings: Settings, *, count: int = 81) -> Data:
    """Return the curves; no number is random."""
    e, p = _pair(_DIM, math.sqrt(_DIM), _TURN)
    mixing, damping = np.geomspace(1e-10, 1e-4, count), np.geomspace(1e-6, 1.0, count)
    angle = [[_angle(e, p, lam, float(kappa)) for kappa in mixing] for lam in _DAMPINGS]
    eta = [
        [float(extrapolation_coefficient(e, p, damping=float(lam), mixing=kappa)) for lam in damping]
        for kappa in _MIXINGS
    ]
    return {
        "mixing": mixing,
        "damping": damping,
        "angle": np.array(angle),
        "eta": np.array(eta),
        "dampings": np.array(_DAMPINGS),
        "mixings": np.array(_MIXINGS),
        "dim": np.array(_DIM),
        "turn": np.array(_TURN),
    }


def _pair(d: int, length: float, degrees: float) -> tuple[Tensor, Tensor]:
    """Return two vectors of this length, shape (1, d), at an angle."""
    e, p = torch.zeros((2, 1, d), dtype=torch.float64)
    e[0, 0] = length
    p[0, 0], p[0, 1] = length * math.cos(math.radians(degrees)), length * math.sin(math.radians(degrees))
    return e, p


def _angle(e: Tensor, p: Tensor, damping: float, mixing: float) -> float:
    """Return the angle in degrees between ``e`` along the first axis and its LML direction."""
    r = kernel.lml_direction(e, p, damping=damping, mixing=mixing)[0]
    return math.degrees(math.atan2(float(r[1:].norm()), float(r[0])))


def draw(data: Data) -> Figure:
    """Draw the angle against the mixing, and eta against the damping."""
    figure, axes = panels(1, 2, height=2.5)
    left, right = axes[0]
    blue = role("LML").colour
    size = int(data["dim"])
    for lam, angle, dashes in zip(data["dampings"], data["angle"], _LINES, strict=True):
        left.semilogx(data["mixing"], angle, dashes, color=blue, label=rf"$\lambda=10^{{{math.log10(lam):.0f}}}$")
    left.axhline(90, color=LIMIT, lw=0.8)
    left.set(
        xlabel=r"mixing $\kappa$", ylabel=r"angle from $\epsilon$ (degrees)", ylim=(0, 98), yticks=range(0, 91, 30)
    )
    left.set_title("angle of the turn")
    left.legend(loc="upper left", bbox_to_anchor=(0.0, 0.9))
    for kappa, eta, dashes in zip(data["mixings"], data["eta"], _LINES, strict=True):
        seen = np.where(eta > 0, eta, np.nan)
        right.loglog(data["damping"], seen, dashes, color=blue, label=rf"$\kappa=10^{{{math.log10(kappa):.0f}}}$")
        right.loglog(data["damping"], kappa * size / data["damping"], "-.", color=LIMIT, lw=0.8, zorder=0)
    right.plot([], [], "-.", color=LIMIT, lw=0.8, label=r"$\eta_0=\kappa\,|\epsilon|^2/\lambda$")
    right.set(xlabel=r"damping $\lambda$", ylabel=r"extrapolation $\eta$", ylim=(1e-5, 1e5))
    right.set_title("strength of the extrapolation")
    right.legend(loc="upper right")
    label_panels(axes)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    half = np.argmin(np.abs(data["dampings"] - 1e-3))
    at = float(np.interp(45, data["angle"][half], np.log10(data["mixing"])))
    return {
        "d": f"{int(data['dim'])}",
        "turn": f"{float(data['turn']):.0f}",
        "most": f"{data['angle'].max():.2f}",
        "lam": f"{data['dampings'][half]:g}",
        "at": f"{10**at:.1e}",
        "right": "90",
        "diagonal": "45",
    }


FIGURE = PaperFigure(
    name="geometry",
    title="the size of LML's turn away from the previous noise, against damping and mixing",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""How far LML turns (Algorithm 1, steps seven to thirteen; d = {d}, previous noise at {turn} degrees).
    (a) Angle between the noise and its direction, against the mixing: it stays below {right} degrees. (b) The same
    turn as an extrapolation by eta times the last change (claim K3), against the damping; grey: its scale-free
    strength. A line ends where eta would change its sign.""",
    methods="""The angle grows with the mixing over the damping (largest: {most} degrees); at damping {lam} it is
    {diagonal} degrees at mixing {at}. The scale-free strength holds as long as the mixture hardly differs from the
    noise; beyond the end of a line only the restored length keeps the step finite. Nothing here is random: no
    intervals.""",
    small={"count": 9},
)
