r"""Which sampler, over all targets at once: how each stands to the best that there is without a correction.

On every target the distance of an arm is divided by that of the best baseline: the least of all samplers without a
correction, at levels as they were published (`image_exps.samplers.baselines`), that have figures on every target. Below
one it beats every one of them there; `baselines_of` says which they were, and which were not measured. Over the targets
an entry has::

    geometric mean of the ratios (least to largest)

The intervals of the single figures stand in `image_exps.sweeps.tables`; the range over targets is wider than they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from image_exps.samplers.baselines import baselines_text, is_baseline
from image_exps.utils.markup import markdown_table, markdown_text

__all__ = ["Standing", "baselines_of", "standing", "standings_table"]


class Standing(NamedTuple):
    """Ratios to the best baseline over the targets: their geometric mean, the least and the largest."""

    mean: float
    least: float
    largest: float
    targets: int

    def __str__(self) -> str:
        return f"{_short(self.mean)} ({_short(self.least)} to {_short(self.largest)})"


def standing(
    results: pd.DataFrame, arm: str, evaluations: int, *, distance: str, model: str = "exact"
) -> Standing | None:
    """Return how an arm stands at so many evaluations; ``None`` unless it and a baseline have figures on every target.

    Nor is there a standing where one of the figures is not above zero, as an estimate without bias can be near it: the
    ratio would say nothing.

    Args:
        results: rows of a sweep, see `image_exps.sweeps.store.read_results`.
        arm: by name.
        evaluations: of the network, or of the exact score.
        distance: by name; one of which the least is the best.
        model: by name.

    Raises:
        ValueError: for a distance that the results do not have with this model, or of which the largest is the best.
    """
    return _standings(_choose(results, distance, model), evaluations).get(arm)


def standings_table(
    results: pd.DataFrame,
    *,
    distance: str,
    model: str = "exact",
    arms: Sequence[str] | None = None,
    evaluations: Sequence[int] | None = None,
) -> str:
    """Return the standings as a table in Markdown, the least mean of a column bold.

    Args:
        results: rows of a sweep.
        distance: as of `standing`, which has the errors too.
        model: by name.
        arms: rows of the table; all that have an entry, if not given.
        evaluations: columns of the table; all that have an entry, if not given.
    """
    rows = _choose(results, distance, model)
    asked = list(arms if arms is not None else dict.fromkeys(rows["arm"]))
    columns = list(evaluations if evaluations is not None else sorted(set(rows["evaluations"])))
    found = {n: _standings(rows, n) for n in columns}
    if evaluations is None:
        columns = [n for n in columns if any(a in found[n] for a in asked)]
    if arms is None:
        asked = [a for a in asked if any(a in found[n] for n in columns)]
    best = {n: min((found[n][a].mean for a in asked if a in found[n]), default=math.nan) for n in columns}

    def text(arm: str, n: int) -> str:
        entry = found[n].get(arm)
        if entry is None:
            return ""
        return f"**{entry}**" if entry.mean == best[n] else str(entry)

    return markdown_table(
        ["evaluations", *map(str, columns)], [[markdown_text(a), *(text(a, n) for n in columns)] for a in asked]
    )


def baselines_of(results: pd.DataFrame, *, distance: str, model: str = "exact") -> str:
    """Say among which samplers the best baseline was sought, and which published ones were not measured.

    Arguments and errors are those of `standing`.
    """
    return baselines_text(_choose(results, distance, model)["arm"].unique())


def _standings(rows: pd.DataFrame, evaluations: int) -> dict[str, Standing]:
    """Return the standing of each arm that has one at so many evaluations, from the rows of one distance and model."""
    targets = set(rows["target"])
    rows = rows[rows["evaluations"] == evaluations]
    value = rows.groupby(["arm", "target"])["value"].mean().unstack("target")
    if not targets <= set(value.columns):
        return {}
    plain = np.array([name for name in rows["arm"].unique() if is_baseline(name)], dtype=object)
    # The same ones on every target, also while a sweep is unfinished; one that is not finite there was measured.
    measured = rows.groupby(["arm", "target"]).size().unstack("target").loc[plain].notna().all(axis=1)
    plain = plain[measured.to_numpy()]
    best = value.loc[plain].min()
    ratios = (value / best)[(np.isfinite(value) & (value > 0) & (best > 0)).all(axis=1)]
    return {
        str(arm): Standing(math.exp(np.log(ratio).mean()), float(ratio.min()), float(ratio.max()), len(ratio))
        for arm, ratio in zip(ratios.index, ratios.to_numpy(), strict=True)
    }


def _choose(results: pd.DataFrame, distance: str, model: str) -> pd.DataFrame:
    falling = results[(results["model"] == model) & ~results["higher_is_better"]]
    known = sorted(set(falling["distance"]))
    if distance not in known:
        raise ValueError(f"distance must be one of {', '.join(known)} with model {model!r}, got {distance!r}")
    return falling[falling["distance"] == distance]


def _short(ratio: float) -> str:
    """Return two digits after the point below ten, and three digits in all above."""
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.3g}"
