"""What a notebook shows: pictures in the look of the report, and verdicts as a small table.

Nothing here needs a notebook: the objects answer to the protocol by which one asks for a representation.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from matplotlib.figure import Figure
from PIL import Image

from theory_checks.ledger.claim import Finding
from theory_checks.ledger.plotting import style

__all__ = ["Picture", "Verdicts"]

# A picture of three panels fills the width of a notebook.
_DPI = 110


@dataclass(frozen=True, repr=False)
class Picture:
    """A figure as a notebook shows it; the same bytes every time.

    Attributes:
        figure: of `theory_checks.ledger.plotting.panels`.
        caption: in words, for readers who do not see it, and for a difference of two versions.
    """

    figure: Figure
    caption: str

    def __repr__(self) -> str:
        return f"Picture: {self.caption}"

    def _repr_png_(self) -> bytes:
        drawn, small = io.BytesIO(), io.BytesIO()
        with style():
            self.figure.savefig(drawn, format="png", dpi=_DPI)
        # A palette is a third of the size, and nobody tells the difference: notebooks are kept under version control.
        with Image.open(drawn) as image:
            image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
                small, format="png", optimize=True
            )
        return small.getvalue()


class Verdicts:
    """The verdicts of a few checks with the figure that decided each.

    Args:
        findings: by the claim's id, what its check returned.

    Raises:
        ValueError: if there is none.
    """

    def __init__(self, **findings: Finding) -> None:
        if not findings:
            raise ValueError("findings must name at least one claim, got none")
        self._rows = [
            (name, str(f.verdict), f.figures[0].name, str(f.figures[0]), str(len(f.methods)))
            for name, f in findings.items()
        ]

    def __repr__(self) -> str:
        return "\n".join(f"{name}: {verdict}. {figure}: {value}" for name, verdict, figure, value, _ in self._rows)

    def _repr_markdown_(self) -> str:
        head = ("claim", "verdict", "decisive figure", "value", "methods")
        # A bar or an asterisk of a name is a mark of the table's own language.
        rows = [tuple(re.sub(r"([|*_^$<>\[\]])", r"\\\1", cell) for cell in row) for row in self._rows]
        return "\n".join(f"| {' | '.join(row)} |" for row in (head, ("---",) * len(head), *rows))
