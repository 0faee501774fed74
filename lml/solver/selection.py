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

__all__ = [
    "Candidate",
    "Decision",
    "Interval",
    "best_score",
    "bootstrap",
    "confirm",
    "decide",
    "difficulties",
    "halves",
    "pick",
    "prefer",
    "scores",
]

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


class Decision(NamedTuple):
    """What is chosen, and the published method beside it."""

    best: Candidate
    baseline: Candidate


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


def confirm(ours: Tensor, theirs: Tensor) -> Interval | None:
    """Return the ratio of mean errors on fresh noises, (B,) both; ``None`` where ours are no nearer in the mean."""
    nearer = bool(torch.isfinite(ours).all()) and float(ours.mean()) < float(theirs.nan_to_num(torch.inf).mean())
    return bootstrap(ours, theirs.nan_to_num(torch.inf)) if nearer else None


def best_score(candidates: Sequence[Candidate]) -> Candidate:
    """Return the candidate of the best score."""
    return candidates[int(scores(candidates, difficulties(candidates)).argmin())]


def halves(count: int) -> tuple[Tensor, Tensor]:
    """Return which of so many trajectories are held out first, and which second.

    Halves, not turns: neither then has all samples of one of two prompts.
    """
    first = torch.arange(count) < count // 2
    return first, ~first


def decide(arms: Sequence[Candidate], fitted: Candidate | None, refinement: float) -> Decision:
    """Return the fit unless another candidate is surely better, by the rule of `lml.solver.calibration`.

    Args:
        arms: published methods and LML, of ranks 0 and 1; at least one of rank 0.
        fitted: the fit, of rank 2, with errors where it was held out; ``None`` if it diverged.
        refinement: the error of the trajectories. Where the others are as near no fit could be told to be nearer.
    """
    best, baseline = pick(arms), pick([each for each in arms if not each.rank])
    if fitted is not None and float(best.errors.mean()) > refinement:
        best = prefer(fitted, best, [*arms, fitted])
    errors = best.errors
    if best.rank < 2:
        errors = _chosen_without([each for each in arms if each.rank == best.rank])
    if bootstrap(errors, baseline.errors).low > 1:
        best = baseline
    return Decision(best, baseline)


def _chosen_without(candidates: Sequence[Candidate]) -> Tensor:
    """Return the error on each trajectory of the candidate that is chosen without its half."""
    errors = torch.zeros_like(candidates[0].errors)
    by_name = {each.name: each.errors for each in candidates}
    for held in halves(len(errors)):
        chosen = pick([each._replace(errors=each.errors[~held]) for each in candidates])
        errors[held] = by_name[chosen.name][held]
    return errors
