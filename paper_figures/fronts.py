r"""Pareto fronts of curves: the least cost at which a curve attains a gain, and one front over another.

A curve runs through points ``(g_j, c_j)``, a gain that should be high and a cost that should be low; between
neighbours it is a straight line. Its front is ``F(g) = min {c : the curve passes through (g', c) with g' >= g}``,
whatever way the curve turns. The ratio of two fronts is that of the areas below them.
"""

from __future__ import annotations

import numpy as np

__all__ = ["common_gains", "front", "front_ratio", "path"]

# Points of a straight piece, and gains at which fronts are compared: two digits of a ratio need a tenth of them.
_PIECE, _GAINS = 64, 128


def path(gain: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Return many points of the curve through points (k,) and (k,) in their order, shape (2, 64 (k - 1) + 1)."""
    place = np.linspace(0, len(gain) - 1, (len(gain) - 1) * _PIECE + 1)
    return np.stack([np.interp(place, np.arange(len(gain)), values) for values in (gain, cost)])


def front(gain: np.ndarray, cost: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Return ``F`` at gains ``at`` (m,) of the curve through points (k,) and (k,); above its highest gain, F of that.

    A resampled curve may end a little before the gains at which the curve itself is looked at.
    """
    g, c = path(gain, cost)
    reached = g >= np.minimum(at, g.max())[:, None]
    return np.asarray(np.where(reached, c, np.inf).min(1))


def common_gains(first: np.ndarray, second: np.ndarray, over: np.ndarray) -> np.ndarray:
    """Return equally spaced gains from the least of ``over`` to the highest that all three attain, if there are any.

    A curve has a front below its own least gain too: it attains more.
    """
    low, high = float(over.min()), min(float(g.max()) for g in (first, second, over))
    return np.linspace(low, high, _GAINS) if low < high else np.empty(0)


def front_ratio(first: np.ndarray, second: np.ndarray, at: np.ndarray) -> float:
    """Return the area below the front of the first curve over that of the second; below one the first is better.

    Args:
        first: gains and costs of the points of a curve, shape (2, k).
        second: of another.
        at: the gains over which the areas are taken, equally spaced.
    """
    return float(front(first[0], first[1], at).sum() / front(second[0], second[1], at).sum())
