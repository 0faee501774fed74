"""Pictures side by side: a row a sampler, a column a seed, as in Figures 3, 4, 5 and 11 of the paper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from image_exps.images.pixels import as_image

__all__ = ["compose"]

_GAP = 2
_MARGIN = 6
# Small pictures are enlarged to at least this side, each pixel to a square.
_LEAST_SIDE = 64


def compose(
    rows: Sequence[Sequence[np.ndarray[Any, Any] | None]], labels: Sequence[str], heads: Sequence[str]
) -> Image.Image:
    """Return one picture of all, labelled.

    Args:
        rows: bytes (height, width, channels) of each picture; ``None`` is drawn as a crossed frame.
        labels: of the rows, on the left.
        heads: of the columns, above them; cut where they are too long.

    Raises:
        ValueError: if the rows are not as long as the heads, or no picture is finite.
    """
    if any(len(row) != len(heads) for row in rows) or len(rows) != len(labels):
        raise ValueError(f"rows must be {len(labels)} of {len(heads)} pictures, got {[len(row) for row in rows]}")
    first = next((picture for row in rows for picture in row if picture is not None), None)
    if first is None:
        raise ValueError("rows hold no picture that is finite")
    height, width = first.shape[:2]
    zoom = max(1, -(-_LEAST_SIDE // min(height, width)))
    height, width = height * zoom, width * zoom
    font = ImageFont.load_default(size=max(11, min(22, height // 12)))
    left = _MARGIN * 2 + round(max(font.getlength(label) for label in labels))
    line = font.getbbox("Ag")[3]
    top = _MARGIN * 2 + round(line)
    sheet = Image.new("RGB", (left + len(heads) * (width + _GAP), top + len(rows) * (height + _GAP)), (255, 255, 255))
    pen = ImageDraw.Draw(sheet)
    for column, head in enumerate(heads):
        text = _fitting(head, font, width)
        pen.text((left + column * (width + _GAP) + width / 2, _MARGIN), text, fill="black", font=font, anchor="ma")
    for number, (row, label) in enumerate(zip(rows, labels, strict=True)):
        y = top + number * (height + _GAP)
        pen.text((left - _MARGIN, y + height / 2), label, fill="black", font=font, anchor="rm")
        for column, pixels in enumerate(row):
            x = left + column * (width + _GAP)
            if pixels is None:
                corner = (x + width - 1, y + height - 1)
                pen.rectangle(((x, y), corner), outline="red")
                pen.line(((x, y), corner), fill="red")
            else:
                picture = as_image(pixels).convert("RGB")
                sheet.paste(picture.resize((width, height), Image.Resampling.NEAREST), (x, y))
    return sheet


def _fitting(text: str, font: Any, width: int) -> str:
    """Return the text, cut with an ellipsis where it is wider than its column."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
