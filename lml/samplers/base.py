r"""The contract of the samplers: pure steps over noise levels, with one door between network, correction and solver.

A sampler is one published algorithm, as ``step(state, network, levels, i) -> (state, info)``. It asks ``network.noise``
for every noise prediction and leaves through ``network.advance``, which forms ``x_next = rest + scale * vector``. All
corrections act at one of these two places, so that a sampler knows of none of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from lml.correction import Correction, Memory, NoCorrection

__all__ = ["Evaluation", "Info", "Level", "Network", "NoiseModel", "Sampler", "State", "sample", "trajectory"]


class Level(NamedTuple):
    """A noise level ``x = alpha y + sigma z``.

    ``time`` is what a network receives of it; exact targets need only ``alpha`` and ``sigma``.
    """

    alpha: float
    sigma: float
    time: float = math.nan

    @property
    def half_log_snr(self) -> float:
        """``log(alpha/sigma)``, the ``lambda`` of the DPM-Solver papers; infinite at ``sigma = 0``."""
        if self.sigma == 0:
            return math.inf
        return math.log(self.alpha / self.sigma) if self.alpha else -math.inf


#: The noise prediction ``eps(x, level)``, shapes (B, ...) to (B, ...). The tensor is remembered, not copied: a network
#: that writes its answers into one buffer, as a CUDA graph does, must hand out a copy.
NoiseModel = Callable[[Tensor, Level], Tensor]


class Evaluation(NamedTuple):
    """A noise prediction as the network gave it, and as the solver saw it; both (B, ...)."""

    raw: Tensor
    noise: Tensor

    @property
    def angle(self) -> Tensor:
        """The angle between the two, in radians, shape (B,), exact for small angles (Kahan)."""
        a, b = (t.flatten(1).double() for t in self)
        a, b = (t / t.norm(dim=1, keepdim=True).clamp_min(torch.finfo(t.dtype).tiny) for t in (a, b))
        return 2 * torch.atan2((a - b).norm(dim=1), (a + b).norm(dim=1))


class Info(NamedTuple):
    """Diagnostics of a step, never carried: the evaluations that it made."""

    evaluations: tuple[Evaluation, ...]


class State(NamedTuple):
    """What is carried from step to step.

    Attributes:
        x: the sample at the level that was reached, shape (B, ...).
        memory: of the correction.
        outputs: what a multistep solver remembers of earlier steps, latest first, with the levels they belong to.
        previous_x: the sample before the last step, for solvers that correct it afterwards.
    """

    x: Tensor
    memory: Memory = Memory()
    outputs: tuple[tuple[Level, Tensor], ...] = ()
    previous_x: Tensor | None = None


@dataclass(frozen=True)
class Network:
    """A noise model behind its correction: the one door of every sampler.

    Args:
        model: the noise prediction.
        correction: what is done to it.
        steps: the number of steps of the trajectory, for corrections that act on a part of it.
    """

    model: NoiseModel
    correction: Correction
    steps: int

    def noise(self, x: Tensor, level: Level, memory: Memory, i: int) -> tuple[Evaluation, Memory]:
        """Evaluate the model at ``x``, shape (B, ...), in step ``i``."""
        raw = self.model(x, level)
        if self.correction.site != "noise":
            return Evaluation(raw, raw), memory
        noise, memory = self.correction.correct(raw, memory, i / self.steps)
        return Evaluation(raw, noise), memory

    def advance(self, rest: Tensor, scale: float, vector: Tensor, memory: Memory, i: int) -> tuple[Tensor, Memory]:
        """Return ``rest + scale * vector``, the next sample: the linear part of a step and what the network adds."""
        if self.correction.site == "update":
            vector, memory = self.correction.correct(vector, memory, i / self.steps)
        return rest + scale * vector, memory


class Step(Protocol):
    """One step of a sampler, from ``levels[i]`` to ``levels[i + 1]``."""

    def __call__(self, state: State, network: Network, levels: Sequence[Level], i: int) -> tuple[State, Info]: ...


@dataclass(frozen=True)
class Sampler:
    """A published algorithm.

    Attributes:
        name: by which it is found.
        order: of convergence to the probability-flow ODE as the steps shrink, started without history and without a
            correction.
        step: from one level to the next.
        evaluations: network evaluations that ``steps`` steps cost.
    """

    name: str
    order: int
    step: Step
    evaluations: Callable[[int], int] = lambda steps: steps


def trajectory(
    sampler: Sampler,
    model: NoiseModel,
    x: Tensor,
    levels: Sequence[Level],
    correction: Correction | None = None,
) -> Iterator[tuple[State, Info]]:
    """Yield state and diagnostics after each step.

    Args:
        sampler: the algorithm.
        model: the noise prediction.
        x: the sample at ``levels[0]``, shape (B, ...).
        levels: at least two, ``half_log_snr`` strictly increasing; the last one may have ``sigma = 0``.
        correction: of the noise prediction; none by default.

    Raises:
        ValueError: for levels that are too few, not in the order of falling noise, or without signal.
    """
    _check_levels(levels)
    network = Network(model, correction or NoCorrection(), len(levels) - 1)
    state = State(x)
    for i in range(len(levels) - 1):
        state, info = sampler.step(state, network, levels, i)
        yield state, info


def sample(
    sampler: Sampler,
    model: NoiseModel,
    x: Tensor,
    levels: Sequence[Level],
    correction: Correction | None = None,
) -> Tensor:
    """Return the sample at the last level, shape (B, ...). Arguments and errors are those of `trajectory`."""
    for state, _ in trajectory(sampler, model, x, levels, correction):
        x = state.x
    return x


def _check_levels(levels: Sequence[Level]) -> None:
    if len(levels) < 2:
        raise ValueError(f"levels must be at least two, got {len(levels)}")
    for i, level in enumerate(levels):
        # At alpha = 0 the noise prediction is x itself, and says nothing of the data.
        if not level.alpha > 0 or not level.sigma >= 0:
            raise ValueError(f"levels must have alpha > 0 and sigma >= 0, got {level.alpha} and {level.sigma} at {i}")
    for i, (before, after) in enumerate(itertools.pairwise(levels)):
        if not before.half_log_snr < after.half_log_snr:
            raise ValueError(
                f"levels must have falling noise, got log(alpha/sigma) {before.half_log_snr:.6g} at {i} "
                f"and {after.half_log_snr:.6g} at {i + 1}"
            )
