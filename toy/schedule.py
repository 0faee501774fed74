r"""Noise schedules: ``x_t = alpha(t) y + sigma(t) z`` on continuous time ``t`` in [0, 1], and their discrete tables.

Each schedule gives ``alpha`` and ``sigma``, the log-SNR ``log(alpha^2/sigma^2)`` with its inverse, and the coefficients
``f = d log alpha/dt`` and ``g^2 = d sigma^2/dt - 2 f sigma^2`` of the forward SDE ``dx = f x dt + g dW``. All of it in
float64, without cancellation at either end.

Sources: Song et al. 2021 (VP, VE), Rombach et al. 2022 (scaled linear), Nichol & Dhariwal 2021 (cosine), Lipman et al.
2023 (flow matching), Kingma et al. 2021 (log-SNR).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from lml.arguments import check_choice, check_integer, check_positive

__all__ = [
    "SCHEDULES",
    "VE",
    "Cosine",
    "DiscreteTable",
    "FlowMatching",
    "NoiseSchedule",
    "Time",
    "VPConstant",
    "VPLinear",
    "VPScaledLinear",
    "noise_schedule",
]

Time = float | Tensor


def _time(t: Time) -> Tensor:
    t = torch.as_tensor(t, dtype=torch.float64)
    if not bool(((t >= 0) & (t <= 1)).all()):
        raise ValueError(f"time must lie in [0, 1], got {t.tolist()}")
    return t


def _increasing(low: float, high: float, low_name: str, high_name: str) -> None:
    check_positive(low, low_name)
    check_positive(high, high_name)
    if not low < high:
        raise ValueError(f"{low_name} must be below {high_name}, got {low} and {high}")


@dataclass(frozen=True)
class DiscreteTable:
    """The coefficients of a schedule at the ``steps`` training timesteps: ``alpha`` and ``sigma``, shape (steps,)."""

    alpha: Tensor
    sigma: Tensor

    @property
    def log_snr(self) -> Tensor:
        """``log(alpha^2/sigma^2)``, shape (steps,)."""
        return 2 * (self.alpha.log() - self.sigma.log())


class NoiseSchedule(ABC):
    """A noise schedule on [0, 1]. Times are numbers or tensors of any shape; results are float64 tensors of that shape.

    Raises:
        ValueError: for a time outside [0, 1] or not a number.
    """

    def alpha(self, t: Time) -> Tensor:
        """Return the signal coefficient ``alpha(t)``."""
        return self._log_alpha(_time(t)).exp()

    def sigma(self, t: Time) -> Tensor:
        """Return the noise coefficient ``sigma(t)``."""
        return self._log_sigma(_time(t)).exp()

    def log_snr(self, t: Time) -> Tensor:
        """Return ``log(alpha^2/sigma^2)``, decreasing in t; infinite where alpha or sigma vanishes."""
        t = _time(t)
        return 2 * (self._log_alpha(t) - self._log_sigma(t))

    @abstractmethod
    def time(self, log_snr: Time) -> Tensor:
        """Return the time at which the log-SNR has this value, the inverse of `log_snr`."""

    @abstractmethod
    def drift(self, t: Time) -> Tensor:
        """Return ``f(t) = d log alpha/dt``."""

    @abstractmethod
    def squared_diffusion(self, t: Time) -> Tensor:
        """Return ``g(t)^2 = d sigma^2/dt - 2 f sigma^2``."""

    @abstractmethod
    def discrete(self, steps: int = 1000) -> DiscreteTable:
        """Return the training table of ``steps`` noise levels, as diffusers builds it, in float64."""

    @abstractmethod
    def _log_alpha(self, t: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_sigma(self, t: Tensor) -> Tensor: ...


class _VariancePreserving(NoiseSchedule):
    """``alpha^2 + sigma^2 = 1``: everything follows from ``beta(t) = -2 d log alpha/dt`` and its integral."""

    @abstractmethod
    def beta(self, t: Time) -> Tensor:
        """Return ``beta(t)``, the rate of the forward process."""

    @abstractmethod
    def _time_of_log_alpha(self, log_alpha: Tensor) -> Tensor: ...

    @abstractmethod
    def _betas(self, steps: int) -> Tensor: ...

    def _log_sigma(self, t: Tensor) -> Tensor:
        return 0.5 * torch.log(-torch.expm1(2 * self._log_alpha(t)))

    def time(self, log_snr: Time) -> Tensor:
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        return self._time_of_log_alpha(0.5 * torch.nn.functional.logsigmoid(log_snr))

    def drift(self, t: Time) -> Tensor:
        return -0.5 * self.beta(t)

    def squared_diffusion(self, t: Time) -> Tensor:
        return self.beta(t)

    def discrete(self, steps: int = 1000) -> DiscreteTable:
        squared = torch.cumprod(1 - self._betas(check_integer(steps, "steps")), 0)
        return DiscreteTable(squared.sqrt(), (1 - squared).sqrt())


@dataclass(frozen=True)
class VPLinear(_VariancePreserving):
    """Variance preserving, ``beta(t)`` linear from ``beta_start`` to ``beta_end`` (rates per unit time).

    The defaults are 1000 times the per-step betas 1e-4 .. 0.02 of DDPM.
    """

    beta_start: float = 0.1
    beta_end: float = 20.0

    def __post_init__(self) -> None:
        _increasing(self.beta_start, self.beta_end, "beta_start", "beta_end")

    def beta(self, t: Time) -> Tensor:
        return self.beta_start + (self.beta_end - self.beta_start) * _time(t)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.5 * t * (self.beta_start + 0.5 * (self.beta_end - self.beta_start) * t)

    def _time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        b, slope = self.beta_start, self.beta_end - self.beta_start
        return -4 * log_alpha / (b + torch.sqrt(b * b - 4 * slope * log_alpha))

    def _betas(self, steps: int) -> Tensor:
        return torch.linspace(self.beta_start, self.beta_end, steps, dtype=torch.float64) / 1000


@dataclass(frozen=True)
class VPConstant(_VariancePreserving):
    """Variance preserving with a constant rate ``rate`` per unit time: ``alpha(t) = e^{-rate t/2}``.

    The default is the diffusion of the galaxy networks, ``beta = 1`` on [0, 10] (Sampson & Melchior 2024). The discrete
    table samples it exactly, ``1 - beta_i = e^{-rate/steps}``.
    """

    rate: float = 10.0

    def __post_init__(self) -> None:
        check_positive(self.rate, "rate")

    def beta(self, t: Time) -> Tensor:
        return torch.full_like(_time(t), self.rate)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -0.5 * self.rate * t

    def _time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        return -2 * log_alpha / self.rate

    def _betas(self, steps: int) -> Tensor:
        return torch.full((steps,), -math.expm1(-self.rate / steps), dtype=torch.float64)


@dataclass(frozen=True)
class VPScaledLinear(_VariancePreserving):
    """Variance preserving, ``sqrt(beta(t))`` linear: the schedule of latent diffusion and Stable Diffusion.

    The defaults are 1000 times the per-step betas 0.00085 .. 0.012.
    """

    beta_start: float = 0.85
    beta_end: float = 12.0

    def __post_init__(self) -> None:
        _increasing(self.beta_start, self.beta_end, "beta_start", "beta_end")

    @property
    def _root(self) -> float:
        return math.sqrt(self.beta_start)

    @property
    def _slope(self) -> float:
        return math.sqrt(self.beta_end) - math.sqrt(self.beta_start)

    def beta(self, t: Time) -> Tensor:
        return (self._root + self._slope * _time(t)) ** 2

    def _log_alpha(self, t: Tensor) -> Tensor:
        r, k = self._root, self._slope
        return -0.5 * t * (r * r + k * t * (r + k * t / 3))

    def _time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        r, k = self._root, self._slope
        # (r + k t)^3 - r^3 = -6 k log alpha =: c, and y - r = c/(y^2 + y r + r^2) for y = (r^3 + c)^(1/3).
        c = -6 * k * log_alpha
        y = (r**3 + c) ** (1 / 3)
        return c / (y * y + y * r + r * r) / k

    def _betas(self, steps: int) -> Tensor:
        start, end = math.sqrt(self.beta_start / 1000), math.sqrt(self.beta_end / 1000)
        return torch.linspace(start, end, steps, dtype=torch.float64) ** 2


@dataclass(frozen=True)
class Cosine(_VariancePreserving):
    """Variance preserving, ``alpha(t) = cos(u(t))/cos(u(0))`` with ``u(t) = (t + offset)/(1 + offset) pi/2``.

    At t = 1 the signal vanishes: the log-SNR is minus infinity there, and the discrete table caps beta at 0.999.
    """

    offset: float = 0.008

    def __post_init__(self) -> None:
        check_positive(self.offset, "offset")

    def _angle(self, t: Tensor) -> Tensor:
        return (t + self.offset) / (1 + self.offset) * (math.pi / 2)

    @property
    def _rate(self) -> float:
        return math.pi / 2 / (1 + self.offset)

    @property
    def _start(self) -> float:
        return self.offset * self._rate

    def beta(self, t: Time) -> Tensor:
        return 2 * self._rate * torch.tan(self._angle(_time(t)))

    def _log_alpha(self, t: Tensor) -> Tensor:
        # cos u as the sine of the remaining angle, which is exactly zero at t = 1.
        return torch.log(torch.sin((1 - t) * self._rate)) - math.log(math.cos(self._start))

    def _log_sigma(self, t: Tensor) -> Tensor:
        # cos^2 u(0) - cos^2 u(t) = sin(u(t) - u(0)) sin(u(t) + u(0)): no difference of nearly equal squares at small t.
        squared = torch.sin(t * self._rate) * torch.sin(t * self._rate + 2 * self._start)
        return 0.5 * torch.log(squared) - math.log(math.cos(self._start))

    def _time_of_log_alpha(self, log_alpha: Tensor) -> Tensor:
        # With u = u(0) + delta: sin^2 u = sin^2 u(0) + sigma^2 cos^2 u(0) and cos u = alpha cos u(0), in which
        # sin(u - u(0)) = sigma^2 cos u(0)/(sin u + alpha sin u(0)): no difference of nearly equal angles at small t.
        alpha, squared_sigma = log_alpha.exp(), -torch.expm1(2 * log_alpha)
        start_sine, start_cosine = math.sin(self._start), math.cos(self._start)
        sine = torch.sqrt(start_sine**2 + squared_sigma * start_cosine**2)
        delta_sine = squared_sigma * start_cosine / (sine + alpha * start_sine)
        delta_cosine = alpha * start_cosine**2 + sine * start_sine
        return (torch.atan2(delta_sine, delta_cosine) / self._rate).clamp_max(1.0)  # no rounding beyond the end

    def _betas(self, steps: int) -> Tensor:
        grid = torch.arange(steps + 1, dtype=torch.float64) / steps
        squared = torch.cos(self._angle(grid)) ** 2
        return (1 - squared[1:] / squared[:-1]).clamp_max(0.999)


@dataclass(frozen=True)
class VE(NoiseSchedule):
    """Variance exploding: ``alpha = 1``, ``sigma`` geometric from ``sigma_min`` to ``sigma_max``."""

    sigma_min: float = 0.01
    sigma_max: float = 50.0

    def __post_init__(self) -> None:
        _increasing(self.sigma_min, self.sigma_max, "sigma_min", "sigma_max")

    @property
    def _log_ratio(self) -> float:
        return math.log(self.sigma_max / self.sigma_min)

    def _log_alpha(self, t: Tensor) -> Tensor:
        return torch.zeros_like(t)

    def _log_sigma(self, t: Tensor) -> Tensor:
        return math.log(self.sigma_min) + self._log_ratio * t

    def time(self, log_snr: Time) -> Tensor:
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        return (-0.5 * log_snr - math.log(self.sigma_min)) / self._log_ratio

    def drift(self, t: Time) -> Tensor:
        return torch.zeros_like(_time(t))

    def squared_diffusion(self, t: Time) -> Tensor:
        return 2 * self._log_ratio * self.sigma(t) ** 2

    def discrete(self, steps: int = 1000) -> DiscreteTable:
        sigma = self.sigma(torch.linspace(0, 1, check_integer(steps, "steps"), dtype=torch.float64))
        return DiscreteTable(torch.ones_like(sigma), sigma)


@dataclass(frozen=True)
class FlowMatching(NoiseSchedule):
    """The straight path of flow matching: ``alpha = 1 - t``, ``sigma = t``."""

    def _log_alpha(self, t: Tensor) -> Tensor:
        return torch.log1p(-t)

    def _log_sigma(self, t: Tensor) -> Tensor:
        return torch.log(t)

    def time(self, log_snr: Time) -> Tensor:
        return torch.sigmoid(-0.5 * torch.as_tensor(log_snr, dtype=torch.float64))

    def drift(self, t: Time) -> Tensor:
        return -1 / (1 - _time(t))

    def squared_diffusion(self, t: Time) -> Tensor:
        t = _time(t)
        return 2 * t / (1 - t)

    def discrete(self, steps: int = 1000) -> DiscreteTable:
        sigma = torch.arange(1, check_integer(steps, "steps") + 1, dtype=torch.float64) / steps
        return DiscreteTable(1 - sigma, sigma)


#: The schedules by name, with the parameters of the published models.
SCHEDULES: dict[str, NoiseSchedule] = {
    "vp-linear": VPLinear(),
    "vp-scaled-linear": VPScaledLinear(),
    "vp-constant": VPConstant(),
    "cosine": Cosine(),
    "ve": VE(),
    "flow-matching": FlowMatching(),
}


def noise_schedule(name: str) -> NoiseSchedule:
    """Return the schedule of this name; `SCHEDULES` lists them.

    Raises:
        ValueError: for a name that is not in `SCHEDULES`.
    """
    check_choice(name, "schedule", SCHEDULES)
    return SCHEDULES[name]
