"""Quality against the damping and the mixing of LML: the paper's Figures 9 and 10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, ROLES, role, tint
from theory_checks.ledger.claim import Settings

_DISTANCES = {"frechet": "Frechet distance", "endpoint-rmse": "distance to the flow's end"}

# One of the two is kept at its default while the other varies: as in the grid `ablations` of the sweeps.
_DAMPING, _MIXING = 1e-3, 5e-4
_DAMPINGS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 1e-1)
_MIXINGS = (1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2)

# From few evaluations to many: a lighter tint each, and how the base's line is dashed.
_LOOKS = ((1.0, "o", "--"), (0.75, "s", "-."), (0.5, "^", ":"))

# A panel ends at this multiple of the base's largest value.
_ABOVE = 4.0


def compute(
    settings: Settings,
    *,
    target: str = "digits",
    base: str = "ddim",
    evaluations: Sequence[int] = (5, 10, 20),
    count: int | None = None,
    use_shipped: bool = True,
) -> Data:
    """Return the rows of LML on one base with damping and mixing varied one at a time, and of the base."""
    arms = [
        base,
        f"{base}/lml(damping={'|'.join(map(str, _DAMPINGS))}, mixing={_MIXING})",
        f"{base}/lml(damping={_DAMPING}, mixing={'|'.join(map(str, _MIXINGS))})",
    ]
    part = {
        "targets": [target],
        "arms": arms,
        "evaluations": list(evaluations),
        "seeds": [settings.seed],
        "count": count or settings.pick(512, 4096),
        "distances": list(_DISTANCES),
    }
    grid = {"name": "ablations", "repeats": settings.pick(100, 400), "part": [part]}
    return {
        **sweeps.rows_of(grid, use_shipped=use_shipped),
        "default damping": np.array(_DAMPING),
        "default mixing": np.array(_MIXING),
    }


def draw(data: Data) -> Figure:
    """Draw a row for each distance: against the damping, and against the mixing."""
    rows = sweeps.table(data)
    figure, axes = panels(len(_DISTANCES), 2, height=4.2, sharex="col", sharey="row")
    budgets = sorted({int(n) for n in rows["evaluations"]})
    base = role(str(rows["base"].iloc[0]))
    for line, (distance, label) in zip(axes, _DISTANCES.items(), strict=True):
        chosen = rows[rows["distance"] == distance]
        without = chosen[chosen["correction"] == "none"]
        plain = {n: sweeps.curve(without[without["evaluations"] == n]) for n in budgets}
        top = _ABOVE * max(float(found.value[0]) for found in plain.values())
        for axis, (varied, kept) in zip(line, (("damping", "mixing"), ("mixing", "damping")), strict=True):
            lml = chosen[(chosen["correction"] == "lml") & (chosen[kept] == float(data[f"default {kept}"]))]
            for n, (share, marker, dashes) in zip(budgets, _LOOKS, strict=False):
                orange, blue = (tint(look.colour, share) for look in (base, ROLES["LML"]))
                axis.axhspan(plain[n].low[0], plain[n].high[0], color=orange, alpha=0.15, lw=0)
                axis.axhline(plain[n].value[0], color=orange, lw=1.1, ls=dashes, label=f"{base.label}, {n} evaluations")
                found = sweeps.curve(lml[lml["evaluations"] == n], along=varied)
                axis.errorbar(found.x, found.value, yerr=found.bars, color=blue, marker=marker, lw=1.1,
                              label=f"LML, {n} evaluations")  # fmt: skip
            if distance == "frechet":
                axis.axhspan(chosen["floor_low"].mean(), chosen["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
            axis.axvline(float(data[f"default {varied}"]), color=LIMIT, lw=0.8, ls=":")
            axis.set(xscale="log", yscale="log", ylim=(0.7 * chosen["value"].min(), top))
        line[0].set_ylabel(label)
    axes[-1, 0].set_xlabel(r"damping $\lambda$, relative to $|\epsilon|^2$")
    axes[-1, 1].set_xlabel(r"mixing $\kappa$")
    axes[0, 0].set_title(rf"$\kappa={float(data['default mixing']):g}$")
    axes[0, 1].set_title(rf"$\lambda={float(data['default damping']):g}$")
    label_panels(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, columnspacing=1.2)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = sweeps.table(data)
    few = rows["evaluations"].min()
    at = rows[(rows["evaluations"] == few) & (rows["correction"] == "lml")]
    best = {d: at[at["distance"] == d].loc[lambda r: r["value"].idxmin()] for d in _DISTANCES}
    strength = {d: b["mixing"] / b["damping"] for d, b in best.items()}
    return {
        "most": f"{at['mixing'].max() / float(data['default damping']):g}",
        "worst": f"{at.loc[at['distance'] == 'frechet', 'value'].max():.0f}",
        **sweeps.said(data),
        "base": role(str(rows["base"].iloc[0])).label,
        "few": f"{few:.0f}",
        "frechet": f"{strength['frechet']:.2g}",
        "endpoint": f"{strength['endpoint-rmse']:.2g}",
        "default": f"{float(data['default mixing'] / data['default damping']):g}",
    }


FIGURE = PaperFigure(
    name="ablations",
    title="quality against damping and mixing (the paper's Figures 9 and 10)",
    compute=compute,
    draw=draw,
    facts=facts,
    inputs=sweeps.shipped,
    caption="""Damping and mixing of LML on {base}, in the place of the paper's Figures 9 and 10: {target}, exact
    score. Only the strength, mixing over damping, counts as long as the turn is small (claim K7). Level lines: the
    base without LML; lighter: more evaluations; dotted and upright: the default; grey: as many exact samples. In
    {few} evaluations the best strength is {frechet} by Frechet distance, {endpoint} by distance to the flow's end;
    the default is {default}.""",
    methods="""(a, c) Against the damping at the default mixing; (b, d) against the mixing at the default damping;
    the damping is relative. Curves leave the panels upwards: at strength {most} the Frechet distance is {worst}. n
    = {n} samples, seeds: {seeds}, {source}; bars: {level} bootstrap intervals.""",
    small={"evaluations": (5,), "count": 80, "use_shipped": False},
)
