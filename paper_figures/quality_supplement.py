"""Quality against evaluations in full: every baseline, LML on each, its controls, and the tuned setting."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from image_exps.samplers.table import TABLE_BASES
from image_exps.search.frozen import TUNED
from lml.tuned import TUNED_EVALUATIONS
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, NOTE, ROLES, Role, log_bars, role
from theory_checks.ledger.claim import Settings

__all__ = ["ON_DDIM", "TUNED_ARMS"]

_DISTANCES = {"frechet": "Frechet distance", "endpoint-rmse": "distance to the flow's end"}

# The highest value of the panels of a distance: of DDIM's, and of the baselines', whose singlestep solver goes far.
_TOPS = {"frechet": (2.5, 3.0), "endpoint-rmse": (0.4, 1.6)}

#: What is done to DDIM, and how it looks; `image_exps.samplers.arms` has these arms.
ON_DDIM: dict[str, Role] = {
    "ddim": ROLES["ddim"],
    "ddim/noise": ROLES["element noise"],
    "ddim/released-float32": ROLES["released"],
    "ddim/norm-only": ROLES["norm only"],
    "ddim/extrapolation": ROLES["extrapolation"],
    "ddim/lml": replace(ROLES["LML"], label="LML on DDIM"),
}

#: The setting that the search froze, and noise of the size of its change.
TUNED_ARMS: dict[str, Role] = {f"{TUNED}-noise": ROLES["tuned noise"], TUNED: ROLES["tuned"]}

# The arms of a panel at one budget stand side by side within this share of the way to the next.
_SPREAD = 0.72


def compute(
    settings: Settings,
    *,
    target: str = "digits",
    bases: Sequence[str] = TABLE_BASES,
    evaluations: Sequence[int] = (5, 6, 8, 10, 20, 50),
    count: int | None = None,
    use_shipped: bool = True,
) -> Data:
    """Return the rows of a small grid in the form of the paper's Table 1, or those that a large one left."""
    shared = {
        "targets": [target],
        "seeds": [settings.seed],
        "count": count or settings.pick(512, 4096),
        "distances": list(_DISTANCES),
    }
    arms = list(dict.fromkeys([*ON_DDIM, *bases, *(f"{name}/lml" for name in bases)]))
    few = [n for n in evaluations if n in TUNED_EVALUATIONS]
    part = [
        {**shared, "arms": arms, "evaluations": list(evaluations)},
        {**shared, "arms": list(TUNED_ARMS), "evaluations": few},
    ]
    grid = {"name": "quality", "repeats": settings.pick(100, 400), "part": part if few else part[:1]}
    return {**sweeps.rows_of(grid, use_shipped=use_shipped), "bases": np.array(bases)}


def draw(data: Data) -> Figure:
    """Draw a column for each distance; rows: what is done to DDIM, all baselines, and LML on each over its base."""
    rows = sweeps.table(data)
    bases = [str(name) for name in data["bases"]]
    budgets = np.unique(rows["evaluations"])
    baselines = {**{name: role(name) for name in bases}, "ddim/lml": ON_DDIM["ddim/lml"], **TUNED_ARMS}
    figure, axes = panels(3, 2, height=6.6)
    for j, (distance, label) in enumerate(_DISTANCES.items()):
        own = rows[rows["distance"] == distance]
        for axis, arms, title, top in (
            (axes[0, j], ON_DDIM, "DDIM, LML and its controls", _TOPS[distance][0]),
            (axes[1, j], baselines, "baselines, LML and tuned", _TOPS[distance][1]),
        ):
            curves = {name: sweeps.curve(own[own["arm"] == name]) for name in arms}
            _draw_arms(axis, curves, arms, budgets, top=top)
            _draw_floor(axis, own)
            axis.set(ylabel=label)
            axis.set_title(title)
        _draw_ratios(axes[2, j], own, bases, budgets)
        axes[2, j].set_ylabel(f"ratio of {'Frechet ' if distance == 'frechet' else ''}distances")
        axes[2, j].set_title("LML over its base: below one it helps")
    for axis in axes.ravel():
        axis.set_xticks(range(len(budgets)), [f"{n:.0f}" for n in budgets])
        axis.set_xlabel("evaluations")
    axes[0, 0].legend(loc="upper right", borderaxespad=0)
    handles, labels = axes[1, 1].get_legend_handles_labels()
    known = axes[0, 0].get_legend_handles_labels()[1]
    new = [(h, text) for h, text in zip(handles, labels, strict=True) if text not in known]
    axes[1, 1].legend(*zip(*new, strict=True), loc="lower left", borderaxespad=0)
    axes[2, 1].legend(loc="upper left", borderaxespad=0)
    label_panels(axes)
    return figure


def _draw_arms(
    axis: Axes, curves: Mapping[str, sweeps.Curve], looks: Mapping[str, Role], budgets: np.ndarray, *, top: float
) -> None:
    """Draw arms side by side at each budget; a value above ``top`` is written there."""
    for k, (name, found) in enumerate(curves.items()):
        x = _places(found.x, budgets, k, len(curves))
        inside = found.value <= top
        bars = log_bars(found.value, found.bars)
        axis.errorbar(x[inside], found.value[inside], yerr=bars[:, inside], elinewidth=0.8,
                      **looks[name].line(lw=0.6, ms=3.5))  # fmt: skip
        for place, value in zip(x[~inside], found.value[~inside], strict=True):
            axis.annotate(f"{value:.2g}", (place, top), (0, -14), textcoords="offset points", ha="center", va="center",
                          fontsize=NOTE, color=looks[name].colour,
                          arrowprops={"arrowstyle": "->", "color": looks[name].colour, "shrinkB": 0})  # fmt: skip
    axis.set(yscale="log", ylim=(0.7 * min(found.value.min() for found in curves.values()), top))


def _draw_floor(axis: Axes, rows: pd.DataFrame) -> None:
    axis.axhspan(rows["floor_low"].mean(), rows["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
    axis.axhline(rows["floor"].mean(), color=LIMIT, lw=0.8, ls=":", label="exact samples")


def _draw_ratios(axis: Axes, rows: pd.DataFrame, bases: Sequence[str], budgets: np.ndarray) -> None:
    """Draw LML's value over its base's, with the interval of a quotient of independent figures."""
    for k, name in enumerate(bases):
        plain, turned = (sweeps.curve(rows[rows["arm"] == arm]) for arm in (name, f"{name}/lml"))
        ratio = turned.value / plain.value
        bars = np.stack(
            [
                ratio * np.hypot(above / turned.value, below / plain.value)
                for above, below in ((turned.bars[0], plain.bars[1]), (turned.bars[1], plain.bars[0]))
            ]
        )
        axis.errorbar(_places(plain.x, budgets, k, len(bases)), ratio, yerr=log_bars(ratio, bars), elinewidth=0.8,
                      **role(name).line(lw=0.6, ms=3.5))  # fmt: skip
    axis.axhline(1, color=LIMIT, lw=0.8)
    axis.set_yscale("log")


def _places(evaluations: np.ndarray, budgets: np.ndarray, k: int, count: int) -> np.ndarray:
    """Return where the k-th of ``count`` arms stands at its budgets, which are a unit apart."""
    at = np.searchsorted(budgets, evaluations).astype(np.float64)
    return np.asarray(at + _SPREAD * ((k + 0.5) / count - 0.5))


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    against, tuned = TUNED_ARMS
    names = {"ddim": "base", "ddim/lml": "lml", "ddim/noise": "noise", tuned: "tuned", against: "against"}
    return {**sweeps.at_fewest(data, names), "budgets": ", ".join(str(n) for n in TUNED_EVALUATIONS)}


FIGURE = PaperFigure(
    name="quality_supplement",
    title="quality against evaluations in full: every baseline, LML on each, and all controls",
    compute=compute,
    draw=draw,
    facts=facts,
    inputs=sweeps.shipped,
    caption="""Quality against evaluations in full: {target}, exact score; left Frechet distance, right distance to
    the flow's end. (a, b) DDIM, LML on it, and the controls that could have the same effect. (c, d) The baselines
    as published, LML on DDIM, the tuned setting, and noise of its size; an arrow leads beyond the panel.
    (e, f) LML over its baseline: below one it helps. n = {n}, {seeds} seeds; bars: {level}
    bootstrap intervals; grey: exact samples.""",
    methods="""Distance to the flow's end: from the same noise, the mean over samples of the root mean square over
    dimensions. Controls: noise on every element of the size of LML's own change, the published code in float32 at
    mixing zero, LML's change of norm only, extrapolation without the restored norm. LML has the defaults of its
    schedulers. The tuned setting, a turn away from all past noises with weights and levels learned on other
    targets, exists for {budgets} evaluations. Rows are from {source}; intervals of the quotients as if both were
    independent; they share their noises. Exact samples: Frechet distance {floor}; error of the flow's ends
    themselves: {ends}. In {few} evaluations of DDIM, Frechet distance: base {base_f}, LML {lml_f}, noise {noise_f},
    tuned {tuned_f}, noise of its size {against_f}; distance to the flow's end: base {base_e}, LML {lml_e}, noise
    {noise_e}, tuned {tuned_e}, noise of its size {against_e}.""",
    small={"bases": ("ddim",), "evaluations": (5, 6), "count": 80, "use_shipped": False},
)
