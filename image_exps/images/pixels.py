"""Pictures as bytes, and bytes as a picture of Pillow."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

__all__ = ["as_image", "pixels"]


def pixels(pictures: Tensor) -> Tensor:
    """Return pictures in [-1, 1] as bytes, of the same shape: rounded to the nearest level, numbers outside cut off."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def as_image(picture: np.ndarray[Any, Any]) -> Image.Image:
    """Return bytes (height, width, 1 or 3) as a picture, grey or in colours."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
