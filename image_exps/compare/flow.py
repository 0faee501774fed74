r"""The end of a network's own probability flow, by steps that are doubled until the end no longer moves.

The solver is of second order: DPM-Solver++ 2M at equal steps of log-SNR, or Heun's along a flow at equal steps of its
shifted time. From half as many steps to these its end moves by about three times the error that is left.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from image_exps.pipelines.network import Network
from image_exps.problems.endpoints import rms
from lml.samplers import SAMPLERS, Level, NoiseModel, sample

__all__ = ["FIRST", "MOST", "Flow", "flow_ends", "reference_ends"]

#: Evaluations of the first try, and the most.
FIRST, MOST = 40, 1280

# The end may move by this share of the distance that is to be measured: its own error is about a third of that.
_SHARE = 0.05


@dataclass(frozen=True)
class Flow:
    """Where the flow of a network ends from some noises.

    Attributes:
        x: its ends, (B, ...), at ``level``.
        noise: the network's noise prediction there.
        level: the last level.
        evaluations: of the network, by the reference.
        change: mean distance from the ends of half as many.
        converged: whether that is small against the distances that are measured.
    """

    x: Tensor
    noise: Tensor
    level: Level
    evaluations: int
    change: float
    converged: bool

    def at(self, sigma: float, *, straight: bool = False) -> Tensor:
        """Return its ends at another small sigma, by one step of DDIM: ``alpha' x0 + sigma' eps``.

        ``straight``: of flow matching, ``alpha' = 1 - sigma'``; else ``alpha'^2 + sigma'^2 = 1``.
        """
        clean = (self.x - self.level.sigma * self.noise) / self.level.alpha
        alpha = 1 - sigma if straight else math.sqrt(1 - sigma**2)
        return alpha * clean + sigma * self.noise


def flow_ends(
    made: Network,
    x: Tensor,
    distance: Callable[[Tensor], float],
    run: Callable[[int], tuple[Tensor, Tensor]] | None = None,
) -> Flow:
    """Return where the flow ends from noises ``x``, (B, ...).

    Args:
        made: the network.
        x: noises of unit variance.
        distance: the smallest mean distance that will be measured, given the ends so far.
        run: ``run(evaluations)`` returns ends and noise, where those of `reference_ends` are kept.
    """
    run = run or (lambda evaluations: reference_ends(made, made.noise_model, x, evaluations))
    level = made.levels(1)[-1]
    evaluations = FIRST
    before, _ = run(evaluations)
    while True:
        evaluations *= 2
        ends, noise = run(evaluations)
        change = float(rms((ends - before).flatten(1)).mean())
        converged = change <= _SHARE * distance(ends)
        if converged or evaluations >= MOST or not math.isfinite(change):
            return Flow(ends, noise, level, evaluations, change, converged)
        before = ends


def reference_ends(made: Network, model: NoiseModel, x: Tensor, evaluations: int) -> tuple[Tensor, Tensor]:
    """Return the ends of the reference in an even number of evaluations, and the noise there, both (B, ...)."""
    if made.flow:
        solver, levels = SAMPLERS["heun-flow"], made.levels(evaluations // 2, "time")
    else:
        solver, levels = SAMPLERS["dpm-solver++-2m"], made.levels(evaluations, "log-snr")
    ends = sample(solver, model, x, levels)
    return ends, model(ends, levels[-1])
