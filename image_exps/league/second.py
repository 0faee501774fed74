r"""The order of a sampler once more: other data, another schedule, another reference, another estimate.

The data are four Gaussians in three dimensions, of different widths, written out in NumPy; levels lie in another range
and shrink along it; the end of the flow is DOP853's in ``u = x/alpha`` and ``r = sigma/alpha``, ``du/dr = eps``; and
the order is the limit ``2 p_n - p_{n-1}`` of the local orders (Richardson). With `image_exps.judge.right` this shares
the sampler and the loop that runs it, and nothing of what is concluded from a run.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from image_exps.judge.judged import CannotRunError, Grid, Judged, Trajectory
from lml.samplers import Level

__all__ = ["COUNTS", "GRID", "Gaussians", "Second", "second_order"]

#: Levels of the second method: steps at the end are half as long as at the start.
GRID = Grid("smooth", log_snr=(-2.5, 1.5), bend=0.33)

#: Numbers of steps, doubled.
COUNTS = (12, 24, 48, 96)

_SAMPLES = 32
_LEAST = 1e-9
# Errors below this are rounding, in float64 and where a scheduler falls back to float32.
_ROUNDING = {torch.float64: 3e-10, torch.float32: 1e-4}


class Gaussians:
    """A mixture of isotropic Gaussians, a predictor in NumPy.

    Args:
        weights: (k,), of sum one.
        means: (k, d).
        widths: standard deviations (k,); zero is a point.
    """

    def __init__(self, weights: np.ndarray, means: np.ndarray, widths: np.ndarray) -> None:
        self.weights, self.means, self.widths = weights, means, widths

    def _data(self, x: np.ndarray, alpha: float, sigma: float) -> np.ndarray:
        """Return ``E[y|x]``, (n, d): of a part ``m + alpha s^2 (x - alpha m)/v``, ``v = (alpha s)^2 + sigma^2``."""
        v = (alpha * self.widths) ** 2 + sigma**2
        away = x[:, None, :] - alpha * self.means
        logs = np.log(self.weights) - (away**2).sum(2) / (2 * v) - x.shape[1] / 2 * np.log(v)
        parts = np.exp(logs - logs.max(1, keepdims=True))
        parts /= parts.sum(1, keepdims=True)
        each = self.means + (alpha * self.widths**2 / v)[:, None] * away
        answer: np.ndarray = (parts[:, :, None] * each).sum(1)
        return answer

    def data(self, x: Tensor, level: Level) -> Tensor:
        return torch.from_numpy(self._data(x.detach().double().numpy(), level.alpha, level.sigma)).to(x.dtype)

    def noise(self, x: Tensor, level: Level) -> Tensor:
        return (x - level.alpha * self.data(x, level)) / level.sigma

    def flow(self, x: np.ndarray, first: Level, last: Level) -> np.ndarray:
        """Return where the flow ends at a level with noise from ``x`` (n, d) at another one."""
        shape = x.shape
        # Without signal u is infinite: the flow of nearly none differs by as much as there is.
        first = first if first.alpha > 0 else Level(_LEAST * first.sigma, first.sigma)

        def slope(log_r: float, u: np.ndarray) -> np.ndarray:
            r = math.exp(log_r)
            made = u.reshape(shape)
            eps = (made - self._data(made, 1.0, r)) / r
            result: np.ndarray = (r * eps).ravel()
            return result

        span = (math.log(first.sigma / first.alpha), math.log(last.sigma / last.alpha))
        solved = solve_ivp(slope, span, (x / first.alpha).ravel(), method="DOP853", rtol=1e-11, atol=1e-12)
        end: np.ndarray = last.alpha * solved.y[:, -1].reshape(shape)
        return end


class Second(NamedTuple):
    """An order by the second method.

    Attributes:
        value: the limit of the local orders; NaN if there is none.
        error: of it: what the last halving changed, and half of what the one before did.
        local: the local orders.
        reason: why there is none; empty if there is one.
    """

    value: float
    error: float
    local: tuple[float, ...]
    reason: str = ""


_TARGET = Gaussians(
    np.array([0.4, 0.3, 0.2, 0.1]),
    np.array([[1.0, 0.2, -0.4], [-0.8, 0.9, 0.3], [-0.3, -1.1, 0.6], [0.6, 0.1, 1.2]]),
    np.array([0.35, 0.25, 0.45, 0.3]),
)
_POINT = Gaussians(np.ones(1), np.array([[1.0, 0.0]]), np.zeros(1))


def second_order(judged: Judged, counts: tuple[int, ...] = COUNTS, *, plain_jump: bool = True, seed: int = 5) -> Second:
    """Return the order of a deterministic sampler.

    Args:
        judged: what is measured.
        counts: numbers of steps, doubled, at least three.
        plain_jump: whether a last step into ``sigma = 0`` is the data prediction; else the order is of what is before.
        seed: of the samples.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    generator = np.random.default_rng(seed)
    parts = generator.choice(len(_TARGET.weights), _SAMPLES, p=_TARGET.weights)
    z = generator.standard_normal((2, _SAMPLES, 3))
    y = _TARGET.means[parts] + _TARGET.widths[parts, None] * z[0]

    def start(level: Level) -> Tensor:
        return torch.from_numpy(level.alpha * y + level.sigma * z[1])

    logs, exact = [], True
    for n in counts:
        run = judged.run(_TARGET, start, n, grid=GRID)
        end = judged.run(_POINT, lambda level: torch.tensor([[level.alpha, level.sigma]]).double(), n, grid=GRID).end
        a, b = end[0].double().tolist()
        error = _errors(run, a, b, plain_jump=plain_jump)
        exact = exact and run.end.dtype == torch.float64
        logs.append(np.log(np.maximum(np.linalg.norm(error, axis=1), 1e-300)))
    least = math.log(_ROUNDING[torch.float64 if exact else torch.float32])
    used = [row for row in logs if float(np.median(row)) > least]
    local = tuple(float(np.median(p - q) / math.log(2)) for p, q in itertools.pairwise(used))
    if len(local) < 2:
        return Second(math.nan, math.nan, local, "too few steps above rounding")
    before = abs(local[-2] - local[-3]) if len(local) > 2 else abs(local[-1] - local[-2])
    spread = abs(local[-1] - local[-2]) + before / 2
    if spread > 0.7:
        return Second(math.nan, math.nan, local, f"no limit: local orders {', '.join(f'{p:.2f}' for p in local)}")
    return Second(2 * local[-1] - local[-2], spread + 0.02, local)


def _errors(run: Trajectory, a: float, b: float, *, plain_jump: bool) -> np.ndarray:
    """Return how far a run is from the flow, (n, d), where it ends at ``x = a y + b z``."""
    first, x = run.calls[0].level, run.calls[0].x.double().numpy()
    if not (math.isfinite(a) and a > 0):
        raise CannotRunError(f"it ends at x = {a:.4g} y + {b:.4g} z, which is no noise level")
    if b > 1e-7 * a:
        return np.asarray(run.end.double().numpy() - _TARGET.flow(x, first, Level(a, b)))
    if not plain_jump:
        return np.asarray(run.calls[-1].x.double().numpy() - _TARGET.flow(x, first, run.calls[-1].level))
    last = max((call.level for call in run.calls), key=lambda level: level.half_log_snr)
    exact = _TARGET.flow(x, first, last)
    return np.asarray(run.end.double().numpy() - a * _TARGET._data(exact, last.alpha, last.sigma))
