r"""The rounding noise of the published expression in float32 at ``kappa = 0``, where the truth is the identity.

With ``S = <e,e>`` in float32 the sum ``lambda + S`` is rounded too, so that the damping that acts is
``lambda' = fl(lambda + S) - S``. The product ``e S`` and the quotient ``e S/(lambda + S)`` are each rounded within half
a spacing, and the subtraction, which is exact, leaves ``lambda'/(lambda + S)`` of ``e``. With the spacings ``p_i`` of
``e_i S``, over S, and ``q_i`` of ``e_i``, uniform and independent roundings have beside that, orthogonal to ``e``, the
relative size ``t``::

    t^2 = ((lambda + S)/lambda')^2 sum_i (p_i^2 + q_i^2)/12 (1 - e_i^2/|e|^2) / |e|^2

and the normalised vector is off by ``(2 - 2/(1 + t^2)^{1/2})^{1/2}``, which ends at the root of 2: a random direction.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["predicted_deviation", "turns_of"]


def predicted_deviation(noise: Tensor, lam: float) -> Tensor:
    """Return the relative deviation (B,) from its input of float32 noise (B, d), by the analysis above."""
    S = (noise * noise).sum(1, keepdim=True)
    remaining = ((lam + S) - S).double()  # lambda', from float32 arithmetic
    e, S = noise.double(), S.double()
    squared = (e * e).sum(1, keepdim=True)
    rounding = ((_spacing(e * S) / S) ** 2 + _spacing(e) ** 2) / 12 * (1 - e * e / squared)
    t = (rounding.sum(1) / squared[:, 0]).sqrt() * ((lam + S) / remaining)[:, 0]
    return torch.sqrt(2 - 2 / torch.sqrt(1 + t * t))


def turns_of(noise: Tensor, lam: float) -> float:
    """Return the least of ``2^23 lambda'/S``: over how many spacings the phase of the second rounding is spread."""
    S = (noise * noise).sum(1)
    return float(2.0**23 * (((lam + S) - S) / S).min())


def _spacing(x: Tensor) -> Tensor:
    """Return the distance of neighbouring float32 numbers at x."""
    return torch.ldexp(torch.ones_like(x), torch.frexp(x).exponent.double() - 24)
