"""Two qualities at once along the strength of each correction, without guidance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, NOTE, ROLES, Role, log_bars, role, tint
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
        "count": count or settings.pick(2048, 4096),
        "distances": ["frechet", "endpoint-rmse"],
    }
    grid = {"name": "pareto", "repeats": settings.pick(100, 400), "part": [part]}
    return {**sweeps.rows_of(grid, use_shipped=use_shipped), "damping": np.array(_DAMPING)}


def draw(data: Data) -> Figure:
    """Draw a panel for each budget: better is below and to the left."""
    rows = sweeps.table(data)
    budgets = sorted({int(n) for n in rows["evaluations"]})
    lam = float(data["damping"])
    figure, (axes,) = panels(1, len(budgets), height=3.0)
    for axis, n in zip(axes, budgets, strict=True):
        chosen = rows[rows["evaluations"] == n]
        base = chosen[chosen["correction"] == "none"]
        start = [sweeps.curve(base[base["distance"] == d]) for d in ("endpoint-rmse", "frechet")]
        look = role(str(rows["base"].iloc[0]))
        for correction, arm in _ARMS.items():
            own = chosen[chosen["correction"] == correction]
            x, y = (sweeps.curve(own[own["distance"] == d], "mixing") for d in ("endpoint-rmse", "frechet"))
            axis.errorbar(x.value, y.value, xerr=x.bars, yerr=log_bars(y.value, y.bars), fmt="none", elinewidth=0.6,
                          ecolor=tint(arm.colour, 0.4), capsize=0, zorder=1)  # fmt: skip
            # A line leaves the base, of strength zero.
            axis.plot([*start[0].value, *x.value], [*start[1].value, *y.value], color=arm.colour, lw=1.1, zorder=2)
            axis.plot(x.value, y.value, **arm.line(ls="none", ms=4.5, zorder=3 + (correction == "lml")))
            if correction == "lml":
                for place, offset in ((0, (-6, 2)), (-1, (6, 2))):
                    axis.annotate(f"{x.x[place] / lam:g}", (x.value[place], y.value[place]), offset, color=arm.colour,
                                  textcoords="offset points", ha="right" if offset[0] < 0 else "left", va="bottom",
                                  fontsize=NOTE)  # fmt: skip
        axis.errorbar(start[0].value, start[1].value, xerr=start[0].bars, yerr=start[1].bars, elinewidth=0.8,
                      **look.line(ls="none", ms=7, zorder=5))  # fmt: skip
        frechet = chosen[chosen["distance"] == "frechet"]
        axis.axhspan(frechet["floor_low"].mean(), frechet["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
        axis.set(xlabel="distance to the flow's end", ylabel="Frechet distance", yscale="log")
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
    caption="""Two qualities along the strength of each correction: {target}, exact score, base {base};
    better is below and to the left. Frechet distance sees all samples together; the other is each sample's own.
    Lines run from the base along the strength, of LML from {low} to {high}. In {few} evaluations both beat the
    base's at {lml} strengths of LML, {extrapolation} of extrapolation only, {turn} of the random turn and {noise}
    of the noise.""",
    methods="""The strength is the mixing over the damping; there is no guidance. Distance of each sample to where
    the exact flow ends from its noise: the mean over samples of the root mean square over dimensions. Noise and
    random turn are of the size of LML's own change at that strength. Grey: as many exact samples. n = {n} samples,
    seeds: {seeds}, {source}; bars: {level} bootstrap intervals. The paper's Figure 8 is figure guidance.""",
    small={"evaluations": (5, 6), "count": 80, "use_shipped": False},
)
