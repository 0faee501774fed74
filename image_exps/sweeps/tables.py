r"""Tables of a sweep: the paper's Table 1 with intervals and controls, and its ablations of lambda and kappa.

An entry is ``value ± half``, half the width of the 95 % interval; of several seeds, the mean of the values, with the
interval of a mean of independent figures. The best of a column is bold, and ``°`` marks those whose interval
overlaps that of the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from image_exps.samplers.corrections import CORRECTIONS
from image_exps.samplers.names import parse_name
from image_exps.samplers.table import ALGORITHMS
from image_exps.utils.markup import escaped, latex_table, markdown_table, markdown_text

__all__ = ["Entry", "Layout", "ablation", "quality_table"]

_TIE = "°"


class Entry(NamedTuple):
    """A figure with the ends of its interval; NaN where samples were not finite."""

    value: float
    low: float
    high: float

    def overlaps(self, other: Entry) -> bool:
        """Whether the intervals have a point in common."""
        return self.low <= other.high and other.low <= self.high


@dataclass(frozen=True)
class Layout:
    """A table of figures, ready to be written.

    Attributes:
        caption: what it shows, with the floor.
        head: title of the first column, then of the others.
        rows: name and entries of each row; ``None`` where there is no figure.
        higher_is_better: whether the best of a column is its largest.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Entry | None, ...]], ...]
    higher_is_better: bool

    def best(self, column: int) -> Entry | None:
        """Return the best entry of a column; ``None`` if no entry is a number."""
        found = [e for _, row in self.rows if (e := row[column]) is not None and math.isfinite(e.value)]
        return (max if self.higher_is_better else min)(found, key=lambda e: e.value) if found else None

    def to_markdown(self) -> str:
        """Return the table in the Markdown of GitHub, under its caption."""
        rows = [[markdown_text(name), *self._texts(entries, "**{}**", "±")] for name, entries in self.rows]
        return f"{self.caption}\n\n{markdown_table(self.head, rows)}\n"

    def to_latex(self) -> str:
        r"""Return the table for LaTeX, with ``booktabs``."""
        rows = [
            [
                escaped(name),
                *(text.replace(_TIE, escaped(_TIE)) for text in self._texts(entries, r"\textbf{{{}}}", r"$\pm$")),
            ]
            for name, entries in self.rows
        ]
        return latex_table(escaped(self.caption), [escaped(title) for title in self.head], rows)

    def _texts(self, entries: Sequence[Entry | None], bold: str, plus_minus: str) -> list[str]:
        texts = []
        for column, entry in enumerate(entries):
            best = self.best(column)
            if entry is None or not math.isfinite(entry.value):
                texts.append("" if entry is None else "not finite")
                continue
            text = _text(entry, plus_minus)
            if entry is best:
                text = bold.format(text)
            elif best is not None and entry.overlaps(best):
                text += _TIE
            texts.append(text)
        return texts


def quality_table(results: pd.DataFrame, *, target: str, distance: str, model: str = "exact") -> Layout:
    """Return samplers against evaluations for one target, model and distance: the layout of the paper's Table 1.

    Args:
        results: rows of a sweep, see `image_exps.sweeps.store.read_results`.
        target: by name.
        distance: by name.
        model: by name.

    Raises:
        ValueError: for a target, model or distance that the results do not have, listing those that they have; for
            counts of samples that are mixed.
    """
    chosen = _choose(results, target=target, model=model, distance=distance)
    columns = sorted(set(chosen["evaluations"]))
    arms = list(dict.fromkeys(chosen["arm"]))
    found = _entries(chosen, "arm", "evaluations")
    rows = tuple((name, tuple(found.get((name, n)) for n in columns)) for name in _sorted(arms))
    head = ("evaluations", *map(str, columns))
    return Layout(_caption(chosen), head, rows, bool(chosen["higher_is_better"].iloc[0]))


def ablation(
    results: pd.DataFrame,
    parameter: Literal["damping", "mixing"],
    *,
    target: str,
    distance: str,
    base: str,
    model: str = "exact",
    correction: str = "lml",
) -> Layout:
    """Return the values of lambda (Figure 9) or kappa (Figure 10) against evaluations, the base in the first row.

    Rows that differ in another parameter are refused: a sweep for an ablation varies one.

    Args:
        results: rows of a sweep.
        parameter: ``damping`` or ``mixing``.
        target: by name.
        distance: by name.
        base: the base solver.
        model: by name.
        correction: the one whose parameter varies.

    Raises:
        ValueError: as `quality_table`; for a parameter that does not vary, or not alone.
    """
    if parameter not in ("damping", "mixing"):
        raise ValueError(f"parameter must be damping or mixing, got {parameter!r}")
    chosen = _choose(results, target=target, model=model, distance=distance)
    chosen = chosen[chosen["base"] == base]
    varied = chosen[chosen["correction"] == correction]
    other = "mixing" if parameter == "damping" else "damping"
    values = sorted(set(varied[parameter]))
    if len(values) < 2:
        raise ValueError(f"parameter must vary for {base}/{correction}, {parameter} has {values}")
    # One value of the other parameter: the one that most of the values were run with.
    common = varied.groupby(other)[parameter].nunique().idxmax()
    varied = varied[varied[other] == common]
    columns = sorted(set(varied["evaluations"]))
    plain = chosen[chosen["correction"] == "none"]
    of_base = _entries(plain, "evaluations")
    rows = [(base, tuple(of_base.get((n,)) for n in columns))] if len(plain) else []
    symbol = {"damping": "λ", "mixing": "κ"}
    found = _entries(varied, parameter, "evaluations")
    rows += [
        (f"{symbol[parameter]} = {value:g}", tuple(found.get((value, n)) for n in columns))
        for value in sorted(set(varied[parameter]))
    ]
    caption = f"{_caption(varied)} {base}/{correction}, {symbol[other]} = {common:g}."
    return Layout(caption, ("evaluations", *map(str, columns)), tuple(rows), bool(chosen["higher_is_better"].iloc[0]))


def _choose(results: pd.DataFrame, **names: str) -> pd.DataFrame:
    chosen = results
    for column, name in names.items():
        known = sorted(set(chosen[column]))
        if name not in known:
            raise ValueError(f"{column} must be one of {', '.join(known)} in these results, got {name!r}")
        chosen = chosen[chosen[column] == name]
    counts = sorted(set(chosen["count"]))
    if len(counts) > 1:
        raise ValueError(f"count must be one number, the floor depends on it, these results have {counts}")
    return chosen


def _entries(rows: pd.DataFrame, *by: str) -> dict[tuple[object, ...], Entry]:
    """Return the entries by the values of these columns, each of the rows of all seeds."""
    found = {}
    for at, group in rows.groupby(list(by)):
        if group["seed"].duplicated().any():
            where = dict(zip(by, at, strict=True))
            raise ValueError(f"results must have one row a seed at {where}, got seeds {sorted(group['seed'])}")
        value, count = group["value"].mean(), len(group)
        below, above = (np.sqrt(np.square(group["value"] - group[end]).sum()) / count for end in ("low", "high"))
        found[at] = Entry(float(value), float(value - below), float(value + above))
    return found


def _sorted(arms: Sequence[str]) -> list[str]:
    """Return the arms by base, each base before its corrections, in the order of the table of samplers."""
    bases, corrections = list(ALGORITHMS), list(CORRECTIONS)

    def place(name: str) -> tuple[int, int, str]:
        parts = parse_name(name)
        # A correction of another package comes last.
        known = corrections.index(parts.correction) if parts.correction in corrections else len(corrections)
        return bases.index(parts.base), known, name

    return sorted(arms, key=place)


def _caption(rows: pd.DataFrame) -> str:
    first, seeds = rows.iloc[0], rows["seed"].nunique()
    better = "higher" if first["higher_is_better"] else "lower"
    ends = (f"{rows[column].mean():.3g}" for column in ("floor", "floor_low", "floor_high"))
    floor = "floor {} ({} to {})".format(*ends) if np.isfinite(rows["floor"]).any() else "no floor"
    # What is said of all finite figures, as of a distance that was shrunk; of single ones the results have it.
    remarks = set(rows["remark"][np.isfinite(rows["value"])])
    remark = f"; {remarks.pop()}" if len(remarks) == 1 and remarks != {""} else ""
    samples = f"{first['count']} samples" + (f" of each of {seeds} seeds" if seeds > 1 else "")
    return (
        f"{first['distance']} on {first['target']}, {first['model']} model, {better} is better; {samples}, 95 % "
        f"intervals; {floor}{remark}. Bold: the best; {_TIE}: its interval overlaps that of the best."
    )


def _text(entry: Entry, plus_minus: str) -> str:
    """Return value and half width, both to the second digit of the half width."""
    half = (entry.high - entry.low) / 2
    decimals = 3 if half <= 0 or not math.isfinite(half) else max(0, 1 - math.floor(math.log10(half)))
    return f"{entry.value:.{decimals}f} {plus_minus} {half:.{decimals}f}"
