"""Where Eqs. 9 and 10 end and where their repair does, on a mixture of the line (claims A1, A2 and A4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import COLOURS, READINGS
from theory_checks.annealing.marginals import DAMPINGS, check_data
from theory_checks.ledger.claim import Settings
from theory_checks.numerics.reverse_time import FLOWS

# Name among the flows: label, colour, marker, dashes; all of them one look for all panels.
_DRAW_LOOKS = {
    "literal": ("Eq. 9", READINGS["literal"], "s", "-"),
    "ode": ("Eq. 10", COLOURS["blue"], "o", "--"),
    "corrected": ("repaired SDE", READINGS["corrected"], "^", ":"),
}


def compute(settings: Settings, *, dampings: Sequence[float] = DAMPINGS) -> Data:
    """Return the ends at damping one and the distances of all ends from the data: those of claim A2."""
    finding = check_data(settings, dampings)
    rows = np.asarray(finding.data["rows"])
    rows = rows[np.isfinite(rows[:, 0])]
    large = {f.name: f for f in finding.figures if f.name.startswith("E|x|^2")}
    return {
        **{key: np.asarray(value) for key, value in finding.data.items() if key != "rows"},
        "rows": rows,
        "flows": np.array(FLOWS),
        "large": np.array([(f.value, f.low, f.high) for f in large.values()], dtype=np.float64),
    }


def _distances(data: Data, flow: str) -> np.ndarray:
    """Return damping, total variation from the data and its error, shape (3, n), of one flow."""
    i = list(data["flows"]).index(flow)
    return np.asarray(data["rows"][:, [0, 1 + 2 * i, 2 + 2 * i]].T)


def draw(data: Data) -> Figure:
    """Draw the densities at the end over that of the data, and their distance against the damping."""
    figure, (axes,) = panels(1, 2, height=2.7)
    left, right = axes
    middle = (data["edges"][:-1] + data["edges"][1:]) / 2
    left.fill_between(middle, data["end:data"], color=READINGS["target"], alpha=0.2, lw=0, label="data")
    for name, (label, colour, marker, dashes) in _DRAW_LOOKS.items():
        left.plot(middle, data[f"end:{name}"], dashes, color=colour, lw=1.4, label=label)
        damping, distance, error = _distances(data, name)
        right.errorbar(damping, distance, yerr=np.minimum(error, 0.7 * distance), color=colour, marker=marker,
                       ls=dashes, label=label)  # fmt: skip
    left.set(xlim=(-9, 9), ylim=(0, None), xlabel="$x$ where the flow ends", ylabel="density")
    left.set_title(r"ends at $\lambda=1$")
    left.legend(loc="upper right")
    right.set(xscale="log", yscale="log", xlabel=r"damping $\lambda$", ylabel="total variation from the data")
    right.set_title("distance from the data")
    right.legend(loc="best")
    label_panels(axes)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    least = int(data["rows"][:, 0].argmin())
    off = {name: _distances(data, name)[:, least] for name in _DRAW_LOOKS}
    repaired = _distances(data, "corrected")
    return {
        "lam": f"{off['literal'][0]:g}",
        "nine": f"{off['literal'][1]:.2f}",
        "ten": f"{off['ode'][1]:.2f}",
        "repaired": f"{repaired[1].max():.1g}",
        "ratio": f"{(repaired[1] / repaired[2]).max():.2f}",
        "large": " and ".join(f"{v:.3g} [{low:.3g}, {high:.3g}]" for v, low, high in data["large"]),
        "error": f"{max(_distances(data, n)[2].max() for n in ('literal', 'ode')):.1g}",
        "count": f"{len(data['rows'])}",
    }


FIGURE = PaperFigure(
    name="annealing",
    title="where Eqs. 9 and 10 end, and where the repaired equation ends",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Eqs. 9 and 10 as written do not carry noise to the data, and not to the same law; the repaired
    equation does (claims A1, A2 and A4). (a) Densities where they end, over that of the data. (b) Total variation
    of the ends from the data, against the damping: at {lam} it is {nine} for Eq. 9 and {ten} for Eq. 10; for the
    repaired equation never more than {repaired}, the grid's own error.""",
    methods="""Two Gaussians of the line, from the marginal at low signal down to the data, for {count} dampings;
    finite volumes for Eq. 9 and the repair, characteristics for Eq. 10. Bars: what halving cells and steps changes,
    at most {error} for Eqs. 9 and 10; the repaired equation's distance is at most {ratio} of its own. Repaired: the
    drift of claim A4, f X less half of the squared g times the sum of s, M s and div M. In many dimensions, at the
    least damping that the claim checks, the mean square at the end over that of the data is {large} for Eqs. 9 and
    10, from particles.""",
    small={"dampings": (1.0, math.inf)},
)
