r"""Pure samplers by name, with the levels of a schedule and a correction: the arms of a comparison.

An *arm* is a base with its spacing and a correction with its parameters, by the grammar of `image_exps.samplers.names`:
``ddim``, ``unipc-3@time``, ``ddim/lml(damping=0.01)``. The bases are those of `image_exps.samplers.table`, the spacings
those of `toy.levels`, the corrections those of `image_exps.samplers.corrections`. A base without a spacing has the one
that it was published with.

"Evaluations" are evaluations of the network; a sampler that needs more than one for a step takes fewer steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from image_exps.problems.targets import SCHEDULE, TIMES
from image_exps.samplers.corrections import SINGLE_PRECISION, Setting, find_corrections, parameters_of
from image_exps.samplers.names import NO_CORRECTION, SamplerName, Value, check_known, parse_name
from image_exps.samplers.table import ALGORITHMS, algorithm
from lml.correction import Correction
from lml.samplers import SAMPLERS, Level, Sampler
from lml.samplers.dpm_solver_singlestep import dpm_solver_singlestep, singlestep_orders
from toy.levels import SPACINGS, Spacing, level_at, noise_levels
from toy.schedule import NoiseSchedule

__all__ = ["BASES", "Arm", "Plan", "arm", "pure_sampler"]

#: The bases of arms by name. Those for flows run at any levels, but are made for ``alpha + sigma = 1``.
BASES: tuple[str, ...] = tuple(ALGORITHMS)


class Plan(NamedTuple):
    """An arm for one batch: arguments of `lml.samplers.sample`, and the dtype outside of the network, if not its."""

    sampler: Sampler
    levels: list[Level]
    correction: Correction
    dtype: torch.dtype | None


@dataclass(frozen=True)
class Arm:
    """A base, its spacing, and a correction with parameters; see `arm` for the names.

    Raises:
        ValueError: for a base, spacing, correction or parameter that does not exist; the message lists those that do.
    """

    base: str
    spacing: Spacing
    correction: str = NO_CORRECTION
    parameters: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        check_known("base", self.base, BASES)
        check_known("spacing", self.spacing, SPACINGS)
        allowed = parameters_of(self.correction)
        for name, _ in self.parameters:
            check_known(f"parameter of {self.correction}", name, allowed)

    @property
    def name(self) -> str:
        """The name from which `arm` makes this again; without the spacing if it is the published one."""
        spacing = None if self.spacing == algorithm(self.base).spacing else self.spacing
        return str(SamplerName(self.base, spacing, self.correction, dict(self.parameters)))

    def build(
        self,
        evaluations: int,
        dim: int,
        *,
        seed: int,
        count: int,
        first: int = 0,
        schedule: NoiseSchedule = SCHEDULE,
        times: tuple[float, float] = TIMES,
    ) -> Plan:
        """Return what samples ``first .. first + count - 1`` of a seed are made with, for this many evaluations.

        Args:
            evaluations: of the network.
            dim: the dimension of a sample.
            seed: of the run.
            count: samples of the batch: a correction that draws has a generator for each.
            first: index of the first of them.
            schedule: of the noise levels.
            times: first and last time of the trajectory on it.

        Raises:
            ValueError: for a number of evaluations that the base cannot spend, or a parameter out of range.
        """
        sampler, steps = pure_sampler(self.base, evaluations, schedule)
        setting = Setting(algorithm(self.base), evaluations, dim, seed, first, count)
        correction = find_corrections()[self.correction](setting, **dict(self.parameters))
        dtype = torch.float32 if self.correction in SINGLE_PRECISION else None
        return Plan(sampler, noise_levels(schedule, steps, spacing=self.spacing, times=times), correction, dtype)


def arm(name: str) -> Arm:
    """Return the arm of a name, ``base@spacing/correction(parameter=value, ...)``, all but the base optional.

    Raises:
        ValueError: for a name of another form, and for what `Arm` refuses.
    """
    parts = parse_name(name)
    check_known("base", parts.base, BASES)
    spacing = parts.spacing or algorithm(parts.base).spacing
    return Arm(parts.base, spacing, parts.correction, tuple(parts.parameters.items()))  # type: ignore[arg-type]


def pure_sampler(base: str, evaluations: int, schedule: NoiseSchedule = SCHEDULE) -> tuple[Sampler, int]:
    """Return the sampler of a base, and how many of its steps cost exactly this many evaluations.

    Args:
        base: by name.
        evaluations: of the network.
        schedule: on which a singlestep method finds the levels inside of its steps.

    Raises:
        ValueError: for a base that does not exist, or evaluations that it cannot spend.
    """
    check_known("base", base, BASES)
    if base not in SAMPLERS:
        orders = singlestep_orders(evaluations)
        return dpm_solver_singlestep(orders, lambda *step: _inside(schedule, *step)), len(orders)
    sampler = SAMPLERS[base]
    for steps in range(1, evaluations + 1):
        if sampler.evaluations(steps) == evaluations:
            return sampler, steps
    raise ValueError(f"evaluations must be a number that {base} can spend, got {evaluations}")


def _inside(schedule: NoiseSchedule, now: Level, after: Level, share: float) -> Level:
    """Return the level of a schedule at a share of a step in half-log-SNR."""
    half = now.half_log_snr + share * (after.half_log_snr - now.half_log_snr)
    return level_at(schedule, float(schedule.time(2 * half)))
