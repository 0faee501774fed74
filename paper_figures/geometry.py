"""The kernel's geometry: a rotation away from the previous noise, and its size against damping and mixing."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from lml import kernel
from lml.controls import extrapolation_coefficient
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, role
from theory_checks.ledger.claim import Settings

_DIM = 3072
_TURN = 10.0  # degrees between two noises of a trajectory in the panels (b) and (c)

# Of panel (a): degrees between the noises, and mixings at lambda = |eps|^2, large enough to be seen.
_SHOWN_TURN, _SHOWN_MIXING = 50.0, 0.4

_DAMPINGS = (1e-4, 1e-3, 1e-2)
_MIXINGS = (1e-8, 1e-7, 1e-6)
_LINES = ("-", "--", ":")


def compute(settings: Settings, *, count: int = 81) -> Data:
    """Return the vectors of the sketch and the curves; no number is random."""
    e, p = _pair(2, 1.0, _SHOWN_TURN)
    r = kernel.lml_direction(e, p, damping=1.0, mixing=_SHOWN_MIXING)
    vectors = torch.cat((e, p, _SHOWN_MIXING * p + (1 - _SHOWN_MIXING) * e, r))
    e, p = _pair(_DIM, math.sqrt(_DIM), _TURN)
    mixing, damping = np.geomspace(1e-10, 1e-4, count), np.geomspace(1e-6, 1.0, count)
    angle = [[_angle(e, p, lam, float(kappa)) for kappa in mixing] for lam in _DAMPINGS]
    eta = [
        [float(extrapolation_coefficient(e, p, damping=float(lam), mixing=kappa)) for lam in damping]
        for kappa in _MIXINGS
    ]
    return {
        "vectors": vectors.numpy(),
        "shown": np.array((_SHOWN_TURN, _SHOWN_MIXING)),
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
    """Draw the vectors on their circle, the angle against the mixing, and eta against the damping."""
    figure, axes = panels(1, 3, height=2.5)
    sketch, left, right = axes[0]
    _draw_sketch(sketch, data["vectors"])
    blue = role("LML").colour
    size = int(data["dim"])
    for lam, angle, dashes in zip(data["dampings"], data["angle"], _LINES, strict=True):
        left.semilogx(data["mixing"], angle, dashes, color=blue, label=rf"$\lambda=10^{{{math.log10(lam):.0f}}}$")
    left.axhline(90, color=LIMIT, lw=0.8)
    left.set(
        xlabel=r"mixing $\kappa$", ylabel=r"angle from $\epsilon$ (degrees)", ylim=(0, 98), yticks=range(0, 91, 30)
    )
    left.set_title("angle of the turn")
    left.legend(loc="upper left", bbox_to_anchor=(-0.02, 0.9))
    for kappa, eta, dashes in zip(data["mixings"], data["eta"], _LINES, strict=True):
        seen = np.where(eta > 0, eta, np.nan)
        right.loglog(data["damping"], seen, dashes, color=blue, label=rf"$\kappa=10^{{{math.log10(kappa):.0f}}}$")
        right.loglog(data["damping"], kappa * size / data["damping"], "-.", color=LIMIT, lw=0.8, zorder=0)
    right.plot([], [], "-.", color=LIMIT, lw=0.8, label=r"$\eta_0=\kappa\,|\epsilon|^2/\lambda$")
    right.set(xlabel=r"damping $\lambda$", ylabel=r"extrapolation $\eta$", ylim=(1e-5, 1e5))
    right.set_title("strength of the extrapolation")
    right.legend(loc="upper right", bbox_to_anchor=(1.04, 1.03))
    for axis in (left, right):
        axis.minorticks_off()
    label_panels(axes)
    return figure


def _draw_sketch(axis: Axes, vectors: np.ndarray) -> None:
    around = np.linspace(0, 2 * np.pi, 200)
    # Turned by 65 degrees, so that eps points upwards.
    turn = math.radians(65)
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    axis.plot(np.cos(around), np.sin(around), color=LIMIT, lw=0.6)
    looks = (
        (r"$\epsilon$", role("exact").colour, "-"),
        (r"$\epsilon_{\mathrm{prev}}$", LIMIT, "-"),
        (r"$v$", LIMIT, "--"),
        (r"$\epsilon_{\mathrm{lml}}$", role("LML").colour, "-"),
    )
    for vector, (label, colour, dashes) in zip(vectors @ rotation.T, looks, strict=True):
        arrow = {"arrowstyle": "-|>", "color": colour, "lw": 1.4, "linestyle": dashes, "shrinkA": 0, "shrinkB": 0}
        axis.annotate("", vector, (0, 0), arrowprops=arrow)
        place = vector * (1 + 0.2 / np.linalg.norm(vector))
        axis.text(place[0], place[1], label, color=colour, ha="center", va="center", fontsize=9)
    axis.set(aspect="equal", xlim=(-1.3, 1.3), ylim=(-1.25, 1.4))
    axis.set_axis_off()
    axis.set_title("away from the previous noise")


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    half = np.argmin(np.abs(data["dampings"] - 1e-3))
    degrees, mixing = data["shown"]
    at = float(np.interp(45, data["angle"][half], np.log10(data["mixing"])))
    return {
        "shown": f"{degrees:.0f}",
        "kappa": f"{mixing:g}",
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
    title="the kernel's geometry: a turn away from the previous noise, against damping and mixing",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""The LML direction (Algorithm 1, steps seven to thirteen). (a) The noise, the previous one at {shown}
    degrees from it, their mixture v, and the direction, of the noise's length (mixing {kappa}, damping of the squared
    length of the noise). (b) Angle between the noise and its direction, d = {d}, previous noise at {turn} degrees: it
    grows with the mixing over the damping and stays below {right} degrees (largest: {most}); at damping {lam} it is
    {diagonal} degrees at mixing {at}. (c) The same turn as an extrapolation by eta times the last change (claim K3),
    against the damping; grey dash-dotted: its scale-free strength, which holds as long as the mixture hardly differs
    from the noise; a line ends where eta would change its sign, and only the restored length keeps the step finite.
    Nothing here is random: no intervals.""",
    small={"count": 9},
)
