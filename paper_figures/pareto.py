"""Two qualities at once along the strength of each correction, without guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, ROLES, Role, plain_log, role
from theory_checks.ledger.claim import Settings

_DAMPING = 1e-3
_MIXINGS = (1e-4, 2e-4, 3.5e-4, 5e-4, 8e-4)

_ARMS: dict[str, Role] = {
    "lml": ROLES["LML"],
    "extrapolation": ROLES["extrapolation"],
    "random-turn": ROLES["random turn"],
    "noise": ROLES["element noise"],
}


def compute(
    settings: Settings,
    *,
    target: str = "digits",
    base: str = "ddim",
    evaluations: Sequence[int] = (5, 10),
    count: int | None = None,
    use_shipped: bool = True,
) -> Data:
    """Return the rows of the base and of every correction at several strengths."""
    strengths = "|".join(map(str, _MIXINGS))
    part = {
        "targets": [target],
        "arms": [base, *(f"{base}/{c}(mixing={strengths}, damping={_DAMPING})" for c in _ARMS)],
        "evaluations": list(evaluations),
        "seeds": [settings.seed],
        "count": count or settings.pick(512, 4096),
        "distances": ["frechet", "endpoint-rmse"],
    }
    grid = {"name": "pareto", "repeats": settings.pick(100, 400), "part": [part]}
    return {**sweeps.rows_of(grid, use_shipped=use_shipped), "damping": np.array(_DAMPING)}


def draw(data: Data) -> Figure:
    """Draw a panel for each budget: better is below and to the left."""
    rows = sweeps.table(data)
    budgets = sorted({int(n) for n in rows["evaluations"]})
    figure, (axes,) = panels(1, len(budgets), height=3.1)
    for axis, n in zip(axes, budgets, strict=True):
        chosen = rows[rows["evaluations"] == n]
        for correction, look in (("none", role(str(rows["base"].iloc[0]))), *_ARMS.items()):
            own = chosen[chosen["correction"] == correction]
            along = "evaluations" if correction == "none" else "mixing"
            x, y = (sweeps.curve(own[own["distance"] == d], along) for d in ("endpoint-rmse", "frechet"))
            main = correction in ("none", "lml")
            width, size = (1.2 if main else 0.8), (7 if correction == "none" else 4)
            axis.errorbar(x.value, y.value, xerr=x.bars, yerr=y.bars, elinewidth=0.6, lw=width, ms=size,
                          color=look.colour, marker=look.marker, label=look.label, zorder=2 + main)  # fmt: skip
        frechet = chosen[chosen["distance"] == "frechet"]
        axis.axhspan(frechet["floor_low"].mean(), frechet["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
        axis.set(xlabel="distance to the flow's end", ylabel="Frechet distance", yscale="log")
        plain_log(axis.yaxis, frechet["value"].to_numpy())
        axis.set_title(f"{n} evaluations")
    label_panels(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=5, columnspacing=1.2)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = sweeps.table(data)
    few = rows["evaluations"].min()
    base = rows[(rows["correction"] == "none") & (rows["evaluations"] == few)].set_index("distance")["value"]
    better = {}
    for correction in _ARMS:
        own = rows[(rows["correction"] == correction) & (rows["evaluations"] == few)]
        both = own.pivot_table(index="mixing", columns="distance", values="value")
        better[correction] = f"{int((both < base[both.columns]).all(axis=1).sum())} of {len(both)}"
    mixings = rows.loc[rows["correction"] == "lml", "mixing"]
    lam = float(data["damping"])
    return {
        **sweeps.said(data),
        "base": role(str(rows["base"].iloc[0])).label,
        "few": f"{few:.0f}",
        "low": f"{mixings.min() / lam:g}",
        "high": f"{mixings.max() / lam:g}",
        "lml": better["lml"],
        "noise": better["noise"],
        "extrapolation": better["extrapolation"],
        "turn": better["random-turn"],
    }


FIGURE = PaperFigure(
    name="pareto",
    title="two qualities at once along each correction's strength, without guidance",
    compute=compute,
    draw=draw,
    facts=facts,
    inputs=sweeps.shipped,
    caption="""Two qualities at once along the strength of each correction, without guidance (figure guidance is the
    paper's Figure 8): Frechet distance, which sees the moments of all samples together, against the distance of each
    sample to where the exact flow ends from its noise. Target {target}, exact score, base {base}; lines run along the
    strength (mixing over damping) from {low} to {high}; noise and random turn are of the size of LML's own change at
    that strength. Better is below and to the left; grey: as many exact samples. n = {n} samples, seeds: {seeds},
    {source}; bars: {level} bootstrap intervals. In {few} evaluations both distances are less than the base's at {lml}
    strengths of LML, {extrapolation} of extrapolation only, {turn} of the random turn and {noise} of the noise.""",
    small={"evaluations": (5, 6), "count": 80, "use_shipped": False},
)
