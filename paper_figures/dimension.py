"""What the dimension does: Eq. 7 as written loses its law, and the corrected gap falls (claims S5, S6, C4 and C8)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import COLOURS, LIMIT, NOTE, QUIET, READINGS
from theory_checks.convergence.gaussian_gap_high_dimension import check_high_dimension, isotropic_gap
from theory_checks.ledger.claim import Settings
from theory_checks.stationary.gaussian import check_existence, mean_square

_CASES = tuple((d, strength) for strength in (1e-3, 10.0, 1e3) for d in (2, 8, 64, 512, 3072))
_DRAW_DIMS = (2, 8, 64)
_LOOKS = ((COLOURS["blue"], "o", "-"), (COLOURS["orange"], "s", "--"), (COLOURS["purple"], "^", ":"))


def compute(settings: Settings, *, cases: Sequence[tuple[int, float]] = _CASES) -> Data:
    """Return the particles of claim S5, the closed form beside them, and the gaps of claim C8."""
    particles = check_existence(settings).data
    gaps = check_high_dimension(settings, cases).data
    strengths = np.geomspace(1.02, 30, 200)
    dims = np.unique(np.geomspace(2, 3e4, 200).round()).astype(int)
    kinds = sorted({strength for _, strength in cases})
    return {
        **{f"particles: {key}": np.asarray(value) for key, value in particles.items()},
        **{f"gaps: {key}": np.asarray(value) for key, value in gaps.items()},
        "strengths": strengths,
        "closed form": np.array([[mean_square(d, s * (d - 1), 1.0) / d for s in strengths] for d in _DRAW_DIMS]),
        "shown": np.array(_DRAW_DIMS),
        "dims": dims,
        "kinds": np.array(kinds),
        "gap": np.array([[isotropic_gap(int(d), s, 1.0) for d in dims] for s in kinds]),
    }


def draw(data: Data) -> Figure:
    """Draw the mean square of Eq. 7 as written against the damping, and the gap against the dimension."""
    figure, (axes,) = panels(1, 2, height=2.9)
    left, right = axes
    for (colour, _, dashes), d, curve in zip(_LOOKS, data["shown"], data["closed form"], strict=True):
        left.plot(data["strengths"], curve, dashes, color=colour, label=f"closed form, $d={d}$")
    found = {key: data[f"particles: {key}"] for key in ("strength", "ratio", "low", "high", "predicted")}
    there = np.isfinite(found["predicted"])
    bars = np.abs(found["ratio"] - np.stack((found["low"], found["high"])))
    look = {"color": READINGS["literal"], "ls": "none", "ms": 4}
    left.errorbar(found["strength"][there], found["ratio"][there], yerr=bars[:, there], marker="o", label="particles",
                  **look)  # fmt: skip
    left.plot(found["strength"][~there], found["ratio"][~there], marker="^", mfc="white", label="still growing", **look)
    left.axvspan(min(0.7 * found["strength"].min(), 0.3), 1, color=LIMIT, alpha=0.2, lw=0)
    left.text(0.97, 0.12, "no law ", transform=left.get_xaxis_transform(), fontsize=NOTE, color=QUIET, ha="right")
    left.axhline(1, color=LIMIT, lw=0.8, ls=":")
    left.set(xscale="log", yscale="log", xlabel=r"$\lambda v/(d-1)$", ylabel=r"$E|X|^2$ over that of the target")
    left.set_title("Eq. 7 as written")
    left.legend(loc="upper right")
    for (colour, marker, dashes), strength, curve in zip(_LOOKS, data["kinds"], data["gap"], strict=False):
        right.plot(data["dims"], curve, dashes, color=colour, label=rf"$\lambda v={strength:g}$")
        rows = data["gaps: strength"] == strength
        right.errorbar(data["gaps: d"][rows], data["gaps: gap"][rows], yerr=data["gaps: error"][rows], color=colour,
                       marker=marker, mfc="white", ls="none", ms=4)  # fmt: skip
    right.plot(data["dims"], 2 / data["dims"], "-.", color=LIMIT, lw=0.8, label="$2/d$")
    right.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel="spectral gap of $M$")
    right.set_title(r"corrected dynamics")
    right.legend(loc="lower left")
    label_panels(axes)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    least = np.argmin(data["kinds"])
    rows = data["gaps: strength"] == data["kinds"][least]
    last = np.argmax(np.where(rows, data["gaps: d"], -1))
    exact = np.array(
        [isotropic_gap(int(d), s, 1.0) for d, s in zip(data["gaps: d"], data["gaps: strength"], strict=True)]
    )
    off = np.abs(data["gaps: gap"] - exact) / data["gaps: error"]
    there = np.isfinite(data["particles: predicted"])
    return {
        "d": f"{data['gaps: d'][last]:.0f}",
        "strength": f"{data['kinds'][least]:g}",
        "gap": f"{data['gaps: gap'][last]:.2g}",
        "off": f"{off.max():.2f}",
        "growing": f"{(~there).sum()}",
        "all": f"{len(there)}",
    }


FIGURE = PaperFigure(
    name="dimension",
    title="what the dimension does to Eq. 7: no law as written, and a gap that falls once corrected",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""What the dimension does to Eq. 7, on normal targets of variance v. (a) As written it has a stationary
    law only where the damping times v exceeds d less one (claim S5; S6 for bounded data), and a wider one than the
    target even there; hollow: particles that still grow. (b) Corrected, it has the right law, but its gap falls
    like the inverse of d (claim C8): {gap} at d = {d} and damping times v of {strength}.""",
    methods="""(a) Lines: closed form; points: particles with intervals of the claim, {growing} of {all} without a
    law. (b) Lines: closed form; points: polynomials in the radius, with what half as many change; they differ from
    the closed form by at most {off} of that. Nothing in (b) is random.""",
    small={"cases": ((2, 1e-3), (64, 1e-3))},
)
