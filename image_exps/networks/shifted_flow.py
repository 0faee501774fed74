r"""The levels of flow matching with a shift: ``sigma = s t/(1 + (s - 1) t)``, ``alpha = 1 - sigma`` on t in [0, 1].

Equal steps of t are the levels that flow-matching schedulers of diffusers make of equal steps: those of ``shift``, or
of ``mu`` by the size of a picture, ``s = e^mu``.

Source: Esser et al. 2024, Scaling Rectified Flow Transformers, Eq. 23.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lml.arguments import check_integer, check_positive
from toy.schedule import DiscreteTable, NoiseSchedule, Time

__all__ = ["ShiftedFlow"]


@dataclass(frozen=True)
class ShiftedFlow(NoiseSchedule):
    """Flow matching with a shift ``s``; one is the straight path.

    Raises:
        ValueError: for a shift that is not positive.
    """

    shift: float = 1.0

    def __post_init__(self) -> None:
        check_positive(self.shift, "shift")

    def _log_alpha(self, t: Tensor) -> Tensor:
        return torch.log1p(-t) - torch.log1p((self.shift - 1) * t)

    def _log_sigma(self, t: Tensor) -> Tensor:
        return math.log(self.shift) + torch.log(t) - torch.log1p((self.shift - 1) * t)

    def time(self, log_snr: Time) -> Tensor:
        # sigma/alpha = s t/(1 - t), whose logarithm is -log_snr/2.
        return torch.sigmoid(-0.5 * torch.as_tensor(log_snr, dtype=torch.float64) - math.log(self.shift))

    def drift(self, t: Time) -> Tensor:
        t = torch.as_tensor(t, dtype=torch.float64)
        return -self.shift / ((1 - t) * (1 + (self.shift - 1) * t))

    def squared_diffusion(self, t: Time) -> Tensor:
        # g^2 = 2 sigma^2 (d log sigma/dt - d log alpha/dt), of log(sigma/alpha) = log s + log t - log(1 - t).
        t = torch.as_tensor(t, dtype=torch.float64)
        return 2 * self.sigma(t) ** 2 / (t * (1 - t))

    def discrete(self, steps: int = 1000) -> DiscreteTable:
        t = torch.arange(1, check_integer(steps, "steps") + 1, dtype=torch.float64) / steps
        return DiscreteTable(self.alpha(t), self.sigma(t))
