"""A network of pixels or latents, without prompts, as a noise model of the samplers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from image_exps.networks.files import UNet
from image_exps.networks.guided import guided
from image_exps.networks.levelled import LevelledModel
from lml.arguments import check_choice, check_integer, check_number
from lml.samplers import Level
from toy.tabulated import Tabulated

__all__ = ["NetworkModel", "timestep"]

#: Prediction types of networks without prompts.
_PREDICTIONS = ("epsilon", "v_prediction", "sample")


def timestep(level: Level) -> float:
    """Return the timestep, 0 to 999 with its fraction, at which the table of the shipped networks has a level.

    The table's log-SNR is interpolated linearly; beyond its ends the timestep is that of the end.
    """
    return float(_shipped_table().timestep(2 * level.half_log_snr))


@cache
def _shipped_table() -> Tabulated:
    """Return the linear betas of DDPM, on which the shipped networks were trained."""
    return Tabulated(torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64))


@dataclass(frozen=True, eq=False)
class NetworkModel(LevelledModel):
    """A network as a noise model: ``eps(x, level)`` for any level, by its log-SNR; see `LevelledModel`.

    With a guidance ``w`` it returns ``eps(x) + w [eps(x, class) - eps(x)]``, see `guided`, at twice the cost unless
    ``w = 1``.

    Attributes:
        net: takes ``(x, timestep, labels)``.
        prediction: what it returns: ``epsilon``, ``v_prediction`` or ``sample``.
        classes: it was trained on.
        labels: one class for all samples, one a sample, or ``None`` for no class.
        guidance: towards the class.
        batch: samples that are evaluated at once; it changes the speed and rounding alone.
        table: of the noise levels that it was trained on.
    """

    net: UNet
    prediction: str = "epsilon"
    classes: tuple[str, ...] = ()
    labels: str | tuple[str, ...] | None = None
    guidance: float = 1.0
    batch: int = 128
    table: Tabulated = field(default_factory=_shipped_table)

    def __post_init__(self) -> None:
        check_integer(self.batch, "batch")
        check_choice(self.prediction, "prediction", _PREDICTIONS)
        if self.labels is None:
            return
        check_number(self.guidance, "guidance")
        if not self.classes:
            raise ValueError(f"labels must be None for a network that knows no classes, got {self.labels!r}")
        for label in {self.labels} if isinstance(self.labels, str) else set(self.labels):
            if label not in self.classes:
                raise ValueError(f"labels must be of {', '.join(self.classes)}, got {label!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        size = self.net.config["sample_size"]
        return (self.net.config["in_channels"], *((size, size) if isinstance(size, int) else size))

    def timestep(self, level: Level) -> float:
        return float(self.table.timestep(2 * level.half_log_snr))

    def outputs(self, z: Tensor, timestep: float) -> Tensor:
        if self.labels is not None and not isinstance(self.labels, str) and len(self.labels) != len(z):
            raise ValueError(f"labels must be one a sample, got {len(self.labels)} for {len(z)} samples")
        return super().outputs(z, timestep)

    def output(self, z: Tensor, timestep: float, first: int) -> Tensor:
        x = z.to(next(self.net.parameters()))
        time = torch.tensor(timestep, dtype=torch.float32, device=x.device)
        if not self.classes:
            output: Tensor = self.net(x, time, None).sample
            return output
        labels = None if self.labels is None else self._numbers(first, len(x), x.device)
        return guided(self.net, x, time, labels, len(self.classes), self.guidance)

    def _numbers(self, first: int, count: int, device: torch.device) -> Tensor:
        """Return the labels of some samples as numbers, shape (count,)."""
        labels = [self.labels] * count if isinstance(self.labels, str) else (self.labels or ())[first : first + count]
        return torch.tensor([self.classes.index(label) for label in labels], device=device)
