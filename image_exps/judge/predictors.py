r"""The networks that a sampler is judged with: exact ones, one of a single point, one that reads from a script.

``point``: all data at the point ``m``. Along its flow noise and data prediction are constant, so that every solver that
is exact for a constant prediction stays on ``x = a m + b z``; the pair ``(a, b)`` *is* the level where the sampler is.
With ``x = (x_1, x_2)`` and ``m = (1, 0)``, ``z = (0, 1)`` a sample shows it as its two numbers.

``script``: the j-th evaluation answers with the j-th unit vector, whatever ``x`` is. A sampler that is linear in its
evaluations then writes its own coefficients into the sample: all of them, in one run.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from image_exps.judge.judged import CannotRunError, Predictor
from lml.samplers import Level, NoiseModel
from toy import ExactTarget

__all__ = ["Budget", "ExactPredictor", "Limited", "NoisePredictor", "PointPredictor", "ScriptPredictor", "at_double"]

# Levels that a predictor keeps: a trajectory's.
_KEPT = 512


def at_double(answer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the answer of a function of float64 in the dtype of ``x``, shape of ``x``."""
    result: Tensor = answer(x.detach().double().flatten(1)).to(x.dtype).view(x.shape)
    return result


class ExactPredictor:
    """The exact predictions of a target, in float64 whatever the dtype of the samples.

    Args:
        target: the data, at ``alpha = 1, sigma = 0``.
    """

    def __init__(self, target: ExactTarget) -> None:
        self.target = target
        self._at = lru_cache(maxsize=_KEPT)(target.diffuse)

    def noise(self, x: Tensor, level: Level) -> Tensor:
        return at_double(self._at(level.alpha, level.sigma).noise, x)

    def data(self, x: Tensor, level: Level) -> Tensor:
        return at_double(self._at(level.alpha, level.sigma).posterior_mean, x)


class NoisePredictor:
    """Predictions from any noise model; where there is no signal the data prediction is that of ``exact``.

    Args:
        model: the noise prediction.
        exact: the data prediction at ``alpha = 0``, where the noise says nothing of it.
    """

    def __init__(self, model: NoiseModel, exact: ExactPredictor) -> None:
        self._model, self._exact = model, exact

    def noise(self, x: Tensor, level: Level) -> Tensor:
        return at_double(lambda flat: self._model(flat, level), x)

    def data(self, x: Tensor, level: Level) -> Tensor:
        if level.alpha == 0:
            return self._exact.data(x, level)
        return (x - level.sigma * self.noise(x, level)) / level.alpha


class PointPredictor:
    """All data at ``m = (1, 0)``: of samples (B, 2) the first number is the signal, the second the noise."""

    def noise(self, x: Tensor, level: Level) -> Tensor:
        return (x - level.alpha * self.data(x, level)) / level.sigma

    def data(self, x: Tensor, level: Level) -> Tensor:
        return x.new_tensor([1.0, 0.0]).expand_as(x)


class ScriptPredictor:
    """The j-th evaluation answers with ``c_j e_{1 + j}``, unit vectors of R^d, as noise or as data.

    Args:
        of_data: answer in data; the noise is what belongs to it. Otherwise the other way round.
        size: ``c`` as a function of ``j = 0, 1 ..``; one for all by default.
    """

    def __init__(self, *, of_data: bool, size: Callable[[int], float] = lambda j: 1.0) -> None:
        self._of_data, self._size, self._count = of_data, size, 0

    def _script(self, x: Tensor) -> Tensor:
        # A scheduler asks once an evaluation, for one form of the answer.
        self._count += 1
        if self._count >= x.shape[1]:
            raise CannotRunError(f"it asks its network more than {x.shape[1] - 1} times")
        answer = torch.zeros_like(x)
        answer[:, self._count] = self._size(self._count - 1)
        return answer

    def noise(self, x: Tensor, level: Level) -> Tensor:
        answer = self._script(x)
        return (x - level.alpha * answer) / level.sigma if self._of_data else answer

    def data(self, x: Tensor, level: Level) -> Tensor:
        answer = self._script(x)
        return answer if self._of_data else (x - level.sigma * answer) / level.alpha


class Budget:
    """What a run may spend: evaluations of its own, and time until a deadline that runs share.

    Args:
        evaluations: of one run.
        deadline: in the clock of `time.monotonic`.
    """

    def __init__(self, evaluations: int, deadline: float = math.inf) -> None:
        self.evaluations, self.deadline = evaluations, deadline


class Limited:
    """A predictor that counts evaluations, and stops a sampler that asks without end or for what is not finite.

    Raises:
        CannotRunError: at an evaluation beyond the budget, past the deadline, of another shape, or of NaN.
    """

    def __init__(self, predictor: Predictor, shape: torch.Size, budget: Budget) -> None:
        self._predictor, self._shape, self._budget = predictor, shape, budget
        self.count = 0

    def _check(self, x: object, level: Level) -> None:
        if not isinstance(x, Tensor):
            raise CannotRunError(f"it gives its network {type(x).__name__}, not a tensor")
        if x.shape != self._shape:
            raise CannotRunError(f"it gives its network shape {tuple(x.shape)}, and began with {tuple(self._shape)}")
        if self.count >= self._budget.evaluations:
            raise CannotRunError(f"it does not end: {self.count} evaluations, and it asks for more")
        if time.monotonic() > self._budget.deadline:
            raise CannotRunError(f"it took too long: the time was over after {self.count} evaluations")
        if not bool(torch.isfinite(x).all()):
            raise CannotRunError(f"its sample is not finite at evaluation {self.count + 1}, sigma = {level.sigma:.4g}")
        self.count += 1

    def noise(self, x: Tensor, level: Level) -> Tensor:
        self._check(x, level)
        return self._predictor.noise(x, level)

    def data(self, x: Tensor, level: Level) -> Tensor:
        self._check(x, level)
        return self._predictor.data(x, level)
