r"""One step of a multistep solver from an exact history, in two ways that share nothing but the solver.

With ``l = log(alpha/sigma)`` the flow between two levels is

    data       ``x' = (sigma'/sigma) x + sigma' int_l^l' e^s x0(s) ds``,
    noise      ``x' = (alpha'/alpha) x - alpha' int_l^l' e^-s eps(s) ds``,

and a linear solver replaces the integral by a sum over its evaluations. Its order is one less than the order of what
one step adds: a first step of first order is taken once, and leaves ``h^2``.

- *Along a flow.* The network answers with what the exact flow predicts at the level, wherever the sample is. Then the
  history is exact, and with ``y`` the flow and ``a`` the linear factor a step adds ``(x' - a x) - (y' - a y)``.
  (Flow: DOP853 on an exact mixture.)
- *By its coefficients.* The weights of a step, read off with unit vectors, are applied to ``(l_j - l)^q``; what is
  missing from the integral, in closed form, is ``R_q(h)``. The order of the step is the least order of any ``R_q``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import toy
from image_exps.judge.judged import Grid, Judged
from image_exps.judge.tableau import Tableau, read_tableau
from lml.samplers import Level
from toy import ExactTarget

__all__ = ["Order", "StepOrder", "along_the_flow", "by_coefficients", "exact_integral", "limit_of", "read_steps"]

#: Levels equal in log-SNR where the flow of every target turns most.
GRID = Grid()

# Residuals below this share of a step's weight are rounding: a solver that is exact for a power has none.
_ROUNDING = 1e-11
_POWERS = 5


class Order(NamedTuple):
    """The limit of local orders ``p_n`` over halved steps, ``2 p_n - p_{n-1}``, and what the last halvings changed."""

    value: float
    error: float


def limit_of(errors: Sequence[float]) -> Order:
    """Return the order of errors over halved steps, at least four."""
    p = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    return Order(2 * p[-1] - p[-2], abs(p[-1] - p[-2]) + abs(p[-2] - p[-3]) / 2)


@dataclass(frozen=True)
class _Along:
    """A network that answers, in the form that a solver integrates, with the exact flow's prediction at each level.

    Attributes:
        target: the data.
        states: the flow, variance-preserving samples (B, d) by half-log-SNR.
        form: "data" or "noise"; the other one is what belongs to it at the sample that is given.
    """

    target: ExactTarget
    states: dict[float, Tensor]
    form: str

    def _exact(self, level: Level) -> Tensor:
        at, place = _preserving(level), min(self.states, key=lambda half: abs(half - level.half_log_snr))
        law = self.target.diffuse(at.alpha, at.sigma)
        return law.posterior_mean(self.states[place]) if self.form == "data" else law.noise(self.states[place])

    def data(self, x: Tensor, level: Level) -> Tensor:
        exact = self._exact(level)
        return exact if self.form == "data" else (x - level.sigma * exact) / level.alpha

    def noise(self, x: Tensor, level: Level) -> Tensor:
        exact = self._exact(level)
        return exact if self.form == "noise" else (x - level.alpha * exact) / level.sigma


@lru_cache(maxsize=16)
def _flow(target: str, levels: tuple[Level, ...], samples: int) -> tuple[Tensor, ...]:
    """Return the flow of a target by name from exact samples at the first level, at each level, (B, d)."""
    distribution = toy.target(target)
    first = distribution.diffuse(levels[0].alpha, levels[0].sigma)
    states = [first.sample(samples, generator=torch.Generator().manual_seed(3))]
    for before, after in itertools.pairwise(levels):
        states.append(toy.probability_flow(distribution, states[-1], before, after))
    return tuple(states)


def read_steps(
    judged: Judged, counts: Sequence[int], levels_of: Callable[[int], list[Level]] | None = None
) -> list[Tableau]:
    """Return the coefficients of a solver in several numbers of steps.

    Args:
        judged: a deterministic solver, linear in its evaluations, of one evaluation a step.
        counts: numbers of steps, from 16.
        levels_of: the levels of a count, for solvers that leave them to whoever calls them; equal log-SNR by default.
    """
    made = [read_tableau(judged, n, GRID, tuple(levels_of(n)) if levels_of else None) for n in counts]
    return [each for each in made if each is not None]


def along_the_flow(
    judged: Judged,
    tableaux: Sequence[Tableau],
    target: str,
    levels_of: Callable[[int], list[Level]] | None = None,
    samples: int = 8,
) -> list[float]:
    """Return what a step of the middle half adds, along exact flows: root mean squares, one a count.

    Args:
        judged: the solver of `read_steps`.
        tableaux: of it, for its levels and the form that it integrates.
        target: the data, by name in `toy.ZOO`.
        levels_of: as of `read_steps`.
        samples: flows.
    """
    distribution, errors = toy.target(target), []
    for tableau in tableaux:
        n = len(tableau.levels)
        asked = tuple(_preserving(level) for level in tableau.levels)
        states = _flow(target, asked, samples)
        by_level = dict(zip((level.half_log_snr for level in asked), states, strict=True))
        network = _Along(distribution, by_level, tableau.form)
        sizes = [math.hypot(level.alpha, level.sigma) for level in tableau.levels]
        start = partial(_scaled, states[0])
        run = judged.run(network, start, n, grid=GRID, levels=tuple(levels_of(n)) if levels_of else None)
        added = []
        for k in range(n // 4, 3 * n // 4):
            now, after = run.calls[k], run.calls[k + 1]
            factor = _linear(tableau.form, now.level, after.level)
            exact = states[k + 1] * sizes[k + 1] - factor * states[k] * sizes[k]
            added.append(after.x - factor * now.x - exact)
        errors.append(float(torch.cat(added).square().mean().sqrt()))
    return errors


def _scaled(x: Tensor, level: Level) -> Tensor:
    return x * math.hypot(level.alpha, level.sigma)


def _preserving(level: Level) -> Level:
    size = math.hypot(level.alpha, level.sigma)
    return Level(level.alpha / size, level.sigma / size)


def _linear(form: str, now: Level, after: Level) -> float:
    return after.sigma / now.sigma if form == "data" else after.alpha / now.alpha


def exact_integral(power: int, h: float, sign: int) -> float:
    r"""Return ``int_0^h e^(c s) s^q ds``, by its series ``sum_j c^j h^(q + j + 1)/(j! (q + j + 1))``, ``c = +-1``."""
    return math.fsum(sign**j * h ** (power + j + 1) / (math.factorial(j) * (power + j + 1)) for j in range(30))


class StepOrder(NamedTuple):
    """The order of a step by its coefficients: the least order of a residual ``R_q``, and the ``q`` that has it."""

    order: Order
    power: int


def _residuals(tableau: Tableau) -> np.ndarray:
    """Return ``R_q``, q = 0 .. 4, of the step in the middle, relative to its own size; zero where it is rounding."""
    k = len(tableau.levels) // 2
    now, after = tableau.levels[k], tableau.levels[k + 1]
    h = after.half_log_snr - now.half_log_snr
    away = np.array([level.half_log_snr - now.half_log_snr for level in tableau.levels])
    data = tableau.form == "data"
    # e^(+-l_k) times what scales the integral.
    scale = after.sigma * now.alpha / now.sigma if data else -after.alpha * now.sigma / now.alpha
    found = []
    for q in range(_POWERS):
        made = float(tableau.weights[k] @ away**q)
        residual = made - scale * exact_integral(q, h, 1 if data else -1)
        found.append(residual if abs(residual) > _ROUNDING * np.abs(tableau.weights[k]).sum() else 0.0)
    return np.abs(found)


def by_coefficients(tableaux: Sequence[Tableau]) -> StepOrder:
    """Return the order of a step from its coefficients in halved steps, `read_steps`."""
    table = np.array([_residuals(each) for each in tableaux])
    orders = {q: limit_of(list(table[:, q])) for q in range(_POWERS) if (table[:, q] > 0).all()}
    least = min(orders, key=lambda q: orders[q].value)
    return StepOrder(orders[least], least)
