r"""W2 to the data after a few steps of the corrected SDE, and of the plain reverse SDE with as much noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from theory_checks.ledger.claim import Settings
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.clock import graded_times
from theory_checks.numerics.reverse_particles import ReverseSDE, ends, sliced_wasserstein
from toy import GaussianMixture

__all__ = ["distance_after_few_steps", "distance_of_exact_samples"]

# Particles of one W2, which is not zero for exact samples either.
_BATCH = 1500


def distance_after_few_steps(
    data: GaussianMixture, damping: float, start: float, counts: Sequence[int], batches: int, settings: Settings
) -> dict[str, list[Interval]]:
    """Return W2 to the data after a few steps, by SDE, and the ratio corrected over plain, an interval a count.

    The batches start from the same points under the same noise; the plain SDE has as much noise on average.
    """
    found: dict[str, list[Interval]] = {"corrected": [], "plain": [], "ratio": []}
    for steps in counts:
        distance: dict[str, np.ndarray] = {}
        for kind in ("corrected", "plain"):
            sde, generator = ReverseSDE(data, kind, damping), settings.generator(3)
            x = sde.level(start).sample(batches * _BATCH, generator=generator)
            distance[kind] = _distances(data, ends(sde, x, graded_times(start, steps), generator))
            found[kind].append(mean_interval(distance[kind]))
        log_ratio = mean_interval(np.log(distance["corrected"] / distance["plain"]))
        found["ratio"].append(Interval(*(math.exp(value) for value in log_ratio)))
    return found


def distance_of_exact_samples(data: GaussianMixture, batches: int, settings: Settings) -> Interval:
    """Return W2 to the data of as many exact samples."""
    return mean_interval(_distances(data, data.sample(batches * _BATCH, generator=settings.generator(4))))


def _distances(data: GaussianMixture, x: torch.Tensor) -> np.ndarray:
    """Return W2 to the data of every batch of points (B, d)."""
    return np.array([sliced_wasserstein(batch, data) for batch in torch.split(x, _BATCH)])
