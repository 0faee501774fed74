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

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.frechet import frechet_statistic, normal_moments
from image_exps.judge.judged import SMOOTH, CannotRunError, Judged
from image_exps.judge.levels import Levels
from image_exps.judge.predictors import Budget, ExactPredictor, Limited
from image_exps.judge.right import exact_start, problem
from lml.samplers import Level
from toy import ExactTarget

__all__ = ["LAW_COUNTS", "InLaw", "judge_law"]

#: Numbers of steps, quick and full.
LAW_COUNTS = {"quick": (8, 32, 128), "full": (8, 16, 32, 64, 128, 256, 512)}

# Samples of a run, sets of exact samples beside it, and the error of the whole verdict.
_SAMPLES = {"quick": 4096, "full": 16384}
_SETS = 99
_ERROR = 0.01
_DIRECTIONS = 64


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


def _sliced(x: Tensor, y_sorted: Tensor, directions: Tensor) -> float:
    """Return the sliced Wasserstein-2 distance of two sets of one size."""
    return math.sqrt(float((torch.sort((x @ directions).T, 1).values - y_sorted).square().mean()))


def _end_of(run_end: Tensor, calls_last: Level, first: Level) -> Level:
    del run_end, first
    return calls_last


def judge_law(
    judged: Judged,
    counts: Sequence[int] = LAW_COUNTS["quick"],
    *,
    targets: Sequence[str],
    samples: int = _SAMPLES["quick"],
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
        progress: told the share that is done.

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
        end, last = _where(judged, n, run.calls[-1].level)
        exact = _exact_ends(target, end, last)
        big = exact(max(200_000, 8 * samples), generator)
        mean, root, trace = normal_moments(big.mean(0), torch.cov(big.T).reshape(target.dim, target.dim))
        one = torch.ones(samples, dtype=torch.float64)

        def moments(x: Tensor, m: Tensor = mean, r: Tensor = root, t: float = trace, w: Tensor = one) -> float:
            return frechet_statistic(x, m, r, t)(w)

        y = torch.sort((big[:samples] @ directions).T, 1).values
        x = run.end.double()
        frechet.append(moments(x))
        sliced.append(_sliced(x, y, directions))
        if k == len(counts) - 1:
            sets = [exact(samples, generator) for _ in range(_SETS)]
            limits = (
                _upper([moments(s) for s in sets], error),
                _upper([_sliced(s, y, directions) for s in sets], error),
            )
    return InLaw(name, tuple(counts), tuple(frechet), tuple(sliced), *limits, samples, end)


def _upper(values: Sequence[float], error: float) -> float:
    """Return what a right sampler exceeds with this probability: of the logarithms, which are nearly normal."""
    from scipy import stats

    logs = np.log(np.maximum(values, 1e-300))
    count = len(logs)
    # A new value of the same normal law, whose mean and spread are estimated from count of them.
    quantile = float(stats.t.isf(error, count - 1)) * math.sqrt(1 + 1 / count)
    return float(np.exp(logs.mean() + quantile * logs.std(ddof=1)))


def _where(judged: Judged, steps: int, last: Level) -> tuple[Level, Level]:
    """Return the level where it ends, and the last with noise, of a sampler that draws.

    A point of data cannot show it: the noise that is drawn is in the sample. The signal is what is left of the data
    of many runs; whether noise is left shows in how far two of them are apart.
    """
    from image_exps.judge.predictors import PointPredictor

    count = 4096
    rows = torch.tensor([1.0, 0.0], dtype=torch.float64)

    def start(level: Level) -> Tensor:
        noise = torch.randn((count, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(7))
        return level.alpha * rows + level.sigma * noise

    shape = torch.Size((count, 2))
    run = judged.run(Limited(PointPredictor(), shape, Budget(40 * steps + 400)), start, steps, grid=SMOOTH)
    signal = float(run.end[:, 0].double().mean())
    spread = float(run.end.double().std(0).mean())
    if spread < 1e-6 * abs(signal):
        return Level(signal, 0.0), last
    return _claimed_end(signal, spread, judged, steps), last


def _claimed_end(signal: float, spread: float, judged: Judged, steps: int) -> Level:
    if judged.free_levels:
        from image_exps.judge.functions import grid_levels

        claimed = grid_levels(steps, SMOOTH, "log-snr", final_zero=False)[-1]
        scale = 1.0 if judged.kind != "k-diffusion function" else 1 / claimed.alpha
        return Level(claimed.alpha * scale, claimed.sigma * scale)
    return Level(signal, spread)


def _exact_ends(target: ExactTarget, end: Level, last: Level) -> Callable[[int, torch.Generator], Tensor]:
    if end.sigma > 0:
        law = target.diffuse(end.alpha, end.sigma)
        return lambda count, generator: law.sample(count, generator=generator)
    before = target.diffuse(last.alpha, last.sigma)
    return lambda count, generator: end.alpha * before.posterior_mean(before.sample(count, generator=generator))
