r"""Adams-Bashforth steps of the noise prediction between any levels, with a choice of what becomes of the norm.

In ``u = x/alpha`` and ``r = sigma/alpha`` the probability flow is ``du/dr = eps``, so that DDIM is Euler's method and

    ``u' = u + (r' - r) sum_j b_j eps_j``,    ``b_j = (1/(r' - r)) int_r^r' L_j``,

with Lagrange's polynomials ``L_j`` of the last p levels, is the Adams-Bashforth method of order p on unequal steps. For
``p = 2`` the sum is ``eps + eta (eps - eps_prev)``, ``eta = h_i/(2 h_{i-1})``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from lml.samplers import Level, NoiseModel

__all__ = ["NORMS", "Norm", "adams_bashforth", "combined", "multistep"]

Norm = Literal["free", "kept", "extrapolated", "bent"]

#: What becomes of the norm: that of the sum; that of ``eps``, as in Algorithm 1; the same weights applied to the norms;
#: and that times ``1 - theta^2/24``, ``theta`` the angle by which the noise turns in the step.
NORMS: tuple[str, ...] = get_args(Norm)


def adams_bashforth(nodes: Sequence[float], end: float) -> np.ndarray:
    """Return the weights ``b_j``, (p,), of a step from ``nodes[0]`` to ``end``; nodes latest first, (p,).

    They integrate every polynomial of degree below p exactly: ``sum_j b_j t_j^k = 1/(k + 1)``, ``t = (r - r_0)/h``.
    """
    t = (np.asarray(nodes) - nodes[0]) / (end - nodes[0])
    powers = np.vander(t, increasing=True).T
    return np.linalg.solve(powers, 1 / np.arange(1, len(t) + 1))


def combined(noises: Sequence[Tensor], weights: np.ndarray, norm: Norm, ratio: float) -> Tensor:
    """Return ``sum_j b_j eps_j`` with the norm that is asked for, shape (B, d).

    Args:
        noises: latest first, (B, d) each.
        weights: ``b_j``.
        norm: one of `NORMS`.
        ratio: of the step ahead to the last one, ``h_i/h_{i-1}``, for ``bent``.
    """
    total = torch.stack([float(b) * e for b, e in zip(weights, noises, strict=True)]).sum(0)
    if norm == "free" or len(noises) == 1:
        return total
    lengths = [e.norm(dim=1, keepdim=True) for e in noises]
    length = lengths[0]
    if norm != "kept":
        length = torch.stack([float(b) * n for b, n in zip(weights, lengths, strict=True)]).sum(0)
    if norm == "bent":
        cosine = (noises[0] * noises[1]).sum(1, keepdim=True) / (lengths[0] * lengths[1])
        length = length * (1 - (ratio * torch.arccos(cosine.clamp(max=1.0))) ** 2 / 24)
    scaled: Tensor = length * total / total.norm(dim=1, keepdim=True)
    return scaled


def multistep(model: NoiseModel, starts: Sequence[Tensor], levels: Sequence[Level], norm: Norm) -> Tensor:
    """Return the sample at the last level, shape (B, d).

    Args:
        model: the noise prediction.
        starts: the samples at the first p levels, (B, d) each: p is the order.
        levels: of the trajectory, noise falling.
        norm: one of `NORMS`.
    """
    r = [level.sigma / level.alpha for level in levels]
    noises = [model(x, level) for x, level in zip(starts[:-1], levels, strict=False)]
    p, u = len(starts), starts[-1] / levels[len(starts) - 1].alpha
    for i in range(p - 1, len(levels) - 1):
        noises = [*noises, model(levels[i].alpha * u, levels[i])][-p:]
        step = r[i + 1] - r[i]
        ratio = step / (r[i] - r[i - 1]) if i else 1.0
        weights = adams_bashforth(r[i - p + 1 : i + 1][::-1], r[i + 1])
        u = u + step * combined(noises[::-1], weights, norm, ratio)
    return levels[-1].alpha * u
