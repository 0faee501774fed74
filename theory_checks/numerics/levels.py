r"""The noise levels and targets on which the Hessian claims are checked, and what rounding does to a Hessian there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor

import toy
from toy import DataMixture, ExactTarget, GaussianMixture

__all__ = ["LOG_SNR", "SMALL", "Target", "U", "levels", "named_level", "rounding", "smallest_term"]

#: Unit round-off of float64.
U = torch.finfo(torch.float64).eps / 2

#: From noise that hides the data to noise that hardly blurs it.
LOG_SNR = (-6.0, -3.0, 0.0, 3.0, 6.0)

#: Mixtures in few dimensions, where every quantity can be had by definition.
SMALL = ("bimodal-1d", "skewed-1d", "ring-2d", "cross-2d", "random-8d")

Target = TypeVar("Target", bound=ExactTarget)


def levels(target: Target, log_snr: Sequence[float]) -> list[Target]:
    """Diffuse a target to log-SNRs of the linear VP schedule."""
    schedule = toy.noise_schedule("vp-linear")
    times = [float(schedule.time(value)) for value in log_snr]
    return [target.diffuse(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in times]


def named_level(name: str) -> ExactTarget:
    """Return the target of this name, or, for ``name@log-SNR``, its level of the linear VP schedule.

    Raises:
        ValueError: for a name that is not in the zoo, or a log-SNR that is not a number.
    """
    target, at, log_snr = name.partition("@")
    return levels(toy.target(target), (float(log_snr),))[0] if at else toy.target(target)


def rounding(q: ExactTarget, x: Tensor) -> float:
    """Return a bound on the rounding error of a Hessian at x (B, d) evaluated by definition, relative to its terms.

    Sums over K components and d dimensions leave ``(K + d) u``. The exponents, of size ``|x - m|^2/(2 v)`` with ``v``
    the least variance of a component, are rounded relative to themselves, and an error of an exponent is a relative
    error of its weight. Eight such quantities are multiplied or added on the way: the differences, their squares, the
    weights, the normaliser, two factors of an outer product, its sum, and the subtraction at the end.
    """
    if isinstance(q, GaussianMixture):
        count = q.components
        variance = float(torch.linalg.eigvalsh(q.component_covariances.dense()).min())
    elif isinstance(q, DataMixture):
        count, variance = q.count, q.variance
    else:
        raise TypeError(f"no rounding analysis for {type(q).__name__}")
    exponent = float((x**2).sum(1).max()) / (2 * variance) + q.dim
    return 8 * U * (count + q.dim + exponent)


def smallest_term(q: ExactTarget) -> float:
    """Return the least HS norm of a component's precision: terms of this size may cancel in a Hessian that is small."""
    if isinstance(q, GaussianMixture):
        return float(q.component_covariances.precision_trace().min()) / math.sqrt(q.dim)
    return math.sqrt(q.dim) / q.sigma**2
