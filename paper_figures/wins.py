"""Where LML helps which solver: solver by target by evaluations, from the recorded rows of the sweeps."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.colors import TwoSlopeNorm
from matplotlib.figure import Figure

from image_exps.samplers.table import TABLE_BASES
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import NOTE, role
from theory_checks.ledger.claim import Settings

_DISTANCE = "endpoint-rmse"
_EVALUATIONS = (5, 6, 8, 10, 20)

# Of the colours: a quarter and four times.
_DRAW_RANGE = 2.0


def _rows() -> pd.DataFrame | None:
    """Return the recorded rows of all targets with their exact score, with LML and without."""
    rows = sweeps.read_shipped()
    if rows is None:
        return None
    arms = {name for base in TABLE_BASES for name in (base, f"{base}/lml")}
    rows = rows[(rows["model"] == "exact") & (rows["distance"] == _DISTANCE) & rows["arm"].isin(arms)]
    rows = rows[rows["evaluations"].isin(_EVALUATIONS)]
    return None if rows.empty else sweeps.unique(rows)


def missing() -> str:
    """Return what is missing."""
    return "" if _rows() is not None else f"no sweep with {_DISTANCE} is shipped below image_exps/results"


def compute(settings: Settings) -> Data:
    """Return LML's distance over its base's for each solver, target and number of evaluations, with its interval.

    ``ratio`` has the shape (solvers, targets, evaluations, 3): value, low, high, as a quotient of independent figures.
    What was not run is not a number.

    Raises:
        ValueError: if no rows are shipped.
    """
    rows = _rows()
    if rows is None:
        raise ValueError(missing())
    targets = sorted(set(rows["target"]))
    found = np.full((len(TABLE_BASES), len(targets), len(_EVALUATIONS), 3), np.nan)
    for i, base in enumerate(TABLE_BASES):
        for j, target in enumerate(targets):
            own = rows[rows["target"] == target]
            plain, turned = (sweeps.curve(own[own["arm"] == arm]) for arm in (base, f"{base}/lml"))
            for k, n in enumerate(_EVALUATIONS):
                if n in plain.x and n in turned.x:
                    found[i, j, k] = quotient(turned, plain, n)
    return {
        "ratio": found,
        "bases": np.array(TABLE_BASES),
        "targets": np.array(targets),
        "evaluations": np.array(_EVALUATIONS),
        "counts": np.unique(rows["count"]),
    }


def quotient(above: sweeps.Curve, below: sweeps.Curve, n: int) -> tuple[float, float, float]:
    """Return one curve over another at ``x = n``, with the interval of a quotient of independent figures."""
    a, b = (int(np.flatnonzero(found.x == n)[0]) for found in (above, below))
    ratio = above.value[a] / below.value[b]
    lower = ratio * np.hypot(above.bars[0, a] / above.value[a], below.bars[1, b] / below.value[b])
    upper = ratio * np.hypot(above.bars[1, a] / above.value[a], below.bars[0, b] / below.value[b])
    return float(ratio), float(ratio - lower), float(ratio + upper)


def draw(data: Data) -> Figure:
    """Draw a map for each solver: blue where LML helps, red where it harms, with the sign of what is certain."""
    targets, evaluations = [str(t) for t in data["targets"]], data["evaluations"]
    figure, axes = panels(2, 3, height=4.6, sharex=True, sharey=True)
    norm = TwoSlopeNorm(0, -_DRAW_RANGE, _DRAW_RANGE)
    for axis, base, ratio in zip(axes.ravel(), data["bases"], data["ratio"], strict=True):
        value, low, high = np.moveaxis(ratio, -1, 0)
        image = axis.imshow(np.log2(value), cmap="RdBu_r", norm=norm, aspect="auto")
        for (j, k), sign in np.ndenumerate(np.where(high < 1, 1, 0) - np.where(low > 1, 1, 0)):
            if sign:
                dark = abs(np.log2(value[j, k])) > 0.65 * _DRAW_RANGE
                axis.text(k, j, "+" if sign > 0 else "\u2212", ha="center", va="center", fontsize=NOTE + 1,
                          color="white" if dark else "#222222")  # fmt: skip
        axis.set_xticks(range(len(evaluations)), [str(n) for n in evaluations])
        axis.set_yticks(range(len(targets)), targets)
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        axis.set_title(role(str(base)).label)
    for axis in axes[-1]:
        axis.set_xlabel("evaluations")
    label_panels(axes)
    bar = figure.colorbar(image, ax=list(axes.ravel()), shrink=0.6, pad=0.02, extend="both")
    bar.set_ticks([-2, -1, 0, 1, 2], labels=["1/4", "1/2", "1", "2", "4"])
    bar.set_label("LML over its base")
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    value, low, high = np.moveaxis(data["ratio"], -1, 0)
    known = np.isfinite(value)
    first = list(data["bases"]).index("ddim")
    gains = {str(b): int((high[i] < 1).sum()) for i, b in enumerate(data["bases"]) if i != first}
    return {
        "cells": f"{known.sum()}",
        "better": f"{(high < 1).sum()}",
        "worse": f"{(low > 1).sum()}",
        "ddim": f"{(high[first] < 1).sum()} of {known[first].sum()}",
        "others": f"{sum(gains.values())} of {known.sum() - known[first].sum()}",
        "level": f"{sweeps.LEVEL:.0%}",
        "n": ", ".join(f"{n:.0f}" for n in data["counts"]),
    }


FIGURE = PaperFigure(
    name="wins",
    title="where LML helps and where it harms: solver by target by evaluations",
    compute=compute,
    draw=draw,
    facts=facts,
    missing=missing,
    inputs=sweeps.shipped,
    caption="""Where LML helps which solver: distance to the flow's end with LML over that without, on targets with
    exact scores (rows) and by evaluations (columns). Blue: nearer; red: further; a sign where the {level} interval
    leaves one out. LML is nearer in {better} of {cells} cells and further in {worse}. On DDIM it is nearer in
    {ddim}, on the other solvers in {others}.""",
    methods="""LML with the defaults of its schedulers on each solver. Distances are means over samples of the root
    mean square over dimensions; n = {n} samples, by target, means over the seeds of the shipped sweeps. Intervals
    of quotients as if both were independent; they share their noises. Signs are cell by cell, without a correction
    for their number.""",
)
