"""A figure's files: PDF and PNG for print, PNG for a phone, caption and methods, the same bytes for the same data."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import finish
from paper_figures.style import style
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.plotting import on_a_phone
from toy.atomic import atomic

__all__ = ["Files", "render"]

# No date and no version of the program: they would change the bytes and tell nothing of the figure.
_PDF = {"Creator": None, "Producer": None, "CreationDate": None}
_PNG = {"Software": None}


@dataclass(frozen=True)
class Files:
    """Where the files of a figure are."""

    pdf: Path
    png: Path
    phone: Path
    caption: Path
    methods: Path


def render(figure: PaperFigure, data: Data, settings: Settings, folder: Path) -> Files:
    """Draw a figure of its data, fill its texts, and write NAME.pdf, NAME.png, NAME-phone.png and two text files.

    The caption is NAME.txt, and how the figure was made NAME-methods.txt.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with style():
        drawn = figure.draw(data)
        finish(drawn)
        pdf, png = _bytes(drawn, "pdf", _PDF), _bytes(drawn, "png", _PNG)
        with on_a_phone():
            drawn = figure.draw(data)
            finish(drawn)
            phone = _bytes(drawn, "png", _PNG)
    texts = (figure.filled(data), figure.described(data, settings))
    endings = (".pdf", ".png", "-phone.png", ".txt", "-methods.txt")
    files = Files(*(folder / f"{figure.name}{ending}" for ending in endings))
    for path, content in zip(vars(files).values(), (pdf, png, phone, *(t.encode() for t in texts)), strict=True):
        with atomic(path) as partial:
            partial.write_bytes(content)
    return files


def _bytes(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()
