"""Quality against evaluations: five baselines, LML on each and its controls, with intervals (the paper's Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from image_exps.arms import TABLE_BASES
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.style import LIMIT, ROLES, TWO_COLUMNS, Role, label_panels, panels, plain_log, role
from theory_checks.ledger import Settings

_DISTANCES = {"frechet": "Frechet distance", "endpoint-rmse": "distance to the flow's end"}
_COLUMNS = 3

# What is done to a base, in the order of drawing, and how it looks.
ARMS: dict[str, Role] = {
    "extrapolation": ROLES["extrapolation"],
    "norm-only": ROLES["norm only"],
    "noise": ROLES["element noise"],
    "released-float32": ROLES["released"],
    "lml": ROLES["LML"],
}


def compute(
    settings: Settings,
    *,
    target: str = "digits",
    bases: Sequence[str] = TABLE_BASES,
    evaluations: Sequence[int] = (5, 7, 10, 20, 50),
    count: int | None = None,
    use_shipped: bool = True,
) -> Data:
    """Return the rows of a small grid in the form of the paper's Table 1, or those that a large one left."""
    part = {
        "targets": [target],
        "arms": [name if c is None else f"{name}/{c}" for name in bases for c in (None, *ARMS)],
        "evaluations": list(evaluations),
        "seeds": [settings.seed],
        "count": count or settings.pick(512, 4096),
        "distances": list(_DISTANCES),
    }
    grid = {"name": "quality", "repeats": settings.pick(100, 400), "part": [part]}
    return {**sweeps.rows_of(grid, use_shipped=use_shipped), "bases": np.array(bases)}


def draw(data: Data) -> Figure:
    """Draw a block of panels for each distance, a panel for each base; arms stand side by side at each budget."""
    rows = sweeps.table(data)
    blocks = [(label, rows[rows["distance"] == distance]) for distance, label in _DISTANCES.items()]
    return draw_blocks(blocks, [str(name) for name in data["bases"]])


def draw_blocks(blocks: Sequence[tuple[str, pd.DataFrame]], bases: Sequence[str]) -> Figure:
    """Draw a block of panels for each label with its rows, a panel for each base."""
    lines, count = -(-len(bases) // _COLUMNS), min(_COLUMNS, len(bases))
    height = len(blocks) * lines * 1.65 + 0.6
    figure, axes = panels(len(blocks) * lines, count, width=TWO_COLUMNS, height=height, sharex=True)
    used = []
    for block, (label, chosen) in enumerate(blocks):
        for axis, base in zip(axes[block * lines : (block + 1) * lines].ravel(), bases, strict=False):
            _draw_panel(axis, chosen[chosen["base"] == base], role(base))
            axis.set_title(f"{role(base).label}{' multistep' if base.endswith('3m') else ''}")
            used.append(axis)
        for axis in axes[block * lines : (block + 1) * lines, 0]:
            axis.set_ylabel(label)
    for axis in axes[-1]:
        axis.set_xlabel("evaluations")
    label_panels(used)
    figure.legend(*used[0].get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


def _draw_panel(axis: Axes, rows: pd.DataFrame, base: Role) -> None:
    """Draw one base, LML on it and the controls; the range is that of the first two, others may leave it."""
    shown = rows[rows["correction"].isin(("none", "lml"))]
    floor = rows["floor"].mean()
    values = np.array([*shown["value"], *([floor] if np.isfinite(floor) else [])])
    least, most = 0.6 * np.nanmin(values), 2.2 * np.nanmax(values)
    for k, (correction, look) in enumerate((("none", base), *ARMS.items())):
        own = rows[rows["correction"] == correction]
        if own.empty:
            continue
        found = sweeps.curve(own)
        x = found.x * _drawn_apart(rows["evaluations"]) ** (k - len(ARMS) / 2)
        main = correction in ("none", "lml")
        inside = ~(found.value > most)
        low = np.maximum(found.low, 0.5 * least)  # below zero, a logarithmic axis has no end of a bar
        bars = np.stack((found.value - low, found.high - found.value))
        axis.errorbar(x[inside], found.value[inside], yerr=np.abs(bars[:, inside]), lw=1.2 if main else 0.7, ms=3,
                      color=look.colour, marker=look.marker, zorder=3 if main else 2,
                      label="base" if correction == "none" else look.label)  # fmt: skip
        axis.plot(x[~inside], np.full((~inside).sum(), 0.88 * most), color=look.colour, marker=look.marker, ls="none",
                  mfc="none", ms=4)  # fmt: skip
    if np.isfinite(floor):
        axis.axhspan(rows["floor_low"].mean(), rows["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
        axis.axhline(floor, color=LIMIT, lw=0.8, ls=":", label="exact samples")
    axis.set(xscale="log", yscale="log", ylim=(least, most))
    ticks = sorted({int(n) for n in rows["evaluations"]} & {5, 10, 20, 50, 100})
    axis.set_xticks(ticks, [str(n) for n in ticks])
    axis.xaxis.set_minor_locator(NullLocator())
    plain_log(axis.yaxis, np.array((least, most)))


def _drawn_apart(evaluations: pd.Series) -> float:
    """Return the ratio of neighbouring arms' places, which keeps the arms of neighbouring budgets apart."""
    budgets = np.array(sorted(set(evaluations)))
    nearest = float((budgets[1:] / budgets[:-1]).min()) if len(budgets) > 1 else 2.0
    return min(1.035, float(nearest ** (1 / (len(ARMS) + 2))))


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = sweeps.table(data)
    few = rows["evaluations"].min()
    at = rows[(rows["evaluations"] == few) & (rows["base"] == rows["base"].iloc[0])]

    def said(correction: str, distance: str) -> str:
        one = at[(at["correction"] == correction) & (at["distance"] == distance)]
        found = sweeps.curve(one)
        return f"{found.value[0]:.3g} [{found.low[0]:.3g}, {found.high[0]:.3g}]"

    names = {"none": "base", "lml": "lml", "noise": "noise"}
    values = {f"{n}_{d[0]}": said(c, d) for c, n in names.items() for d in _DISTANCES}
    floor = rows[rows["distance"] == "frechet"]
    return {
        **values,
        "target": str(rows["target"].iloc[0]),
        "n": f"{rows['count'].iloc[0]:.0f}",
        "level": f"{sweeps.LEVEL:.0%}",
        "seeds": f"{rows['seed'].nunique()}",
        "lost": f"{int((rows['value'].isna() & (rows['distance'] == 'frechet')).sum())}",
        "few": f"{few:.0f}",
        "first": role(str(rows["base"].iloc[0])).label,
        "floor": f"{floor['floor'].mean():.3g} [{floor['floor_low'].mean():.3g}, {floor['floor_high'].mean():.3g}]",
        "source": "a sweep that is shipped" if bool(data["shipped"]) else "a small grid that this command ran",
    }


def _inputs() -> tuple[Path, ...]:
    return sweeps.shipped()


FIGURE = PaperFigure(
    name="quality",
    title="quality against evaluations: baselines, LML on each, and controls (the paper's Figure 6)",
    compute=compute,
    draw=draw,
    facts=facts,
    inputs=_inputs,
    caption="""Quality against evaluations of the network, in the place of the paper's Figure 6: on target {target} with
    its exact score, every baseline as published, LML on it with the defaults of the schedulers, and the controls that
    could have the same effect: extrapolation without the restored norm, its change of norm only, noise on every element
    of the size of LML's own change, and the published code in float32 at mixing zero. Upper half: Frechet distance to
    the exact moments; lower half: root mean square distance to where the exact flow ends from the same noise. n = {n}
    samples, seeds: {seeds}, {source}; bars: {level} bootstrap intervals; hollow: beyond the panel; {lost} settings of
    the published code with samples that are not finite are left out; grey: as many exact samples (Frechet distance
    {floor}), in the lower half the error of the flow's ends themselves. {first} in {few} evaluations, Frechet distance:
    base {base_f}, LML {lml_f}, noise {noise_f}; distance to the flow's end: base {base_e}, LML {lml_e}, noise
    {noise_e}.""",
    small={"bases": ("ddim",), "evaluations": (5, 6), "count": 80, "use_shipped": False},
)
