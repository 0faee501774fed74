r"""How near an entry of the league comes, in few evaluations, at each spacing, on each target: means and resamples.

The distance of a sample is ``r_i = |x_i - x_i^*|/d^{1/2}`` to the end of the exact flow from its own noise. Every
entry has the same noises, and the same resamples of them, so that a ratio of two means has an interval by pairs.
Samplers that draw have no end of their own to be near to: of all entries the Frechet distance to the data is kept too.

All targets are run at once: their samples are rows of one batch, filled up with numbers of which the data are zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.frechet import Moments, frechet_statistic, normal_moments
from image_exps.distances.reference import reference_of
from image_exps.judge.good import CHOSEN_ON, Problem, comparison_level, problem_of
from image_exps.judge.judged import CannotRunError, Grid, Judged
from image_exps.judge.levels import Levels, own_levels
from image_exps.judge.predictors import Budget, ExactPredictor, Limited
from image_exps.problems.endpoints import rms
from lml.samplers import Level

__all__ = ["EVALUATIONS", "RESAMPLES", "TARGETS", "Cell", "measure_quality"]

#: Evaluations of the network.
EVALUATIONS = (5, 8, 10, 20, 30)

#: Targets with their numbers of samples: those that are reported, and those on which samplers are chosen.
TARGETS = {"ring-2d": 256, "random-16d": 256, "digits": 128, **dict.fromkeys(CHOSEN_ON, 256)}

#: Resamples of the noises, behind every interval.
RESAMPLES = 200

# Other noises than those of any tuning.
_SEED = 141
# What takes two evaluations a step, or three at its start, may spend so many fewer than it was given.
_FEWER = 2


class Cell(NamedTuple):
    """An entry at one spacing and one number of evaluations on one target.

    Attributes:
        spacing: of the levels.
        evaluations: that it was given.
        target: by name.
        spent: evaluations, at most those.
        mean: mean distance to the flow's end.
        frechet: Frechet distance to the data.
        means: of the resamples, shape (`RESAMPLES`,).
        frechets: of the resamples, shape (`RESAMPLES`,).
    """

    spacing: str
    evaluations: int
    target: str
    spent: int
    mean: float
    frechet: float
    means: np.ndarray
    frechets: np.ndarray


@lru_cache(maxsize=16)
def _resamples(target: str) -> np.ndarray:
    """Return how often each noise of a target is in each resample, shape (`RESAMPLES`, n)."""
    count = TARGETS[target]
    generator = np.random.default_rng([_SEED, sorted(TARGETS).index(target)])
    return generator.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)


@lru_cache(maxsize=16)
def _moments(target: str) -> Moments:
    return normal_moments(*reference_of(problem_of(target, TARGETS[target], _SEED).made).moments())


def _steps(judged: Judged, evaluations: int, grid: Grid) -> tuple[int, Levels]:
    """Return the steps that spend a number of evaluations, or a few less, and the levels of such a run.

    Raises:
        CannotRunError: if there are none, or as `Judged.run`.
    """
    reason = CannotRunError(f"it cannot spend {evaluations} evaluations")
    for steps in range(evaluations, 0, -1):
        try:
            levels = own_levels(judged, steps, grid)
        except CannotRunError as error:
            reason = error
            continue
        if len(levels.asked) <= evaluations:
            if len(levels.asked) >= evaluations - _FEWER:
                return steps, levels
            break
    raise reason


def measure_quality(
    judged: Judged, spacings: tuple[str, ...], progress: Callable[[float], None] = lambda share: None
) -> tuple[list[Cell], dict[str, str]]:
    """Return the cells of a sampler, and why there is none, by spacing and evaluations.

    Args:
        judged: what is measured.
        spacings: of its levels; "own" is its default.
        progress: told the share that is done.
    """
    cells, reasons = [], {}
    for i, spacing in enumerate(spacings):
        grid = Grid("model", None if spacing == "own" else spacing)
        for j, n in enumerate(EVALUATIONS):
            progress((i + j / len(EVALUATIONS)) / len(spacings))
            try:
                steps, levels = _steps(judged, n, grid)
                cells += _cells(judged, spacing, n, steps, levels, grid)
            except CannotRunError as error:
                reasons[f"{spacing} {n}"] = str(error)
    return cells, reasons


class _Together:
    """The exact predictions of several targets for the rows of one batch, (B, d) with the largest d."""

    def __init__(self, problems: list[Problem]) -> None:
        self._parts = []
        first = 0
        for each in problems:
            rows = slice(first, first + len(each.noise))
            self._parts.append((rows, each.made.dim, ExactPredictor(each.made.distribution)))
            first = rows.stop

    def data(self, x: Tensor, level: Level) -> Tensor:
        answer = torch.zeros_like(x)
        for rows, dim, predictor in self._parts:
            answer[rows, :dim] = predictor.data(x[rows, :dim], level)
        return answer

    def noise(self, x: Tensor, level: Level) -> Tensor:
        answer = x / level.sigma
        for rows, dim, predictor in self._parts:
            answer[rows, :dim] = predictor.noise(x[rows, :dim], level)
        return answer


@lru_cache(maxsize=1)
def _together() -> tuple[dict[str, Problem], _Together, Tensor]:
    """Return the problems by target, their predictor, and the noises, (B, d), zero where a target has fewer numbers."""
    problems = {name: problem_of(name, count, _SEED) for name, count in TARGETS.items()}
    width = max(each.made.dim for each in problems.values())
    noises = [torch.nn.functional.pad(each.noise, (0, width - each.made.dim)) for each in problems.values()]
    return problems, _Together(list(problems.values())), torch.cat(noises)


def _cells(judged: Judged, spacing: str, evaluations: int, steps: int, levels: Levels, grid: Grid) -> list[Cell]:
    problems, predictor, noise = _together()
    limited = Limited(predictor, noise.shape, Budget(40 * steps + 400))
    # As in a pipeline; what float32 rounds is far below what few evaluations leave.
    run = judged.run(limited, noise, steps, grid=grid, dtype=torch.float32)
    if not bool(torch.isfinite(run.end).all()):
        raise CannotRunError(f"its end is not finite in {steps} steps")
    level, spent = comparison_level(levels), len(run.calls)
    cells, first = [], 0
    for name, problem in problems.items():
        end = run.end[first : first + len(problem.noise), : problem.made.dim].double()
        first += len(problem.noise)
        r, counts = rms(end - problem.exact_at(level)), _resamples(name)
        value, influence = _frechet(end, _moments(name))
        # A resample of a distance that is nearly zero to first order may come out below.
        frechets = np.maximum(value + (counts - 1) @ influence, 0.1 * value)
        means = counts @ r.numpy() / len(r)
        cells.append(Cell(spacing, evaluations, name, spent, float(r.mean()), value, means, frechets))
    return cells


def _frechet(x: Tensor, moments: Moments) -> tuple[float, np.ndarray]:
    """Return a Frechet distance and the influence of each sample on it, shape (n,)."""
    statistic = frechet_statistic(x, moments)
    one = torch.ones(len(x), dtype=torch.float64)
    value = statistic(one)
    if not math.isfinite(value):
        raise CannotRunError("its Frechet distance is not finite")
    # The statistic is linear in the weights: unit vectors show its coefficients, one by one.
    basis = torch.eye(len(x), dtype=torch.float64)
    return value, np.array([statistic(one + row) - value for row in basis])
