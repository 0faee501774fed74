"""Quality in few evaluations on trained networks: LML and its controls, the tuned setting, and every baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from image_exps.networks.galaxies import GALAXIES
from image_exps.samplers.table import TABLE_BASES
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.quality_supplement import ON_DDIM, TUNED_ARMS
from paper_figures.style import LIMIT, ROLES, Role, role, tint
from theory_checks.ledger.claim import Settings

_FEATURES, _ENDS = "FD-EffNetLite0", "endpoint-rmse"
_DISTANCES = {_ENDS: "distance to the flow's end", _FEATURES: _FEATURES}

# From top to bottom: DDIM and what is done to it, the tuned setting, LML on another baseline, and the baselines.
_ARMS: dict[str, Role] = {
    **ON_DDIM,
    **TUNED_ARMS,
    "dpm-solver-3m/lml": replace(ROLES["LML"], label="LML on DPM-Solver-3 multi."),
    **{base: role(base) for base in reversed(TABLE_BASES) if base != "ddim"},
}


def _rows() -> pd.DataFrame | None:
    """Return the shipped rows of networks that were trained here; none where there are none.

    Those of galaxies, which nobody here trained, have a figure of their own.
    """
    rows = sweeps.read_shipped()
    if rows is None:
        return None
    rows = rows[(rows["model"] == "network") & ~rows["target"].isin(GALAXIES)]
    rows = rows[rows["distance"].isin(_DISTANCES) & rows["arm"].isin(_ARMS)]
    return None if rows.empty else sweeps.unique(rows)


def missing() -> str:
    """Return what is missing."""
    if _rows() is not None:
        return ""
    return f"no sweep of networks with {_FEATURES} is shipped below image_exps/results; its grid is `networks`"


def compute(settings: Settings, *, rows: pd.DataFrame | None = None) -> Data:
    """Return the shipped rows; they have seeds of their own.

    Args:
        settings: not used.
        rows: to take instead.

    Raises:
        ValueError: if there are none.
    """
    found = _rows() if rows is None else rows
    if found is None:
        raise ValueError(missing())
    return sweeps.as_data(found)


def draw(data: Data) -> Figure:
    """Draw a row of panels for each network, a panel for each distance, a line for each arm."""
    rows = sweeps.table(data)
    names = sorted(set(rows["target"]), reverse=True)
    distances = [d for d in _DISTANCES if d in set(rows["distance"])]
    budgets = sorted({int(n) for n in rows["evaluations"]})
    figure, axes = panels(len(names), len(distances), height=2.9 * len(names) + 0.3, sharey="row")
    for i, name in enumerate(names):
        arms = {arm: look for arm, look in _ARMS.items() if arm in set(rows.loc[rows["target"] == name, "arm"])}
        for j, distance in enumerate(distances):
            _draw_arms(axes[i, j], rows[(rows["target"] == name) & (rows["distance"] == distance)], arms, budgets)
            axes[i, j].set_title(name)
            axes[i, j].set_xlabel(_DISTANCES[distance])
    label_panels(axes)
    grey = ROLES["exact"].colour
    handles = [Line2D([], [], color=grey, marker="o", ls="none", ms=4, mfc=_fill(grey, n, budgets)) for n in budgets]
    labels = [f"{n} evaluations" for n in budgets]
    figure.legend(handles, labels, loc="outside upper center", ncols=len(budgets))
    return figure


def _draw_arms(axis: Axes, rows: pd.DataFrame, arms: Mapping[str, Role], budgets: list[int]) -> None:
    for place, (arm, look) in enumerate(arms.items()):
        found = sweeps.curve(rows[rows["arm"] == arm])
        axis.axhline(place, color=LIMIT, lw=0.4, alpha=0.5, zorder=0)
        for x, value, low, high in zip(*found, strict=True):
            k = budgets.index(int(x))
            y = place + 0.22 * (k - (len(budgets) - 1) / 2)
            axis.errorbar([value], [y], xerr=[[value - low], [high - value]], color=look.colour, marker=look.marker,
                          ls="none", ms=4, elinewidth=0.9, mfc=_fill(look.colour, int(x), budgets))  # fmt: skip
    floor = rows["floor"].mean()
    if floor > 0.2 * rows["value"].min():  # that of the flow's ends is far below
        axis.axvspan(rows["floor_low"].mean(), rows["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
    axis.set(xscale="log", ylim=(len(arms) - 0.4, -0.6))
    axis.set_yticks(range(len(arms)), [look.label for look in arms.values()])
    axis.tick_params(axis="y", length=0)


def _fill(colour: str, evaluations: int, budgets: list[int]) -> str:
    """Return the fill of a budget's marks: from white for the fewest evaluations to the full colour for the most."""
    return tint(colour, budgets.index(evaluations) / max(1, len(budgets) - 1))


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = sweeps.table(data)
    few = rows["evaluations"].min()
    arms = {"ddim": "DDIM", "ddim/lml": "LML", "ddim/noise": "noise", list(TUNED_ARMS)[-1]: "tuned"}
    said = []
    for name in sorted(set(rows["target"]), reverse=True):
        for distance in (d for d in _DISTANCES if d in set(rows["distance"])):
            at = rows[(rows["target"] == name) & (rows["evaluations"] == few) & (rows["distance"] == distance)]
            parts = [f"{label} {_said(at[at['arm'] == arm])}" for arm, label in arms.items() if arm in set(at["arm"])]
            said.append(f"{name}, {_DISTANCES[distance]}: {', '.join(parts)}")
    return {
        "n": ", ".join(f"{n:.0f}" for n in np.unique(rows["count"])),
        "seeds": f"{rows['seed'].nunique()}",
        "level": f"{sweeps.LEVEL:.0%}",
        "few": f"{few:.0f}",
        "said": "; ".join(said),
    }


def _said(rows: pd.DataFrame) -> str:
    found = sweeps.curve(rows)
    value, low, high = (f"{x[0]:.0f}" if x[0] >= 100 else f"{x[0]:.3g}" for x in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


FIGURE = PaperFigure(
    name="quality_networks",
    title="quality in few evaluations on the trained networks (the paper's Figure 6)",
    compute=compute,
    draw=draw,
    facts=facts,
    missing=missing,
    inputs=sweeps.shipped,
    caption="""Quality in few evaluations on the trained networks, for the paper's Figure 6; left is better.
    Distance to where the network's own flow ends from the same noise, and Frechet distance of the features of
    EfficientNet-Lite0 to real pictures (no FID). From top to bottom: DDIM and what is done to it; noise of the
    tuned size, and the tuned setting; LML on DPM-Solver-3; the other baselines. Grey: as many real pictures. n =
    {n}; bars: {level} bootstrap intervals.""",
    methods="""Distance to the flow's end: the mean over samples of the root mean square over dimensions. The
    Frechet distance is biased where there are fewer pictures than features: compare at equal n. Done to DDIM are
    noise of the size of LML's change, the published code, the change of norm only, the extrapolation only, and LML
    with the defaults of its scheduler. The fuller a mark the more evaluations. Seeds: {seeds}, from a shipped sweep
    with seeds of its own. In {few} evaluations: {said}.""",
)
