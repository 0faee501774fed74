"""Intervals and tests for the claims that rest on samples."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from scipy import stats

from lml.arguments import check_number

__all__ = ["Interval", "mean_interval"]


class Interval(NamedTuple):
    """An estimate with a confidence interval."""

    value: float
    low: float
    high: float

    def inside(self, margin: float) -> bool:
        """Whether the interval lies within ``+- margin``.

        With an interval of level ``1 - 2 a`` this is the pair of one-sided tests (TOST) of size ``a`` that shows
        equality to zero up to the margin.
        """
        return -margin < self.low and self.high < margin


def mean_interval(samples: np.ndarray, level: float = 0.95, comparisons: int = 1) -> Interval:
    """Return the mean of independent samples (n,) with its Student t interval.

    Args:
        samples: independent and identically distributed, n >= 2.
        level: of confidence, for all comparisons together.
        comparisons: how many intervals are to hold at once; each gets its share of the error (Bonferroni).

    Raises:
        ValueError: for fewer than two samples, a level outside (0, 1), or no comparison.
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1 or len(samples) < 2:
        raise ValueError(f"samples must have shape (n,) with n >= 2, got {samples.shape}")
    check_number(level, "level", above=0, below=1)
    if comparisons < 1:
        raise ValueError(f"comparisons must be at least 1, got {comparisons}")
    tail = (1 - level) / comparisons / 2
    mean = float(np.mean(samples))
    half = float(stats.t.isf(tail, len(samples) - 1) * np.std(samples, ddof=1) / math.sqrt(len(samples)))
    return Interval(mean, mean - half, mean + half)
