r"""An order of convergence from errors at several steps: a regression, over the range where refinement says it is one.

With errors ``e_k`` at steps ``h_k`` the local orders are ``p_k = log(|e_k|/|e_{k+1}|)/log(h_k/h_{k+1})``, medians over
samples: the few that start near the border of two basins converge later. Where ``e = h^p (c_0 + c_1 h + ..)`` holds,
``p_k = p + a h_k + ..``, so that each change of ``p_k`` is half of the one before. The range is the finest run of steps
in which the changes shrink so, and in which errors are well above the rounding of the run itself.

The value is the slope of ``log |e|`` against ``log h`` over that range. Its interval holds every estimate that the
range allows (the slope, the last local order, its limit ``2 p_n - p_{n-1}``) and the bootstrap over samples of the
slope, widened by what the last halving changed.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Order", "fit_order"]

# A change of the local order counts as shrinking if it is at most this share of the one before; one half is theory.
_SHRINKS = 0.8
# And if it is no larger than this: a range in which the order changes by more says nothing of its limit.
_MOST = 0.35
# Changes below this say nothing: basins at the border of which a few samples start move the median by as much.
_NOISE = 0.04
# Errors must exceed the run's rounding by this factor, so that its share of a local order is below 0.05.
_ABOVE = 30.0
_RESAMPLES = 200
# What a median over a few tens of samples, and timesteps that are rounded to a table, move an order by.
_RESOLUTION = 0.02


class Order(NamedTuple):
    """An observed order.

    Attributes:
        value: the slope over the range; NaN without an asymptotic range.
        low, high: its interval.
        first, last: the range, as indices of the steps; ``last`` is included.
        local: the local orders ``p_k``.
        reason: why there is no order, empty if there is one.
    """

    value: float
    low: float
    high: float
    first: int
    last: int
    local: tuple[float, ...]
    reason: str = ""

    @property
    def resolved(self) -> bool:
        """Whether the interval is narrow enough to tell neighbouring integers apart."""
        return not self.reason and self.high - self.low < 1

    def agrees(self, order: float) -> bool:
        """Whether this order lies in the interval."""
        return not self.reason and self.low <= order <= self.high

    @property
    def integer(self) -> int | None:
        """The one integer in the interval, if there is exactly one."""
        if not self.resolved:
            return None
        inside = list(range(math.ceil(self.low), math.floor(self.high) + 1))
        return inside[0] if len(inside) == 1 else None


def fit_order(errors: Sequence[Tensor], steps: Sequence[float], floor: float, seed: int = 0) -> Order:
    """Return the order of errors (B, d) at falling steps.

    Args:
        errors: at each step, at least four.
        steps: positive, falling.
        floor: size of what rounding does to an error.
        seed: of the resamples.

    Raises:
        ValueError: for fewer than four steps, or steps that do not fall.
    """
    if len(errors) < 4 or len(errors) != len(steps):
        raise ValueError(f"errors must be at least four, one a step, got {len(errors)} and {len(steps)}")
    if any(not a > b > 0 for a, b in itertools.pairwise(steps)):
        raise ValueError(f"steps must be positive and fall, got {list(steps)}")
    sizes = torch.stack([e.flatten(1).double().norm(dim=1) for e in errors])  # (K, B)
    logs, log_steps = sizes.clamp_min(1e-300).log().numpy(), np.log(np.asarray(steps))
    local = tuple(
        float(np.median((a - b) / (x - y)))
        for (a, b), (x, y) in zip(itertools.pairwise(logs), itertools.pairwise(log_steps), strict=True)
    )
    above = [k for k, row in enumerate(sizes) if float(row.median()) > _ABOVE * floor]
    last = max(above, default=-1)
    if last < 2:
        reason = "the errors are rounding from the first steps on" if last < 1 else "too few steps above rounding"
        return Order(math.nan, math.nan, math.nan, 0, max(last, 0), local, reason)
    first = _start(local, last)
    if last - first < 2:
        reason = f"no asymptotic range: local orders {', '.join(f'{p:.2f}' for p in local[:last])}"
        return Order(math.nan, math.nan, math.nan, first, last, local, reason)
    rows, x = logs[first : last + 1], log_steps[first : last + 1]
    value = _slope(rows, x)
    p = local[first:last]
    limit = 2 * p[-1] - p[-2]
    drift = abs(p[-1] - p[-2])
    generator = np.random.default_rng(seed)
    count = rows.shape[1]
    draws = [_slope(rows[:, generator.integers(0, count, count)], x) for _ in range(_RESAMPLES)]
    around = np.quantile(draws, (0.025, 0.975))
    low = min(value, p[-1], limit, around[0]) - drift - _RESOLUTION
    high = max(value, p[-1], limit, around[1]) + drift + _RESOLUTION
    return Order(value, float(low), float(high), first, last, local)


def _start(local: Sequence[float], last: int) -> int:
    """Return where the asymptotic range begins that ends with the step ``last``."""
    first = last - 1
    for k in range(last - 2, -1, -1):
        change = abs(local[k + 1] - local[k])
        finer = abs(local[k + 2] - local[k + 1]) if k + 2 < last else _SHRINKS * change
        shrinks = change <= _MOST and finer <= _SHRINKS * change
        if not shrinks and max(change, finer) > _NOISE:
            break
        first = k
    return first


def _slope(logs: np.ndarray, log_steps: np.ndarray) -> float:
    """Return the slope of the median over samples of ``log |e|``, each sample against its own mean."""
    centred = log_steps - log_steps.mean()
    slopes = centred @ (logs - logs.mean(0)) / (centred @ centred)
    return float(np.median(slopes))
