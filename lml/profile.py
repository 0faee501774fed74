r"""LML with a profile of strengths: step by step, how far the noise is turned away from each of the noises before it.

With the noises ``e_0 .. e_i`` of a trajectory so far, weights ``eta_ij`` and shares ``rho_i`` in [0, 1]::

    u_i = e_i + sum_{j<i} eta_ij (e_i - e_j)
    direction_i = (|e_i|/|u_i|)^rho_i u_i

To leading order in the changes ``e_i - e_j`` the rotation of `lml.kernel`, of rank m and at relative damping, is this
with ``eta_ij = kappa/damping`` for the last m noises and ``rho = 1``. Here every past noise has a weight of its own.

On DDIM, ``x' = linear x - gain direction``, the profile with ``rho = 0`` is *every* explicit linear multistep method
that is exact where the noise prediction is constant: the multistep samplers of `lml.samplers`, also UniPC, whose
corrector reuses the next evaluation, all are rows of weights (`multistep_weights`). ``rho = 1`` is the same method at
the norm of the noise: what LML adds to linear multistep methods is ``rho``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lml._rows import accumulator, row_norm, row_power
from lml.correction import NoCorrection, Turn
from lml.samplers.base import Level, Network, Sampler, State
from lml.samplers.exponential import noise_transfer

__all__ = ["Profile", "multistep_weights"]


@dataclass(frozen=True)
class Profile(Turn):
    r"""Turn step ``i`` away from the noises before it, by weights of that step.

    Args:
        weights: ``eta_ij``, a row a step; row ``i`` has ``i`` numbers, for ``e_{i-1}`` first and ``e_0`` last.
        restored: ``rho``, the share of the norm that is restored, in [0, 1]: one for all steps, or one a step.

    Raises:
        ValueError: for an argument that does not fit; from `correct`, for a trajectory of another number of steps, or a
            base that evaluates more than once a step.
    """

    weights: tuple[tuple[float, ...], ...]
    restored: float | tuple[float, ...] = 1.0

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("weights must have a row for every step, got none")
        for i, row in enumerate(self.weights):
            if len(row) != i or not all(math.isfinite(eta) for eta in row):
                raise ValueError(f"weights must have {i} finite numbers in row {i}, got {row!r}")
        shares = self.restored if isinstance(self.restored, tuple) else (self.restored,) * len(self.weights)
        if len(shares) != len(self.weights) or not all(0 <= rho <= 1 for rho in shares):
            raise ValueError(
                f"restored must be a number in [0, 1], or {len(self.weights)} of them, got {self.restored!r}"
            )

    @property
    def steps(self) -> int:
        """The number of steps of the trajectory that the profile is for."""
        return len(self.weights)

    @property
    def depth(self) -> int:
        last = max((i for i, row in enumerate(self.weights) if any(row)), default=0)
        return self.steps if last else 0

    def acts(self, history: Sequence[Tensor], progress: float) -> bool:
        step = len(history)
        if self.depth and abs(progress * self.steps - step) > 0.25:  # far from rounding, and from any other step
            raise ValueError(
                f"profile must meet its trajectory: {self.steps} steps of one evaluation, got evaluation {step} at "
                f"progress {progress:.6g}"
            )
        return step < self.steps and any(self.weights[step])

    def direction(self, noise: Tensor, history: Sequence[Tensor]) -> Tensor:
        acc = accumulator(noise.device)
        row = self.weights[len(history)]
        rho = self.restored[len(history)] if isinstance(self.restored, tuple) else self.restored
        e = noise.flatten(1).to(acc) if noise.ndim > 1 else noise[:, None].to(acc)
        u = e
        for eta, previous in zip(row, history, strict=True):
            if eta:
                u = u + eta * (e - previous.reshape(e.shape).to(acc))
        if rho:
            u = u * row_power(_norm(e) / _norm(u), rho)
        limit = torch.finfo(noise.dtype).max
        return u.clamp(-limit, limit).to(noise.dtype).reshape(noise.shape)


def _norm(x: Tensor) -> Tensor:
    """Return the norms of rows (B, d) as divisors, (B, 1); rows are scaled, so that no square leaves the range."""
    largest = x.abs().amax(1, keepdim=True).clamp_min(torch.finfo(x.dtype).tiny)
    return (largest * row_norm(x / largest)).clamp_min(torch.finfo(x.dtype).tiny)


def multistep_weights(sampler: Sampler, levels: Sequence[Level]) -> tuple[tuple[float, ...], ...]:
    r"""Return the weights ``eta_ij`` with which DDIM and `Profile` (``restored = 0``) make the steps of ``sampler``.

    The sampler is run on noise predictions that are unit vectors: what multiplies each of them in the end is read off,
    in float64. Rows are those of `Profile`.

    Args:
        sampler: a linear multistep method of one evaluation a step.
        levels: of the trajectory.

    Raises:
        ValueError: for a sampler that evaluates more than once a step, or whose steps are not exact for a constant
            noise prediction.
    """
    steps = len(levels) - 1
    asked = itertools.count()

    def unit_vectors(x: Tensor, level: Level) -> Tensor:
        unit = torch.zeros_like(x)
        unit[0, next(asked)] = 1
        return unit

    network = Network(unit_vectors, NoCorrection(), steps)
    state, rows = State(torch.zeros((1, 2 * steps), dtype=torch.float64)), []
    for i in range(steps):
        before = state.x
        state, info = sampler.step(state, network, levels, i)
        if len(info.evaluations) != 1:
            raise ValueError(f"sampler must evaluate once a step, {sampler.name} does so {len(info.evaluations)} times")
        transfer = noise_transfer(levels[i], levels[i + 1])
        combined = ((transfer.linear * before - state.x) / transfer.gain)[0, : i + 1]
        # Steps in the data prediction lose digits to sigma/alpha, which exceeds one by e^5 at usual first levels.
        if abs(float(combined.sum()) - 1) > 1e-6:
            raise ValueError(f"sampler must be exact for a constant noise prediction, {sampler.name} is not")
        rows.append(tuple((-combined[:i]).flip(0).tolist()))
    return tuple(rows)
