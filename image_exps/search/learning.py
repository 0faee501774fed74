r"""Learning a profile: weights, shares of the norm and levels, by Adam on the tuning targets, common random numbers.

The loss is a power mean, over targets k, of the error by that of the best baseline at the same number of evaluations::

    ( mean_k (E|x_k - exact_k| / best_k)^4 )^(1/4)

so that the targets on which least is gained count most. One is a tie with the best of the baselines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from image_exps.problems.endpoints import reference, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import level_of, levels
from image_exps.samplers.arms import arm, pure_sampler
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.search.differentiable import LevelNoise, level_noise, run
from lml.profile import Profile, multistep_weights
from lml.samplers import Level, sample
from toy import ExactTarget
from toy.levels import Spacing

__all__ = [
    "Case",
    "Learned",
    "Variant",
    "arm_error",
    "baseline_error",
    "case",
    "fit",
    "score",
]

_POWER = 4

# Adam's steps: weights are of order one, shares of the norm and shares of the grid less.
_RATES = {"weights": 0.03, "grid": 0.02, "restored": 0.02}


@dataclass(frozen=True)
class Case:
    """A tuning target with noises and where the exact flow ends from them.

    Attributes:
        target: at ``alpha = 1, sigma = 0``.
        noise: its noise prediction, differentiable in the level.
        x, exact: noises and endpoints, shape (B, d), float32.
    """

    target: ExactTarget
    noise: LevelNoise
    x: Tensor
    exact: Tensor

    def model(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction as `lml.samplers` asks for it."""
        return self.noise(x, x.new_tensor(level.alpha), x.new_tensor(level.sigma))


def case(target: ExactTarget, *, count: int, seed: int) -> Case:
    """Return a tuning target with ``count`` noises; float32, whose error is far below that of few steps."""
    x = starting_noise(seed, 0, count, (target.dim,)).float()
    made = Case(target, level_noise(target, torch.float32), x, x)
    with torch.no_grad():
        return replace(made, exact=reference(made.model, x))


def arm_error(at: Case, name: str, evaluations: int) -> float:
    """Return the mean error of an arm of `image_exps.samplers.arms`, its root mean square over the dimensions."""
    plan = arm(name).build(evaluations, at.target.dim, seed=0, count=len(at.x))
    with torch.no_grad():
        ends = sample(plan.sampler, at.model, at.x, plan.levels, plan.correction)
    return float(rms(ends - at.exact).mean())


def baseline_error(at: Case, evaluations: int) -> dict[str, float]:
    """Return the mean error of every baseline at every published spacing, by `BASELINE_ARMS`."""
    return {name: arm_error(at, name, evaluations) for name in BASELINE_ARMS}


@dataclass(frozen=True)
class Variant:
    """What is learned, and what is fixed.

    Attributes:
        restored: ``rho`` of every step, or ``None`` to learn a share for each.
        grid: spacing of the levels, or ``None`` to learn them.
        rank: how many past noises have weights; ``None`` for all.
        base: a baseline whose weights are the start.
    """

    restored: float | None = 1.0
    grid: Spacing | None = None
    rank: int | None = None
    base: str = "unipc-2"


class Learned(NamedTuple):
    """What a fit found: ``log(alpha/sigma)`` (steps + 1,), weights (steps, steps) and shares (steps,); its loss."""

    half_log_snr: Tensor
    weights: Tensor
    restored: Tensor
    loss: float

    def profile(self, digits: int = 4) -> Profile:
        """Return the correction, its numbers rounded to so many decimals."""
        rows = tuple(tuple(round(float(eta), digits) for eta in row[:i].flip(0)) for i, row in enumerate(self.weights))
        return Profile(rows, tuple(round(float(rho), digits) for rho in self.restored))


def score(cases: Mapping[str, Case], found: Learned) -> dict[str, float]:
    """Return the mean error on every case."""
    with torch.no_grad():
        return {name: float(rms(run(c.noise, c.x, *found[:3]) - c.exact).mean()) for name, c in cases.items()}


def _start(variant: Variant, steps: int, share: float) -> tuple[Tensor, Tensor]:
    """Return the first grid, ``share`` of the way from equal log-SNR to equal times, and the base's weights on it."""
    names: tuple[Spacing, ...] = (variant.grid,) if variant.grid else ("log-snr", "time")
    grids = [[level.half_log_snr for level in levels(steps, name)] for name in names]
    grid = torch.tensor(grids[0], dtype=torch.float64)
    if len(grids) == 2:
        grid = torch.lerp(grid, torch.tensor(grids[1], dtype=torch.float64), share)
    made = [level_of(value) for value in grid.tolist()]
    weights = torch.zeros((steps, steps), dtype=torch.float64)
    if variant.base != "ddim":
        for i, row in enumerate(multistep_weights(pure_sampler(variant.base, steps)[0], made)):
            weights[i, :i] = torch.tensor(row, dtype=torch.float64).flip(0)
    return grid, weights


def fit(
    cases: Mapping[str, Case],
    best: Mapping[str, float],
    variant: Variant,
    steps: int,
    *,
    iterations: int = 250,
    share: float = 0.5,
) -> Learned:
    """Return the best profile that Adam meets.

    Args:
        cases: the targets, with their noises.
        best: the error of the best baseline on each.
        variant: what is learned.
        steps: of the trajectory, one evaluation each.
        iterations: of Adam, on all noises at once, the rate falling as a cosine.
        share: where the grid starts, between equal log-SNR (0) and equal times (1).
    """
    grid, weights = _start(variant, steps, share)
    band = torch.tril(torch.ones_like(weights), -1)
    if variant.rank is not None:
        band = band - torch.tril(band, -1 - variant.rank)
    weights = (weights * band).requires_grad_()
    parts = (grid.diff() / (grid[-1] - grid[0])).log().requires_grad_(variant.grid is None)
    logits = torch.zeros(steps, dtype=torch.float64).requires_grad_(variant.restored is None)

    def current() -> tuple[Tensor, Tensor, Tensor]:
        moved = grid[0] + (grid[-1] - grid[0]) * torch.softmax(parts, 0).cumsum(0)
        restored = torch.full_like(logits, variant.restored) if variant.restored is not None else torch.sigmoid(logits)
        return torch.cat((grid[:1], moved)), weights * band, restored

    def loss() -> Tensor:
        ratios = [
            rms(run(c.noise, c.x, *current()) - c.exact).mean().double() / best[name] for name, c in cases.items()
        ]
        return torch.stack(ratios).pow(_POWER).mean().pow(1 / _POWER)

    named = {"weights": weights, "grid": parts, "restored": logits}
    free = {name: tensor for name, tensor in named.items() if tensor.requires_grad}
    groups = [{"params": [tensor], "lr": _RATES[name], "peak": _RATES[name]} for name, tensor in free.items()]
    adam = torch.optim.Adam(groups, betas=(0.9, 0.95))
    found: Learned | None = None
    for k in range(iterations):
        for group in adam.param_groups:
            group["lr"] = group["peak"] * 0.5 * (1 + math.cos(math.pi * k / iterations))
        value = loss()
        if found is None or value.item() < found.loss:
            grid_now, eta, rho = (t.detach().clone() for t in current())
            found = Learned(grid_now, eta, rho, value.item())
        adam.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(list(free.values()), 1.0)
        adam.step()
    assert found is not None
    return found
