r"""The discretised dynamics in one dimension, with no sampling: Euler-Maruyama's transition kernel on a grid.

``X' = X + h b(X) + sqrt(2 h D(X)) z`` has the transition density ``N(y; x + h b, 2 h D)``. On a uniform grid it becomes
a matrix whose rows are normalised (Nystrom's method with the trapezoidal rule, exponentially accurate once the
narrowest kernel spans a few cells). It knows the drift and the diffusion at points only: no stationary density, no
divergence form, no Fokker-Planck equation. So what it converges to as ``h -> 0`` is a second opinion on all of these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from theory_checks.numerics.dynamics import diffusion_matrix, drift, fields
from toy import ExactTarget

__all__ = ["Coefficients", "EulerChain", "EulerLimit", "euler_chain", "euler_grid", "euler_limit"]

# Cells that the standard deviation of the narrowest kernel spans: the rule's error is exp(-2 (pi c)^2), 4e-13 at 1.2.
_CELLS_PER_KERNEL = 1.2


@dataclass(frozen=True)
class EulerChain:
    """Euler-Maruyama with step ``h`` on a uniform grid.

    Attributes:
        h: the step.
        x: the grid, shape (n,).
        matrix: transition probabilities from row to column, shape (n, n), rows of sum one.
    """

    h: float
    x: np.ndarray
    matrix: np.ndarray

    @property
    def spacing(self) -> float:
        """Distance of neighbouring grid points."""
        return float(self.x[1] - self.x[0])

    def stationary(self) -> np.ndarray:
        """Return the stationary density on the grid, (n,): the left eigenvector of one, by direct elimination."""
        n = len(self.x)
        system = self.matrix.T - np.eye(n)
        system[-1] = self.spacing  # the equations have rank n - 1: the last becomes the normalisation
        rhs = np.zeros(n)
        rhs[-1] = 1.0
        return np.linalg.solve(system, rhs)

    def evolved(self, start: np.ndarray, doublings: int) -> np.ndarray:
        """Return the density, (n,), after each of 1, 2, 4 .. 2^doublings steps, shape (doublings + 1, n)."""
        power, densities = self.matrix, [start @ self.matrix]
        for _ in range(doublings):
            power = power @ power
            densities.append(start @ power)
        return np.stack(densities)


@dataclass(frozen=True)
class EulerLimit:
    """The limit of a density of the chain as ``h -> 0``, on the grid x (n,), and its error in total variation."""

    x: np.ndarray
    density: np.ndarray
    error: float

    @property
    def spacing(self) -> float:
        """Distance of neighbouring grid points."""
        return float(self.x[1] - self.x[0])


class Coefficients:
    """Drift and diffusion of one of the `theory_checks.numerics.dynamics` along the line.

    Args:
        q: a target in one dimension.
        damping: ``lambda``.
        dynamics: one of `theory_checks.numerics.dynamics.DYNAMICS`.
    """

    def __init__(self, q: ExactTarget, damping: float, dynamics: str) -> None:
        if q.dim != 1:
            raise ValueError(f"q must have one dimension, got {q.dim}")
        self._q, self._damping, self._dynamics = q, damping, dynamics

    def __call__(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ``b`` and ``D`` at points (n,)."""
        at = fields(self._q, torch.from_numpy(x)[:, None])
        b = drift(at, damping=self._damping, dynamics=self._dynamics)[:, 0].numpy()
        D = diffusion_matrix(at.s, damping=self._damping, dynamics=self._dynamics)[:, 0, 0].numpy()
        return b, D


def euler_grid(coefficients: Coefficients, h: float, low: float, high: float) -> np.ndarray:
    """Return a grid of ``[low, high]`` on which the chain of step ``h``, and of any larger step, is accurate."""
    _, D = coefficients(np.linspace(low, high, 513))
    n = int(np.ceil((high - low) * _CELLS_PER_KERNEL / np.sqrt(2 * h * D.min()))) + 1
    return np.linspace(low, high, n)


def euler_chain(coefficients: Coefficients, h: float, x: np.ndarray) -> EulerChain:
    """Return the Euler-Maruyama chain of step ``h`` on a uniform grid, each step conditioned on not leaving it."""
    b, D = coefficients(x)
    deviation = (x[None, :] - (x + h * b)[:, None]) ** 2 / (4 * h * D[:, None])
    matrix = np.exp(-np.minimum(deviation, 700.0))
    return EulerChain(h, x, matrix / matrix.sum(1, keepdims=True))


def euler_limit(
    coefficients: Coefficients, density: Callable[[EulerChain], np.ndarray], h: float, low: float, high: float
) -> EulerLimit:
    """Return the limit as ``h -> 0`` of a density of the chain, from the steps h, h/2 and h/4 on one grid.

    Euler-Maruyama's expectations, and its densities, have an expansion ``c_0 + c_1 h + c_2 h^2 + ...`` (Talay & Tubaro
    1990, Bally & Talay 1996). Two Richardson
    steps remove the first two terms. The error is what the last halving of h changes after the first of them, three
    times what the second then adds: a margin for terms beyond.
    """
    x = euler_grid(coefficients, h / 4, low, high)
    at = [density(euler_chain(coefficients, h / 2**k, x)) for k in range(3)]
    once = [2 * at[1] - at[0], 2 * at[2] - at[1]]
    twice = (4 * once[1] - once[0]) / 3
    return EulerLimit(x, twice, 0.5 * float(np.abs(once[1] - once[0]).sum()) * float(x[1] - x[0]))
