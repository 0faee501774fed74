r"""Certified minima: branch and bound in ball arithmetic, whose result is a proof and not a sample.

A ball (`flint.arb`) encloses every value that an expression takes as its inputs vary in theirs, roundings included. If
the enclosure over a box is positive, so is the expression at each of its points; if it is not, the box is halved.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flint import arb

__all__ = ["Box", "Certificate", "certified_minimum", "hull", "lower", "squared", "upper"]

#: The interval of each variable.
Box = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Certificate:
    """An enclosure of a function's minimum over a box.

    Attributes:
        low: the function is at least this everywhere in the box; certified.
        high: a value that the function does not exceed at some point of the box; certified.
        at: that point.
        boxes: how many boxes were enclosed.
        depth: how often the smallest of them was halved.
    """

    low: float
    high: float
    at: tuple[float, ...]
    boxes: int
    depth: int


def hull(low: float, high: float) -> arb:
    """Return a ball that contains the interval."""
    return arb(low).union(arb(high))


def lower(ball: arb) -> float:
    """Return a float that no number in the ball is below; ``-inf`` for a ball that is not finite."""
    return math.nextafter(float(ball.lower()), -math.inf) if ball.is_finite() else -math.inf


def upper(ball: arb) -> float:
    """Return a float that no number in the ball exceeds; ``inf`` for a ball that is not finite."""
    return math.nextafter(float(ball.upper()), math.inf) if ball.is_finite() else math.inf


def squared(ball: arb) -> arb:
    """Return the square by its ends, never below zero: a product would not know that both factors are one."""
    return (ball.abs_lower() ** 2).union(ball.abs_upper() ** 2)


def certified_minimum(
    bound: Callable[[Sequence[arb]], arb],
    value: Callable[[Sequence[arb]], arb],
    box: Box,
    *,
    tolerance: float,
    boxes: int,
) -> Certificate:
    """Enclose the minimum of a function over a box, always halving the box whose bound is the lowest.

    Args:
        bound: given a ball for each variable, a ball whose lower end bounds the function from below on all of them.
        value: encloses the function; it is used at single points, for the enclosure's upper end.
        box: an interval for each variable.
        tolerance: stop when the enclosure's width is below this times its upper end.
        boxes: stop after so many boxes.

    Raises:
        ValueError: if an interval of the box is empty.
    """
    if any(not low < high for low, high in box):
        raise ValueError(f"box must have intervals (low, high) with low < high, got {box}")
    sides = tuple(high - low for low, high in box)
    at: tuple[float, ...] = ()
    best, deepest, count = math.inf, 0, 0
    heap: list[tuple[float, int, int, Box]] = []
    parts: list[tuple[Box, int]] = [(box, 0)]
    while True:
        for part, depth in parts:
            count += 1
            deepest = max(deepest, depth)
            heapq.heappush(heap, (lower(bound([hull(*side) for side in part])), count, depth, part))
        low, _, depth, part = heap[0]
        centre = tuple(0.5 * (low + high) for low, high in part)
        here = upper(value([arb(c) for c in centre]))
        if here < best:
            best, at = here, centre
        if count >= boxes or best - low <= tolerance * abs(best):
            return Certificate(low, best, at, count, deepest)
        heapq.heappop(heap)
        axis = max(range(len(part)), key=lambda i: (part[i][1] - part[i][0]) / sides[i])
        parts = [
            ((*part[:axis], half, *part[axis + 1 :]), depth + 1)
            for half in ((part[axis][0], centre[axis]), (centre[axis], part[axis][1]))
        ]
