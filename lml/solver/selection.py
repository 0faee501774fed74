r"""Choosing among solvers by errors on the same few trajectories, a few of which carry most of the error.

A candidate's score is ``sum_i err_i/sqrt(d_i)``, with ``d_i`` the median over candidates of the error of trajectory i:
half-way between the mean, which a few hard trajectories decide, and the mean of ratios, in which all count the same.
Candidates have ranks, simple ones low. Chosen is the simplest that is within the noise of the best: the 90 % interval
of the ratio of their scores, by a paired bootstrap over trajectories, reaches one. It must be better than all that are
simpler: one whose errors vary more is within the noise sooner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Candidate", "Interval", "bootstrap", "difficulties", "pick", "prefer", "scores"]

_RESAMPLES = 2000


class Candidate(NamedTuple):
    """A solver that could be chosen.

    Attributes:
        name: of it.
        rank: zero for a published method; the larger, the more was fitted.
        errors: on the trajectories, (B,); of a fitted one, each where it was held out.
    """

    name: str
    rank: int
    errors: Tensor


class Interval(NamedTuple):
    """A ratio with its 90 % interval."""

    ratio: float
    low: float
    high: float


def scores(candidates: Sequence[Candidate], difficulty: Tensor) -> Tensor:
    """Return the score of every candidate; ``difficulty`` is the median error of each trajectory, (B,)."""
    weights = difficulty.clamp_min(torch.finfo(torch.float64).tiny) ** -0.5
    return torch.stack([(each.errors * weights).mean() for each in candidates])


def difficulties(candidates: Sequence[Candidate]) -> Tensor:
    """Return the median error of each trajectory over the candidates, (B,)."""
    return torch.stack([each.errors for each in candidates]).median(0).values


def bootstrap(a: Tensor, b: Tensor) -> Interval:
    """Return ``mean(a)/mean(b)`` with its interval, resampling the trajectories of both together."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(a), (_RESAMPLES, len(a)), generator=generator)
    ratios = a[drawn].mean(1) / b[drawn].mean(1)
    low, high = torch.quantile(ratios, torch.tensor([0.05, 0.95], dtype=ratios.dtype)).tolist()
    return Interval(float(a.mean() / b.mean()), low, high)


def pick(candidates: Sequence[Candidate]) -> Candidate:
    """Return the simplest candidate within the noise of the best."""
    difficulty = difficulties(candidates)
    weights = difficulty.clamp_min(torch.finfo(torch.float64).tiny) ** -0.5
    found = scores(candidates, difficulty)
    best, simpler = candidates[int(found.argmin())], float("inf")
    for rank in sorted({each.rank for each in candidates}):
        of_rank = [i for i, each in enumerate(candidates) if each.rank == rank]
        i = min(of_rank, key=lambda i: float(found[i]))
        first, score = candidates[i], float(found[i])
        noise = first is best or bootstrap(first.errors * weights, best.errors * weights).low <= 1
        if noise and score < simpler:
            return first
        simpler = min(simpler, score)
    return best


def prefer(fitted: Candidate, other: Candidate, among: Sequence[Candidate]) -> Candidate:
    """Return a fit unless another candidate is surely better: the interval of the ratio of scores is above one.

    Args:
        fitted: with errors where it was held out.
        other: the candidate beside it.
        among: all of them, by which difficulties are told.
    """
    weights = difficulties(among).clamp_min(torch.finfo(torch.float64).tiny) ** -0.5
    return other if bootstrap(fitted.errors * weights, other.errors * weights).low > 1 else fitted
