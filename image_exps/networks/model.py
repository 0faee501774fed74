"""A trained network as a noise model of the samplers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from image_exps.networks.files import UNet
from image_exps.networks.guided import guided
from lml.arguments import check_integer, check_number
from lml.samplers import Level
from toy import noise_schedule

__all__ = ["NetworkModel", "timestep"]


def timestep(level: Level) -> float:
    """Return the timestep, 0 to 999 with its fraction, at which the training table has the log-SNR of a level.

    The table's log-SNR is interpolated linearly; beyond its ends the timestep is that of the end.
    """
    table = _table()
    return float(np.interp(-level.half_log_snr, -table / 2, np.arange(len(table))))


@cache
def _table() -> np.ndarray:
    log_snr: np.ndarray = noise_schedule("vp-linear").discrete(1000).log_snr.numpy()
    return log_snr


@dataclass(frozen=True)
class NetworkModel:
    """A network as a noise model: ``eps(x, level)`` for any level, by its log-SNR.

    The network was trained on ``alpha^2 + sigma^2 = 1``. Other levels are scaled to it, which leaves the noise as it
    is: ``x/s = (alpha/s) y + (sigma/s) z`` for ``s = sqrt(alpha^2 + sigma^2)``. With a guidance ``w`` it returns
    ``eps(x) + w [eps(x, class) - eps(x)]``, see `guided`, at twice the cost unless ``w = 1``.

    Attributes:
        net: takes ``(x, timestep, labels)``.
        prediction: what it returns. A ``v_prediction`` ``v = alpha z - sigma y`` gives ``eps = alpha v + sigma x``.
        classes: it was trained on.
        labels: one class for all samples, one a sample, or ``None`` for no class.
        guidance: towards the class.
        batch: samples that are evaluated at once; it changes the speed and rounding alone.
    """

    net: UNet
    prediction: str = "epsilon"
    classes: tuple[str, ...] = ()
    labels: str | tuple[str, ...] | None = None
    guidance: float = 1.0
    batch: int = 128

    def __post_init__(self) -> None:
        check_integer(self.batch, "batch")
        if self.prediction not in ("epsilon", "v_prediction"):
            raise ValueError(f"prediction must be epsilon or v_prediction, got {self.prediction!r}")
        if self.labels is None:
            return
        check_number(self.guidance, "guidance")
        if not self.classes:
            raise ValueError(f"labels must be None for a network that knows no classes, got {self.labels!r}")
        for label in {self.labels} if isinstance(self.labels, str) else set(self.labels):
            if label not in self.classes:
                raise ValueError(f"labels must be of {', '.join(self.classes)}, got {label!r}")

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, of the shape (B, C, H, W) and dtype of ``x``; (B, C*H*W) is taken too."""
        channels, size = self.net.config["in_channels"], self.net.config["sample_size"]
        pictures = x.reshape(len(x), channels, size, size) / math.hypot(level.alpha, level.sigma)
        weight = self.net.conv_in.weight
        time = torch.tensor(timestep(level), dtype=torch.float32, device=weight.device)
        numbers = self._numbers(len(x), weight.device)
        parts = [
            self._output(pictures[i : i + self.batch].to(weight), time, numbers[i : i + self.batch])
            for i in range(0, len(x), self.batch)
        ]
        if not parts:
            return x.clone()
        output = torch.cat(parts).to(x)
        if self.prediction == "v_prediction":
            scale = math.hypot(level.alpha, level.sigma)
            output = (level.alpha / scale) * output + (level.sigma / scale) * pictures
        return output.view(x.shape)

    @torch.no_grad()
    def _output(self, x: Tensor, time: Tensor, numbers: Tensor) -> Tensor:
        if not self.classes:
            output: Tensor = self.net(x, time, None).sample
            return output
        return guided(self.net, x, time, None if self.labels is None else numbers, len(self.classes), self.guidance)

    def _numbers(self, count: int, device: torch.device) -> Tensor:
        """Return the label of each sample as a number, shape (B,)."""
        if self.labels is None or isinstance(self.labels, str):
            number = len(self.classes) if self.labels is None else self.classes.index(self.labels)
            return torch.full((count,), number, device=device)
        if len(self.labels) != count:
            raise ValueError(f"labels must be one a sample, got {len(self.labels)} for {count} samples")
        return torch.tensor([self.classes.index(label) for label in self.labels], device=device)
