"""All tables that results hold, as text: what ``python -m image_exps table`` writes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import pandas as pd

from image_exps.sweeps.standings import baselines_of, standings_table
from image_exps.sweeps.tables import ablation, quality_table

__all__ = ["text_of_tables"]


def text_of_tables(
    rows: pd.DataFrame,
    *,
    target: str | None = None,
    model: str | None = None,
    distance: str | None = None,
    style: str = "markdown",
    parameter: Literal["damping", "mixing"] | None = None,
    base: str = "ddim",
    standings: bool = False,
) -> Iterator[str]:
    """Yield the tables of the results of a sweep, one for each target, model and distance.

    Args:
        rows: of a sweep, see `image_exps.sweeps.store.read_results`.
        target: the tables of this one alone.
        model: the tables of this one alone.
        distance: the tables of this one alone.
        style: ``markdown`` or ``latex``.
        parameter: of an ablation; ``None`` for samplers against evaluations.
        base: of an ablation.
        standings: all targets in one table instead, and the baselines that it is over.

    Raises:
        ValueError: for a name that the results do not have, listing those that they have; for options that exclude each
            other.
    """
    found = rows[["target", "model", "distance"]].drop_duplicates()
    for column, name in {"target": target, "model": model, "distance": distance}.items():
        if name is not None and name not in set(rows[column]):
            known = ", ".join(sorted(set(rows[column])))
            raise ValueError(f"{column} must be one of {known} in these results, got {name!r}")
        if name is not None:
            found = found[found[column] == name]
    if standings:
        if target is not None or parameter is not None or style != "markdown":
            raise ValueError("standings are of all targets, in Markdown, without --target, --ablation and --format")
        yield from _standings(rows, found)
        return
    for which in found.itertuples(index=False):
        names = {"target": which.target, "model": which.model, "distance": which.distance}
        made = ablation(rows, parameter, base=base, **names) if parameter else quality_table(rows, **names)
        yield made.to_markdown() if style == "markdown" else made.to_latex()


def _standings(rows: pd.DataFrame, found: pd.DataFrame) -> Iterator[str]:
    over_targets = rows[~rows["higher_is_better"]].groupby(["model", "distance"])["target"].nunique()
    for which in found[["model", "distance"]].drop_duplicates().itertuples(index=False):
        if over_targets.get((which.model, which.distance), 0) < 2:
            continue  # one target has no standings: its own table says more
        names = {"distance": which.distance, "model": which.model}
        yield f"{which.distance}, {which.model} model\n"
        yield f"{standings_table(rows, **names)}\n"
        yield f"{baselines_of(rows, **names)}\n"
