"""Chi-squared and other divergences along the corrected dynamics, with the slopes that the spectral gap predicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures.figure import Data, PaperFigure, of_finding, read
from paper_figures.layout import label_panels, panels
from paper_figures.style import COLOURS, LIMIT, NOTE, QUIET, READINGS
from theory_checks.convergence.divergences import STARTS, check_divergences
from theory_checks.ledger.claim import Settings

_CASES = (("bimodal-1d", 1.0), ("bimodal-1d", 10.0), ("skewed-1d", 10.0))

# Name in the claim's data: label, rate in units of the gap, colour, dashes.
_DIVERGENCES: dict[str, tuple[str, int, str, Any]] = {
    "chi-squared": (r"$\chi^2$", 2, COLOURS["green"], "-"),
    "KL": ("KL", 2, COLOURS["blue"], "--"),
    "Hellinger": ("Hellinger", 1, COLOURS["orange"], "-."),
    "total variation": ("TV", 1, COLOURS["purple"], (0, (6, 1, 1, 1, 1, 1))),
    "W2": ("$W_2$", 1, COLOURS["vermilion"], ":"),
}


def compute(settings: Settings, *, cases: Sequence[tuple[str, float]] = _CASES) -> Data:
    """Return the curves and the figures of claim C2; its chi-squared is that of C1."""
    names = [f"{name}, {damping:g}" for name, damping in cases]
    return {**of_finding(check_divergences(settings, cases)), "cases": np.array(names)}


def draw(data: Data) -> Figure:
    """Draw chi-squared for all cases, all divergences of the first, and where W2 grows."""
    figure, axes = panels(1, 3, height=2.6)
    left, middle, right = axes[0]
    looks = (("-", "o"), ("--", "s"), (":", "^"))
    for case, (line, marker) in zip(data["cases"], looks, strict=False):
        times = data[f"{case}:times"]
        for k, mean in enumerate(STARTS):
            chi = data[f"{case}:{mean:g}:chi-squared"]
            label = str(case).replace(", ", r", $\lambda=$") if k == 0 else None
            left.semilogy(times, chi / chi[0], line, color=READINGS["corrected"], marker=marker, ms=3,
                          markevery=(k * 3, 6), mfc="none", lw=1, label=label)  # fmt: skip
    left.semilogy(times, np.exp(-2 * times), color=READINGS["bound"], lw=1, label="bound, $e^{-2gt}$")
    left.set(xlim=(0, 8), ylim=(1e-8, 1e2), xlabel="time, in $1/g$", ylabel=r"$\chi^2(\rho_t|q)$ over its start")
    left.set_title(r"$\chi^2$, with $\nabla\cdot M$")
    left.legend(loc="upper right", borderaxespad=0)

    case = str(data["cases"][0])
    times = data[f"{case}:times"]
    for key, (label, _, colour, dashes) in _DIVERGENCES.items():
        middle.semilogy(times, data[f"{case}:{STARTS[0]:g}:{key}"], ls=dashes, color=colour, label=label)
    _draw_slopes(middle)
    middle.set(xlim=(0, 8), ylim=(1e-8, 1e5), xlabel="time, in $1/g$", ylabel="divergence from $q$")
    middle.set_title(case.replace(", ", r", $\lambda=$"))
    middle.legend(loc="upper right", ncols=2, columnspacing=0.8, borderaxespad=0)

    times = 1e3 * data["growth:times"]
    right.plot(times, data["growth:ratio"], color=READINGS["corrected"], label=r"with $\nabla\cdot M$")
    right.plot(times, data["growth:langevin"], "--", color=READINGS["langevin"], label="Langevin")
    right.axhline(1, color=LIMIT, lw=0.8)
    right.set(xlabel="time, in thousandths", ylabel="$W_2$ over its start")
    right.set_title("$W_2$ may grow: $N(0, 1)$")
    right.legend(loc="best")
    label_panels(axes)
    return figure


def _draw_slopes(axis: Axes) -> None:
    """Draw the two slopes that the gap predicts, below the curves."""
    times = np.array([0.2, 2.7])
    for rate, level, text in ((1, 5e-5, "slope $g$"), (2, 8e-6, "slope $2g$")):
        values = level * np.exp(-rate * times)
        axis.semilogy(times, values, color=LIMIT, lw=0.8)
        axis.text(times[1] + 0.15, values[1], text, color=QUIET, fontsize=NOTE, ha="left", va="center")


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rise = read(data, "rise of W2 on its way")
    rate = read(data, "late rate from g (TV, Hellinger) or 2g")
    return {
        "starts": " and ".join(f"{mean:g}" for mean in STARTS),
        "cases": "; ".join(str(c).replace(", ", " at damping ") for c in data["cases"]),
        "rise": f"{rise[0]:.4f} [{rise[1]:.4f}, {rise[2]:.4f}]",
        "rate": f"{rate[0]:.2f}",
        "end": f"{float(data['growth:times'][-1]):g}",
    }


FIGURE = PaperFigure(
    name="convergence",
    title="chi-squared and other divergences along the corrected dynamics, with the predicted slopes",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""How the dynamics with the divergence of M in their drift forget their start (claims C1 and C2; one
    dimension). (a) Chi-squared over its start, against time in units of the inverse spectral gap g; black: the
    bound of Prop. 4. (b) Other divergences: chi-squared and KL fall at twice the gap, total variation, Hellinger
    and W2 at the gap. (c) W2 may grow on its way, while under plain Langevin it falls.""",
    methods="""(a) {cases}, each from Gaussians at {starts}. (b) The first case from the first start; late rates
    differ from the grey slopes by at most {rate} of their extrapolation error. (c) One Gaussian, up to time {end}:
    W2 grows from an earlier minimum by {rise} of its start (error interval by halved cells). Densities by finite
    volumes, exact in time: no sampling.""",
    small={"cases": (("bimodal-1d", 10.0),)},
)
