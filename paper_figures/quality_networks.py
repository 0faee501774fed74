"""Quality against evaluations on trained networks: baselines, LML on DDIM, its controls (the paper's Figure 6)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from image_exps.arms import TABLE_BASES
from image_exps.sweep_store import read_results
from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.quality import ARMS
from paper_figures.style import LIMIT, TWO_COLUMNS, label_panels, panels, plain_log, role
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
    """Draw a panel for each network: every base, LML on DDIM and its controls side by side at each budget."""
    rows = sweeps.table(data)
    names = sorted(set(rows["target"]))
    figure, axes = panels(1, len(names), width=TWO_COLUMNS, height=3.0)
    looks = {**{(base, "none"): role(base) for base in TABLE_BASES}, **{("ddim", key): ARMS[key] for key in ARMS}}
    seen: dict[str, Artist] = {}
    for axis, name in zip(np.atleast_1d(axes).ravel(), names, strict=True):
        chosen = rows[rows["target"] == name]
        for k, ((base, correction), look) in enumerate(looks.items()):
            own = chosen[(chosen["base"] == base) & (chosen["correction"] == correction)]
            if own.empty:
                continue
            found = sweeps.curve(own)
            x = found.x * 1.012 ** (k - len(looks) / 2)  # apart, so that bars do not hide each other
            label = f"{look.label}{' multistep' if base.endswith('3m') else ''}"
            bars = np.abs(np.stack((found.value - found.low, found.high - found.value)))
            seen[label] = axis.errorbar(x, found.value, yerr=bars, lw=1.2 if correction == "lml" else 0.7, ms=3.5,
                                        color=look.colour, marker=look.marker)  # fmt: skip
        axis.axhspan(chosen["floor_low"].mean(), chosen["floor_high"].mean(), color=LIMIT, alpha=0.25, lw=0)
        seen["real pictures"] = axis.axhline(chosen["floor"].mean(), color=LIMIT, lw=0.8, ls=":")
        axis.set(xscale="log", yscale="log", xlabel="evaluations")
        axis.set_title(name, loc="left")
        ticks = sorted({int(n) for n in chosen["evaluations"]})
        axis.set_xticks(ticks, [str(n) for n in ticks])
        axis.xaxis.set_minor_locator(NullLocator())
        plain_log(axis.yaxis, np.array(axis.get_ylim()))
    np.atleast_1d(axes).ravel()[0].set_ylabel("FD-EffNetLite0")
    label_panels(list(np.atleast_1d(axes).ravel()))
    figure.legend(list(seen.values()), list(seen), loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


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
    baselines and, on DDIM, LML with the defaults of its scheduler and its controls. n = {n} samples, seeds: {seeds},
    from a shipped sweep with seeds of its own; bars: {level} bootstrap intervals; grey: as many real pictures. In {few}
    evaluations of DDIM and of LML on it, {said}.""",
)
