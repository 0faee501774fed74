"""How the panels of a figure are arranged: side by side in print, in one column on a phone.

A figure asks for its panels by rows and columns and draws into them. In print they stand so. On a phone, whose width
is that of a column of print, as many stand side by side as keep the width that they have in print: mostly one. A text
of 8 points is then 13 pixels high on a screen that is 390 wide.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend

from paper_figures.log_axis import mark_logarithms
from theory_checks.ledger.plotting import for_a_phone

__all__ = ["ONE_COLUMN", "TWO_COLUMNS", "finish", "label_panels", "lowest", "panels", "panels_by_name"]

#: Widths in inches.
ONE_COLUMN, TWO_COLUMNS = 3.25, 6.75

Share = bool | Literal["none", "all", "row", "col"]

# Of a panel that is stacked: no higher than this share of its width, or two would not fit on a screen.
_HIGHEST = 0.85


class _Page(Figure):
    """A figure that knows which panels stand in a row and in a column in print.

    Attributes:
        printed: the axes of a grid, (rows, columns); empty for panels by name.
        across: how many panels stand side by side now.
    """

    printed: np.ndarray
    across: int

    def legend(self, *args: Any, **options: Any) -> Legend:
        """Return a legend of the whole figure; on a phone of no more columns than fit, and the figure higher by it."""
        legend = super().legend(*args, **options)
        if not for_a_phone():
            return legend
        columns = options.pop("ncols", 1)
        while (box := legend.get_window_extent()).width > self.bbox.width and columns > 1:
            columns -= 1
            legend.remove()
            legend = super().legend(*args, ncols=columns, **options)
        self.set_figheight(self.get_figheight() + float(box.height) / self.dpi)
        return legend


def panels(
    rows: int,
    columns: int,
    *,
    height: float,
    sharex: Share = False,
    sharey: Share = False,
    by_column: bool = False,
    count: int | None = None,
) -> tuple[Figure, np.ndarray]:
    """Return a figure and the array of its axes, (rows, columns), wherever they stand.

    Args:
        rows: in print.
        columns: in print.
        height: in inches, in print; on a phone it follows from the shape of a panel.
        sharex: as of `matplotlib.figure.Figure.subplots`, of the rows and columns in print.
        sharey: the same.
        by_column: on a phone a column of print is read to its end before the next.
        count: of panels, if they do not fill the last row; in the place of the others is None.
    """
    count = rows * columns if count is None else count
    phone = for_a_phone()
    across = max(1, round(columns * ONE_COLUMN / TWO_COLUMNS)) if phone else columns
    down = math.ceil(count / across)
    own = ONE_COLUMN / across
    highest = min(height / rows * own / (TWO_COLUMNS / columns), _HIGHEST * own)
    figure = _page(ONE_COLUMN, down * highest) if phone else _page(TWO_COLUMNS, height)
    places = figure.subplots(down, across, squeeze=False).ravel()
    for spare in places[count:]:
        spare.remove()
    flat = np.full(rows * columns, None, dtype=object)
    flat[:count] = places[:count]
    axes = flat.reshape(columns, rows).T if phone and by_column else flat.reshape(rows, columns)
    _share(axes, sharex, "x")
    _share(axes, sharey, "y")
    figure.printed, figure.across = axes, across
    if not phone:
        _hide_inner(figure, sharex, sharey)
    return figure, axes


def panels_by_name(layout: Sequence[Sequence[str]], *, height: float) -> tuple[Figure, dict[str, Axes]]:
    """Return a figure and its axes by the names in the rows of ``layout``; on a phone they are stacked."""
    if not for_a_phone():
        figure = _page(TWO_COLUMNS, height)
        axes = dict(figure.subplot_mosaic([list(row) for row in layout]))
    else:
        # Those of one row before those that stand beside several.
        rows = Counter(name for row in layout for name in dict.fromkeys(row))
        names = sorted(rows, key=lambda name: rows[name])
        figure = _page(ONE_COLUMN, len(names) * min(height / len(layout), _HIGHEST * ONE_COLUMN))
        axes = dict(figure.subplot_mosaic([[name] for name in names]))
    figure.printed, figure.across = np.empty((0, 0), dtype=object), 1
    return figure, axes


def label_panels(axes: np.ndarray | Sequence[Axes]) -> None:
    """Put (a), (b), .. before the titles of the axes, in the order of reading."""
    for letter, axis in zip("abcdefghijklmnopqrstuvwxyz", np.asarray(axes).ravel(), strict=False):
        axis.set_title(rf"$\bf{{({letter})}}$ {axis.get_title(loc='left')}", loc="left")


def lowest(axes: np.ndarray) -> list[Axes]:
    """Return the lowest panel of each column of `panels`, shape (rows, columns), in print."""
    columns = ([axis for axis in column if axis is not None] for column in axes.T)
    return [column[-1] for column in columns if column]


def finish(figure: Figure) -> None:
    """Complete what was drawn: ticks of logarithmic axes; for a phone, labels of panels that share one in print."""
    for axes in figure.axes:
        mark_logarithms(axes.xaxis)
        mark_logarithms(axes.yaxis)
    if isinstance(figure, _Page) and for_a_phone():
        _label_axes(figure)


def _page(width: float, height: float) -> _Page:
    figure = _Page(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _share(axes: np.ndarray, share: Share, which: Literal["x", "y"]) -> None:
    groups = {"row": list(axes), "col": list(axes.T), "all": [axes.ravel()], True: [axes.ravel()]}.get(share, [])
    for first, *others in groups:
        for axis in others:
            if axis is not None:
                getattr(axis, f"share{which}")(first)


def _hide_inner(figure: _Page, sharex: Share, sharey: Share) -> None:
    """Leave the numbers of shared axes where the lowest panel of a column and the first of a row have them."""
    below = lowest(figure.printed)
    for row in figure.printed:
        for j, axis in enumerate(row):
            if axis is not None:
                axis.tick_params(labelbottom=not sharex or axis is below[j], labelleft=not sharey or j == 0)


def _label_axes(figure: _Page) -> None:
    """Give each panel the label that its row or column shares in print; of several side by side, the outer ones."""
    taken = {_place(axis) for axis in figure.printed.ravel() if axis is not None}
    below = lowest(figure.printed)
    for row in figure.printed:
        for j, axis in enumerate(row):
            if axis is None or not axis.axison:
                continue
            place, alone = _place(axis), figure.across == 1
            if axis.get_shared_y_axes().joined(axis, row[0]):
                outer = alone or place[1] == 0
                axis.set_ylabel((axis.get_ylabel() or row[0].get_ylabel()) if outer else "")
                axis.tick_params(labelleft=outer)
            if axis.get_shared_x_axes().joined(axis, below[j]):
                outer = alone or (place[0] + 1, place[1]) not in taken
                axis.set_xlabel((axis.get_xlabel() or below[j].get_xlabel()) if outer else "")
                axis.tick_params(labelbottom=outer)


def _place(axis: Axes) -> tuple[int, int]:
    spec = axis.get_subplotspec()
    assert spec is not None
    return spec.rowspan.start, spec.colspan.start
