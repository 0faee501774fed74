r"""Noise levels of a schedule for the samplers: equal steps of time, of log-SNR, those of Karras et al., or learned."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from lml.arguments import check_choice, check_integer
from lml.samplers import Level
from lml.tuned import tuned_fractions
from toy.schedule import NoiseSchedule

__all__ = ["SPACINGS", "Spacing", "level_at", "noise_levels"]

Spacing = Literal["time", "log-snr", "karras", "tuned"]

#: The spacings by name.
SPACINGS: tuple[str, ...] = get_args(Spacing)

_RHO = 7


def level_at(schedule: NoiseSchedule, time: float) -> Level:
    """Return the level of a schedule at a time in [0, 1].

    Raises:
        ValueError: for a time outside [0, 1].
    """
    return Level(float(schedule.alpha(time)), float(schedule.sigma(time)), float(time))


def noise_levels(
    schedule: NoiseSchedule,
    steps: int,
    *,
    spacing: Spacing = "log-snr",
    times: tuple[float, float] | None = None,
    log_snr: tuple[float, float] | None = None,
    final_zero: bool = False,
) -> list[Level]:
    r"""Return the ``steps + 1`` levels of a trajectory, from high noise to low.

    ``time``: equal steps of t. ``log-snr``: equal steps of ``log(alpha^2/sigma^2)``. ``karras``: equal steps of
    ``(sigma/alpha)^{1/7}``. ``tuned``: the learned fractions of the range of the log-SNR of `lml.tuned`.

    Args:
        schedule: the noise schedule.
        steps: how many steps, at least one.
        spacing: one of `SPACINGS`.
        times: first and last time, the first the later. One of ``times`` and ``log_snr`` is given.
        log_snr: first and last log-SNR, rising.
        final_zero: the last step goes from the last level to ``alpha = 1, sigma = 0``; the others are spaced over
            ``steps - 1`` steps, so that at least two are needed.

    Raises:
        ValueError: for an argument that does not fit, naming it.

    Source: Karras et al. 2022, Eq. 5; Lu et al. 2022, DPM-Solver, Sec. 3.4 (uniform in log-SNR).
    """
    check_choice(spacing, "spacing", SPACINGS)
    check_integer(steps, "steps", least=1 + final_zero)
    first, last = _ends(schedule, times, log_snr)
    count = steps if final_zero else steps + 1
    ramp = torch.linspace(0, 1, count, dtype=torch.float64)
    grid = _times(schedule, spacing, first, last, ramp)
    grid[0], grid[-1] = first, last
    made = [Level(*row) for row in torch.stack((schedule.alpha(grid), schedule.sigma(grid), grid), 1).tolist()]
    return [*made, Level(1.0, 0.0, 0.0)] if final_zero else made


def _times(schedule: NoiseSchedule, spacing: str, first: float, last: float, ramp: Tensor) -> Tensor:
    """Return the times of a spacing, shape of ``ramp``."""
    if spacing == "time":
        return torch.lerp(torch.full_like(ramp, first), torch.full_like(ramp, last), ramp)
    ends = [schedule.log_snr(t) for t in (first, last)]
    if spacing == "karras":
        roots = [torch.exp(-end / (2 * _RHO)) for end in ends]
        log_snr = -2 * _RHO * torch.log(roots[0] + ramp * (roots[1] - roots[0]))
    else:
        shares = ramp if spacing == "log-snr" else ramp.new_tensor(tuned_fractions(len(ramp) - 1))
        log_snr = ends[0] + shares * (ends[1] - ends[0])
    return schedule.time(log_snr)


def _ends(
    schedule: NoiseSchedule, times: tuple[float, float] | None, log_snr: tuple[float, float] | None
) -> tuple[float, float]:
    """Return the first and the last time, where signal and noise are finite and the noise falls."""
    if (times is None) == (log_snr is None):
        raise ValueError(f"exactly one of times and log_snr must be given, got {times} and {log_snr}")
    if log_snr is not None:
        if not log_snr[0] < log_snr[1]:
            raise ValueError(f"log_snr must rise, got {log_snr}")
        first, last = (float(schedule.time(value)) for value in log_snr)
        if not 0 <= last < first <= 1:
            raise ValueError(f"log_snr must lie within the schedule, got {log_snr}, at times {first} and {last}")
        return first, last
    assert times is not None
    first, last = times
    if not 0 <= last < first <= 1:
        raise ValueError(f"times must lie in [0, 1], the later one first, got {times}")
    if not all(bool(torch.isfinite(schedule.log_snr(t))) for t in times):
        raise ValueError(f"times must have a finite log-SNR, got {times}")
    return float(first), float(last)
