r"""Levels and rows fitted to where trajectories end, by the Gauss-Newton method.

The parameters ``theta`` are the levels inside, ``lambda_1 .. lambda_{n-1}``, and offsets ``xi_ij``, j < 3, from the
rows of a published method *on these levels*: at ``xi = 0`` a solver is that method, on whatever levels. With ``r_b`` how
far sample b ends from the end of the flow, and samples of K networks,

    minimise    (mean_k E_k^p)^(1/p),    E_k = sum_b w_b |r_b| / (scale_k sum_b w_b)

(p = 1: the mean; larger, the worst).

The distances are reweighted, ``|r| ~ |r|^2/|r_before|``, and a step solves

    (J^T W J + R + mu D) d = -(J^T W r + R (theta - theta_0)),    D = diag J^T W J,    R = ridge L D_0/L_0

with ``D_0`` and ``L_0 = sum W |r|^2`` where the fit began and L as it is now: a ridge is relative, and draws towards the
method that was begun with. ``mu`` rises until the loss falls. Ridges are taken in turn, each from where the one before
ended. J is by differences: no gradient of the network is needed, and a parameter of step i costs the steps after i.

Sources: Levenberg 1944, Marquardt 1963; Daubechies et al. 2010 for the reweighting.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lml.samplers import Level, NoiseModel
from lml.solver.methods import published_rows
from lml.solver.path import advance, combined, ratio
from lml.solver.schedule import Schedule
from lml.solver.solver import FITTED, Solver

__all__ = ["ITERATIONS", "LAG", "RIDGES", "Fit", "Problem", "fit", "fit_cost"]

#: Earlier noises that get a weight of their own.
LAG = 3

#: The path of ridges, and steps at each.
RIDGES = (0.1, 0.01, 0.001)
ITERATIONS = 2

# Differences: of a weight, and of a level in the smaller of its two gaps.
_WEIGHT, _SHARE = 0.02, 0.02
# No step moves a weight by more, nor a level by more of its gap.
_MOST_WEIGHT, _MOST_SHARE = 1.5, 0.45
# Distances below this share of the median count as that.
_LEAST = 0.1
_TRIES = 4


class Problem(NamedTuple):
    """Trajectories of a network to fit to.

    Attributes:
        model: the noise prediction.
        x: samples at the first level, (B, ...).
        ends: where the flow takes them at the last level, (B, ...).
        weights: ``w``, of the samples in the loss, (B,), zero for those that are held out.
        scale: of the distances.
    """

    model: NoiseModel
    x: Tensor
    ends: Tensor
    weights: Tensor
    scale: float = 1.0


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    Attributes:
        base: the method from whose rows the offsets are.
        ridge: with which it was found.
        half_log_snr: the levels, n + 1.
        offsets: ``xi``, a row a step; row i has min(i, 3) numbers, that of ``e_{i-1}`` first.
        errors: of every sample of each problem, also of those that it was not fitted to: root mean squares.
        loss: what was minimised, without the ridge.
    """

    base: str
    ridge: float
    half_log_snr: tuple[float, ...]
    offsets: tuple[tuple[float, ...], ...]
    errors: tuple[Tensor, ...]
    loss: float

    def solver(self, schedule: Schedule) -> Solver:
        """Return the solver on the levels of a schedule; of one of integer timesteps, the nearest."""
        levels = schedule.at_half_log_snr(self.half_log_snr)
        return Solver(FITTED, levels, _rows(self.base, levels, self.offsets), (0.0,) * len(self.offsets))


class _Parameters(NamedTuple):
    half_log_snr: tuple[float, ...]
    offsets: tuple[tuple[float, ...], ...]

    def moved(self, names: Sequence[tuple[int, ...]], by: Sequence[float]) -> _Parameters:
        lam, xi = list(self.half_log_snr), [list(row) for row in self.offsets]
        for name, value in zip(names, by, strict=True):
            if len(name) == 1:
                lam[name[0]] += value
            else:
                xi[name[0]][name[1]] += value
        return _Parameters(tuple(lam), tuple(map(tuple, xi)))

    def values(self, names: Sequence[tuple[int, ...]]) -> list[float]:
        return [self.half_log_snr[name[0]] if len(name) == 1 else self.offsets[name[0]][name[1]] for name in names]

    def gap(self, k: int) -> float:
        """The smaller gap beside level k."""
        lam = self.half_log_snr
        return min(lam[k + 1] - lam[k], lam[k] - lam[k - 1])


class _Walk(NamedTuple):
    """A path: states ``x/alpha`` at the levels, noises, and the residuals at the end, (B, d) and (B,)."""

    states: list[Tensor]
    noises: list[Tensor]
    r: Tensor
    errors: Tensor


def fit(
    problems: Sequence[Problem],
    base: str,
    schedule: Schedule,
    half_log_snr: Sequence[float],
    *,
    offsets: Sequence[Sequence[float]] | None = None,
    ridges: Sequence[float] = RIDGES,
    iterations: int = ITERATIONS,
    levels: bool = True,
    rows: bool = True,
    power: float = 1.0,
) -> list[Fit]:
    """Return a fit for every ridge.

    Args:
        problems: what is fitted to.
        base: a method of `lml.solver.methods.METHODS`.
        schedule: the noise levels; the network is asked anywhere between two entries.
        half_log_snr: levels from which it begins, n + 1; the first and last stay.
        offsets: from which it begins, and to which a ridge draws; none if left out.
        ridges: falling.
        iterations: steps at each ridge.
        levels: whether levels are moved.
        rows: whether weights are.
        power: ``p``.
    """
    made = _Fitting(problems, base, _continuous(schedule), len(half_log_snr) - 1, levels, rows, power)
    xi = _none(len(half_log_snr) - 1) if offsets is None else tuple(map(tuple, offsets))
    return made.path(_Parameters(tuple(half_log_snr), xi), ridges, iterations)


def fit_cost(evaluations: int, ridges: int = len(RIDGES), iterations: int = ITERATIONS) -> int:
    """Return about how many evaluations of one sample a fit of levels and rows takes; steps seldom need a second try."""
    n = evaluations
    of_levels = sum(n - k for k in range(1, n))
    of_rows = sum(min(i, LAG) * (n - 1 - i) for i in range(1, n))
    return n + ridges * iterations * (of_levels + of_rows + n)


def _none(steps: int) -> tuple[tuple[float, ...], ...]:
    return tuple((0.0,) * min(i, LAG) for i in range(steps))


def _continuous(schedule: Schedule) -> Schedule:
    return Schedule(schedule.kind, schedule.times, schedule.half_log_snr)


def _rows(base: str, levels: Sequence[Level], offsets: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    rows = []
    for row, xi in zip(published_rows(base, levels), offsets, strict=True):
        rows.append(tuple(eta + (xi[j] if j < len(xi) else 0.0) for j, eta in enumerate(row)))
    return tuple(rows)


class _Fitting:
    """A fit under way."""

    def __init__(
        self, problems: Sequence[Problem], base: str, schedule: Schedule, n: int, levels: bool, rows: bool, power: float
    ) -> None:
        self.problems, self.base, self.schedule, self.power = problems, base, schedule, power
        #: A level by its place, a weight by its step and lag.
        self.names: list[tuple[int, ...]] = [(k,) for k in range(1, n)] if levels else []
        if rows:
            self.names += [(i, j) for i in range(1, n) for j in range(min(i, LAG))]

    def path(self, at: _Parameters, ridges: Sequence[float], iterations: int) -> list[Fit]:
        begun, D0 = at, torch.empty(0)
        walks = self._walks(at)
        found = []
        for ridge in ridges:
            for _ in range(iterations if self.names else 0):
                A, g, L = self._normal(at, walks)
                D = A.diagonal().clamp_min(torch.finfo(torch.float64).tiny)
                if not len(D0):
                    D0 = D / L
                taken = self._step(at, begun, walks, A, g, ridge * L * D0, D)
                if taken is None:
                    break
                at, walks = taken
            errors = tuple(walk.errors for walk in walks)
            found.append(Fit(self.base, ridge, at.half_log_snr, at.offsets, errors, self._loss(walks)))
        return found

    def _step(
        self, at: _Parameters, begun: _Parameters, walks: list[_Walk], A: Tensor, g: Tensor, R: Tensor, D: Tensor
    ) -> tuple[_Parameters, list[_Walk]] | None:
        """Return where a step leads if the loss falls there; damping is added until it does."""
        apart = torch.tensor(at.values(self.names), dtype=torch.float64) - torch.tensor(begun.values(self.names))
        mu = 0.0
        for _ in range(_TRIES):
            d = torch.linalg.solve(A + torch.diag(R + mu * D), -(g + R * apart)).tolist()
            if not all(map(math.isfinite, d)):
                return None
            most = [_MOST_SHARE * at.gap(name[0]) if len(name) == 1 else _MOST_WEIGHT for name in self.names]
            share = min(1.0, *(m / abs(v) for m, v in zip(most, d, strict=True) if v))
            there = at.moved(self.names, [share * v for v in d])
            made = self._walks(there)
            if self._loss(made) < self._loss(walks):
                return there, made
            mu = max(4 * mu, 0.1)
        return None

    def _normal(self, at: _Parameters, walks: list[_Walk]) -> tuple[Tensor, Tensor, float]:
        """Return ``J^T W J``, ``J^T W r`` and ``sum W |r|^2`` over all problems."""
        count = len(self.names)
        A, g, L = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64), 0.0
        for problem, walk in zip(self.problems, walks, strict=True):
            seen = problem.weights > 0
            least = _LEAST * walk.errors[seen].median() if bool(seen.any()) else torch.tensor(1.0)
            share = self._mean(problem, walk) ** (self.power - 1) / problem.scale
            W = (
                share
                * problem.weights
                / problem.weights.sum()
                / walk.errors.clamp_min(least.clamp_min(torch.finfo(torch.float64).tiny))
            )
            columns = self._jacobian(problem, at, walk)
            for b, w in enumerate(W.tolist()):
                if not w:
                    continue
                J = torch.stack([column[b] for column in columns], 1).double()
                A += w * (J.mT @ J)
                g += w * (J.mT @ walk.r[b].double())
            L += float((W * walk.errors.square()).sum())
        return A, g, L

    def _jacobian(self, problem: Problem, at: _Parameters, walk: _Walk) -> list[Tensor]:
        """Return the columns of ``J = dr/dtheta``, (B, d) each."""
        columns = []
        for name in self.names:
            h = _SHARE * at.gap(name[0]) if len(name) == 1 else _WEIGHT
            # A level is the end of the step before it; noises at the levels before it stand.
            begin = name[0] - 1 if len(name) == 1 else name[0]
            there = self._walk(problem, at.moved([name], [h]), begin, walk)
            columns.append((there.r - walk.r) / h)
        return columns

    def _walks(self, at: _Parameters) -> list[_Walk]:
        return [self._walk(problem, at) for problem in self.problems]

    def _walk(self, problem: Problem, at: _Parameters, begin: int = 0, old: _Walk | None = None) -> _Walk:
        """Return the path; that of ``old`` before the step ``begin``, whose noise stands too."""
        levels = [self.schedule.level(value) for value in at.half_log_snr]
        rows = _rows(self.base, levels, at.offsets)
        states = [problem.x / levels[0].alpha] if old is None else old.states[: begin + 1]
        noises = [] if old is None else old.noises[: begin + 1]
        for i in range(begin, len(rows)):
            now, after = levels[i], levels[i + 1]
            if i == len(noises):
                noises.append(problem.model(now.alpha * states[i], now))
            states.append(advance(states[i], combined(rows[i], noises[i], noises[:i][::-1]), now, after))
        r = (levels[-1].alpha * states[-1] - problem.ends).flatten(1)
        r = r.to(torch.promote_types(r.dtype, torch.float32)) / math.sqrt(r.shape[1])
        return _Walk(states, noises, r, torch.linalg.vector_norm(r, dim=1, dtype=torch.float64))

    def _mean(self, problem: Problem, walk: _Walk) -> float:
        return float((problem.weights * walk.errors).sum() / problem.weights.sum() / problem.scale)

    def _loss(self, walks: list[_Walk]) -> float:
        means = [self._mean(problem, walk) for problem, walk in zip(self.problems, walks, strict=True)]
        total = sum(mean**self.power for mean in means) / len(means)
        return float(total ** (1 / self.power)) if math.isfinite(total) else math.inf
