"""The look of every picture: sizes, fonts, and colours that colour-blind readers can tell apart."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar
from zlib import crc32

import matplotlib as mpl
import seaborn as sns
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

__all__ = ["COLOURS", "drawn", "for_a_phone", "on_a_phone", "panels", "style", "to_svg"]

T = TypeVar("T")

_PALETTE = sns.color_palette("colorblind").as_hex()

#: One colour a role, the same in every picture.
COLOURS = {
    "target": "#4d4d4d",
    "lml": _PALETTE[0],
    "control": _PALETTE[1],
    "literal": _PALETTE[3],
    "corrected": _PALETTE[2],
    "bound": _PALETTE[4],
    "other": _PALETTE[5],
    "limit": "#999999",
}

# Inches that a phone shows at the size of print, and the height of a panel there at most.
_PHONE, _HIGHEST = 3.5, 3.3

_phone: ContextVar[bool] = ContextVar("phone", default=False)

_STYLE = {
    **sns.axes_style("ticks"),
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.dpi": 120,
    "savefig.bbox": None,
    "svg.fonttype": "path",
    "svg.hashsalt": "lml",
    "mathtext.fontset": "dejavusans",
}


@contextmanager
def style() -> Iterator[None]:
    """Apply the look inside a block, and leave the reader's own settings alone."""
    with mpl.rc_context(_STYLE):
        yield


@contextmanager
def on_a_phone() -> Iterator[None]:
    """Arrange the panels of a block for a phone: below each other, none wider than it."""
    token = _phone.set(True)
    try:
        yield
    finally:
        _phone.reset(token)


def for_a_phone() -> bool:
    """Whether this is within a block of `on_a_phone`."""
    return _phone.get()


def panels(
    columns: int, *, rows: int = 1, width: float = 3.5, height: float = 2.7, **options: Any
) -> tuple[Figure, Any]:
    """Return a figure of equal panels and the array of its axes, shape (rows * columns,).

    The figure belongs to no window and no global state, so that it can be drawn in any thread.
    """
    if for_a_phone():
        rows, columns = rows * columns, 1
        width, height = _PHONE, min(_HIGHEST, max(height, 0.75 * _PHONE) if rows == 1 else height * _PHONE / width)
    with style():
        figure = Figure(figsize=(columns * width, rows * height), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, axes.ravel()


def drawn(draw: Callable[[T], Figure], finding: T) -> Figure:
    """Return the picture that a claim draws of a finding, legends and labels in the same look as the axes."""
    with style():
        return draw(finding)


def to_svg(figure: Figure) -> str:
    """Return the figure as an SVG element to stand inside HTML."""
    buffer = io.StringIO()
    with style():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    # A page holds many pictures: keep their ids apart.
    salt = f"p{crc32(svg.encode()):08x}-"
    svg = re.sub(r'\bid="', f'id="{salt}', svg)
    svg = re.sub(r'href="#', f'href="#{salt}', svg)
    return re.sub(r"url\(#", f"url(#{salt}", svg)
