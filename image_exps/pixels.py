"""Pictures as bytes."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["pixels"]


def pixels(pictures: Tensor) -> Tensor:
    """Return pictures in [-1, 1] as bytes, of the same shape: rounded to the nearest level, numbers outside cut off."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
