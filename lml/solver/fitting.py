r"""Levels and rows fitted to where trajectories end, by the Gauss-Newton method.

The parameters ``theta`` are the levels inside, ``lambda_1 .. lambda_{n-1}``, and offsets ``xi_ij``, j < 3, from the
rows of a published method *on these levels*: at ``xi = 0`` a solver is that method, on whatever levels. With ``|r_b|``
the root mean square distance of sample b from the end of the flow, and samples of K networks::

    minimise    (mean_k E_k^p)^(1/p),    E_k = sum_b w_b |r_b| / (scale_k sum_b w_b)

(p = 1: the mean; larger, the worst). With ``W_b = E_k^(p-1) w_b / (scale_k sum w |r_b|)`` the gradient of
``sum_k E_k^p / p`` is ``J^T W r``, J = dr/dtheta; in W a distance below a tenth of the median counts as that. A step
solves::

    (J^T W J + R + mu D) d = -(J^T W r + R (theta - theta_0)),    D = diag J^T W J,    R = ridge L D_0/L_0

with ``L = sum W |r|^2`` as it is now, ``D_0`` and ``L_0`` where the fit began: a ridge is relative, and draws towards
the method that was begun with. ``mu`` rises until the loss falls. Ridges are taken in turn, each from where the one
before ended; in more than ten evaluations, where a step costs most, there are fewer steps (`effort`). J is by
differences: no gradient of the network is needed, and a parameter of step i costs the steps after i. It takes 4 bytes
for every parameter and number of the samples that are fitted to.

Sources: Levenberg 1944, Marquardt 1963; Daubechies et al. 2010 for the reweighting.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from lml.arguments import check_integer, check_number
from lml.samplers import Level, NoiseModel
from lml.solver.methods import published_rows
from lml.solver.path import advance, combined
from lml.solver.schedule import Schedule
from lml.solver.solver import FITTED, Solver

__all__ = ["FEW", "ITERATIONS", "LAG", "RIDGES", "Effort", "Fit", "Problem", "effort", "fit", "fit_cost"]

#: Earlier noises that get a weight of their own.
LAG = 3

#: The path of ridges, and steps at each, in up to so many evaluations.
RIDGES = (0.1, 0.01, 0.001)
ITERATIONS = 2
FEW = 10

# Differences: of a weight, and of a level in the smaller of its two gaps. The root of the rounding of bfloat16, 2^-8,
# in which a network may answer: a smaller one sees little but rounding there, and is no better in float32.
_WEIGHT, _SHARE = 2.0**-4, 2.0**-4
# No step moves a weight by more, nor a level by more of its gap.
_MOST_WEIGHT, _MOST_SHARE = 1.5, 0.45
# Distances below this share of the median count as that.
_LEAST = 0.1
_TRIES = 4
# A loss that falls by less falls by rounding.
_FALLS = 1 - 1e-6
# Of the largest in D: what moves less moves nothing.
_NOTHING = 1e-12


class Effort(NamedTuple):
    """The ridges of a fit, and the steps at each."""

    ridges: tuple[float, ...]
    iterations: int


def effort(evaluations: int) -> Effort:
    """Return the ridges and steps of a fit: in more than `FEW` evaluations a third as many steps.

    A step costs the square of the evaluations. On small networks in 12 evaluations two steps leave 0.57 of the oracle's
    distance, six 0.50; see docs/explanation/solver.md.
    """
    return Effort(RIDGES, ITERATIONS) if evaluations <= FEW else Effort((RIDGES[0], RIDGES[-1]), 1)


class Problem(NamedTuple):
    """Trajectories of a network to fit to.

    Attributes:
        model: the noise prediction.
        x: samples at the first level, (B, ...).
        ends: where the flow takes them at the last level, (B, ...).
        weights: ``w``, of the samples in the loss, (B,), on the CPU; zero for those that are held out.
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
    """A path: states ``x/alpha`` and noises at the levels; ``r/sqrt(d)``, (B, d), and ``|r|``, (B,), on the CPU."""

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
    ridges: Sequence[float] | None = None,
    iterations: int | None = None,
    levels: bool = True,
    rows: bool = True,
    power: float = 1.0,
    progress: Callable[[str], None] | None = None,
) -> list[Fit]:
    """Return a fit for every ridge.

    Args:
        problems: what is fitted to.
        base: a method of `lml.solver.methods.METHODS`.
        schedule: the noise levels; the network is asked anywhere between two entries.
        half_log_snr: levels from which it begins, n + 1; the first and last stay.
        offsets: from which it begins, and to which a ridge draws; none if left out.
        ridges: falling; those of `effort` if left out.
        iterations: steps at each ridge; those of `effort` if left out.
        levels: whether levels are moved.
        rows: whether weights are.
        power: ``p``, at least 1.
        progress: is called with a line of text before each step.

    Raises:
        ValueError: for a problem without a sample to fit to, and for numbers that are out of range.
    """
    n = len(half_log_snr) - 1
    ridges, iterations = _or_effort(n, ridges, iterations)
    check_integer(iterations, "iterations", least=0)
    check_number(power, "power", least=1)
    for problem in problems:
        if not (bool((problem.weights >= 0).all()) and 0 < float(problem.weights.sum()) < math.inf):
            raise ValueError(f"weights must be at least 0 and one of them above, got {problem.weights.tolist()}")
    made = _Fitting(problems, base, schedule.continuous, n, levels, rows, power)
    xi = _none(n) if offsets is None else tuple(map(tuple, offsets))
    return made.path(_Parameters(tuple(half_log_snr), xi), ridges, iterations, progress or (lambda line: None))


def fit_cost(
    evaluations: int, ridges: Sequence[float] | None = None, iterations: int | None = None, *, levels: bool = True
) -> int:
    """Return about how many evaluations of one sample a fit takes, held out or not: steps seldom need a second try."""
    n = evaluations
    ridges, iterations = _or_effort(n, ridges, iterations)
    of_levels = sum(n - k for k in range(1, n)) if levels else 0
    of_rows = sum(min(i, LAG) * (n - 1 - i) for i in range(1, n))
    return n + len(ridges) * iterations * (of_levels + of_rows + n)


def _or_effort(n: int, ridges: Sequence[float] | None, iterations: int | None) -> tuple[Sequence[float], int]:
    usual = effort(n)
    return usual.ridges if ridges is None else ridges, usual.iterations if iterations is None else iterations


def _none(steps: int) -> tuple[tuple[float, ...], ...]:
    return tuple((0.0,) * min(i, LAG) for i in range(steps))


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

    def path(
        self, at: _Parameters, ridges: Sequence[float], iterations: int, progress: Callable[[str], None]
    ) -> list[Fit]:
        begun, walks = at, self._walks(at)
        D0: Tensor | None = None
        normal: tuple[Tensor, Tensor, float] | None = None
        found = []
        for k, ridge in enumerate(ridges):
            for i in range(iterations if self.names else 0):
                if not 0 < self._loss(walks) < math.inf:
                    break
                progress(f"step {k * iterations + i + 1} of {len(ridges) * iterations}")
                normal = normal or self._normal(at, walks)
                A, g, L = normal
                # A parameter that moves nothing is held by a ridge as well.
                D = A.diagonal().clamp_min(_NOTHING * float(A.diagonal().max()))
                D0 = D / L if D0 is None else D0
                taken = self._step(at, begun, walks, A, g, ridge * L * D0, D)
                if taken is None:
                    break
                (at, walks), normal = taken, None
            errors = tuple(walk.errors for walk in walks)
            found.append(Fit(self.base, ridge, at.half_log_snr, at.offsets, errors, self._loss(walks)))
        return found

    def _step(
        self, at: _Parameters, begun: _Parameters, walks: list[_Walk], A: Tensor, g: Tensor, R: Tensor, D: Tensor
    ) -> tuple[_Parameters, list[_Walk]] | None:
        """Return where a step leads if the loss falls there; damping is added until it does."""
        moved = [a - b for a, b in zip(at.values(self.names), begun.values(self.names), strict=True)]
        apart = torch.tensor(moved, dtype=torch.float64)
        most = [_MOST_SHARE * at.gap(name[0]) if len(name) == 1 else _MOST_WEIGHT for name in self.names]
        mu = 0.0
        for _ in range(_TRIES):
            solved, singular = torch.linalg.solve_ex(A + torch.diag(R + mu * D), -(g + R * apart))
            d = solved.tolist()
            if not int(singular) and all(map(math.isfinite, d)):
                share = min([1.0, *(m / abs(v) for m, v in zip(most, d, strict=True) if v)])
                there = at.moved(self.names, [share * v for v in d])
                made = self._walks(there)
                if self._loss(made) < _FALLS * self._loss(walks):
                    return there, made
            mu = max(4 * mu, 0.1)
        return None

    def _normal(self, at: _Parameters, walks: list[_Walk]) -> tuple[Tensor, Tensor, float]:
        """Return ``J^T W J``, ``J^T W r`` and ``sum W |r|^2`` over all problems."""
        count = len(self.names)
        A, g, L = torch.zeros(count, count, dtype=torch.float64), torch.zeros(count, dtype=torch.float64), 0.0
        for problem, walk in zip(self.problems, walks, strict=True):
            seen = problem.weights > 0
            w, errors = problem.weights[seen].double(), walk.errors[seen]
            share = self._mean(problem, walk) ** (self.power - 1) / problem.scale
            least = max(_LEAST * float(errors.median()), torch.finfo(torch.float64).tiny)
            W = share * w / w.sum() / errors.clamp_min(least)
            columns, r = self._jacobian(problem, at, walk, seen), walk.r[seen].double()
            for b, weight in enumerate(W.tolist()):
                J = torch.stack([column[b] for column in columns], 1).double()
                A += weight * (J.mT @ J)
                g += weight * (J.mT @ r[b])
            L += float((W * errors.square()).sum())
        return A, g, L

    def _jacobian(self, problem: Problem, at: _Parameters, walk: _Walk, seen: Tensor) -> list[Tensor]:
        """Return the columns of ``J = dr/dtheta`` for the samples that are seen, (B', d) each.

        The network is asked for all: it may know them by their place.
        """
        columns = []
        for name in self.names:
            h = _SHARE * at.gap(name[0]) if len(name) == 1 else _WEIGHT
            # A level is the end of the step before it; noises at the levels before it stand.
            begin = name[0] - 1 if len(name) == 1 else name[0]
            there = self._walk(problem, at.moved([name], [h]), begin, walk)
            columns.append(((there.r - walk.r) / h)[seen].float())
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
        r = (levels[-1].alpha * states[-1] - problem.ends).flatten(1).cpu()
        r = r.to(torch.promote_types(r.dtype, torch.float32)) / math.sqrt(r.shape[1])
        return _Walk(states, noises, r, torch.linalg.vector_norm(r, dim=1, dtype=torch.float64))

    def _mean(self, problem: Problem, walk: _Walk) -> float:
        seen = problem.weights > 0  # a path that is held out may diverge
        w = problem.weights[seen].double()
        return float((w * walk.errors[seen]).sum() / w.sum() / problem.scale)

    def _loss(self, walks: list[_Walk]) -> float:
        means = [self._mean(problem, walk) for problem, walk in zip(self.problems, walks, strict=True)]
        total = sum(mean**self.power for mean in means) / len(means)
        return float(total ** (1 / self.power)) if math.isfinite(total) else math.inf
