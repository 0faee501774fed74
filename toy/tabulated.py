r"""A noise schedule from any table of betas: what a diffusers scheduler was trained with, on continuous time.

``abar_i = prod_{j <= i} (1 - beta_j)``, ``alpha_i = sqrt(abar_i)``, ``sigma_i = sqrt(1 - abar_i)``. Time ``t`` in
[0, 1] is the timestep over the last one, ``i = (N - 1) t``; between two timesteps the log-SNR is linear, as the
schedulers of diffusers interpolate it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from toy.schedule import DiscreteTable, NoiseSchedule, Time

__all__ = ["Tabulated"]


class Tabulated(NoiseSchedule):
    """A variance-preserving schedule from a table of betas.

    Args:
        betas: in (0, 1), at least two, from the least noise to the most.

    Raises:
        ValueError: for fewer than two betas, or one outside (0, 1): a last beta of one leaves no signal and no finite
            log-SNR.
    """

    def __init__(self, betas: Sequence[float] | Tensor) -> None:
        values = torch.as_tensor(betas, dtype=torch.float64)
        if values.ndim != 1 or len(values) < 2:
            raise ValueError(f"betas must be at least two numbers in a row, got shape {tuple(values.shape)}")
        bad = values[~((values > 0) & (values < 1))]
        if len(bad):
            raise ValueError(f"betas must lie in (0, 1), got {float(bad[0])}")
        log_abar = torch.cumsum(torch.log1p(-values), 0)
        #: ``log(alpha^2/sigma^2)`` at the timesteps, falling, shape (N,).
        self.table = log_abar - torch.log(-torch.expm1(log_abar))
        self.betas = values

    def __repr__(self) -> str:
        return f"Tabulated({len(self.betas)} betas from {self.betas[0]:.3g} to {self.betas[-1]:.3g})"

    def timestep(self, log_snr: Time) -> Tensor:
        """Return the timestep with its fraction at a log-SNR; beyond the table, that of its end."""
        value = torch.as_tensor(log_snr, dtype=torch.float64).clamp(self.table[-1], self.table[0])
        after = torch.searchsorted(-self.table, -value).clamp(1, len(self.table) - 1)
        left, right = self.table[after - 1], self.table[after]
        return after - 1 + (value - left) / (right - left)

    def time(self, log_snr: Time) -> Tensor:
        return self.timestep(log_snr) / (len(self.table) - 1)

    def log_snr(self, t: Time) -> Tensor:
        before, share = self._place(t)
        return torch.lerp(self.table[before], self.table[before + 1], share)

    def drift(self, t: Time) -> Tensor:
        # d log(alpha)/dt = sigma^2 L'/2, since alpha^2 = sigmoid(L) for the log-SNR L.
        return 0.5 * torch.sigmoid(-self.log_snr(t)) * self._slope(t)

    def squared_diffusion(self, t: Time) -> Tensor:
        return -2 * self.drift(t)  # variance preserving: g^2 = -2 f

    def discrete(self, steps: int | None = None) -> DiscreteTable:
        """Return the table itself; ``steps`` may only be its own number."""
        if steps not in (None, len(self.betas)):
            raise ValueError(f"steps must be {len(self.betas)}, the length of this table, got {steps}")
        return DiscreteTable(torch.sigmoid(self.table).sqrt(), torch.sigmoid(-self.table).sqrt())

    def _place(self, t: Time) -> tuple[Tensor, Tensor]:
        time = torch.as_tensor(t, dtype=torch.float64)
        if not bool(((time >= 0) & (time <= 1)).all()):
            raise ValueError(f"time must lie in [0, 1], got {time.tolist()}")
        place = time * (len(self.table) - 1)
        before = place.floor().clamp_max(len(self.table) - 2).long()
        return before, place - before

    def _slope(self, t: Time) -> Tensor:
        before, _ = self._place(t)
        return (self.table[before + 1] - self.table[before]) * (len(self.table) - 1)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return 0.5 * torch.nn.functional.logsigmoid(self.log_snr(t))

    def _log_sigma(self, t: Tensor) -> Tensor:
        return 0.5 * torch.nn.functional.logsigmoid(-self.log_snr(t))
