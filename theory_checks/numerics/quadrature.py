"""Integrals over R^1 and R^2 by the trapezoidal rule, which converges faster than any power for analytic integrands."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from toy import GaussianMixture

__all__ = ["grid"]


def grid(q: GaussianMixture, spacing: float, reach: float = 9.5) -> tuple[Tensor, float]:
    """Return grid points (n, d) that cover a mixture, and the volume of a cell.

    Args:
        q: a mixture in one or two dimensions.
        spacing: in units of the least standard deviation of a component.
        reach: beyond the means, in units of the largest; 9.5 leaves out a mass of 2e-21.
    """
    spread = torch.linalg.eigvalsh(q.component_covariances.dense())
    edge = float((q.alpha * q.means).abs().max()) + reach * math.sqrt(float(spread.max()))
    step = spacing * math.sqrt(float(spread.min()))
    count = math.ceil(edge / step)
    axis = torch.arange(-count, count + 1, dtype=torch.float64) * step
    return torch.cartesian_prod(*[axis] * q.dim).reshape(-1, q.dim), step**q.dim
