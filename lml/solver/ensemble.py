r"""Exact targets of many kinds, on which methods are compared where there is no network.

A target is a cloud of N points, each with noise of standard deviation tau around it, in dimension d. With
``v = alpha^2 tau^2 + sigma^2`` its noise prediction is exact::

    e = sigma (x - alpha sum_i r_i y_i)/v,    r = softmax_i( (alpha <x, y_i> - alpha^2 |y_i|^2/2)/v )

The kinds are chosen for what data of networks differ in: scale, sparsity (bright blobs on a flat ground), heavy tails,
rank, number of modes, guidance. They are fixed; nothing of them was tuned on a network.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from lml.samplers import Level, NoiseModel

__all__ = ["ENSEMBLE", "Cloud", "ensemble_model"]


@dataclass(frozen=True)
class Cloud:
    """A smoothed cloud of points; a noise model.

    Attributes:
        points: shape (N, d), float64.
        tau: the standard deviation around each.
    """

    points: Tensor
    tau: float

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.points.shape[1]

    @cached_property
    def _squares(self) -> Tensor:
        return self.points.square().sum(1)

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, shape (B, d)."""
        alpha, sigma, _ = level
        v = alpha**2 * self.tau**2 + sigma**2
        r = torch.softmax((alpha * (x @ self.points.mT) - 0.5 * alpha**2 * self._squares) / v, 1)
        e: Tensor = sigma / v * (x - alpha * (r @ self.points))
        return e


@dataclass(frozen=True)
class _Guided:
    """``e + w (e_class - e)``: a class of a cloud under guidance."""

    whole: Cloud
    part: Cloud
    weight: float

    @property
    def dim(self) -> int:
        return self.whole.dim

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        e = self.whole(x, level)
        return e + self.weight * (self.part(x, level) - e)


def _randn(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator)


def _blobs(generator: torch.Generator, scale: float) -> Cloud:
    """Pictures of 10 x 10: one to three Gaussian blobs of random brightness on a ground of zero."""
    side, count = 10, 160
    grid = torch.arange(side, dtype=torch.float64)
    pictures = torch.zeros(count, side, side, dtype=torch.float64)
    for k in range(3):
        place = side * torch.rand(count, 2, dtype=torch.float64, generator=generator)
        width = 0.7 + torch.rand(count, 1, dtype=torch.float64, generator=generator)
        bright = torch.exp(_randn(generator, count, 1, 1)) * (1 if k == 0 else 0.4)
        across, down = (torch.exp(-(((grid - place[:, i : i + 1]) / width) ** 2) / 2) for i in (0, 1))
        pictures += bright * across[:, :, None] * down[:, None, :]
    return Cloud(scale * pictures.flatten(1), 0.05 * scale)


def _smooth(generator: torch.Generator) -> Cloud:
    """Pictures of 8 x 8 with the spectrum of photographs, amplitude 1/f."""
    f = torch.fft.fftfreq(8).double()
    amplitude = 1 / (f[:, None] ** 2 + f[None] ** 2 + 0.02).sqrt()
    pictures = torch.fft.ifft2(torch.fft.fft2(_randn(generator, 200, 8, 8)) * amplitude).real
    return Cloud(0.5 * (pictures / pictures.std()).flatten(1), 0.1)


def _modes(generator: torch.Generator, dim: int, count: int, scale: float, tau: float) -> Cloud:
    return Cloud(scale * _randn(generator, count, dim), tau)


def _heavy(generator: torch.Generator) -> Cloud:
    """Points whose lengths have Student's tails of three degrees of freedom."""
    chi = _randn(generator, 200, 3).square().mean(1, keepdim=True)
    return Cloud(0.5 * _randn(generator, 200, 32) / chi.sqrt(), 0.1)


def _low_rank(generator: torch.Generator) -> Cloud:
    return Cloud(_randn(generator, 200, 4) @ _randn(generator, 4, 48) / 2, 0.05)


def _binary(generator: torch.Generator) -> Cloud:
    """Pictures of 8 x 8 in -1 and 1, thresholded smooth ones."""
    return Cloud(2 * _smooth(generator).points.sign().clamp_min(0) - 1, 0.1)


def _guided(generator: torch.Generator, weight: float) -> _Guided:
    whole = _modes(generator, 24, 120, 0.7, 0.2)
    return _Guided(whole, Cloud(whole.points[:20] + 0.5, 0.2), weight)


#: The targets by name: each is made from a generator of its own.
ENSEMBLE: dict[str, Callable[[torch.Generator], Cloud | _Guided]] = {
    "blobs": lambda g: _blobs(g, 1.0),
    "bright blobs": lambda g: _blobs(g, 6.0),
    "smooth pictures": _smooth,
    "binary pictures": _binary,
    "heavy tails": _heavy,
    "low rank": _low_rank,
    "small scale": lambda g: _modes(g, 32, 200, 0.15, 0.05),
    "large scale": lambda g: _modes(g, 32, 200, 3.0, 0.5),
    "few modes": lambda g: _modes(g, 8, 6, 1.5, 0.3),
    "many modes": lambda g: _modes(g, 3, 60, 1.0, 0.05),
    "guidance": lambda g: _guided(g, 3.0),
}


def ensemble_model(name: str) -> tuple[NoiseModel, int]:
    """Return the noise model of a target of `ENSEMBLE`, and its dimension."""
    generator = torch.Generator().manual_seed(1000 + list(ENSEMBLE).index(name))
    made = ENSEMBLE[name](generator)
    return made, made.dim
