"""The time ``tau`` in which flows fall from noise to data: ``alpha = e^-tau``, ``sigma^2 = 1 - e^{-2 tau}``."""

from __future__ import annotations

import math

from toy import GaussianMixture

__all__ = ["graded_times", "level_at"]


def level_at(data: GaussianMixture, tau: float) -> GaussianMixture:
    """Return ``q_t`` at a time, for data at ``alpha = 1, sigma = 0``."""
    return data.diffuse(math.exp(-tau), math.sqrt(-math.expm1(-2 * tau)))


def graded_times(start: float, steps: int) -> list[float]:
    """Return ``steps + 1`` times from ``start`` to 0 whose steps shrink towards the data, where the score is steep.

    Half-way in the steps a quarter of ``start`` is left.
    """
    return [start * (1 - k / steps) ** 2 for k in range(steps + 1)]
