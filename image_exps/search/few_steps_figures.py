"""Figures of the measurement of `lml.solver` from its rows: ratios to the oracle with intervals, and their means.

The *oracle* of a cell is the baseline of the smallest mean distance on the very samples that figures are of, chosen
after the fact; of a root mean square it is that of the smallest root mean square. In every resample of the bootstrap it
is chosen anew.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from image_exps.search.few_steps_plan import BASELINE, BESIDE, EXACT, NETWORKS, PLAN, Cell

__all__ = [
    "LEVEL", "Frechet", "Ratio", "Summary", "cells", "doubled", "frechets", "measured", "on_networks", "oracle",
    "ratios", "relative_on_networks", "summary",
]  # fmt: skip

#: Of the intervals.
LEVEL = 0.9

_RESAMPLES = 2000
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)

_Array = np.ndarray[Any, Any]


class Ratio(NamedTuple):
    """A mean distance by that of the oracle, with its 90 % interval; and the same of the root mean square."""

    mean: float
    low: float
    high: float
    square: float


class Summary(NamedTuple):
    """Geometric means of ratios over cells, of the mean and of the root mean square, and the largest of the mean."""

    cells: int
    mean: float
    square: float
    largest: float


class Frechet(NamedTuple):
    """Frechet distances of a cell: of the exact flow, the best baseline by name, and the calibrated solver.

    ``low`` and ``high`` are the ends of the 90 % interval of ``ours - baseline``, over the samples, which are paired.
    """

    exact: float
    baseline: float
    name: str
    ours: float
    low: float
    high: float


def cells(rows: pd.DataFrame) -> Iterator[tuple[Cell, pd.DataFrame]]:
    """Yield the cells whose published methods were measured, with their rows, in the order of the plan."""
    found = dict(iter(rows.groupby(["problem", "schedule", "evaluations"], sort=False)))
    for cell in PLAN:
        part = found.get(cell.key)
        if part is not None and (part["kind"] == "baseline").any():
            yield cell, part


def measured(rows: pd.DataFrame) -> dict[Cell, dict[str, Ratio]]:
    """Return the ratios of each cell by arm, in the order of the plan."""
    return {cell: ratios(part) for cell, part in cells(rows)}


def oracle(part: pd.DataFrame) -> tuple[str, float]:
    """Return the baseline of the smallest mean distance in a cell, and that."""
    means = _of(part, "baseline")["errors"].map(_mean)
    return str(means.idxmin()), float(means.min())


def ratios(part: pd.DataFrame) -> dict[str, Ratio]:
    """Return the ratios to the oracle of all that is no baseline in a cell, by arm."""
    return _ratios(part[part["kind"] != "baseline"], _of(part, "baseline"))


def doubled(rows: pd.DataFrame) -> dict[Cell, dict[str, Ratio]]:
    """Return the ratios of our solvers in n evaluations to the oracle in 2n, by cell and arm, where both are there."""
    found = {cell.key: (cell, part) for cell, part in cells(rows)}
    answer = {}
    for (problem, schedule, n), (cell, part) in found.items():
        twice, ours = found.get((problem, schedule, 2 * n)), part[part["kind"] == "ours"]
        if twice is not None and len(ours):
            answer[cell] = _ratios(ours, _of(twice[1], "baseline"))
    return answer


def summary(some: Iterable[Ratio]) -> Summary:
    """Return the geometric means of ratios, of which there must be one."""
    found = list(some)
    mean, square = (math.exp(np.mean(np.log([getattr(each, k) for each in found]))) for k in ("mean", "square"))
    return Summary(len(found), mean, square, max(each.mean for each in found))


def relative_on_networks(rows: pd.DataFrame, evaluations: int) -> pd.DataFrame:
    """Return the mean distances over the oracle's: a row a baseline, a column a network that was measured."""
    columns = {}
    for cell, part in cells(rows):
        if cell.evaluations == evaluations and cell.problem in NETWORKS:
            means = _of(part, "baseline")["errors"].map(_mean)
            columns[cell.problem] = means / means.min()
    return pd.DataFrame(columns)


def on_networks(rows: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Return the baselines on the networks by number of evaluations, the nearest first over all of these numbers.

    The numbers are those at which most networks were measured. Columns: ``mean``, the geometric mean over networks of
    the ratio to the oracle, and ``largest``; ``networks``, how many.
    """
    relative = {n: relative_on_networks(rows, n) for n in sorted({cell.evaluations for cell in PLAN})}
    most = max(len(table.columns) for table in relative.values())
    if not most:
        return {}
    found = {
        n: pd.DataFrame({"mean": np.exp(np.log(table).mean(axis=1)), "largest": table.max(axis=1), "networks": most})
        for n, table in relative.items() if len(table.columns) == most
    }  # fmt: skip
    order = pd.DataFrame({n: np.log(table["mean"]) for n, table in found.items()}).mean(axis=1).sort_values().index
    return {n: table.loc[order] for n, table in found.items()}


def frechets(rows: pd.DataFrame) -> dict[Cell, Frechet]:
    """Return the Frechet distances by cell, in the order of the plan."""
    found = dict(iter(rows.groupby(["problem", "schedule", "evaluations"], sort=False)))
    answer = {}
    for cell in PLAN:
        if cell.key not in found:
            continue
        by_arm = found[cell.key].set_index("arm")
        exact, base, ours = (by_arm.loc[name] for name in (EXACT, BASELINE, BESIDE))
        apart = ours["influence"].astype(float) - base["influence"].astype(float)
        spread = (_weights(len(apart)) - 1) @ apart
        low, high = (float(ours["frechet"] - base["frechet"] + q) for q in np.quantile(spread, _ENDS))
        answer[cell] = Frechet(
            float(exact["frechet"]), float(base["frechet"]), str(base["method"]), float(ours["frechet"]), low, high
        )
    return answer


def _of(part: pd.DataFrame, kind: str) -> pd.DataFrame:
    return part[part["kind"] == kind].set_index("arm")


def _ratios(ours: pd.DataFrame, baselines: pd.DataFrame) -> dict[str, Ratio]:
    base = np.stack(list(baselines["errors"])).astype(float)
    base = base[np.isfinite(base).all(1)]  # what is not finite is not the best
    weights = _weights(base.shape[1])
    least = (weights @ base.T).min(1)
    mean, square = base.mean(1).min(), (base**2).mean(1).min()
    found = {}
    for name, errors in zip(ours["arm"], ours["errors"], strict=True):
        own = np.asarray(errors, dtype=float)
        if not np.isfinite(own).all():
            found[name] = Ratio(math.inf, math.inf, math.inf, math.inf)
            continue
        low, high = np.quantile(weights @ own / least, _ENDS)
        found[name] = Ratio(
            float(own.mean() / mean), float(low), float(high), math.sqrt(float((own**2).mean() / square))
        )
    return found


@lru_cache(maxsize=4)
def _weights(count: int) -> _Array:
    """Return how often each of ``count`` samples is drawn in each resample, (resamples, count)."""
    share = np.full(count, 1 / count)
    return np.random.default_rng(0).multinomial(count, share, size=_RESAMPLES).astype(float)


def _mean(errors: _Array) -> float:
    return float(np.mean(np.asarray(errors, dtype=float)))
