"""Quality against evaluations: DDIM, LML on it, its control, the best baseline, and the tuned setting (Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from image_exps.search.frozen import TUNED
from lml.tuned import TUNED_EVALUATIONS
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, NOTE, QUIET, ROLES, Role, log_bars, role
from theory_checks.ledger.claim import Settings

_DISTANCES = {"frechet": "Frechet distance", "endpoint-rmse": "distance to the flow's end"}

# The best of the paper's baselines in most budgets; the others are in the supplement.
_BASELINE = "unipc-3"

_ARMS: dict[str, Role] = {
    "ddim": ROLES["ddim"],
    "ddim/noise": replace(ROLES["element noise"], label="noise of LML's size"),
    "ddim/lml": replace(ROLES["LML"], label="LML on DDIM"),
    _BASELINE: replace(role(_BASELINE), label="UniPC-3"),
    TUNED: ROLES["tuned"],
}

# Neighbouring arms stand this factor apart along the evaluations.
_APART = 1.012


def compute(
    settings: Settings,
    *,
    target: str = "digits",
    evaluations: Sequence[int] = (5, 6, 8, 10, 20),
    count: int | None = None,
    use_shipped: bool = True,
) -> Data:
    """Return the rows of the five arms: of the shipped sweep, or of a small grid that is run here."""
    shared = {
        "targets": [target],
        "seeds": [settings.seed],
        "count": count or settings.pick(512, 4096),
        "distances": list(_DISTANCES),
    }
    few = [n for n in evaluations if n in TUNED_EVALUATIONS]
    part = [
        {**shared, "arms": [arm for arm in _ARMS if arm != TUNED], "evaluations": list(evaluations)},
        {**shared, "arms": [TUNED], "evaluations": few},
    ]
    grid = {"name": "quality", "repeats": settings.pick(100, 400), "part": part if few else part[:1]}
    return sweeps.rows_of(grid, use_shipped=use_shipped)


def draw(data: Data) -> Figure:
    """Draw a panel for each distance: lower is better."""
    rows = sweeps.table(data)
    budgets = np.unique(rows["evaluations"])
    figure, (axes,) = panels(1, len(_DISTANCES), height=2.9)
    for axis, (distance, label) in zip(axes, _DISTANCES.items(), strict=True):
        own = rows[rows["distance"] == distance]
        for k, (name, look) in enumerate(_ARMS.items()):
            found = sweeps.curve(own[own["arm"] == name])
            axis.errorbar(found.x * _APART ** (k - len(_ARMS) // 2), found.value, elinewidth=0.8,
                          yerr=log_bars(found.value, found.bars), **look.line(lw=1.1, ms=4.5))  # fmt: skip
        if distance == "frechet":
            _draw_exact(axis, own["floor"].mean(), own["floor_low"].mean(), own["floor_high"].mean())
        axis.set(xscale="log", yscale="log", xlabel="evaluations of the network", ylabel=label)
        axis.set_xticks(budgets, [f"{n:.0f}" for n in budgets])
        axis.xaxis.set_minor_locator(NullLocator())
    axes[0].set_title("all samples together")
    axes[1].set_title("sample by sample")
    label_panels(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, columnspacing=1.4)
    return figure


def _draw_exact(axis: Axes, value: float, low: float, high: float) -> None:
    """Draw what as many exact samples have."""
    axis.axhspan(low, high, color=LIMIT, alpha=0.25, lw=0)
    axis.axhline(value, color=LIMIT, lw=0.8, ls=":")
    axis.annotate("exact samples", (0.78, value), (0, 1), xycoords=("axes fraction", "data"), fontsize=NOTE,
                  textcoords="offset points", color=QUIET, ha="center", va="bottom")  # fmt: skip


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    rows = sweeps.table(data)
    names = {"ddim": "base", "ddim/lml": "lml", "ddim/noise": "noise", _BASELINE: "best", TUNED: "tuned"}
    ends = rows[rows["distance"] == "endpoint-rmse"]
    lml, best = (ends[ends["arm"] == arm].groupby("evaluations")["value"].mean() for arm in ("ddim/lml", _BASELINE))
    nearer = (best < lml)[::-1].cummin()[::-1]  # from this budget on
    return {
        **sweeps.at_fewest(data, names),
        "nearer": f"from {nearer.idxmax():.0f} evaluations on" if nearer.any() else "at no budget shown",
        "budgets": ", ".join(str(n) for n in TUNED_EVALUATIONS),
    }


FIGURE = PaperFigure(
    name="quality",
    title="quality against evaluations: DDIM, LML on it, its control, the best baseline, and the tuned setting",
    compute=compute,
    draw=draw,
    facts=facts,
    inputs=sweeps.shipped,
    caption="""Quality against evaluations, for the paper's Figure 6: {target}, exact score; lower is better. (a)
    Frechet distance to the exact moments. (b) Distance to where the exact flow ends from the same noise. In {few}
    evaluations: DDIM {base_e}, LML on it {lml_e}, noise of the size of LML's change {noise_e}. UniPC-3 is nearer
    than LML {nearer}. Tuned: learned on other targets. n = {n}, {seeds} seeds; bars: {level} bootstrap intervals.""",
    methods="""(b) is the mean over samples of the root mean square over dimensions. LML has the defaults of its
    scheduler; the noise is on every element, of the size of LML's own change. The tuned setting is a turn away from
    all past noises with weights and levels learned on other targets; it exists for {budgets} evaluations. All other
    baselines and controls: figure quality_supplement. Rows are from {source}. Exact samples as many: Frechet
    distance {floor}; error of the flow's ends themselves: {ends}. In {few} evaluations, Frechet distance: DDIM
    {base_f}, LML {lml_f}, noise {noise_f}, UniPC-3 {best_f}, tuned {tuned_f}; distance to the flow's end: UniPC-3
    {best_e}, tuned {tuned_e}.""",
    small={"evaluations": (5, 6), "count": 80, "use_shipped": False},
)
