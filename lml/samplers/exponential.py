r"""What the exponential integrators share: exact linear parts, and the functions ``phi_k`` that weigh derivatives.

With ``h = log(alpha'/sigma') - log(alpha/sigma)`` the step from one level to the next solves, without error,

    noise prediction ``e``:   ``x' = (alpha'/alpha) x - sigma' int_0^h e^{h-s} e(s) ds``,
    data prediction ``x0``:   ``x' = (sigma'/sigma) x + alpha' int_0^h e^{s-h} x0(s) ds``.

With ``eta = h`` for the noise and ``-h`` for the data, and ``c = sigma'`` or ``alpha'``, both expand into
``x' = linear x - c sum_k eta phi_{k+1}(eta) h^k m^{(k)}``, where ``m`` is what is predicted and ``m^{(k)}`` its
derivatives in the half-log-SNR.

Sources: Lu et al. 2022, DPM-Solver, Prop. 3.1 and App. B; Lu et al. 2022, DPM-Solver++, Eq. 8; Hochbruck & Ostermann
2010, Exponential integrators.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from lml.samplers.base import Level

__all__ = [
    "Transfer",
    "data_transfer",
    "divided_differences",
    "multistep_order",
    "multistep_sum",
    "noise_transfer",
    "phi",
    "step_size",
]

# Trajectories of fewer steps end in steps of lower order: the published rule for stability (DPM-Solver's code).
_FEW_STEPS = 15


def step_size(now: Level, after: Level) -> float:
    """Return ``h``, the step in half-log-SNR, to full relative precision however small it is; infinite to sigma = 0."""
    if after.sigma == 0:
        return math.inf
    # The differences of neighbouring numbers are exact, so that nothing cancels for small steps.
    signal, noise = (after.alpha - now.alpha) / now.alpha, (after.sigma - now.sigma) / now.sigma
    return math.log1p(signal) - math.log1p(noise)


def phi(k: int, eta: float) -> float:
    """Return ``phi_k(eta) = sum_j eta^j/(j + k)!``: ``phi_0 = exp``, ``phi_{k+1} = (phi_k - 1/k!)/eta``.

    The recursion cancels for small ``eta`` and serves from one on; below, 20 terms of the series leave less than u.
    """
    if abs(eta) < 1:
        return math.fsum(eta**j / math.factorial(j + k) for j in range(20))
    value = math.expm1(eta) / eta if k else math.exp(eta)
    for i in range(1, k):
        value = (value - 1 / math.factorial(i)) / eta
    return value


class Transfer(NamedTuple):
    """A step where what is predicted stays constant: ``x' = linear x - gain m``, with ``gain = c eta phi_1(eta)``."""

    linear: float
    gain: float
    eta: float


def noise_transfer(now: Level, after: Level) -> Transfer:
    """Return the step for a constant noise prediction, that of DDIM; finite at ``sigma' = 0``."""
    linear, h = after.alpha / now.alpha, step_size(now, after)
    return Transfer(linear, after.sigma * math.expm1(h) if after.sigma else linear * now.sigma, h)


def data_transfer(now: Level, after: Level) -> Transfer:
    """Return the step for a constant data prediction; finite at ``sigma' = 0``."""
    h = step_size(now, after)
    return Transfer(after.sigma / now.sigma, after.alpha * math.expm1(-h), -h)


def divided_differences(outputs: Sequence[tuple[Level, Tensor]], h: float) -> list[Tensor]:
    """Return ``m``, ``h m'`` and ``h^2 m''/2`` at the latest output from the polynomial through up to three.

    Args:
        outputs: predictions with their levels, latest first.
        h: the unit of half-log-SNR in which derivatives are taken.
    """
    (l0, m0), *earlier = outputs
    if not earlier:
        return [m0]
    l1, m1 = earlier[0]
    r0 = step_size(l1, l0) / h
    D10 = (m0 - m1) / r0
    if len(earlier) == 1:
        return [m0, D10]
    l2, m2 = earlier[1]
    r1 = step_size(l2, l1) / h
    D2 = (D10 - (m1 - m2) / r1) / (r0 + r1)
    return [m0, D10 + r0 * D2, D2]


def multistep_order(
    outputs: Sequence[tuple[Level, Tensor]], levels: Sequence[Level], i: int, *, lower_order_final: bool
) -> int:
    """Return how many outputs step ``i`` combines: those there are, fewer at the end, one into ``sigma = 0``."""
    if levels[i + 1].sigma == 0:
        return 1
    steps = len(levels) - 1
    return min(len(outputs), steps - i) if lower_order_final and steps < _FEW_STEPS else len(outputs)


def multistep_sum(D: Sequence[Tensor], eta: float, *, exact_curvature: bool) -> Tensor:
    r"""Return ``m + D_1/2``, or ``m + (phi_2/phi_1) D_1 + (phi_3/phi_1) D_2``, for one, two or three differences.

    ``exact_curvature`` doubles the weight of ``D_2``, which is ``h^2 m''/2`` and stands for ``h^2 m''``.
    """
    if len(D) == 1:
        return D[0]
    if len(D) == 2:
        return D[0] + 0.5 * D[1]
    curvature = (2 if exact_curvature else 1) * phi(3, eta) / phi(1, eta)
    return D[0] + phi(2, eta) / phi(1, eta) * D[1] + curvature * D[2]
