r"""Exact noise predictions that are differentiable in the noise level, and DDIM with a profile over a free grid.

`toy` takes levels as numbers. Here ``alpha`` and ``sigma`` are tensors, so that the levels of a trajectory can be
learned by gradients like the weights. With ``v = alpha^2 tau^2 + sigma^2``::

    data      e = sigma (x - alpha sum_i r_i y_i)/v
    mixture   e = sigma sum_k r_k C_k,t^{-1} (x - alpha m_k),    C_k = U_k diag(l_k) U_k^T + tau_k^2 I
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from toy import DataMixture, ExactTarget, GaussianMixture

__all__ = ["LevelNoise", "grid_levels", "level_noise", "run"]

#: ``e(x, alpha, sigma)``, shape (B, d), for scalar tensors ``alpha`` and ``sigma``.
LevelNoise = Callable[[Tensor, Tensor, Tensor], Tensor]

# Eigenvalues above the least by less than this share of it are the isotropic part of a covariance.
_ISOTROPIC = 1e-9


def level_noise(target: ExactTarget, dtype: torch.dtype) -> LevelNoise:
    """Return the noise prediction of a target, given at ``alpha = 1, sigma = 0``.

    Raises:
        ValueError: for a target that is no `DataMixture` and no `GaussianMixture`.
    """
    if isinstance(target, DataMixture):
        return _of_data(target.points.to(dtype), target.tau)
    if isinstance(target, GaussianMixture):
        return _of_mixture(target, dtype)
    raise ValueError(f"target must be a DataMixture or a GaussianMixture, got {type(target).__name__}")


def _of_data(Y: Tensor, tau: float) -> LevelNoise:
    squares = Y.square().sum(1)

    def noise(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        v = alpha**2 * tau**2 + sigma**2
        r = torch.softmax((alpha * (x @ Y.mT) - 0.5 * alpha**2 * squares) / v, 1)
        e: Tensor = sigma / v * (x - alpha * (r @ Y))
        return e

    return noise


def _of_mixture(target: GaussianMixture, dtype: torch.dtype) -> LevelNoise:
    values, vectors = torch.linalg.eigh(target.component_covariances.dense().double())
    floor = values[:, 0]
    leading = int((values > floor[:, None] * (1 + _ISOTROPIC)).sum(1).max())
    excess = (values - floor[:, None])[:, target.dim - leading :].to(dtype)
    U, floor = vectors[:, :, target.dim - leading :].to(dtype), floor.to(dtype)
    means, log_weights = target.means.to(dtype), target.weights.log().to(dtype)

    def noise(x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        u = (x[:, None] - alpha * means).transpose(0, 1)  # (K, B, d)
        v = alpha**2 * floor + sigma**2
        ratio = alpha**2 * excess / v[:, None]
        along = u @ U  # (K, B, r)
        shrunk = along * (ratio / (1 + ratio))[:, None]
        squares = (u.square().sum(2) - (along * shrunk).sum(2)) / v[:, None]
        log_determinant = target.dim * v.log() + torch.log1p(ratio).sum(1)
        r = torch.softmax((log_weights - 0.5 * log_determinant)[:, None] - 0.5 * squares, 0) / v[:, None]
        e: Tensor = sigma * (r[:, :, None] * (u - shrunk @ U.mT)).sum(0)
        return e

    return noise


def grid_levels(half_log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``alpha`` and ``sigma`` with ``alpha^2 + sigma^2 = 1`` for ``log(alpha/sigma)``."""
    return torch.sigmoid(2 * half_log_snr).sqrt(), torch.sigmoid(-2 * half_log_snr).sqrt()


def run(noise: LevelNoise, x: Tensor, half_log_snr: Tensor, weights: Tensor, restored: Tensor) -> Tensor:
    r"""Return where DDIM with a profile ends, as `lml.profile.Profile`, differentiable in all that is learned.

    In ``y = x/alpha`` DDIM is ``y' = y + (sigma'/alpha' - sigma/alpha) direction``.

    Args:
        noise: the noise prediction.
        x: starting noises, shape (B, d).
        half_log_snr: the levels, shape (steps + 1,).
        weights: ``eta``, shape (steps, steps): row i, column j weighs ``e_i - e_j``; those with ``j >= i`` are ignored.
        restored: ``rho``, shape (steps,).
    """
    alpha, sigma = (t.to(x.dtype) for t in grid_levels(half_log_snr))
    weights, restored = weights.to(x.dtype), restored.to(x.dtype)
    ratio, y = sigma / alpha, x / alpha[0]
    past: list[Tensor] = []
    for i in range(len(half_log_snr) - 1):
        e = noise(alpha[i] * y, alpha[i], sigma[i])
        u = e
        if past:
            change = e[:, None] - torch.stack(past, 1)
            u = e + torch.einsum("j,bjd->bd", weights[i, :i], change)
            u = u * (e.norm(dim=1, keepdim=True) / u.norm(dim=1, keepdim=True)) ** restored[i]
        past.append(e)
        y = y + (ratio[i + 1] - ratio[i]) * u
    return alpha[-1] * y
