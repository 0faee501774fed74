r"""LML with an extrapolated norm: the norm is carried forward as the direction is (claim A5).

Step 13 of Algorithm 1 gives the turned noise the norm of ``e``, which belongs to the level where the step starts, while
the direction ``e + eta (e - p)`` belongs to a level further on. Here the norm is taken at the same place::

    |e| + eta (|e| - |p|),    eta = mixing |e|^2/damping

With ``eta = 1/2`` on equal steps of log-SNR DDIM is then of second order; with step 13 it stays of first order. By the
triangle inequality this norm never exceeds that of ``e + eta (e - p)`` itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lml.correction import LML, Turn

__all__ = ["ExtrapolatedNorm", "extrapolated_norm"]


def extrapolated_norm(noise: Tensor, previous: Tensor, eta: float | Tensor) -> Tensor:
    """Return ``|e| + eta (|e| - |p|)``, shape (B,), in float64; ``|e|`` where that is not positive.

    Args:
        noise: ``e``, shape (B, ...).
        previous: ``p``, the noise of the level before, like ``noise``.
        eta: how far to extrapolate, in steps back to ``p``: one number or one a sample, (B,).
    """
    own, past = (t.flatten(1).double().norm(dim=1) for t in (noise, previous))
    norm = own + eta * (own - past)
    return torch.where(norm > 0, norm, own)


@dataclass(frozen=True)
class ExtrapolatedNorm(Turn):
    """Turn the noise as ``lml`` does, and extrapolate its norm too.

    Args:
        lml: the turn, of rank one.

    Raises:
        ValueError: for a turn of another rank.
    """

    lml: LML = field(default_factory=LML)

    def __post_init__(self) -> None:
        if self.lml.rank != 1:
            raise ValueError(f"rank must be 1 for {type(self).__name__}, got {self.lml.rank}")

    @property
    def depth(self) -> int:
        return self.lml.depth

    def acts(self, history: Sequence[Tensor], progress: float) -> bool:
        return self.lml.acts(history, progress)

    def direction(self, noise: Tensor, history: Sequence[Tensor]) -> Tensor:
        turned = self.lml.direction(noise, history)
        eta = self._strength(noise, history)
        own = noise.flatten(1).double().norm(dim=1)
        scale = extrapolated_norm(noise, history[0], eta) / own.clamp_min(torch.finfo(torch.float64).tiny)
        scaled: Tensor = turned * scale.to(turned.dtype).reshape(-1, *[1] * (turned.ndim - 1))
        return scaled

    def _strength(self, noise: Tensor, history: Sequence[Tensor]) -> Tensor:
        """Return ``eta0 = mixing |e|^2/damping``, shape (B,)."""
        squared = noise.flatten(1).double().square().sum(1)
        return self.lml.mixing * squared / torch.as_tensor(self.lml.damping_at(noise, history), dtype=torch.float64)
