r"""A solver's path, fast: for choosing among many solvers, on few samples.

The same steps as `Solver.sample`, to rounding, without its care for the bits of a row: in ``y = x/alpha`` a step adds
``(sigma'/alpha' - sigma/alpha) u_i``, and ``u_i`` is a sum of noises with the weights ``1 + sum_j eta_ij`` for ``e_i``
and ``-eta_ij`` for ``e_j``.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lml.correction import LML
from lml.samplers import Level, NoiseModel
from lml.solver.solver import Solver
from lml.strength import DEFAULT_DAMPING

__all__ = ["advance", "combined", "end", "ratio"]


def ratio(level: Level) -> float:
    """Return ``sigma/alpha``."""
    return level.sigma / level.alpha


def combined(row: Sequence[float], noise: Tensor, history: Sequence[Tensor]) -> Tensor:
    """Return ``u = e + sum_j eta_j (e - e_j)`` for noises before ``e``, latest first."""
    u = (1 + sum(row)) * noise
    for eta, past in zip(row, history, strict=False):
        if eta:
            u = u - eta * past
    return u


def advance(y: Tensor, u: Tensor, now: Level, after: Level) -> Tensor:
    """Return ``y = x/alpha`` at the next level."""
    return y + (ratio(after) - ratio(now)) * u


def end(solver: Solver, model: NoiseModel, x: Tensor) -> Tensor:
    """Return the sample at the last level, shape (B, ...), of a solver without a share of the norm.

    Raises:
        ValueError: for a solver that restores a share of the norm.
    """
    if any(solver.restored):
        raise ValueError(f"restored must be 0, got {solver.restored}")
    lml = LML(damping=DEFAULT_DAMPING, mixing=solver.turn * DEFAULT_DAMPING) if solver.turn else None
    past: list[Tensor] = []
    y, raw = x / solver.levels[0].alpha, None
    for row, now, after in zip(solver.weights, solver.levels, solver.levels[1:], strict=False):
        e = model(now.alpha * y, now)
        v = e if lml is None or raw is None else lml.direction(e, [raw])
        y, raw = advance(y, combined(row, v, past), now, after), e
        past.insert(0, v)
    return solver.levels[-1].alpha * y
