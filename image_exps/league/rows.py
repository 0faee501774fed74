"""The rows of the league: one table of samplers, one of their distances; read, written, and gathered from answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from image_exps.judge.good import CHOSEN_ON
from image_exps.league.entries import ENTRIES, Entry

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["CHOICE", "FOLDER", "REPORTED", "Rows", "gather", "read_rows", "single_targets", "write_rows"]

#: Where the rows that ship with the package are.
FOLDER = Path(__file__).parents[1] / "results/league"

#: Names of the geometric means over targets: those whose figures count, and those on which samplers are chosen.
REPORTED, CHOICE = "reported", "choice"

_INTERVAL = (0.025, 0.975)
_Answers = dict[str, dict[str, Any]]


class Rows(NamedTuple):
    """The league.

    Attributes:
        entries: a row a sampler: ``what``, ``library``, ``label``, ``interface``, ``same_as``, ``same``, ``same_text``,
            ``claimed``, ``draws``, ``consistent``, ``order`` with ``order_low``, ``order_high`` and ``order_reason``,
            ``second`` with ``second_spread`` and ``second_reason``, ``symptoms``, ``cost``, ``error``.
        distances: a row for each ``what``, ``spacing``, ``evaluations`` and ``target`` (or `REPORTED`, `CHOICE`):
            ``spent``; ``ratio`` of the mean distance to the flow's end to the least of any sampler without LML, with
            its 95 % interval ``low``, ``high``; ``frechet_ratio`` of the root of the Frechet distance likewise.
    """

    entries: DataFrame
    distances: DataFrame

    @property
    def missing(self) -> tuple[str, ...]:
        """The labels of entries of the league that have not been measured."""
        there = set(zip(self.entries["what"], self.entries["same_as"], strict=True))
        return tuple(entry.label for entry in ENTRIES if (entry.what, entry.same_as) not in there)


def single_targets(distances: DataFrame) -> DataFrame:
    """Return the rows of distances that are of one target, without the means over several."""
    return distances[~distances["target"].isin([REPORTED, CHOICE])]


def read_rows(folder: Path = FOLDER) -> Rows:
    """Return the rows in a folder, those of the package by default.

    Raises:
        ValueError: if there are none.
    """
    import pandas as pd

    files = [folder / f"{name}.parquet" for name in Rows._fields]
    for file in files:
        if not file.is_file():
            raise ValueError(f"the league's rows must be in {folder}, which has no {file.name}")
    return Rows(*(pd.read_parquet(file) for file in files))


def write_rows(rows: Rows, folder: Path) -> None:
    """Write both tables as Parquet, whole or not at all."""
    from toy.atomic import atomic

    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in rows._asdict().items():
        with atomic(folder / f"{name}.parquet") as path:
            frame.to_parquet(path, compression="zstd", index=False)


def gather(answers: Mapping[str, _Answers], entries: tuple[Entry, ...] = ENTRIES) -> Rows:
    """Return the rows of what was measured; entries without an answer are left out.

    Args:
        answers: of `image_exps.league.measure.measure`, by ``what`` and ``same_as`` with a space between.
        entries: that may have one.
    """
    import pandas as pd

    measured = [(entry, answers[key]) for entry in entries if (key := f"{entry.what} {entry.same_as}") in answers]
    table = pd.DataFrame([_entry_row(entry, found) for entry, found in measured])
    return Rows(table, pd.DataFrame(_distance_rows(measured)))


def _entry_row(entry: Entry, found: _Answers) -> dict[str, Any]:
    right, second, same = (_of(found, part) for part in ("right", "second", "same"))
    order = right.get("order") or {}
    known = not order.get("reason")
    return {
        "what": entry.what,
        "library": entry.library,
        "label": entry.label,
        "interface": entry.interface,
        "same_as": entry.same_as,
        "same": same.get("same"),
        "same_text": same.get("sentence", ""),
        "claimed": right.get("claimed"),
        "draws": right.get("draws"),
        "consistent": right.get("consistent"),
        **{f"order{end}": order.get(key) if known else None for end, key in
           (("", "value"), ("_low", "low"), ("_high", "high"))},
        "order_reason": order.get("reason", ""),
        "second": second.get("value"),
        "second_spread": second.get("spread"),
        "second_reason": second.get("reason", ""),
        "symptoms": "; ".join(right.get("symptoms", ())),
        "cost": _of(found, "cost").get("ratio"),
        "error": "; ".join(dict.fromkeys(part["error"] for part in found.values() if part.get("error"))),
    }  # fmt: skip


def _of(found: _Answers, part: str) -> dict[str, Any]:
    answer = found.get(part, {})
    return {} if "error" in answer else answer


def _distance_rows(measured: list[tuple[Entry, _Answers]]) -> list[dict[str, Any]]:
    cells = [(entry, _of(found, "right").get("draws"), cell)
             for entry, found in measured for cell in _of(found, "quality").get("cells", [])]  # fmt: skip
    best: dict[tuple[str, int], dict[str, Any]] = {}
    nearest: dict[tuple[str, int], dict[str, Any]] = {}
    for entry, draws, cell in cells:
        key = cell["target"], cell["evaluations"]
        if "/lml" in entry.what:
            continue
        if key not in nearest or cell["frechet"] < nearest[key]["frechet"]:
            nearest[key] = cell
        if draws is False and (key not in best or cell["mean"] < best[key]["mean"]):
            best[key] = cell
    rows: list[dict[str, Any]] = []
    logs: dict[tuple[str, str, int, int], dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for entry, _, cell in cells:
        key = cell["target"], cell["evaluations"]
        if key not in best:
            continue
        # The value, then its resamples.
        ratio = _logs(cell, "mean", "means") - _logs(best[key], "mean", "means")
        frechet = (_logs(cell, "frechet", "frechets") - _logs(nearest[key], "frechet", "frechets")) / 2
        place = entry.what, cell["spacing"], cell["evaluations"], cell["spent"]
        logs.setdefault(place, {})[cell["target"]] = ratio, frechet
        rows.append(_row(place, cell["target"], ratio, frechet))
    for place, of in logs.items():
        for name, targets in ((REPORTED, set(of) - set(CHOSEN_ON)), (CHOICE, set(of) & set(CHOSEN_ON))):
            both = (np.mean([of[target][k] for target in sorted(targets)], 0) for k in (0, 1))
            rows.append(_row(place, name, *both))
    return rows


def _logs(cell: dict[str, Any], value: str, resamples: str) -> np.ndarray:
    """Return the logarithms of a figure and of its resamples, one array."""
    return np.log(np.maximum(np.array([cell[value], *cell[resamples]], dtype=np.float64), 1e-300))


def _row(place: tuple[str, str, int, int], target: str, ratio: np.ndarray, frechet: np.ndarray) -> dict[str, Any]:
    what, spacing, evaluations, spent = place
    made: dict[str, Any] = {"what": what, "spacing": spacing, "evaluations": evaluations, "spent": spent,
                            "target": target}  # fmt: skip
    for name, logs in (("", ratio), ("frechet_", frechet)):
        low, high = np.quantile(logs[1:], _INTERVAL)
        made |= {f"{name}ratio": float(np.exp(logs[0])), f"{name}low": float(np.exp(low)),
                 f"{name}high": float(np.exp(high))}  # fmt: skip
    return made
