"""Intervals and tests for the claims that rest on samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import stats

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
    """
    share = 1 - (1 - level) / comparisons
    result = stats.ttest_1samp(samples, 0.0).confidence_interval(share)
    return Interval(float(np.mean(samples)), float(result.low), float(result.high))
