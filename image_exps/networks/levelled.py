r"""A network as a noise model of the samplers: ``eps(x, level)`` for any level, by its log-SNR.

A network was trained on ``z = alpha y + sigma eps`` with ``alpha^2 + sigma^2 = 1``, or ``alpha + sigma = 1`` for flow
matching. A level of another scale is brought to that one, which leaves the noise as it is:
``x/s = (alpha/s) y + (sigma/s) eps``. Its output ``m`` gives the noise, as in `lml.schedulers.coefficients`::

    epsilon          m = eps                    eps = m
    v_prediction     m = alpha eps - sigma y    eps = alpha m + sigma z
    sample           m = y                      eps = (z - alpha m)/sigma
    flow_prediction  m = eps - y                eps = z + alpha m
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor

from lml.samplers import Level

__all__ = ["PREDICTIONS", "LevelledModel", "noise_of"]

#: What a network may return, by the names of diffusers.
PREDICTIONS: tuple[str, ...] = ("epsilon", "v_prediction", "sample", "flow_prediction")


def noise_of(prediction: str, m: Tensor, z: Tensor, alpha: float, sigma: float) -> Tensor:
    """Return the noise in an output ``m`` of a network at ``z``, both (B, ...), by the table above."""
    if prediction == "v_prediction":
        return alpha * m + sigma * z
    if prediction == "sample":
        return (z - alpha * m) / sigma
    return z + alpha * m if prediction == "flow_prediction" else m


class LevelledModel(ABC):
    """A network behind its scale, prediction type and batch size.

    Attributes:
        prediction: one of `PREDICTIONS`.
        batch: samples that are evaluated at once; it changes the speed and rounding alone.
    """

    prediction: str
    batch: int

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample."""

    @abstractmethod
    def timestep(self, level: Level) -> float:
        """Return the timestep that the network receives for a level, with its fraction."""

    @abstractmethod
    def output(self, z: Tensor, timestep: float, first: int) -> Tensor:
        """Return what the network returns for samples ``z`` of its own scale, shape (B, ...).

        ``first`` is the place of the first of them among all that are asked for, for labels and prompts.
        """

    @torch.no_grad()
    def outputs(self, z: Tensor, timestep: float) -> Tensor:
        """Return the output for samples of any number, (B, ...), in their dtype and on their device.

        Raises:
            ValueError: for a network that returns another shape.
        """
        if not len(z):
            return z.clone()
        parts = [self.output(z[i : i + self.batch], timestep, i) for i in range(0, len(z), self.batch)]
        found = torch.cat(parts).to(z)
        channels = z.shape[1]
        if z.ndim == 4 and found.shape == (len(z), 2 * channels, *z.shape[2:]):
            found = found[:, :channels]  # the others are a learned variance, which deterministic samplers do not use
        if found.shape != z.shape:
            raise ValueError(
                f"the network must return the shape of its samples, {tuple(z.shape)}, got {tuple(found.shape)}"
            )
        return found

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, of the shape and dtype of ``x``: (B, *shape), or (B, d) flat."""
        flow = self.prediction == "flow_prediction"
        scale = level.alpha + level.sigma if flow else math.hypot(level.alpha, level.sigma)
        z = x.reshape(len(x), *self.shape) / scale
        m = self.outputs(z, self.timestep(level))
        return noise_of(self.prediction, m, z, level.alpha / scale, level.sigma / scale).reshape(x.shape)
