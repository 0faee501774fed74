r"""How near solvers end on fresh noises, on which nothing was chosen or fitted.

A reference is by DPM-Solver++ of third order at equal steps of log-SNR, as for the trajectories that are fitted to
(`lml.solver.trajectories`), in fewer steps: of some n evaluations four n steps are nearer to the flow by far.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from lml.samplers import NoiseModel, sample
from lml.solver.path import end
from lml.solver.schedule import Schedule
from lml.solver.solver import Solver
from lml.solver.trajectories import METHOD, STEPS, distances

__all__ = ["ROUNDS", "fresh_cost", "fresh_errors", "steps_of"]

#: Rounds of fresh noises, each of as many as there are trajectories: a network may know its samples by their place.
ROUNDS = 4

_LEAST_STEPS = 24


def steps_of(evaluations: int) -> int:
    """Return the steps of a reference for solvers of so many evaluations."""
    return min(max(_LEAST_STEPS, 4 * evaluations), STEPS)


def fresh_cost(evaluations: int, samples: int) -> int:
    """Return how many evaluations of one sample `fresh_errors` takes for two solvers, in `ROUNDS` rounds."""
    return ROUNDS * samples * (steps_of(evaluations) + 2 * evaluations)


def fresh_errors(
    model: NoiseModel,
    schedule: Schedule,
    noise: Tensor,
    solvers: Sequence[Solver],
    progress: Callable[[str], None] | None = None,
) -> list[Tensor]:
    """Return the distances of every solver from the flow's end, (R * B,) each, not finite where it diverges.

    Args:
        model: the noise prediction.
        schedule: its noise levels.
        noise: standard normal, (R, B, ...): R rounds, which are evaluated one after the other.
        solvers: of the same number of evaluations.
        progress: is called with a line of text before each round.
    """
    steps = steps_of(solvers[0].evaluations)
    levels = schedule.continuous.levels(steps, "log-snr")
    found: list[list[Tensor]] = [[] for _ in solvers]
    for k, part in enumerate(noise):
        if progress is not None:
            progress(f"round {k + 1} of {len(noise)}")
        x = levels[0].sigma * part
        ends = sample(METHOD, model, x, levels)
        for errors, solver in zip(found, solvers, strict=True):
            errors.append(distances(end(solver, model, x), ends))
    return [torch.cat(errors) for errors in found]
