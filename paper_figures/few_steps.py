"""What calibrated solvers are worth in few steps: their distances over that of the best published method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from image_exps.networks.galaxies import GALAXIES
from image_exps.search.few_steps_figures import LEVEL, Ratio, cells, ratios
from image_exps.search.few_steps_plan import (
    BESIDE,
    CHOSEN,
    FOR_SCHEDULE,
    NETWORKS,
    PLAN,
    RESULTS,
    SCHEDULES,
    TARGETS,
    TRAJECTORIES,
    Part,
    file_of,
    read,
)
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import COLOURS, LIMIT, NOTE, QUIET, Role
from theory_checks.ledger.claim import Settings

# The columns, from what has not seen the network to what was fitted to it.
_COLUMNS = {
    FOR_SCHEDULE: "for_schedule",
    CHOSEN[BESIDE]: f"chosen on {TRAJECTORIES} trajectories",
    BESIDE: f"calibrated on {TRAJECTORIES} trajectories",
}

# What the figure is of.
_PARTS: tuple[Part, ...] = ("published", "for_schedule", "calibrate")

# Networks that were trained here are hollow.
_LOOKS = {
    name: Role(COLOURS[colour], marker, name.removeprefix("galaxy-"), variant=name in NETWORKS and name not in GALAXIES)
    for name, colour, marker in zip(
        (*NETWORKS, *TARGETS),
        ("blue", "vermilion", "sky", "orange", "green", "purple", "pink", "red", "violet"),
        ("o", "s", "^", "D", "v", "P", "o", "^", "D"),
        strict=True,
    )
}

# What is measured of one number of evaluations stands side by side in this share of its place.
_SPREAD = 0.5

# Of the first group and of the second.
_LEGENDS: tuple[Literal["outside upper center", "outside lower center"], ...] = (
    "outside upper center",
    "outside lower center",
)

# A solver that is the very baseline has the ratio one, but for rounding.
_BELOW, _ABOVE = 1 - 1e-9, 1 + 1e-9


def missing() -> str:
    """Return what is missing."""
    for cell in PLAN:
        published, *ours = (file_of(RESULTS, cell, part).exists() for part in _PARTS)
        if published and any(ours):
            return ""
    return "no solver was measured: python -m image_exps.search.few_steps does it"


def _inputs() -> tuple[Path, ...]:
    files = [file_of(RESULTS, cell, part) for cell in PLAN for part in _PARTS]
    return tuple(path for path in files if path.exists())


def compute(settings: Settings, *, folder: Path = RESULTS) -> Data:
    """Return the ratios to the oracle of all cells that were measured, and those of calibrating to choosing.

    ``ratio`` has the shape (rows, 3): value, low, high. A row is an arm of a cell, which ``problem``, ``schedule``,
    ``evaluations`` and ``arm`` name; the arm ``paired`` is `calibrate` over the baseline chosen on its trajectories.

    Args:
        settings: not used; the rows have seeds of their own.
        folder: of the rows.

    Raises:
        ValueError: if no solver was measured.
    """
    rows = read(folder)
    rows = rows[(rows["kind"] == "baseline") | rows["arm"].isin(_COLUMNS)]
    found, baselines = [], 0
    for cell, part in cells(rows):
        baselines = int((part["kind"] == "baseline").sum())
        by_arm = ratios(part)
        if {BESIDE, CHOSEN[BESIDE]} <= set(by_arm) and np.isfinite(by_arm[CHOSEN[BESIDE]].mean):
            by_arm["paired"] = _over(part, BESIDE, CHOSEN[BESIDE])
        found += [(*cell, arm, *ratio[:3]) for arm, ratio in by_arm.items()]
    if not found:
        raise ValueError(f"folder must have rows of a solver, {folder} has none")
    problem, schedule, evaluations, samples, arm, *ratio = (np.array(column) for column in zip(*found, strict=True))
    return {
        "problem": problem,
        "schedule": schedule,
        "evaluations": evaluations,
        "samples": samples,
        "arm": arm,
        "ratio": np.stack(ratio, axis=1),
        "baselines": np.array(baselines),
        "trajectories": np.array(TRAJECTORIES),
        "level": np.array(LEVEL),
    }


def _over(part: pd.DataFrame, above: str, below: str) -> Ratio:
    """Return the ratio of one arm of a cell to another; the bootstrap draws the same samples of both."""
    two = part[part["arm"].isin((above, below))]
    return ratios(two.assign(kind=two["arm"].map({above: "ours", below: "baseline"})))[above]


def _table(data: Data) -> pd.DataFrame:
    columns = {key: data[key] for key in ("problem", "schedule", "evaluations", "samples", "arm")}
    return pd.DataFrame({**columns, **dict(zip(("value", "low", "high"), data["ratio"].T, strict=True))})


def _groups(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the networks that were measured and the exact targets, without what was not."""
    groups = [tuple(name for name in names if name in set(table["problem"])) for names in (NETWORKS, TARGETS)]
    return [names for names in groups if names]


def draw(data: Data) -> Figure:
    """Draw networks above exact targets, and a column for each way to a solver."""
    table = _table(data)
    table = table[table["arm"] != "paired"]
    groups = _groups(table)
    columns = [arm for arm in _COLUMNS if arm in set(table["arm"])]
    figure, axes = panels(len(groups), len(columns), height=2.35 * len(groups) + 0.5, sharey="row")
    for row, names in zip(axes, groups, strict=True):
        own = table[table["problem"].isin(names)]
        budgets = sorted(set(own["evaluations"]))
        for axis, arm in zip(row, columns, strict=True):
            drawing = _draw_networks if names[0] in NETWORKS else _draw_targets
            drawing(axis, own[own["arm"] == arm], names, budgets)
            if arm not in set(own["arm"]):
                axis.annotate("not measured", (0.5, 0.2), xycoords="axes fraction", ha="center", color=QUIET)
            axis.axhline(1, color=LIMIT, lw=0.8, zorder=0)
            axis.set(yscale="log", xlim=(-0.6, len(budgets) - 0.4), xlabel="evaluations")
            axis.set_xticks(range(len(budgets)), [str(n) for n in budgets])
            axis.set_title(_COLUMNS[arm])
        row[0].set_ylabel(f"{'networks' if names[0] in NETWORKS else 'exact targets'}, over the oracle")
    label_panels(axes)
    for names, place in zip(groups, _LEGENDS, strict=False):
        handles = [Line2D([], [], **_look(name)) for name in names]
        if names[0] not in NETWORKS:
            handles.append(Line2D([], [], color=COLOURS["black"], lw=1.6, label="geometric mean"))
        figure.legend(handles=handles, loc=place, ncols=6, columnspacing=1.2)
    return figure


def _look(name: str) -> dict[str, Any]:
    return _LOOKS[name].line(lw=0.9, ms=4) if name in NETWORKS else _LOOKS[name].line(ls="none", ms=3)


def _places(parts: int) -> np.ndarray:
    return _SPREAD * ((np.arange(parts) + 0.5) / parts - 0.5)


def _draw_networks(axis: Axes, rows: pd.DataFrame, names: Sequence[str], budgets: Sequence[int]) -> None:
    """Draw a line a network with its intervals."""
    for name, shift in zip(names, _places(len(names)), strict=True):
        own = rows[rows["problem"] == name].sort_values("evaluations")
        x = np.array([budgets.index(n) for n in own["evaluations"]]) + shift
        bars = np.abs(own[["low", "high"]].to_numpy().T - own["value"].to_numpy())
        if len(own):
            axis.errorbar(x, own["value"], yerr=bars, elinewidth=0.8, capsize=0, **_look(name))


def _draw_targets(axis: Axes, rows: pd.DataFrame, names: Sequence[str], budgets: Sequence[int]) -> None:
    """Draw a point a cell, targets and in them schedules side by side, and the geometric mean with its figure."""
    order = [(name, schedule) for name in names for schedule in SCHEDULES]
    shifts = dict(zip(order, _places(len(order)), strict=True))
    for name in names:
        own = rows[rows["problem"] == name]
        x = [budgets.index(n) + shifts[name, s] for n, s in zip(own["evaluations"], own["schedule"], strict=True)]
        axis.plot(x, own["value"], alpha=0.8, **_look(name))
    for n, own in rows.groupby("evaluations"):
        place, mean = budgets.index(n), _mean(own)
        axis.plot([place - _SPREAD / 2, place + _SPREAD / 2], [mean, mean], color=COLOURS["black"], lw=1.6, zorder=1)
        axis.annotate(f"{mean:.2f}", (place, 0.01), xycoords=axis.get_xaxis_transform(), ha="center", va="bottom",
                      fontsize=NOTE, color=QUIET)  # fmt: skip
    axis.margins(y=0.14)


def _mean(rows: pd.DataFrame) -> float:
    """Return the geometric mean of the values."""
    return float(np.exp(np.log(rows["value"]).mean()))


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    table = _table(data)
    on = {"networks": NETWORKS, "targets": TARGETS}
    parts = {key: table[table["problem"].isin(names)] for key, names in on.items()}
    found: dict[str, str] = {}
    for key, own in parts.items():
        paired, ours = own[own["arm"] == "paired"], own[own["arm"] == BESIDE]
        found |= {
            f"{key}_beat": f"{(paired['value'] < _BELOW).sum()} of {len(paired)}",
            f"{key}_oracle": f"{(ours['value'] < _BELOW).sum()} of {len(ours)}",
            f"{key}_sure": f"{(paired['high'] < _BELOW).sum()} and {(paired['low'] > _ABOVE).sum()}",
            f"{key}_means": _means(own),
        }
    worse = table[(table["arm"] == BESIDE) & (table["low"] > _ABOVE)]
    cells = [f"{r.problem} ({r.schedule}) in {r.evaluations}: {r.value:.2f}" for r in worse.itertuples()]
    return {
        **found,
        "worse": "; ".join(cells) or "none",
        "baselines": f"{int(data['baselines'])}",
        "trajectories": f"{int(data['trajectories'])}",
        "level": f"{float(data['level']):.0%}",
        "samples": " or ".join(str(n) for n in np.unique(data["samples"])),
    }


def _means(rows: pd.DataFrame) -> str:
    """Return the geometric means of each arm by number of evaluations, with how many cells they are of."""
    said = []
    for arm in _COLUMNS:
        by_n = [f"{_mean(own):.2f} in {n} ({len(own)})" for n, own in rows[rows["arm"] == arm].groupby("evaluations")]
        said += [f"{arm} {', '.join(by_n)}"] if by_n else []
    return "; ".join(said) or "not measured"


FIGURE = PaperFigure(
    name="few_steps",
    title="what calibrated solvers are worth in few steps: networks and exact targets",
    compute=compute,
    draw=draw,
    facts=facts,
    missing=missing,
    inputs=_inputs,
    caption="""What calibrated solvers are worth: distance to the flow's end over the oracle's, the best of {baselines}
    published methods after the fact; below the line is nearer. Top: networks, hollow if trained here, with {level}
    intervals; bottom: exact targets, a point a schedule. Calibrating on {trajectories} trajectories ends nearer than
    the baseline chosen on them in {networks_beat} cells of networks and {targets_beat} of targets; nearer than the
    oracle in {networks_oracle} and {targets_oracle}.""",
    methods="""Mean over {samples} samples of the root mean square distance; bootstrap over samples, with the oracle
    chosen anew. for_schedule has not seen the network. In how many cells calibrating is surely nearer, and surely
    further, than the baseline chosen on the same trajectories, by the interval: {networks_sure} on networks,
    {targets_sure} on targets. Geometric means by evaluations, with the number of cells: networks: {networks_means};
    targets: {targets_means}. Calibrated solvers that are surely further than the oracle: {worse}. What was not
    measured is left out.""",
)
