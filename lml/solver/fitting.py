r"""Rows and levels fitted to trajectories of a network by variable projection.

For given levels each row is a ridge least squares in closed form, on the solver's own path. In ``y = x/alpha`` and with
``delta = sigma'/alpha' - sigma/alpha`` a step is ``y' = y + delta (e + sum_j eta_j (e - e_j))``. With the flow's
``y*`` at the next level, weights ``w_b`` of samples, and rows ``eta^0`` of a published method::

    minimise  sum_b w_b |sum_j eta_j (e - e_j)_b - ((y*_b - y_b)/delta - e_b)|^2  +  r sum_j A_jj (eta_j - eta^0_j)^2

with ``A`` the matrix of the normal equations. The levels are places on the grid of the trajectories: each is moved by
8, 4, 2 and 1 places for as long as the error at the end falls. What is left to search is levels alone.

Source: Golub & Pereyra 1973, variable projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lml.samplers import Level, NoiseModel
from lml.solver.path import advance, combined, ratio
from lml.solver.trajectories import Trajectories

__all__ = ["BOUND", "Fit", "fit_levels", "fit_rows"]

#: No weight is larger.
BOUND = 4.0

_STRIDES = (8, 4, 2, 1)

#: The rows towards which a fit is drawn, for given levels.
Prior = Callable[[Sequence[Level]], tuple[tuple[float, ...], ...]]


@dataclass(frozen=True)
class Fit:
    """What a fit found.

    Attributes:
        places: of the levels on the grid, n + 1.
        weights: the rows.
        errors: of every sample at the end, (B,), also of those that it was not fitted to.
        loss: the weighted mean of ``errors`` over those that it was fitted to.
    """

    places: tuple[int, ...]
    weights: tuple[tuple[float, ...], ...]
    errors: Tensor
    loss: float


@dataclass(frozen=True)
class Problem:
    """Trajectories to fit to.

    Attributes:
        model: the noise prediction.
        flow: the trajectories.
        weights: of the samples, (B,); zero for those that are held out.
        prior: rows towards which a fit is drawn.
        ridge: how strongly.
    """

    model: NoiseModel
    flow: Trajectories
    weights: Tensor
    prior: Prior
    ridge: float = 0.03

    def level(self, place: int) -> Level:
        """Return a level of the grid."""
        return self.flow.levels[place]


class _Path:
    """A solver's path so far: states and noises at its levels, to be taken up again from any of them."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.places: list[int] = []
        self.states: list[Tensor] = [problem.flow.states[0]]
        self.noises: list[Tensor] = []
        self.rows: list[tuple[float, ...]] = []

    def run(self, places: Sequence[int], *, fitted: bool = True) -> Fit:
        """Walk these levels, from the first that is another one than before."""
        on = self.problem
        same = next((i for i, (a, b) in enumerate(zip(self.places, places, strict=False)) if a != b), len(self.places))
        same = min(same, len(self.noises))
        levels = [on.level(place) for place in places]
        prior = on.prior(levels)
        # The step to a level that moved is made again; noises at the levels before it stand.
        begin = max(same - 1, 0)
        del self.noises[same:], self.states[begin + 1 :], self.rows[begin:]
        self.places = list(places)
        for i in range(begin, len(places) - 1):
            now, after, y = levels[i], levels[i + 1], self.states[i]
            if i == len(self.noises):
                self.noises.append(on.model(now.alpha * y, now))
            e, history = self.noises[i], self.noises[:i][::-1]
            row = tuple(prior[i])
            if fitted and i:
                delta = ratio(after) - ratio(now)
                row = self._solved(e, history, (on.flow.states[places[i + 1]] - y) / delta - e, row)
            self.rows.append(row)
            self.states.append(advance(y, combined(row, e, history), now, after))
        apart = (levels[-1].alpha * (self.states[-1] - on.flow.states[-1])).flatten(1).double()
        errors = apart.square().mean(1).sqrt()
        loss = float((errors * on.weights).sum() / on.weights.sum())
        return Fit(tuple(places), tuple(self.rows), errors, loss)

    def _solved(
        self, e: Tensor, history: Sequence[Tensor], wanted: Tensor, prior: tuple[float, ...]
    ) -> tuple[float, ...]:
        on = self.problem
        root = on.weights.sqrt().to(e).reshape(-1, *[1] * (e.ndim - 1))
        F = torch.stack([(root * (e - past)).flatten() for past in history]).double()
        A, b = F @ F.mT, F @ (root * wanted).flatten().double()
        eta0 = torch.tensor(prior, dtype=torch.float64)
        scale = A.diagonal().clamp_min(torch.finfo(torch.float64).tiny)
        eta = eta0 + torch.linalg.solve(A + torch.diag(on.ridge * scale), b - A @ eta0)
        return tuple(eta.clamp(-BOUND, BOUND).tolist())


def fit_rows(problem: Problem, places: Sequence[int], *, fitted: bool = True) -> Fit:
    """Return the rows on given levels; with ``fitted=False`` those of the prior, as they are."""
    return _Path(problem).run(places, fitted=fitted)


def fit_levels(problem: Problem, starts: Sequence[Sequence[int]], trials: int, *, fitted: bool = True) -> Fit:
    """Return levels and rows: the best of the starts, then coordinate descent over the levels inside.

    Args:
        problem: what is fitted to.
        starts: places of levels, the first and last of them the ends of the grid.
        trials: how many levels are tried at most, after the starts.
        fitted: whether rows are fitted too, or those of the prior.
    """
    best = min((fit_rows(problem, start, fitted=fitted) for start in starts), key=lambda fit: fit.loss)
    path, left = _Path(problem), trials
    for stride in _STRIDES:
        improved = True
        while improved and left > 0:
            improved = False
            for k in range(len(best.places) - 2, 0, -1):  # the last levels first: a trial there is the cheapest
                for move in (-stride, stride):
                    places = list(best.places)
                    places[k] += move
                    if left <= 0 or not places[k - 1] < places[k] < places[k + 1]:
                        continue
                    left -= 1
                    found = path.run(places, fitted=fitted)
                    if found.loss < best.loss:
                        best, improved = found, True
                        break
    return best
