r"""Accurate trajectories of a network: where its probability flow goes, at the levels of a grid.

The grid is of equal steps of log-SNR, some hundred of them; of a network that is asked at integer timesteps it is of
those. From level to level goes DPM-Solver++ of third order, with levels in between where timesteps lie far apart. The
same with every second level tells how accurate that is.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lml.samplers import SAMPLERS, Level, NoiseModel, sample, trajectory
from lml.solver.schedule import Schedule, spaced

__all__ = ["GRID", "Checked", "Trajectories", "reference_cost", "trajectories"]

#: Steps of the grid.
GRID = 96

_REFERENCE = SAMPLERS["dpm-solver++-3m"]


@dataclass
class Checked:
    """A noise model whose answers are checked, and counted.

    Args:
        model: the noise prediction.
        batch: samples that are evaluated at once.
        count: evaluations of one sample so far.
        seconds: that the last call took.

    Raises:
        ValueError: when called, for an answer of another shape, or one that is not finite, naming the level.
    """

    model: NoiseModel
    batch: int = 64
    count: int = 0
    seconds: float = 0.0

    @torch.no_grad()
    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, shape (B, ...)."""
        began, parts = time.perf_counter(), []
        for part in torch.split(x, self.batch):
            made = self.model(part, level)
            if not isinstance(made, Tensor) or made.shape != part.shape:
                found = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
                raise ValueError(f"noise_model must return a tensor of shape {tuple(part.shape)}, got {found}")
            parts.append(made.to(part))
        self.count += len(x)
        e = torch.cat(parts)
        if not bool(torch.isfinite(e).all()):
            raise ValueError(
                f"noise_model must return finite numbers, got some that are not at log(alpha/sigma) = "
                f"{level.half_log_snr:.3f}, time {level.time:g}"
            )
        self.seconds = time.perf_counter() - began
        return e


class Trajectories(NamedTuple):
    """Trajectories of the flow.

    Attributes:
        levels: of the grid, noise falling.
        states: ``x/alpha`` at each, shape (G, B, ...).
        refinement: how far the ends are from those of half as many steps, root mean squares over a sample, (B,): an
            upper estimate of their own error.
    """

    levels: tuple[Level, ...]
    states: Tensor
    refinement: Tensor


def reference_cost(samples: int) -> int:
    """Return about how many evaluations of one sample `trajectories` costs."""
    return samples * (GRID + GRID // 2)


def trajectories(
    model: NoiseModel, schedule: Schedule, noise: Tensor, progress: Callable[[str], None] | None = None
) -> Trajectories:
    """Return the flow from standard normal noise, shape (B, ...), at the first level of a schedule."""
    grid = _grid(schedule)
    fine, kept = _between(schedule, grid)
    x = fine[0].sigma * noise
    states = [x / fine[0].alpha]
    for i, (state, _) in enumerate(trajectory(_REFERENCE, model, x, fine)):
        if progress is not None and i % 16 == 0:
            progress(f"accurate trajectories: step {i + 1} of {len(fine) - 1}")
        if i + 1 in kept:
            states.append(state.x / fine[i + 1].alpha)
    coarse = sample(_REFERENCE, model, x, [*fine[:-1:2], fine[-1]])
    apart = (fine[-1].alpha * states[-1] - coarse).flatten(1)
    return Trajectories(tuple(grid), torch.stack(states), apart.square().mean(1).sqrt())


def _grid(schedule: Schedule) -> list[Level]:
    values = spaced(schedule, GRID, "log-snr")
    if not schedule.integer:
        return [schedule.level(value) for value in values]
    places = sorted({schedule.nearest(value) for value in values} | {0, len(schedule.times) - 1})
    return [schedule.level(schedule.half_log_snr[place]) for place in places]


def _between(schedule: Schedule, grid: list[Level]) -> tuple[list[Level], set[int]]:
    """Return the grid with levels in between where its steps are long, and the places of its own levels."""
    first, last = schedule.range
    longest = 1.01 * (last - first) / GRID
    smooth = Schedule(schedule.kind, schedule.times, schedule.half_log_snr)
    fine, kept = [grid[0]], {0}
    for before, after in itertools.pairwise(grid):
        low, high = before.half_log_snr, after.half_log_snr
        parts = max(1, -int(-(high - low) // longest))
        fine += [smooth.level(low + (high - low) * k / parts) for k in range(1, parts)]
        fine.append(after)
        kept.add(len(fine) - 1)
    return fine, kept
