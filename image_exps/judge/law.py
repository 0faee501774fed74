r"""Samplers that draw: do their samples have the law of the exact flow's, as the steps shrink?

A path is nobody's; what can be right is the law. A run from exact samples of the first level is compared, at more and
more steps, with exact samples of the level where it ends: mean and covariance in the Frechet distance, whole law in the
sliced Wasserstein distance. As many exact samples, set after set, have a distance too: the spread of theirs is what a
right sampler is held against, at an error of one percent for both distances and all targets together.

A last step into ``sigma = 0`` has, of exact samples at the last level, the data prediction: that is its reference.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import Tensor

import toy
from image_exps.distances.frechet import frechet_statistic, sample_moments
from image_exps.judge.judged import SMOOTH, SMOOTH_LOG_SNR, CannotRunError, Judged
from image_exps.judge.predictors import Budget, ExactPredictor, Limited, PointPredictor
from image_exps.judge.right import exact_start, problem
from image_exps.problems.targets import SCHEDULE
from lml.samplers import Level
from toy import ExactTarget

__all__ = ["LAW_COUNTS", "SAMPLES", "InLaw", "judge_law", "law_answer"]

#: Numbers of steps, quick and full.
LAW_COUNTS = {"quick": (8, 32, 128), "full": (8, 16, 32, 64, 128, 256, 512)}

#: Samples of a run, quick and full.
SAMPLES = {"quick": 4096, "full": 16384}

# Sets of exact samples beside it, and the error of the whole verdict.
_SETS = 99
_ERROR = 0.01
_DIRECTIONS = 64
# Points whose ends show where a sampler ends, and within how much: some five standard errors of their spread.
_POINTS = 4096
_NEAR = 0.05
# Exact samples that stand for the law itself.
_LAW = 200_000


@dataclass(frozen=True)
class InLaw:
    """A sampler that draws, on one target in more and more steps.

    Attributes:
        target: by name.
        counts: of steps.
        frechet: squared distance of means and covariances, one a count.
        sliced: sliced Wasserstein-2 distance, one a count.
        frechet_limit, sliced_limit: the largest of as many exact samples, at the error of the verdict.
        samples: of a run.
        end: where it ends.
    """

    target: str
    counts: tuple[int, ...]
    frechet: tuple[float, ...]
    sliced: tuple[float, ...]
    frechet_limit: float
    sliced_limit: float
    samples: int
    end: Level

    @property
    def consistent(self) -> bool | None:
        """Whether the finest run cannot be told from exact samples; ``None`` where it can and is still falling."""
        if self.frechet[-1] <= self.frechet_limit and self.sliced[-1] <= self.sliced_limit:
            return True
        over = max(self.frechet[-1] / self.frechet_limit, self.sliced[-1] / self.sliced_limit)
        before = max(self.frechet[-2] / self.frechet_limit, self.sliced[-2] / self.sliced_limit)
        return None if over < 0.5 * before else False


def law_answer(law: Sequence[InLaw]) -> dict[str, Any]:
    """Return what the judge keeps of a sampler that draws, on all targets."""
    verdicts = [each.consistent for each in law]
    whole = False if False in verdicts else None if None in verdicts else True
    return {"draws": True, "consistent": whole, "law": law, "symptoms": ()}


def _sliced(x: Tensor, y_sorted: Tensor, directions: Tensor) -> float:
    """Return the sliced Wasserstein-2 distance of two sets of one size."""
    return math.sqrt(float((torch.sort((x @ directions).T, 1).values - y_sorted).square().mean()))


def judge_law(
    judged: Judged,
    counts: Sequence[int] = LAW_COUNTS["quick"],
    *,
    targets: Sequence[str],
    samples: int = SAMPLES["quick"],
    seed: int = 0,
    seconds: float = math.inf,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[InLaw, ...]:
    """Return how the law of a sampler's ends compares with the exact one, on each target.

    Args:
        judged: what is judged.
        counts: numbers of steps, rising, at least two.
        targets: names in `toy.ZOO`.
        samples: of each run.
        seed: of samples and of what the sampler draws.
        seconds: after which it is stopped.
        progress: called with the share that is done.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    deadline = time.monotonic() + seconds
    made = []
    for i, name in enumerate(targets):

        def part(share: float, done: int = i) -> None:
            progress((done + share) / len(targets))

        made.append(_on(judged, name, counts, samples, seed, deadline, part, _ERROR / (2 * len(targets))))
    return tuple(made)


def _on(
    judged: Judged,
    name: str,
    counts: Sequence[int],
    samples: int,
    seed: int,
    deadline: float,
    progress: Callable[[float], None],
    error: float,
) -> InLaw:
    target = problem(name)
    shape = torch.Size((samples, target.dim))
    generator = torch.Generator().manual_seed(seed + 1)
    directions = torch.randn((target.dim, _DIRECTIONS), dtype=torch.float64, generator=generator)
    directions = directions / directions.norm(dim=0)
    frechet, sliced = [], []
    limits, end = (0.0, 0.0), Level(1.0, 0.0)
    for k, n in enumerate(counts):
        progress(k / len(counts))
        start = exact_start(target, samples, seed + 100 * k)
        predictor = Limited(ExactPredictor(target), shape, Budget(40 * n + 400, deadline))
        run = judged.run(predictor, start, n, grid=SMOOTH, seed=seed + k)
        if not bool(torch.isfinite(run.end).all()):
            raise CannotRunError(f"its end is not finite in {n} steps")
        last = max((call.level for call in run.calls), key=lambda level: level.half_log_snr)
        end = _end(judged, n, last)
        exact = _exact_ends(target, end, last)
        big = exact(max(_LAW, 8 * samples), generator)
        law, one = sample_moments(big), torch.ones(samples, dtype=torch.float64)
        y = torch.sort((big[:samples] @ directions).T, 1).values
        x = run.end.double()
        frechet.append(frechet_statistic(x, law)(one))
        sliced.append(_sliced(x, y, directions))
        if k == len(counts) - 1:
            sets = [exact(samples, generator) for _ in range(_SETS)]
            limits = (
                _upper([frechet_statistic(s, law)(one) for s in sets], error),
                _upper([_sliced(s, y, directions) for s in sets], error),
            )
    return InLaw(name, tuple(counts), tuple(frechet), tuple(sliced), *limits, samples, end)


def _upper(values: Sequence[float], error: float) -> float:
    """Return what a right sampler exceeds with this probability: of logarithms, which are nearly normal.

    The limit is one for a new value of a normal law whose mean and spread are estimated from these.
    """
    logs = np.log(np.maximum(values, 1e-300))
    count = len(logs)
    quantile = float(stats.t.isf(error, count - 1)) * math.sqrt(1 + 1 / count)
    return float(np.exp(logs.mean() + quantile * logs.std(ddof=1)))


def _end(judged: Judged, steps: int, last: Level) -> Level:
    """Return the level where a sampler that draws ends on the levels of orders.

    What it adds to a point of data is noise, and the spread of many ends is how much: enough to tell which of the
    levels that there are is meant: no noise, that of the last evaluation, or the last of the range.
    """
    shape = torch.Size((_POINTS, 2))
    generator = torch.Generator().manual_seed(7)
    noise = torch.randn(shape, dtype=torch.float64, generator=generator)

    def start(level: Level) -> Tensor:
        return level.alpha * noise.new_tensor([1.0, 0.0]) + level.sigma * noise

    predictor = Limited(PointPredictor(), shape, Budget(40 * steps + 400))
    end = judged.run(predictor, start, steps, grid=SMOOTH).end.double()
    signal, spread = float(end[:, 0].mean()), float(end.std(0).mean())
    final = toy.noise_levels(SCHEDULE, 1, log_snr=SMOOTH_LOG_SNR)[-1]
    if judged.free_levels:
        scale = 1.0 if abs(signal - final.alpha) < abs(signal - 1) else 1 / final.alpha
        return Level(scale * final.alpha, scale * final.sigma)
    known = [Level(1.0, 0.0), last, final, Level(1.0, final.sigma / final.alpha), Level(1.0, last.sigma / last.alpha)]
    nearest = min(known, key=lambda level: math.hypot(level.alpha - signal, level.sigma - spread))
    if math.hypot(nearest.alpha - signal, nearest.sigma - spread) > _NEAR:
        return Level(signal, spread)
    return nearest


def _exact_ends(target: ExactTarget, end: Level, last: Level) -> Callable[[int, torch.Generator], Tensor]:
    if end.sigma > 0:
        law = target.diffuse(end.alpha, end.sigma)
        return lambda count, generator: law.sample(count, generator=generator)
    before = target.diffuse(last.alpha, last.sigma)
    return lambda count, generator: end.alpha * before.posterior_mean(before.sample(count, generator=generator))
