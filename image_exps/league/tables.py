"""The table of the league as cells of text and numbers, for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from image_exps.judge.good import CHOSEN_ON
from image_exps.league.answer import best_spacings, remark_of, reproduced, truth
from image_exps.league.rows import REPORTED, Rows, single_targets

if TYPE_CHECKING:
    from pandas import Series

__all__ = ["Line", "lines_of", "markdown"]


class Line(NamedTuple):
    """A sampler at one spacing.

    Attributes:
        label, library, spacing, interface: in words.
        is_so: whether it is what the interfaces call so: "yes", "no", or empty.
        claimed: order, or ``None``.
        order: measured, or ``None``; ``interval`` in words, or why there is none.
        second: by the second method, or ``None``; ``agrees`` says whether it does: "yes", "no", or empty.
        ratios: by number of evaluations: value, low, high, evaluations spent.
        worst: the largest ratio over targets and numbers of evaluations.
        cost: a step over one of DDIM, or ``None``.
        draws: whether its ratios are of Frechet distances.
        best: whether this is its best spacing.
        remark: sentences.
    """

    label: str
    library: str
    spacing: str
    interface: str
    is_so: str
    claimed: float | None
    order: float | None
    interval: str
    second: float | None
    agrees: str
    ratios: dict[int, tuple[float, float, float, int]]
    worst: float | None
    cost: float | None
    draws: bool
    best: bool
    remark: str

    @property
    def typical(self) -> float:
        """The geometric mean of the ratios, for the order of lines; infinite without any."""
        from math import inf, prod

        values = [each[0] for each in self.ratios.values()]
        return prod(values) ** (1 / len(values)) if values else inf


def _number(value: object) -> float | None:
    """Return a number of a table, ``None`` where there is none."""
    if not isinstance(value, (int, float)) or value != value:  # NaN differs from itself
        return None
    return float(value)


def _word(value: object) -> str:
    return {True: "yes", False: "no", None: ""}[truth(value)]


def lines_of(rows: Rows) -> list[Line]:
    """Return the lines of the table, the nearest samplers first; those that draw and those without figures last."""
    best = best_spacings(rows)
    made = [line for _, entry in rows.entries.iterrows() for line in _lines(rows, entry, best)]
    return sorted(made, key=lambda line: (line.draws, line.typical, line.label, line.spacing))


def _lines(rows: Rows, entry: Series, best: dict[str, str]) -> Iterator[Line]:
    cells = rows.distances[rows.distances["what"] == entry["what"]]
    draws, what = truth(entry["draws"]) is True, str(entry["what"])
    prefix = "frechet_" if draws else ""
    low, high = _number(entry["order_low"]), _number(entry["order_high"])
    if low is not None and high is not None:
        interval = f"{low:.2f} to {high:.2f}"
    else:
        interval = "draws" if draws else str(entry["order_reason"])
    for spacing in dict.fromkeys(cells["spacing"]) or ["own"]:
        here = cells[cells["spacing"] == spacing]
        reported = here[here["target"] == REPORTED]
        single = single_targets(here)
        single = single[~single["target"].isin(CHOSEN_ON)]
        yield Line(
            label=str(entry["label"]),
            library=str(entry["library"]),
            spacing=str(spacing),
            interface=str(entry["interface"]),
            is_so=_word(entry["same"]),
            claimed=_number(entry["claimed"]),
            order=_number(entry["order"]),
            interval=interval,
            second=_number(entry["second"]),
            agrees=_word(reproduced(entry)),
            ratios={
                int(cell["evaluations"]): (
                    float(cell[f"{prefix}ratio"]), float(cell[f"{prefix}low"]), float(cell[f"{prefix}high"]),
                    int(cell["spent"]),
                )
                for _, cell in reported.iterrows()
            },
            worst=_number(single[f"{prefix}ratio"].max()) if len(single) else None,
            cost=_number(entry["cost"]),
            draws=draws,
            best=best.get(what, spacing) == spacing,
            remark=remark_of(entry),
        )  # fmt: skip


def markdown(rows: Rows) -> str:
    """Return the table in Markdown: each sampler once, at its best spacing."""
    numbers = sorted({n for line in lines_of(rows) for n in line.ratios})
    head = ["sampler", "spacing", "called", "order", *(str(n) for n in numbers), "worst", "cost"]
    text = [f"| {' | '.join(head)} |", f"| {' | '.join(['---'] * 4 + ['---:'] * (len(head) - 4))} |"]
    for line in lines_of(rows):
        if not line.best:
            continue
        called = line.interface + (f" ({line.is_so})" if line.is_so else "")
        order = "draws" if line.draws else "" if line.order is None else f"{line.order:.1f}"
        if line.claimed is not None and not line.draws:
            order += f" of {line.claimed:g}"
        cells = [f"{line.ratios[n][0]:.2f}" if n in line.ratios else "" for n in numbers]
        ends = ["" if value is None else f"{value:.1f}" for value in (line.worst, line.cost)]
        text.append(f"| {' | '.join([f'`{line.label}`', line.spacing, called, order, *cells, *ends])} |")
    return "\n".join(text) + "\n"
