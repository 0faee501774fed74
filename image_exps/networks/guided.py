"""Classifier-free guidance of a network that knows classes, the last label standing for none."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["guided"]


def guided(network: Any, x: Tensor, time: Tensor, labels: Tensor | None, none: int, w: float) -> Tensor:
    """Return ``f(x, none) + w (f(x, class) - f(x, none))`` of an output f, noise or velocity.

    One evaluation serves where ``w = 1`` or there is no class, two elsewhere.

    Args:
        network: takes ``(x, time, labels)`` and returns an object with the output as its ``sample``.
        x: samples (B, C, H, W).
        time: one timestep for all.
        labels: a class for each, shape (B,); ``None`` for none.
        none: the label that stands for no class.
        w: the scale of guidance.

    Source: Ho & Salimans 2022, Classifier-Free Diffusion Guidance, Eq. 6 with ``w`` for their ``1 + w``.
    """

    def labelled(which: Tensor) -> Tensor:
        output: Tensor = network(x, time, which).sample
        return output

    if labels is not None and w == 1:
        return labelled(labels)
    plain = labelled(torch.full((len(x),), none, device=x.device))
    return plain if labels is None else torch.lerp(plain, labelled(labels), w)
