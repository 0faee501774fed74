"""Maps of edges for the ControlNet of that kind, as the published code makes them: ``cv2.Canny(picture, 100, 200)``.

Maps of depth and of poses need networks of their own, and come ready-made.

Source: Canny 1986; Zhang, Rao & Agrawala 2023, ControlNet, for the thresholds and white lines on black.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["HIGH", "LOW", "edges_of"]

#: Gradients, of 8-bit pictures, from which a line is kept if it touches a stronger one, and from which it is one.
LOW, HIGH = 100.0, 200.0


def edges_of(picture: Path, low: float = LOW, high: float = HIGH) -> Image.Image:
    """Return the edges of a picture, white on black, of its size.

    Raises:
        ValueError: for thresholds out of order, a file that is no picture, or without OpenCV, saying how to get it.
    """
    if not 0 <= low <= high:
        raise ValueError(f"low and high must be rising numbers of at least 0, got {low} and {high}")
    if find_spec("cv2") is None:
        raise ValueError("edges need OpenCV, which is not installed: pip install opencv-python-headless")
    # Help of the command shows the thresholds, and needs none of these.
    import numpy as np
    from PIL import Image

    from toy.picture_files import read_picture

    pixels = np.asarray(read_picture(picture))
    cv2: Any = import_module("cv2")
    return Image.fromarray(cv2.Canny(pixels, low, high)).convert("RGB")
