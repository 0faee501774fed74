"""Quality against the damping and the mixing of LML: the paper's Figures 9 and 10."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.style import LIMIT, TWO_COLUMNS, label_panels, panels, plain_log
from theory_checks.ledger import Settings

_DISTANCES = {"frechet": "Frechet distance", "endpoint-rmse": "distance to the flow's end"}

# One of the two is kept at its default while the other varies: as in the grid `ablations` of the sweeps.
_DAMPING, _MIXING = 1e-3, 5e-4
_DAMPINGS = (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2, 1e-1)
_MIXINGS = (1e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3)

# From few evaluations to many.
_LOOKS = (("#0072b2", "o"), ("#d55e00", "s"), ("#009e73", "^"))


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
    figure, axes = panels(len(_DISTANCES), 2, width=TWO_COLUMNS, height=4.2, sharex="col", sharey="row")
    budgets = sorted({int(n) for n in rows["evaluations"]})
    for line, (distance, label) in zip(axes, _DISTANCES.items(), strict=True):
        chosen = rows[rows["distance"] == distance]
        for axis, (varied, kept) in zip(line, (("damping", "mixing"), ("mixing", "damping")), strict=True):
            lml = chosen[(chosen["correction"] == "lml") & (chosen[kept] == float(data[f"default {kept}"]))]
            for n, (colour, marker) in zip(budgets, _LOOKS, strict=False):
                found = sweeps.curve(lml[lml["evaluations"] == n], along=varied)
                axis.errorbar(found.x, found.value, yerr=found.bars, color=colour, marker=marker, lw=1.1,
                              label=f"LML, {n} evaluations")  # fmt: skip
                plain = sweeps.curve(chosen[(chosen["correction"] == "none") & (chosen["evaluations"] == n)])
                axis.axhline(plain.value[0], color=colour, lw=0.9, ls="--")
            floor = chosen["floor"].mean()
            if np.isfinite(floor) and distance == "frechet":
                axis.axhspan(chosen["floor_low"].mean(), chosen["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
            axis.axvline(float(data[f"default {varied}"]), color=LIMIT, lw=0.8, ls=":")
            axis.set(xscale="log", yscale="log")
            axis.xaxis.set_minor_locator(NullLocator())
            plain_log(axis.yaxis, chosen["value"].to_numpy())
        line[0].set_ylabel(label)
    axes[-1, 0].set_xlabel(r"damping $\lambda$, relative to $|\epsilon|^2$")
    axes[-1, 1].set_xlabel(r"mixing $\kappa$")
    axes[0, 0].plot([], [], color=LIMIT, lw=0.9, ls="--", label="base, in the colour of its budget")
    axes[0, 0].set_title(rf"$\kappa={float(data['default mixing']):g}$")
    axes[0, 1].set_title(rf"$\lambda={float(data['default damping']):g}$")
    label_panels(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = sweeps.table(data)
    few = rows["evaluations"].min()
    at = rows[(rows["evaluations"] == few) & (rows["correction"] == "lml")]
    best = {d: at[at["distance"] == d].loc[lambda r: r["value"].idxmin()] for d in _DISTANCES}
    strength = {d: b["mixing"] / b["damping"] for d, b in best.items()}
    return {
        "target": str(rows["target"].iloc[0]),
        "base": str(rows["base"].iloc[0]),
        "n": f"{rows['count'].iloc[0]:.0f}",
        "seeds": f"{rows['seed'].nunique()}",
        "level": f"{sweeps.LEVEL:.0%}",
        "few": f"{few:.0f}",
        "frechet": f"{strength['frechet']:.2g}",
        "endpoint": f"{strength['endpoint-rmse']:.2g}",
        "default": f"{float(data['default mixing'] / data['default damping']):g}",
        "source": "a sweep that is shipped" if bool(data["shipped"]) else "a small grid that this command ran",
    }


def _inputs() -> tuple[Path, ...]:
    return sweeps.shipped()


FIGURE = PaperFigure(
    name="ablations",
    title="quality against damping and mixing (the paper's Figures 9 and 10)",
    compute=compute,
    draw=draw,
    facts=facts,
    inputs=_inputs,
    caption="""Damping and mixing of LML on {base}, in the place of the paper's Figures 9 and 10: target {target}, exact
    score, relative damping. (a, c) against the damping at the default mixing; (b, d) against the mixing at the default
    damping; dotted: the default; dashed: the base without LML, in its colour; grey: as many exact samples. n = {n}
    samples, seeds: {seeds}, {source}; bars: {level} bootstrap intervals. Only the strength, mixing over damping, counts
    as long as the turn is small (claim K7). In {few} evaluations the least Frechet distance of these settings is at
    strength {frechet}, the least distance to the flow's end at {endpoint}; the default is {default}.""",
    small={"evaluations": (5,), "count": 80, "use_shipped": False},
)
