r"""The exact probability flow of a target: where every deterministic sampler goes as its steps shrink.

``dx/dt = f x - (g^2/2) s`` does not depend on how time runs, and ``x`` scales with its level. With ``s = sigma/alpha =
tan(theta)`` the variable ``w = x/sqrt(alpha^2 + sigma^2)`` keeps the size of the data at one end and of the noise at
the other, and in the half-log-SNR ``l = -log tan(theta)``

    ``dw/dl = sin(theta)^2 w - sin(theta) eps(w)``,    ``eps`` at the level ``(cos theta, sin theta)``.

Source: Song et al. 2021, Eq. 13; Lu et al. 2022, DPM-Solver, Eq. 2.7.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from lml.samplers import Level, NoiseModel
from toy.exact_target import ExactTarget

__all__ = ["noise_model", "probability_flow"]

# Levels that a noise model keeps: a trajectory's, for a target whose diffusion is costly.
_KEPT = 512


def noise_model(target: ExactTarget) -> NoiseModel:
    """Return the exact noise prediction of a target for samples of any shape (B, ...) that has ``target.dim`` numbers.

    Args:
        target: the data distribution, at ``alpha = 1, sigma = 0``.
    """
    at = lru_cache(maxsize=_KEPT)(target.diffuse)

    def noise(x: Tensor, level: Level) -> Tensor:
        return at(level.alpha, level.sigma).noise(x.flatten(1)).to(x.dtype).view(x.shape)

    return noise


def probability_flow(
    target: ExactTarget, x: Tensor, start: Level, end: Level, *, rtol: float = 1e-12, atol: float = 1e-13
) -> Tensor:
    """Return the solution at ``end`` that passes through ``x`` at ``start``, shape (B, d), in float64 on the CPU.

    Args:
        target: the data distribution, at ``alpha = 1, sigma = 0``.
        x: samples at ``start``, shape (B, d).
        start: the level of ``x``, with ``alpha > 0`` and ``sigma > 0``.
        end: the level that is wanted, likewise, of more or of less noise.
        rtol: relative tolerance of DOP853; the errors of a batch are controlled together.
        atol: absolute tolerance of ``w``, which is of order one.

    Raises:
        ValueError: for a level without signal or noise, or samples of another dimension.
        RuntimeError: if the integration does not reach ``end``.
    """
    for name, level in (("start", start), ("end", end)):
        if not (level.alpha > 0 and level.sigma > 0):
            raise ValueError(f"{name} must have alpha > 0 and sigma > 0, got {level.alpha} and {level.sigma}")
    exact = target.to(device="cpu", dtype=torch.float64)
    if x.ndim != 2 or x.shape[1] != target.dim:
        raise ValueError(f"x must have shape (B, {target.dim}), got {tuple(x.shape)}")
    x = x.to(device="cpu", dtype=torch.float64)

    def slope(half_log_snr: float, w: np.ndarray) -> np.ndarray:
        alpha, sigma = math.sqrt(_logistic(2 * half_log_snr)), math.sqrt(_logistic(-2 * half_log_snr))
        position = torch.from_numpy(w).view(x.shape)
        dw: np.ndarray = (sigma**2 * position - sigma * exact.diffuse(alpha, sigma).noise(position)).flatten().numpy()
        return dw

    span = (start.half_log_snr, end.half_log_snr)
    w = (x / math.hypot(start.alpha, start.sigma)).flatten().numpy()
    solution = solve_ivp(slope, span, w, method="DOP853", rtol=rtol, atol=atol)
    if not solution.success:
        raise RuntimeError(f"the probability flow stopped before its end: {solution.message}")
    return torch.from_numpy(solution.y[:, -1].copy()).view(x.shape) * math.hypot(end.alpha, end.sigma)


def _logistic(z: float) -> float:
    """Return ``1/(1 + e^-z)``, accurate at both ends."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))
