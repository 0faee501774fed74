"""The problems of the measurement of `lml.solver`: networks, and exact targets under any schedule.

The score of a mixture of Gaussians is exact at every level ``(alpha, sigma)``, so that an exact target can be sampled
with the schedule of any network.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

import toy
from image_exps.networks import galaxies
from image_exps.networks.shifted_flow import ShiftedFlow
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import TIMES, target
from image_exps.search.few_steps_plan import NETWORKS, SEEDS
from lml.arguments import check_choice
from lml.samplers import SAMPLERS, NoiseModel, sample
from lml.solver import Schedule
from toy.schedule import NoiseSchedule

__all__ = ["SCHEDULES", "STEPS_OF_NETWORKS", "STEPS_OF_TARGETS", "Measured", "problem_of"]

# Sigmas at the ends of a flow, as of the networks that predict one, and its shift, that of Stable Diffusion 3.
_FLOW_ENDS, _SHIFT = (0.999, 0.001), 3.0

#: Steps of the reference, equal in log-SNR. Its ends are this far from those of twice as many steps: on ring-2d,
#: random-16d and digits at most 0.01 of the error of good baselines in 20 evaluations; on the galaxies of 32 pixels
#: 7e-5, where the oracle has 2e-2 and more in 8 evaluations.
STEPS_OF_NETWORKS, STEPS_OF_TARGETS = 120, 480


def _flow() -> tuple[NoiseSchedule, tuple[float, float]]:
    schedule = ShiftedFlow(_SHIFT)
    first, last = (float(schedule.time(2 * math.log((1 - s) / s))) for s in _FLOW_ENDS)
    return schedule, (first, last)


#: The schedules by name, with the first and the last time of a trajectory. At time one of the cosine schedule there is
#: no signal: a trajectory begins at the time before it of a thousand.
SCHEDULES: dict[str, tuple[NoiseSchedule, tuple[float, float]]] = {
    "linear": (toy.noise_schedule("vp-linear"), TIMES),
    "scaled-linear": (toy.noise_schedule("vp-scaled-linear"), TIMES),
    "cosine": (toy.noise_schedule("cosine"), (0.999, 1e-3)),
    "constant": (galaxies.SCHEDULE, galaxies.TIMES),
    "flow": _flow(),
}


class Measured(NamedTuple):
    """A network or a target.

    Attributes:
        model: the noise prediction.
        shape: of a sample.
        schedule: of the noise levels.
        times: the first and the last of a trajectory.
        dtype: of samples.
        steps: of the reference.
    """

    model: NoiseModel
    shape: tuple[int, ...]
    schedule: NoiseSchedule
    times: tuple[float, float]
    dtype: torch.dtype
    steps: int

    @property
    def levels(self) -> Schedule:
        """The schedule as `lml.solver` takes it."""
        return Schedule.sampled(self.schedule, self.times)

    def start(self, seed: str, count: int) -> Tensor:
        """Return samples at the first level, shape (count, ...), from the noises of a seed of the plan."""
        return self.sigma * starting_noise(SEEDS[seed], 0, count, self.shape).to(self.dtype)

    @property
    def sigma(self) -> float:
        """The noise of the first level."""
        return float(self.schedule.sigma(self.times[0]))

    @torch.no_grad()
    def ends(self, x: Tensor) -> Tensor:
        """Return where the exact flow goes from samples at the first level, shape of ``x``."""
        fine = toy.noise_levels(self.schedule, self.steps, times=self.times)
        return sample(SAMPLERS["dpm-solver++-3m"], self.model, x, fine)


def problem_of(name: str, schedule: str) -> Measured:
    """Return a network with its own schedule, or an exact target with any of `SCHEDULES`.

    Raises:
        ValueError: for a name of neither, or a network with another schedule than its own.
    """
    from image_exps.pipelines.network import network

    check_choice(schedule, "schedule", SCHEDULES)
    if name in NETWORKS:
        if schedule != NETWORKS[name]:
            raise ValueError(f"schedule must be {NETWORKS[name]} for {name}, got {schedule!r}")
        found = network(name)
        return Measured(found.noise_model, found.shape, found.schedule, found.times, torch.float32, STEPS_OF_NETWORKS)
    at = target(name)
    return Measured(at.model(), (at.dim,), *SCHEDULES[schedule], at.dtype, STEPS_OF_TARGETS)
