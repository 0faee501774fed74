"""The contract of what is judged: a sampler that runs from its own first level, and reports where it asked its network.

Every convention is turned into one. A network is a `Predictor`: it answers in noise or in data at a `toy` level
``x = alpha y + sigma z``. A run is a `Trajectory`: what the network was given at each evaluation, with the level that
it was asked at, and where the sampler ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lml.samplers import Level

__all__ = [
    "SMOOTH",
    "SMOOTH_LOG_SNR",
    "Call",
    "CannotRunError",
    "Grid",
    "Judged",
    "Predictor",
    "Start",
    "Trajectory",
]

#: The range of the log-SNR where orders are measured: there the flow of every target turns most.
SMOOTH_LOG_SNR = (-3.0, 1.0)


class CannotRunError(Exception):
    """Something that cannot be judged, or not further; the message is a sentence for its author."""


class Predictor(Protocol):
    """A network's answer at a level, as noise ``E[z|x]`` and as data ``E[y|x]``; shapes (B, ...) to (B, ...)."""

    def noise(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction."""
        ...

    def data(self, x: Tensor, level: Level) -> Tensor:
        """Return the data prediction."""
        ...


class Call(NamedTuple):
    """One evaluation: what the network was given, (B, ...), and the level that it was asked at."""

    x: Tensor
    level: Level


class Trajectory(NamedTuple):
    """A run.

    Attributes:
        calls: the evaluations, in order.
        end: the sample that was returned, (B, ...), in the sampler's own coordinates.
    """

    calls: tuple[Call, ...]
    end: Tensor


#: Samples at the level where a sampler begins: a function of that level, or standard noise (B, ...) to begin with as
#: pipelines do.
Start = Callable[[Level], Tensor] | Tensor


@dataclass(frozen=True)
class Grid:
    """Where levels lie.

    Attributes:
        name: ``smooth``: equal steps of the log-SNR over `SMOOTH_LOG_SNR`, for orders; ``model``: the range and the
            spacing of a model with linear betas, 1e-4 to 0.02 in 1000 steps, as the sampler itself spaces it.
        spacing: of ``model``, where the sampler leaves it to whoever calls it; ``None`` is its own.
    """

    name: str = "smooth"
    spacing: str | None = None


#: The grid of orders.
SMOOTH = Grid()


@dataclass(frozen=True)
class Judged:
    """A sampler in the one convention that is judged.

    Attributes:
        name: as it was asked for.
        kind: what it is, in words: "diffusers scheduler", "k-diffusion function" ...
        run: one trajectory, see `Run`.
        claimed_order: what it says of itself, ``None`` if nothing.
        free_levels: whether whoever calls it chooses the levels.
        notes: what a reader must know of how it was run.
        evaluations: network evaluations of a number of steps, as it says itself; ``None`` if it does not.
        rebuild: makes it anew, for other options; ``None`` where there are none.
        reused: as ``run``, with one object for all runs, as a pipeline has it; ``None`` where there is none to keep.
        origin: the object itself, for checks that need it.
    """

    name: str
    kind: str
    run: Run
    claimed_order: float | None = None
    free_levels: bool = False
    notes: tuple[str, ...] = ()
    evaluations: Callable[[int], int] | None = None
    rebuild: Callable[..., Judged] | None = None
    reused: Run | None = None
    origin: object = field(default=None, compare=False)


class Run(Protocol):
    """One trajectory of a sampler."""

    def __call__(
        self,
        predictor: Predictor,
        start: Start,
        steps: int,
        *,
        grid: Grid = SMOOTH,
        levels: tuple[Level, ...] | None = None,
        dtype: torch.dtype = torch.float64,
        seed: int = 0,
    ) -> Trajectory:
        """Run it.

        Args:
            predictor: the network.
            start: samples where it begins.
            steps: how many steps it is asked for.
            grid: where its levels lie.
            levels: the very levels, for samplers that leave them to whoever calls them; they replace ``grid``.
            dtype: of the samples.
            seed: of what it draws.

        Raises:
            CannotRunError: with a sentence.
        """
        ...
