r"""An example of a score: sharpness, the variance of the Laplacian.

This file is all that a plug-in needs. ``L = x_up + x_down + x_left + x_right - 4 x`` of the luma ``x`` in [0, 255], and
the score of a picture is the variance of ``L`` over its inner pixels.

Source: Pech-Pacheco et al. 2000, Diatom autofocusing in brightfield microscopy.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["SHARPNESS", "Sharpness"]


class Sharpness:
    """Variance of the Laplacian of the luma; grows with detail, and with noise."""

    name = "sharpness"
    higher_is_better = True

    def __call__(self, pictures: Tensor, prompts: Sequence[str | None]) -> Tensor:
        weights = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)[:, None, None]
        x = ((pictures.double() + 1) * 127.5 * weights).sum(1)
        inner = x[:, 1:-1, 1:-1]
        laplacian = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:] - 4 * inner
        return laplacian.flatten(1).var(1, correction=0)


#: What the entry point names.
SHARPNESS = Sharpness()
