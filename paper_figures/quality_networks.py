"""Quality against evaluations on the trained networks: baselines, LML on each, and controls (the paper's Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from image_exps.arms import TABLE_BASES
from image_exps.sweep_store import read_results
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.quality import draw_blocks
from paper_figures.style import role
from theory_checks.ledger import Settings

_DISTANCE = "FD-EffNetLite0"
_CORRECTIONS = ("none", "lml", "extrapolation", "norm-only", "noise", "released-float32")


def _rows() -> pd.DataFrame | None:
    """Return the rows of networks that are shipped; none where there are none."""
    frames = [read_results(path) for path in sweeps.shipped()]
    if not frames:
        return None
    rows = pd.concat(frames, ignore_index=True)
    rows = rows[(rows["model"] == "network") & (rows["distance"] == _DISTANCE)]
    rows = rows[rows["base"].isin(TABLE_BASES) & rows["correction"].isin(_CORRECTIONS)]
    # Names that are only a base and a correction: no parameter is varied.
    rows = rows[~rows["arm"].str.contains("(", regex=False) & ~rows["arm"].str.contains("@", regex=False)]
    return None if rows.empty else sweeps.unique(rows)


def missing() -> str:
    """Return what is missing."""
    if _rows() is not None:
        return ""
    return f"no sweep of networks with {_DISTANCE} is shipped below image_exps/results; its grid is `networks`"


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
    """Draw a block of panels for each network, a panel for each base."""
    rows = sweeps.table(data)
    blocks = [(f"{name}: FD", rows[rows["target"] == name]) for name in sorted(set(rows["target"]))]
    there = set(rows["base"])
    return draw_blocks(blocks, [base for base in TABLE_BASES if base in there])


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = sweeps.table(data)
    few = rows["evaluations"].min()
    said = []
    for name in sorted(set(rows["target"])):
        at = rows[(rows["target"] == name) & (rows["evaluations"] == few) & (rows["base"] == "ddim")]
        parts = []
        for correction, label in (("none", role("ddim").label), ("lml", "LML"), ("noise", "noise")):
            own = at[at["correction"] == correction]
            if not own.empty:
                found = sweeps.curve(own)
                parts.append(f"{label} {found.value[0]:.3g} [{found.low[0]:.3g}, {found.high[0]:.3g}]")
        said.append(f"{name}: {', '.join(parts)}")
    return {
        "n": ", ".join(f"{n:.0f}" for n in np.unique(rows["count"])),
        "seeds": f"{rows['seed'].nunique()}",
        "level": f"{sweeps.LEVEL:.0%}",
        "few": f"{few:.0f}",
        "said": "; ".join(said),
    }


FIGURE = PaperFigure(
    name="quality_networks",
    title="quality against evaluations on the trained networks (the paper's Figure 6)",
    compute=compute,
    draw=draw,
    facts=facts,
    missing=missing,
    inputs=sweeps.shipped,
    caption="""Quality against evaluations on the trained networks, in the place of the paper's Figure 6: Frechet
    distance of the features of EfficientNet-Lite0 (no FID) to the real pictures that the network learnt from;
    baselines, LML on each with the defaults of the schedulers, and, on DDIM, the controls. n = {n} samples, seeds:
    {seeds}, from a shipped sweep with seeds of its own; bars: {level} bootstrap intervals; grey: as many real pictures;
    hollow: beyond the panel. In {few} evaluations of DDIM and of LML on it, {said}.""",
)
