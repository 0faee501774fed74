r"""One contract for all distances: a figure of samples, its interval and the floor that exact samples have.

**Estimand.** With ``D_n`` the distance of ``n`` samples, most distances are biased: ``E D_n`` exceeds the distance of
the distributions by a term of order ``1/n`` that depends on them little. It is the same bias that ``n`` exact samples
have, the *floor*; both are reported at equal ``n``, and nothing is subtracted.

**Interval.** It is one for ``E D_n``. A resample ``D*_n`` has that bias twice, since the empirical distribution has it
once already, so its percentiles would miss ``E D_n``. Only the spread of ``D*_n`` about its own mean is used::

    [D_n - (q_{1-a} - m), D_n - (q_a - m)],    m and q: mean and quantiles of D*_n

A distance that resampling would distort further, since a resample has fewer distinct samples, gives its resamples to
first order (the Frechet distances, W2, coverage): what the limit laws of their spread rest on. Far from the floor the
interval covers about as often as it says; at the floor, where the first order vanishes, it is up to twice too wide.
``tests/image_exps/test_distances_coverage.py`` measures it, and how percentiles fail. The interval is of the samples: a
reference set or noises that are fixed are the same for all that is compared.

Source: Efron & Tibshirani 1993, An Introduction to the Bootstrap, Sec. 10.2 (bias) and 13.4 (basic intervals); Chong &
Forsyth 2020 for the bias of a Frechet distance.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.reference import Reference
from lml.arguments import check_integer, check_number
from theory_checks.ledger.statistics import Interval

__all__ = [
    "Distance",
    "Estimate",
    "Statistic",
    "bootstrap",
    "centred_interval",
    "difference",
    "estimate",
    "resamples",
    "squared_distances",
]

#: A distance of prepared samples as a function of how often each is counted, weights (n,) in float64 of sum n.
Statistic = Callable[[Tensor], float]

# Sets of exact samples behind a floor, and the seed of the first.
_FLOOR_SETS = 20
_FLOOR_SEED = 0xF1005

# Sets that are drawn from a finite pool may take at most this share of it: of more, the spread is not known.
_POOL_SHARE = 0.75


class Estimate(NamedTuple):
    """A distance with its interval and its floor, all of ``count`` samples.

    Attributes:
        value: the distance of the samples.
        low, high: the interval of its expectation, by resampling the samples.
        floor: the mean distance of as many exact samples; NaN if it was not asked for or cannot be had.
        floor_low, floor_high: the central 95 % of these distances: the spread of one set, not of their mean.
        count: the number of samples n.
        remark: what a reader must know of this figure; empty if there is nothing.
    """

    value: float
    low: float
    high: float
    floor: float
    floor_low: float
    floor_high: float
    count: int  # type: ignore[assignment]  # of samples, in the place of tuple's method
    remark: str


class Distance(ABC):
    """A figure of samples (n, d), computed from what is prepared once and from how often each sample is counted.

    Attributes:
        name: by which it is found.
        higher_is_better: whether it grows with quality.
        least: the fewest samples that it is defined for.
        bounds: between which its expectation lies; an interval ends there.
        reference: what the samples are compared with.
    """

    name: str
    higher_is_better: bool = False
    least: int = 2
    bounds: tuple[float, float] = (-math.inf, math.inf)

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        self._floors: dict[tuple[int, int], np.ndarray] = {}

    @abstractmethod
    def _prepare(self, x: Tensor) -> Statistic:
        """Return the distance of samples (n, d), finite and in float64, as a function of their weights."""

    def __call__(self, samples: Tensor) -> float:
        """Return the distance of samples, shape (n, d) or (n, channels, height, width).

        Raises:
            ValueError: for fewer samples than ``least``, another dimension, or entries that are not finite.
        """
        return self.prepare(samples)(torch.ones(len(samples), dtype=torch.float64))

    def prepare(self, samples: Tensor) -> Statistic:
        """Check samples and return their distance as a function of weights; the errors are those of a call."""
        return self._prepare(self.check(samples))

    def check(self, samples: Tensor) -> Tensor:
        """Return samples as (n, d) in float64; the errors are those of a call."""
        d = self.reference.dim
        if not isinstance(samples, Tensor) or samples.ndim < 2 or math.prod(samples.shape[1:]) != d:
            got = tuple(samples.shape) if isinstance(samples, Tensor) else type(samples).__name__
            raise ValueError(f"samples must be a tensor of shape (n, {d}) for {self.reference.name}, got {got}")
        if len(samples) < self.least:
            raise ValueError(self._too_few(len(samples)))
        x = samples.detach().flatten(1).to(device="cpu", dtype=torch.float64)
        bad = (~torch.isfinite(x).all(1)).nonzero().flatten().tolist()
        if bad:
            shown = ", ".join(map(str, bad[:8])) + (f" and {len(bad) - 8} more" if len(bad) > 8 else "")
            raise ValueError(f"samples must be finite, {len(bad)} of {len(x)} are not: {shown}")
        return x

    def _too_few(self, count: int) -> str:
        """Return what is said of fewer samples than ``least``."""
        return f"samples must be at least {self.least} for {self.name}, got {count}"

    def remark(self, count: int) -> str:
        """Return what a reader must know of the distance of ``count`` samples; empty if there is nothing."""
        return ""

    def floor(self, count: int, sets: int = _FLOOR_SETS) -> np.ndarray:
        """Return the distances of sets of ``count`` exact samples, shape (sets,); kept for the next call.

        The seeds are fixed: the floor is a property of the distance, the reference and the count. Sets of ``n`` that
        are drawn from a pool of ``P`` samples, without replacement, overlap, which takes the share ``n/P`` of their
        variance away: the deviations from the mean are divided by ``(1 - n/P)^{1/2}``.

        Raises:
            ValueError: for a count that the distance refuses, or more than three quarters of the pool.

        Source: Cochran 1977, Sampling Techniques, Sec. 2.6 (finite population correction).
        """
        pool = self.pool_size(count)
        if pool is not None and count > _POOL_SHARE * pool:
            raise ValueError(f"count must be at most {_POOL_SHARE:.0%} of the {pool} held-out pictures, got {count}")
        if (count, sets) not in self._floors:
            seeds = range(_FLOOR_SEED, _FLOOR_SEED + sets)
            drawn = np.array([self._exact_distance(count, torch.Generator().manual_seed(seed)) for seed in seeds])
            shrunk = 1.0 if pool is None else math.sqrt(1 - count / pool)
            self._floors[count, sets] = drawn.mean() + (drawn - drawn.mean()) / shrunk
        return self._floors[count, sets]

    def pool_size(self, count: int) -> int | None:
        """Return how many exact samples there are for a floor of this count; ``None`` without a limit."""
        return self.reference.held_out

    def _exact_distance(self, count: int, generator: torch.Generator) -> float:
        """Return the distance of ``count`` exact samples."""
        return self(self.reference.draw(count, generator))


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return ``|a_i - b_j|^2``, shape (n, m), by one product: for centred rows, of which near pairs are few."""
    return (a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.mT).clamp_min(0)


def resamples(count: int, repeats: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield how often each of ``count`` samples is drawn, ``repeats`` times: weights (count,)."""
    check_integer(repeats, "repeats", least=2)
    for _ in range(repeats):
        rows = torch.randint(count, (count,), generator=generator)
        yield torch.bincount(rows, minlength=count).double()


def centred_interval(value: float, draws: np.ndarray, level: float) -> Interval:
    """Return the interval of the module's docstring."""
    check_number(level, "level", above=0, below=1)
    low, high = np.quantile(draws - draws.mean(), ((1 - level) / 2, (1 + level) / 2))
    return Interval(value, value - float(high), value - float(low))


def bootstrap(
    distance: Distance, sets: Sequence[Tensor], *, repeats: int, generator: torch.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the distances of sets of samples, shape (sets,), and of their resamples, shape (repeats, sets).

    The sets are paired: the same rows of each are drawn, as of samplers that start from the same noises.

    Raises:
        ValueError: for sets of different sizes, samples that the distance refuses, fewer than two repeats.
    """
    sizes = sorted({len(x) for x in sets})
    if len(sizes) != 1:
        raise ValueError(f"sets must have one size, their rows are paired, got sizes {sizes}")
    statistics = [distance.prepare(x) for x in sets]
    whole = torch.ones(sizes[0], dtype=torch.float64)
    values = np.array([f(whole) for f in statistics])
    draws = np.array([[f(w) for f in statistics] for w in resamples(sizes[0], repeats, generator)])
    return values, draws


def difference(
    distance: Distance, first: Tensor, second: Tensor, *, repeats: int, generator: torch.Generator, level: float = 0.95
) -> Interval:
    """Return the first distance minus the second with its interval; rows are paired, and the bias mostly cancels.

    Raises:
        ValueError: as `bootstrap`.
    """
    values, draws = bootstrap(distance, (first, second), repeats=repeats, generator=generator)
    return centred_interval(float(values[0] - values[1]), draws[:, 0] - draws[:, 1], level)


def estimate(
    distance: Distance,
    samples: Tensor,
    *,
    generator: torch.Generator,
    repeats: int = 200,
    floor: bool = True,
    level: float = 0.95,
) -> Estimate:
    """Return the distance of samples (n, d) with its interval, and the floor of as many exact samples beside it.

    Args:
        distance: kept between calls, it keeps its floor.
        samples: independent; shape (n, d).
        generator: of the resamples.
        repeats: number of resamples.
        floor: whether the floor is computed. Where it is asked for and cannot be had, it is NaN, and the remark says
            why: too few pictures are held out, or its computation failed.
        level: of the interval.

    Raises:
        ValueError: for samples that the distance refuses, fewer than two repeats, a level outside of (0, 1).
    """
    (value,), draws = bootstrap(distance, (samples,), repeats=repeats, generator=generator)
    low, high = np.clip(centred_interval(float(value), draws[:, 0], level)[1:], *distance.bounds).tolist()
    count = len(samples)
    remarks = [distance.remark(count)]
    middle = least = most = math.nan
    pool = distance.pool_size(count)
    if floor and pool is not None and count > _POOL_SHARE * pool:
        remarks.append(f"no floor: {count} of {pool} held-out real pictures are too many")
    elif floor:
        try:
            exact = distance.floor(count)
        except Exception as error:  # whatever it is: what the samples gave is not lost for it
            remarks.append(f"no floor: {error}")
        else:
            middle, (least, most) = float(exact.mean()), map(float, np.quantile(exact, (0.025, 0.975)))
    remark = "; ".join(filter(None, remarks))
    return Estimate(float(value), low, high, middle, least, most, count, remark)
