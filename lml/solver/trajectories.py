r"""Accurate trajectories of a network: where its probability flow ends.

By DPM-Solver++ of third order at equal steps of log-SNR; a network that is trained on integer timesteps is asked
between them too. The same in half as many steps tells how accurate that is.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lml.samplers import SAMPLERS, Level, NoiseModel, sample, trajectory
from lml.solver.schedule import Schedule

__all__ = ["METHOD", "STEPS", "Checked", "Reference", "distances", "reference", "reference_cost"]

#: Steps of an accurate trajectory.
STEPS = 96

#: The sampler by which they are made.
METHOD = SAMPLERS["dpm-solver++-3m"]


@dataclass
class Checked:
    """A noise model whose answers are checked, and counted.

    Args:
        model: the noise prediction.
        batch: samples that are evaluated at once.
        dtype: of the samples that it is asked for; that of the solver's if left out. Answers have the solver's.
        count: evaluations of one sample so far.
        seconds: for one sample, in the fastest call so far.

    Raises:
        ValueError: when called, for an answer of another shape, or one that is not finite, naming the level.
    """

    model: NoiseModel
    batch: int = 64
    dtype: torch.dtype | None = None
    count: int = 0
    seconds: float = math.inf

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, shape (B, ...)."""
        e = self.unchecked(x, level)
        if not bool(torch.isfinite(e).all()):
            raise ValueError(
                f"noise_model must return finite numbers, got some that are not at log(alpha/sigma) = "
                f"{level.half_log_snr:.3f}, time {level.time:g}"
            )
        return e

    @torch.no_grad()
    def unchecked(self, x: Tensor, level: Level) -> Tensor:
        """Return the same where numbers may overflow: for solvers that are only tried."""
        began, parts = time.perf_counter(), []
        for part in torch.split(x, self.batch):
            made = self.model(part if self.dtype is None else part.to(self.dtype), level)
            if not isinstance(made, Tensor) or made.shape != part.shape:
                found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
                raise ValueError(f"noise_model must return a tensor of shape {tuple(part.shape)}, got {found}")
            parts.append(made.to(part))
        self.count += len(x)
        self.seconds = min(self.seconds, (time.perf_counter() - began) / len(x))
        return torch.cat(parts)


class Reference(NamedTuple):
    """Where trajectories begin and end.

    Attributes:
        x: samples at the first level, (B, ...).
        ends: at the last level, (B, ...).
        refinement: how far the ends are from those of half as many steps, root mean squares over a sample, (B,): an
            upper estimate of their own error.
    """

    x: Tensor
    ends: Tensor
    refinement: Tensor


def distances(ends: Tensor, exact: Tensor) -> Tensor:
    """Return the root mean square distance of every sample, (B,), float64."""
    return (ends - exact).flatten(1).double().square().mean(1).sqrt()


def reference_cost(samples: int) -> int:
    """Return how many evaluations of one sample `reference` costs."""
    return samples * (STEPS + STEPS // 2)


def reference(
    model: NoiseModel, schedule: Schedule, noise: Tensor, progress: Callable[[str], None] | None = None
) -> Reference:
    """Return the ends of the flow from standard normal noise, shape (B, ...), at the first level of a schedule."""
    levels = schedule.continuous.levels(STEPS, "log-snr")
    x = levels[0].sigma * noise
    ends = x
    for i, (state, _) in enumerate(trajectory(METHOD, model, x, levels)):
        if progress is not None and i % 16 == 0:
            progress(f"accurate trajectories: step {i + 1} of {STEPS}")
        ends = state.x
    coarse = sample(METHOD, model, x, levels[::2])
    return Reference(x, ends, distances(ends, coarse))
