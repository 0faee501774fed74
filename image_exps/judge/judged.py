"""The contract of what is judged: a sampler that runs from its own first level, and reports where it asked its network.

Every convention is turned into one. A network is a `Predictor`: it answers in noise or in data at a `toy` level
``x = alpha y + sigma z``. A run is a `Trajectory`: what the network was given at each evaluation, with the level that
it was asked at, and where the sampler ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

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
    "Request",
    "Runner",
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
        log_snr: the range of ``smooth``.
        bend: of ``smooth``, in (-1, 1): levels are equal in ``u``, and the log-SNR has gone the share
            ``u + bend u (1 - u)`` of the range, so that steps shrink or grow along it.
    """

    name: str = "smooth"
    spacing: str | None = None
    log_snr: tuple[float, float] = SMOOTH_LOG_SNR
    bend: float = 0.0

    def log_snrs(self, shares: Tensor) -> Tensor:
        """Return the log-SNRs of ``smooth`` at shares of the way from its first to its last level."""
        low, high = self.log_snr
        return low + (high - low) * (shares + self.bend * shares * (1 - shares))


#: The grid of orders.
SMOOTH = Grid()


class Request(NamedTuple):
    """What one trajectory is asked for with.

    Attributes:
        predictor: the network.
        start: samples where it begins.
        steps: how many steps it is asked for.
        grid: where its levels lie.
        levels: the very levels, for samplers that leave them to whoever calls them; they replace ``grid``.
        dtype: of the samples.
        seed: of what it draws.
    """

    predictor: Predictor
    start: Start
    steps: int
    grid: Grid = SMOOTH
    levels: tuple[Level, ...] | None = None
    dtype: torch.dtype = torch.float64
    seed: int = 0


#: Makes one trajectory of a sampler; raises `CannotRunError` with a sentence where it cannot.
Runner = Callable[[Request], Trajectory]


@dataclass(frozen=True)
class Judged:
    """A sampler in the one convention that is judged.

    Attributes:
        name: as it was asked for.
        kind: what it is, in words: "diffusers scheduler", "k-diffusion function" ...
        runner: makes one trajectory from a request.
        claimed_order: what it says of itself, ``None`` if nothing.
        free_levels: whether whoever calls it chooses the levels.
        notes: what a reader must know of how it was run.
        evaluations: network evaluations of a number of steps, as it says itself; ``None`` if it does not.
        rebuild: makes it anew, for other options; ``None`` where there are none.
        keeper: as ``runner``, with one object for all runs, as a pipeline has it; ``None`` where there is none to keep.
        origin: the object itself, for checks that need it.
    """

    name: str
    kind: str
    runner: Runner
    claimed_order: float | None = None
    free_levels: bool = False
    notes: tuple[str, ...] = ()
    evaluations: Callable[[int], int] | None = None
    rebuild: Callable[..., Judged] | None = None
    keeper: Runner | None = None
    origin: object = field(default=None, compare=False)

    def run(self, predictor: Predictor, start: Start, steps: int, *, keep: bool = False, **settings: Any) -> Trajectory:
        """Return one trajectory.

        Args:
            predictor: as of `Request`.
            start: as of `Request`.
            steps: as of `Request`.
            keep: use one object for all runs, where there is one to keep.
            settings: ``grid``, ``levels``, ``dtype`` and ``seed`` of `Request`.

        Raises:
            CannotRunError: with a sentence.
        """
        runner = self.keeper if keep and self.keeper is not None else self.runner
        return runner(Request(predictor, start, steps, **settings))
