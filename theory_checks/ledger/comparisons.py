"""Paired comparisons in families: one-sided tests by two methods, Holm's correction, and the power that a size has."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from theory_checks.ledger.statistics import Interval, mean_interval

__all__ = ["LEVEL", "Comparison", "compare", "holm", "largest_p", "power", "share", "sign_test"]

#: Error of a family of tests, and of each side of a set of intervals.
LEVEL = 0.05

_FLIPS = 4999


class Comparison(NamedTuple):
    """A one-sided test that the mean of independent differences is positive.

    Attributes:
        mean: of the differences.
        error: its standard error.
        student: p-value of Student's t.
        flips: p-value of the sign-flip test, which needs no normal mean: under the null hypothesis that a difference
            is as likely as its opposite, the mean is one of those with random signs. Never below 1/5000.
    """

    mean: float
    error: float
    student: float
    flips: float


def compare(differences: np.ndarray, generator: np.random.Generator) -> Comparison:
    """Test that the mean of ``differences`` (n,) is positive.

    Raises:
        ValueError: for fewer than two differences, or such that are not finite.

    Source: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, Sec. 3.2 (sign flips).
    """
    x = np.asarray(differences, dtype=np.float64)
    if x.ndim != 1 or len(x) < 2 or not np.isfinite(x).all():
        raise ValueError(f"differences must be finite, shape (n,) with n >= 2, got shape {x.shape}")
    mean, error = float(x.mean()), float(x.std(ddof=1) / math.sqrt(len(x)))
    t = mean / error if error else math.copysign(math.inf, mean) if mean else 0.0
    flips = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", alternative="greater", n_resamples=_FLIPS, vectorized=True,
        random_state=generator,
    )  # fmt: skip
    return Comparison(mean, error, float(stats.t.sf(t, len(x) - 1)), float(flips.pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that rejecting those below ``a`` errs with probability at most ``a`` in all.

    Source: Holm 1979: the k-th smallest of m times ``m - k + 1``, made monotone.
    """
    adjusted, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        adjusted[i] = largest
    return adjusted


def power(effect: float, error: float, level: float) -> float:
    """Return the probability that a one-sided test of this level finds a mean of ``effect``, for a normal mean."""
    if error == 0:
        return float(effect > 0)
    return float(stats.norm.sf(stats.norm.isf(level) - effect / error))


def sign_test(differences: np.ndarray) -> float:
    """Return the one-sided p-value that more than half of the differences are positive; ties count against.

    Source: Conover 1999, Practical Nonparametric Statistics, Sec. 3.4.
    """
    wins = int((np.asarray(differences) > 0).sum())
    return float(stats.binomtest(wins, len(differences), 0.5, alternative="greater").pvalue)


def largest_p(tests: Sequence[Comparison]) -> tuple[float, float]:
    """Return the largest p-value that Holm's correction leaves, by Student's t and by sign flips."""
    return max(holm([t.student for t in tests])), max(holm([t.flips for t in tests]))


def share(differences: np.ndarray, of: float, comparisons: int) -> Interval:
    """Return the mean difference over ``of``; its ends are one-sided bounds of 95 % for all comparisons at once."""
    return Interval(*(x / of for x in mean_interval(differences, level=1 - 2 * LEVEL, comparisons=comparisons)))
