"""The paper's Tables 1 to 5 with our figures beside its own, in Markdown and LaTeX; blank where there is none.

A published row is followed by ours for the same algorithm on the same model. A cell of ours is filled only by a result
of that very metric: an ``FD-EffNetLite0`` never stands in a table of FIDs. Samplers that the paper does not have, such
as LML on other bases, follow as rows of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from image_exps.evaluation.published import METHODS, Table, table
from image_exps.evaluation.results import Result
from image_exps.utils.markup import escaped, latex_table, markdown_table, markdown_text
from lml.arguments import check_choice

__all__ = ["FORMATS", "Row", "render_table", "table_rows"]

#: The formats by name.
FORMATS: tuple[str, ...] = ("markdown", "latex")

_PAPER = "paper"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
        model: as the paper calls it.
        method: the paper's, or the name of a sampler.
        origin: ``paper``, or the sampler that ours was run with.
        cells: text of the figures; empty where there is none.
    """

    model: str
    method: str
    origin: str
    cells: tuple[str, ...]


def table_rows(number: int, results: Sequence[Result] = ()) -> list[Row]:
    """Return the rows of a table.

    Args:
        number: 1 to 5.
        results: ours, of any models and metrics; what the table has no place for is left out.

    Raises:
        ValueError: for another number, or two results that belong into one cell.
    """
    shown = table(number)
    rows = []
    for published in shown.models:
        for name in published.names:
            kept = [r for r in results if r.model == name and shown.takes(r.metric, r.guidance)]
            rows += _rows(shown, published.label, name, kept, published.rows if name == published.names[0] else {})
    return rows


def _rows(
    shown: Table, label: str, name: str, kept: Sequence[Result], published: dict[str, tuple[float, ...]]
) -> list[Row]:
    cells = _ours(shown, name, kept)
    left = sorted(cells)
    rows = []
    for method, samplers in METHODS.items():
        if method in published:
            paper = tuple(f"{x:.{shown.decimals}f}" for x in published[method])
            rows.append(Row(label, method, _PAPER, paper))
        # The first of several samplers has an empty row where none was run: what is missing is seen.
        ours = [s for s in samplers if s in cells] or (list(samplers[:1]) if method in published else [])
        for sampler in ours:
            rows.append(Row(label, method, sampler, cells.get(sampler, ("",) * len(shown.columns))))
            left = [other for other in left if other != sampler]
    rows += [Row(label, sampler or "unknown", sampler or "ours", cells[sampler]) for sampler in left]
    return rows


def _ours(shown: Table, name: str, kept: Sequence[Result]) -> dict[str, tuple[str, ...]]:
    """Return the cells of every sampler that was run on a model."""
    found: dict[str, dict[int, Result]] = {}
    for r in kept:
        for place, column in enumerate(shown.columns):
            if (r.metric, r.evaluations) == (column.metric, column.evaluations):
                cell = found.setdefault(r.sampler, {})
                if place in cell:
                    raise ValueError(
                        f"results must have {r.metric} once for {name}, {r.sampler or 'unknown sampler'}, "
                        f"{r.evaluations} evaluations; got those of {cell[place].source!r} and {r.source!r}"
                    )
                cell[place] = r
    places = range(len(shown.columns))
    return {s: tuple(_cell(c[p], shown.decimals) if p in c else "" for p in places) for s, c in found.items()}


def _cell(result: Result, decimals: int) -> str:
    value = f"{result.value:.{decimals}f}"
    if math.isnan(result.low) or math.isnan(result.high):
        return value
    return f"{value} [{result.low:.{decimals}f}, {result.high:.{decimals}f}]"


def render_table(number: int, results: Sequence[Result] = (), form: str = "markdown") -> str:
    """Return a table as text.

    Args:
        number: 1 to 5.
        results: ours.
        form: one of `FORMATS`; LaTeX needs the package booktabs.

    Raises:
        ValueError: for another number or format, or two results that belong into one cell.
    """
    check_choice(form, "form", FORMATS)
    shown, rows = table(number), table_rows(number, results)
    head = ["model", "method", "run", *(column.label for column in shown.columns)]
    body = [[row.model, row.method, row.origin, *row.cells] for row in rows]
    if form == "markdown":
        body = [[*map(markdown_text, line[:3]), *line[3:]] for line in body]
        return f"**Table {shown.number}.** {shown.caption}.\n\n{markdown_table(head, body, names=3)}\n"
    first, *others = ([escaped(cell) for cell in line] for line in (head, *body))
    return latex_table(f"{escaped(shown.caption)}.", first, others, names=3)
