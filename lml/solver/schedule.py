r"""The noise levels that a network knows: a table of times with ``lambda = log(alpha/sigma)``; levels spaced over it.

``preserving``: ``alpha^2 + sigma^2 = 1``. ``flow``: ``alpha + sigma = 1``. ``exploding``: ``alpha = 1``. A network is
asked at ``time``; what a solver needs is ``lambda`` alone.

A table may end where ``lambda`` is infinite. Where it has no signal (zero terminal SNR, ``sigma = 1`` of a flow) the
first level has ``alpha = 2^-12``, as in diffusers; where it has no noise (``sigma = 0``) it ends at the entry before.

Sources: Lu et al. 2022, DPM-Solver, Sec. 3.4 (equal steps of log-SNR); Karras et al. 2022, EDM, Eq. 5; Esser et al.
2024, Stable Diffusion 3 (the shift of a flow).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch

from lml.arguments import check_choice, check_integer, check_positive, shown
from lml.samplers import Level

__all__ = ["KINDS", "LEAST_SIGNAL", "SPACINGS", "Kind", "Schedule", "spaced"]

Kind = Literal["preserving", "flow", "exploding"]

#: How ``alpha`` follows from ``lambda``.
KINDS: tuple[str, ...] = get_args(Kind)

#: The spacings of levels that were published. ``time``: equal steps along the table.
SPACINGS: tuple[str, ...] = ("time", "log-snr", "karras")

#: ``alpha`` of a first level without a signal: that of diffusers for zero terminal SNR, the root of 2^-24.
LEAST_SIGNAL = 2.0**-12

_RHO = 7
# Entries of a table that is made from formulas. Between them lambda is interpolated linearly.
_ENTRIES = 4001


@dataclass(frozen=True)
class Schedule:
    """The noise levels of a network, from the first to the last.

    Attributes:
        kind: one of `KINDS`.
        times: what the network is asked at, in the order of falling noise.
        half_log_snr: ``log(alpha/sigma)`` at each, rising and finite.
        integer: whether the network is asked at the entries alone; levels are then entries.

    Raises:
        ValueError: for a table that is too short, not finite, or not in order.
    """

    kind: Kind
    times: tuple[float, ...]
    half_log_snr: tuple[float, ...]
    integer: bool = False

    def __post_init__(self) -> None:
        check_choice(self.kind, "kind", KINDS)
        if len(self.times) != len(self.half_log_snr) or len(self.times) < 2:
            raise ValueError(
                f"times and half_log_snr must be two numbers or more each, got {len(self.times)} and "
                f"{len(self.half_log_snr)}"
            )
        for i, (value, time) in enumerate(zip(self.half_log_snr, self.times, strict=True)):
            if not math.isfinite(value) or not math.isfinite(time):
                raise ValueError(f"times and half_log_snr must be finite, got {time!r} and {value!r} at {i}")
        for i in range(1, len(self.times)):
            if not self.half_log_snr[i - 1] < self.half_log_snr[i]:
                raise ValueError(
                    f"half_log_snr must rise, got {self.half_log_snr[i - 1]:.6g} and {self.half_log_snr[i]:.6g} at {i}"
                )
            if not self.times[i - 1] > self.times[i]:
                raise ValueError(f"times must fall, got {self.times[i - 1]:.6g} and {self.times[i]:.6g} at {i}")

    @property
    def range(self) -> tuple[float, float]:
        """The first and the last ``log(alpha/sigma)``."""
        return self.half_log_snr[0], self.half_log_snr[-1]

    @property
    def continuous(self) -> Schedule:
        """The same, for a network that is asked between two entries too."""
        return replace(self, integer=False)

    def level(self, half_log_snr: float) -> Level:
        """Return the level of this ``lambda``, the nearest entry if the network is asked at entries alone."""
        if self.integer:
            i = self.nearest(half_log_snr)
            return self._made(self.half_log_snr[i], self.times[i])
        return self._made(half_log_snr, self._interpolated(half_log_snr))

    def at(self, time: float) -> Level:
        """Return the level at a time of the network, interpolated between two entries.

        Raises:
            ValueError: for a time outside of the table.
        """
        if not self.times[-1] <= time <= self.times[0]:
            raise ValueError(f"time must lie in [{self.times[-1]:g}, {self.times[0]:g}], got {shown(time)}")
        rising = [-t for t in self.times]
        return self._made(_interpolate(-time, rising, self.half_log_snr), time)

    def nearest(self, half_log_snr: float) -> int:
        """Return the place of the entry whose ``lambda`` is nearest."""
        right = min(max(bisect_left(self.half_log_snr, half_log_snr), 1), len(self.times) - 1)
        left = right - 1
        middle = 0.5 * (self.half_log_snr[left] + self.half_log_snr[right])
        return right if half_log_snr > middle else left

    def levels(self, evaluations: int, spacing: str) -> tuple[Level, ...]:
        """Return the ``evaluations + 1`` levels of a trajectory over the whole range.

        Raises:
            ValueError: for a spacing that does not exist, or more levels than entries.
        """
        return self.at_half_log_snr(spaced(self, evaluations, spacing))

    def at_half_log_snr(self, values: Sequence[float]) -> tuple[Level, ...]:
        """Return levels of these ``lambda``; where the network is asked at entries alone, the nearest, each once.

        Raises:
            ValueError: for values that do not rise, or more of them than entries.
        """
        if not self.integer:
            return tuple(self.level(value) for value in values)
        count, places = len(values), [self.nearest(value) for value in values]
        if count > len(self.times):
            raise ValueError(f"evaluations must be below the {len(self.times)} entries of the table, got {count - 1}")
        for i in range(count - 2, -1, -1):  # the last stays where it is; of two on one entry the earlier gives way
            places[i] = min(places[i], places[i + 1] - 1)
        for i in range(count):
            places[i] = max(places[i], places[i - 1] + 1 if i else 0)
        return tuple(self._made(self.half_log_snr[p], self.times[p]) for p in places)

    def _interpolated(self, half_log_snr: float) -> float:
        return _interpolate(half_log_snr, self.half_log_snr, self.times)

    def _made(self, half_log_snr: float, time: float) -> Level:
        h = half_log_snr
        if self.kind == "preserving":
            return Level(_sigmoid(2 * h) ** 0.5, _sigmoid(-2 * h) ** 0.5, time)
        if self.kind == "flow":
            return Level(_sigmoid(h), _sigmoid(-h), time)
        return Level(1.0, math.exp(-h), time)

    @classmethod
    def of_betas(cls, betas: Iterable[float]) -> Schedule:
        """Return the table of training timesteps 0 .. T - 1 of these betas, in the order of the timesteps.

        Raises:
            ValueError: for a beta that is not in (0, 1), or 1 anywhere but at the end.
        """
        found = [float(beta) for beta in betas]
        for i, beta in enumerate(found):
            if not 0 < beta < 1 and not (beta == 1 and i == len(found) - 1):
                raise ValueError(f"betas must lie in (0, 1), the last may be 1, got {beta!r} at {i}")
        log_squares, total = [], 0.0
        for beta in found:
            total = total + math.log1p(-beta) if beta < 1 else 2 * math.log(LEAST_SIGNAL)
            log_squares.append(max(total, 2 * math.log(LEAST_SIGNAL)) if beta == 1 else total)
        half = [0.5 * (log - math.log(-math.expm1(log))) for log in log_squares]
        return cls("preserving", tuple(map(float, reversed(range(len(half))))), tuple(reversed(half)), integer=True)

    @classmethod
    def flow(cls, *, shift: float = 1.0, steps: int = 1000, warp: Callable[[float], float] | None = None) -> Schedule:
        """Return that of a flow, whose network is asked at ``steps * sigma``.

        Args:
            shift: ``sigma' = shift sigma/(1 + (shift - 1) sigma)``.
            steps: of training; the table ends at ``sigma = 1/steps`` before the shift.
            warp: instead of the shift, any rising map of (0, 1] to itself.

        Raises:
            ValueError: for a shift that is not positive.
        """
        check_positive(shift, "shift")
        check_integer(steps, "steps", least=2)
        warped = warp or (lambda s: shift * s / (1 + (shift - 1) * s))
        sigmas = [warped(1 - i / (_ENTRIES - 1) * (1 - 1 / steps)) for i in range(_ENTRIES)]
        least = math.log(LEAST_SIGNAL) - math.log1p(-LEAST_SIGNAL)
        half = [math.log1p(-s) - math.log(s) if s < 1 else least for s in sigmas]
        kept = [i for i in range(_ENTRIES) if i == 0 or half[i] > half[0]]
        return cls("flow", tuple(steps * sigmas[i] for i in kept), tuple(half[i] for i in kept))

    @classmethod
    def edm(cls, *, sigma_min: float = 0.002, sigma_max: float = 80.0, kind: Kind = "exploding") -> Schedule:
        """Return ``x = x0 + sigma eps`` with the network asked at ``log(sigma)/4``, as that of EDM is.

        Raises:
            ValueError: unless ``0 < sigma_min < sigma_max``.
        """
        check_positive(sigma_min, "sigma_min")
        check_positive(sigma_max, "sigma_max")
        if not sigma_min < sigma_max:
            raise ValueError(f"sigma_min must be below sigma_max, got {sigma_min} and {sigma_max}")
        low, high = math.log(sigma_min), math.log(sigma_max)
        logs = [high + (low - high) * i / 1000 for i in range(1001)]
        return cls(kind, tuple(s / 4 for s in logs), tuple(-s for s in logs))

    @classmethod
    def sampled(cls, schedule: Any, times: tuple[float, float] = (1.0, 1e-3)) -> Schedule:
        """Return a schedule of continuous time, of anything that has ``alpha(t)`` and ``sigma(t)``.

        Args:
            schedule: takes tensors of times, as those of `toy.schedule` do.
            times: first and last, the first the later one.

        Raises:
            ValueError: for another object, or for times between which there is no finite falling noise.
        """
        if not callable(getattr(schedule, "alpha", None)) or not callable(getattr(schedule, "sigma", None)):
            raise ValueError(f"schedule must have alpha(t) and sigma(t), got {shown(schedule)}")
        first, last = times
        ts = [first + (last - first) * i / (_ENTRIES - 1) for i in range(_ENTRIES)]
        grid = torch.tensor(ts, dtype=torch.float64)
        pairs = list(zip(schedule.alpha(grid).tolist(), schedule.sigma(grid).tolist(), strict=True))
        while pairs and pairs[-1][1] == 0:  # no noise: the table ends before
            ts.pop()
            pairs.pop()
        if pairs and pairs[0][0] == 0:
            pairs[0] = (LEAST_SIGNAL, pairs[0][1])
        if not all(alpha > 0 and sigma > 0 for alpha, sigma in pairs):
            raise ValueError(f"schedule must have signal and noise between times {times}")
        total = [alpha + sigma for alpha, sigma in pairs]
        flow, exploding = all(abs(s - 1) < 1e-6 for s in total[1:]), all(alpha == 1 for alpha, _ in pairs)
        kind: Kind = "flow" if flow else "exploding" if exploding else "preserving"
        return cls(kind, tuple(ts), tuple(math.log(alpha) - math.log(sigma) for alpha, sigma in pairs))


def spaced(schedule: Schedule, steps: int, spacing: str) -> list[float]:
    """Return ``steps + 1`` values of ``lambda`` over the range of a schedule, by one of `SPACINGS`.

    Raises:
        ValueError: for another spacing, or fewer than one step.
    """
    check_choice(spacing, "spacing", SPACINGS)
    check_integer(steps, "steps")
    first, last = schedule.range
    shares = [i / steps for i in range(steps + 1)]
    if spacing == "log-snr":
        values = [first + share * (last - first) for share in shares]
    elif spacing == "karras":
        high, low = math.exp(-first / _RHO), math.exp(-last / _RHO)  # roots of sigma/alpha
        values = [-_RHO * math.log(high + share * (low - high)) for share in shares]
    else:
        places = [share * (len(schedule.times) - 1) for share in shares]
        values = [_interpolate(place, range(len(schedule.times)), schedule.half_log_snr) for place in places]
    values[0], values[-1] = first, last
    return values


def _interpolate(x: float, xs: Sequence[float], ys: Sequence[float]) -> float:
    """Interpolate linearly in a rising table; beyond its ends, the value at the end."""
    right = min(max(bisect_left(xs, x), 1), len(xs) - 1)
    share = min(max((x - xs[right - 1]) / (xs[right] - xs[right - 1]), 0.0), 1.0)
    return ys[right - 1] + share * (ys[right] - ys[right - 1]) if share < 1 else ys[right]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))
