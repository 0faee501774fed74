r"""Tuning the damping: the five-step search of the paper, and one that states its noise.

The paper (Supp. B.2): "In each iteration, we computed the performance of our model using the current value and then
updated the range based on the results. If the performance improved, we would continue the search in the direction of
the current; otherwise, we would search in the opposite direction. This process was repeated until we reached 5
iterations." The range, its halving and the first direction are not given. `paper_search` starts in the middle of
``log lambda``, upwards, and steps from the best value so far, each step half of the one before: the kindest reading.

Its steps are a quarter, an eighth, ... of the range: what lies more than 7/32 of the range below the middle is out of
reach, and a second valley is not seen. `scan_search` spends a part of its budget on a coarse grid, then narrows down
around the best by golden sections (Kiefer 1953). It needs room for that: in five evaluations it does no better. Both
use the same noises at every damping, and state the noise that is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from lml.arguments import check_choice, check_integer

if TYPE_CHECKING:
    from theory_checks.ledger.statistics import Interval

__all__ = [
    "ITERATIONS",
    "METHODS",
    "Method",
    "Trace",
    "Trial",
    "compare",
    "paper_search",
    "scan_search",
    "tune_damping",
]

Method = Literal["paper", "scan"]

#: The methods by name.
METHODS: tuple[str, ...] = get_args(Method)

#: Evaluations of the objective for each seed, by default.
ITERATIONS: dict[str, int] = {"paper": 5, "scan": 12}

#: ``objective(damping, seed)``, smaller is better: equal seeds stand for equal noises.
Objective = Callable[[float, int], float]

_GOLDEN = (math.sqrt(5) - 1) / 2


class Trial(NamedTuple):
    """An evaluation: the damping, the mean of the objective over the seeds, and its standard error (NaN for one)."""

    damping: float
    value: float
    error: float


class Trace(NamedTuple):
    """What a search found.

    Attributes:
        best: the damping with the least value among those that were tried.
        trials: all evaluations, in their order.
        noise: standard deviation over seeds of the difference between the best and the second best, over the square
            root of their number: below that, dampings cannot be distinguished. NaN for one seed.
    """

    best: float
    trials: tuple[Trial, ...]
    noise: float


class _Recorded:
    """An objective in ``log lambda`` that records its evaluations; a value that is not finite is the worst."""

    def __init__(self, objective: Objective, seeds: Sequence[int], notify: Callable[[Trial], None] | None) -> None:
        self._objective, self._seeds, self._notify = objective, seeds, notify
        self.asked: dict[float, np.ndarray] = {}

    def __call__(self, place: float) -> float:
        if place not in self.asked:
            values = np.array([self._objective(math.exp(place), seed) for seed in self._seeds], dtype=np.float64)
            self.asked[place] = np.where(np.isfinite(values), values, np.inf)
            if self._notify is not None:
                self._notify(self._trial(place))
        return float(self.asked[place].mean())

    def _trial(self, place: float) -> Trial:
        n, values = len(self._seeds), self.asked[place]
        spread = values.std(ddof=1) / math.sqrt(n) if n > 1 and np.isfinite(values).all() else math.nan
        return Trial(math.exp(place), float(values.mean()), float(spread))

    def trace(self) -> Trace:
        """Return all evaluations, and the best of them."""
        n = len(self._seeds)
        trials = [self._trial(place) for place in self.asked]
        order = sorted(self.asked, key=lambda place: (float(self.asked[place].mean()), place))
        if not np.isfinite(self.asked[order[0]]).all():
            raise ValueError(f"objective must be finite somewhere in bounds, it is not at any of {len(order)} dampings")
        noise = math.nan
        if n > 1 and len(order) > 1 and np.isfinite(self.asked[order[1]]).all():
            noise = float((self.asked[order[1]] - self.asked[order[0]]).std(ddof=1)) / math.sqrt(n)
        return Trace(math.exp(order[0]), tuple(trials), noise)


def paper_search(objective: Callable[[float], float], low: float, high: float, iterations: int = 5) -> None:
    """Search ``[low, high]`` as the paper says, in ``iterations`` evaluations.

    The first value is the middle. Each further one is a step away from the best: in the direction of the last step if
    that improved, else in the other. The first step is a quarter of the range, each further one half as long.

    Source: Supp. B.2 of the paper.
    """
    best, direction, step = (low + high) / 2, 1.0, (high - low) / 4
    least = objective(best)
    for _ in range(iterations - 1):
        place = best + direction * step
        value = objective(place)
        if value < least:
            best, least = place, value
        else:
            direction = -direction
        step /= 2


def scan_search(objective: Callable[[float], float], low: float, high: float, iterations: int = 12) -> None:
    """Search ``[low, high]`` in ``iterations`` evaluations: half of them a grid with both ends, then golden sections.

    The grid finds the valley, wherever one is wider than a step of it; the sections its bottom, by 0.62 each.

    Source: Kiefer 1953, Sequential minimax search for a maximum.
    """
    coarse = max(3, iterations // 2)
    grid = [low + (high - low) * i / (coarse - 1) for i in range(coarse)]
    values = [objective(place) for place in grid]
    best = int(np.argmin(values))
    a, b = grid[max(best - 1, 0)], grid[min(best + 1, coarse - 1)]
    left, right = b - _GOLDEN * (b - a), a + _GOLDEN * (b - a)
    f: dict[float, float] = {}
    for _ in range(iterations - coarse):
        new = next((place for place in (left, right) if place not in f), None)
        if new is not None:
            f[new] = objective(new)
        if left in f and right in f:
            if f[left] <= f[right]:
                b, right, left = right, left, right - _GOLDEN * (right - a)
            else:
                a, left, right = left, right, left + _GOLDEN * (b - left)


def tune_damping(
    objective: Objective,
    *,
    bounds: tuple[float, float] = (1e-5, 1.0),
    method: Method = "scan",
    iterations: int | None = None,
    seeds: Sequence[int] = (0,),
    notify: Callable[[Trial], None] | None = None,
) -> Trace:
    """Return the damping with the least objective, with every evaluation on the way.

    All dampings are evaluated at the same seeds, so that their noise cancels in comparisons; several seeds show how
    much is left.

    Args:
        objective: ``objective(damping, seed)``, smaller is better.
        bounds: of the damping, both positive; the search is in its logarithm.
        method: ``paper`` or ``scan``.
        iterations: evaluations of the objective for each seed; 5 for ``paper`` and 12 for ``scan`` by default.
        seeds: at which the objective is averaged.
        notify: called with every trial as it is done.

    Raises:
        ValueError: for an argument that does not fit, naming it; for an objective that is finite nowhere.
    """
    low, high = bounds
    if not 0 < low < high < math.inf:
        raise ValueError(f"bounds must be two rising positive numbers, got {bounds}")
    check_choice(method, "method", METHODS)
    if not seeds:
        raise ValueError("seeds must be at least one, got none")
    search, least = (paper_search, 1) if method == "paper" else (scan_search, 4)
    iterations = ITERATIONS[method] if iterations is None else iterations
    check_integer(iterations, f"iterations for {method}", least=least)
    recorded = _Recorded(objective, tuple(seeds), notify)
    search(recorded, math.log(low), math.log(high), iterations)
    return recorded.trace()


def compare(one: Sequence[float], other: Sequence[float]) -> Interval:
    """Return the mean of ``one - other`` over seeds that both have met, with Student's 95 % interval.

    Its ends are NaN for one seed, and where a difference is not finite.

    Raises:
        ValueError: for no seed, or another number of them.
    """
    if not one or len(one) != len(other):
        raise ValueError(f"one and other must have the same seeds, at least one, got {len(one)} and {len(other)}")
    from theory_checks.ledger.statistics import Interval, mean_interval

    differences = np.array(one, dtype=np.float64) - np.array(other, dtype=np.float64)
    if len(differences) == 1 or not np.isfinite(differences).all():
        return Interval(float(differences.mean()), math.nan, math.nan)
    return mean_interval(differences)
