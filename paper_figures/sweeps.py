"""Rows of sweeps for the figures: those that are shipped as Parquet where there are some, else a few computed here."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import image_exps
from image_exps.distances import estimate
from image_exps.sweeps.cell import flows_of, prepare, run_cell
from image_exps.sweeps.grid import Cell, parse_grid
from image_exps.sweeps.store import read_results
from paper_figures.figure import Data
from theory_checks.ledger.progress import track

__all__ = [
    "LEVEL",
    "Curve",
    "as_data",
    "at_fewest",
    "curve",
    "read_shipped",
    "rows_of",
    "said",
    "shipped",
    "table",
    "unique",
]

#: Of the intervals of a sweep's rows.
LEVEL = float(inspect.signature(estimate).parameters["level"].default)

_RESULTS = Path(image_exps.__file__).parent / "results"

# Where sweeps keep the endpoints of the exact flow too.
_ENDS = Path("out/cache/flow-ends")

_COLUMNS = (
    "target", "model", "arm", "base", "correction", "damping", "mixing", "evaluations", "seed", "count", "distance",
    "value", "low", "high", "floor", "floor_low", "floor_high",
)  # fmt: skip


_CELL = ("target", "model", "arm", "evaluations", "seed", "count")


class Curve(NamedTuple):
    """Values with the ends of their intervals against ``x``, ascending; each of shape (n,)."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @property
    def bars(self) -> np.ndarray:
        """The intervals as lengths below and above, (2, n)."""
        return np.stack((self.value - self.low, self.high - self.value))


def shipped() -> tuple[Path, ...]:
    """Return the result files of sweeps that the package has."""
    return tuple(sorted(_RESULTS.rglob("results.parquet")))


def read_shipped() -> pd.DataFrame | None:
    """Return the rows of all of them; none where there are none."""
    frames = [read_results(path) for path in shipped()]
    return pd.concat(frames, ignore_index=True) if frames else None


def rows_of(grid: Mapping[str, Any], *, use_shipped: bool = True) -> dict[str, np.ndarray]:
    """Return rows for the cells of a grid, as arrays under ``rows: column``, and whether they were shipped.

    Shipped rows serve if they have every arm, distance and number of evaluations that the grid names of a target and
    model, of whatever number of samples and seeds.
    """
    cells = parse_grid(grid).cells
    found = _from_shipped(cells) if use_shipped else None
    frame = pd.DataFrame(_compute(cells)) if found is None else found
    return {**as_data(frame), "shipped": np.array(found is not None)}


def as_data(rows: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return rows as arrays under ``rows: column``."""
    return {f"rows: {c}": _plain(rows[c]) for c in _COLUMNS}


def table(data: Data) -> pd.DataFrame:
    """Return the rows that `rows_of` put into the data of a figure."""
    return pd.DataFrame({c: data[f"rows: {c}"] for c in _COLUMNS})


def said(data: Data) -> dict[str, str]:
    """Return what every caption of `rows_of` says in numbers: the target, n, seeds, level, and where rows are from."""
    rows = table(data)
    return {
        "target": str(rows["target"].iloc[0]),
        "n": f"{rows['count'].iloc[0]:.0f}",
        "seeds": f"{rows['seed'].nunique()}",
        "level": f"{LEVEL:.0%}",
        "source": "a sweep that is shipped" if bool(data["shipped"]) else "a small grid that this command ran",
    }


def at_fewest(data: Data, names: Mapping[str, str]) -> dict[str, str]:
    """Return what `said` does, and the figures of arms in the fewest evaluations, for a caption.

    Args:
        data: as of `as_data`, with the distances ``frechet`` and ``endpoint-rmse``.
        names: of arms in the caption; each has its distances as ``NAME_f`` and ``NAME_e``.
    """
    rows = table(data)
    few = rows["evaluations"].min()
    by_distance = {distance: rows[rows["distance"] == distance] for distance in ("frechet", "endpoint-rmse")}
    floor, ends = by_distance.values()
    return {
        **{f"{name}_{distance[0]}": _in_words(part[(part["arm"] == arm) & (part["evaluations"] == few)])
           for arm, name in names.items() for distance, part in by_distance.items()},
        **said(data),
        "few": f"{few:.0f}",
        "floor": f"{floor['floor'].mean():.3g} [{floor['floor_low'].mean():.3g}, {floor['floor_high'].mean():.3g}]",
        "ends": f"{ends['floor'].mean():.1g}",
    }  # fmt: skip


def _in_words(rows: pd.DataFrame) -> str:
    if rows.empty:
        return "not known"
    found = curve(rows)
    return f"{found.value[0]:.3g} [{found.low[0]:.3g}, {found.high[0]:.3g}]"


def curve(rows: pd.DataFrame, along: str = "evaluations") -> Curve:
    """Return the values of rows of one arm and distance along a column, of several seeds their mean.

    The interval is that of a mean of independent figures.
    """
    points = []
    for x, group in rows.groupby(along):
        value, n = group["value"].mean(), len(group)
        below, above = (np.sqrt(np.square(group["value"] - group[end]).sum()) / n for end in ("low", "high"))
        points.append((x, value, value - below, value + above))
    return Curve(*np.array(points, dtype=np.float64).reshape(-1, 4).T)


def _from_shipped(cells: Sequence[Cell]) -> pd.DataFrame | None:
    frame = read_shipped()
    if frame is None:
        return None
    wanted = {(c.target, c.model, c.arm, c.evaluations, d) for c in cells for d in c.distances}
    rows = list(zip(*(frame[c] for c in ("target", "model", "arm", "evaluations", "distance")), strict=True))
    return unique(frame[[row in wanted for row in rows]]) if wanted <= set(rows) else None


def unique(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of several sweeps without repetitions.

    Of cells with different numbers of samples, whose floors differ, those with the most stay.
    """
    rows = rows.drop_duplicates([*_CELL, "distance"])
    return rows[rows["count"] == rows.groupby(["target", "model"])["count"].transform("max")]


def _compute(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    folder = _ENDS.absolute()
    flows = {block for cell in cells for block in flows_of(cell)}
    for target, model, seed, block in track(sorted(flows), "endpoints of the exact flow"):
        prepare(target, model, seed, block, folder)
    return [row for cell in track(cells, "cells of a sweep") for row in run_cell(cell, folder)]


def _plain(column: pd.Series) -> np.ndarray:
    """Return a column as numbers or as text of fixed width, which an array file keeps without pickle."""
    number = column.dtype.kind in "biuf"
    return np.asarray(column.to_numpy(dtype=np.float64) if number else column.to_numpy().astype(np.str_))
