r"""The formulas of the paper's published code (LML-diffusion-sampler, commit e19cbdc), written again in plain tensors.

They serve as oracles of ``variant="released"``. Each returns the samples after every step of one generation, of a
network ``m = network(x, t)``. Levels are given by training timestep, as tables ``abar``; dtypes are those of the
arguments.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Network = Callable[[Tensor, int], Tensor]


def turned(e: Tensor, p: Tensor | None, damping: float, mixing: float) -> Tensor:
    """``|e| r/|r|`` with ``r = e - v <e,v>/(damping + <v,v>)``; ``v`` mixes ``e`` and ``p``, and is ``e`` at first."""
    v = e if p is None else mixing * p + (1 - mixing) * e
    dims = tuple(range(1, e.ndim))

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return (a * b).sum(dims, keepdim=True)

    r = e - v * dot(e, v) / (damping + dot(v, v))
    return r * dot(e, e).sqrt() / dot(r, r).sqrt()


def clean_and_noise(m: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """``x = alpha x0 + sigma e`` solved for ``x0`` and ``e``."""
    if kind == "epsilon":
        return (x - sigma * m) / alpha, m
    if kind == "sample":
        return m, (x - alpha * m) / sigma
    return alpha * x - sigma * m, alpha * m + sigma * x


def ddim(
    network: Network,
    x: Tensor,
    timesteps: Sequence[int],
    abar: Tensor,
    last: Tensor,
    *,
    damping: float,
    mixing: float,
    kind: str = "epsilon",
    clip: float | None = None,
    noise_of_clipped: bool = False,
    freeze: float = 0.0,
    eta: float = 0.0,
    draws: Sequence[Tensor] = (),
) -> list[Tensor]:
    """DDIM: ``x' = sqrt(abar') x0 + sqrt(1 - abar' - s^2) e' + s z``; ``e'`` is turned, ``x0`` has the raw noise."""
    stride, previous, path = len(abar) // len(timesteps), None, []
    for i, t in enumerate(timesteps):
        now, after = abar[t], abar[t - stride] if t >= stride else last
        x0, e = clean_and_noise(network(x, t), x, now.sqrt(), (1 - now).sqrt(), kind)
        if clip is not None:
            x0 = x0.clamp(-clip, clip)
        if noise_of_clipped:
            e = (x - now.sqrt() * x0) / (1 - now).sqrt()
        s = eta * ((1 - after) / (1 - now) * (1 - now / after)).sqrt()
        direction = turned(e, previous, damping, mixing) if t < 1000 - 1000 * freeze else e
        x, previous = after.sqrt() * x0 + (1 - after - s**2).sqrt() * direction, e
        if eta:
            x = x + s * draws[i]
        path.append(x)
    return path


def dpm_solver(
    network: Network,
    x: Tensor,
    timesteps: Sequence[int],
    abar: Tensor,
    *,
    damping: float,
    mixing: float,
    order: int,
    data: bool,
    heun: bool = False,
    kind: str = "epsilon",
) -> list[Tensor]:
    """Multistep DPM-Solver, or ``++`` with ``data``: ``x' = c x + u'`` for the base's ``x' = c x + u``, down to step 0.

    Orders fall in the last steps of fewer than 15. Weights of the differences are those of Lu et al. 2022.
    """
    alpha, sigma = abar.sqrt(), (1 - abar).sqrt()
    half_log_snr = alpha.log() - sigma.log()
    previous, outputs, path = None, [], []
    for i, t in enumerate(timesteps):
        left = len(timesteps) - i
        x0, e = clean_and_noise(network(x, t), x, alpha[t], sigma[t], kind)
        outputs.append((half_log_snr[t], x0 if data else e))
        after = timesteps[i + 1] if left > 1 else 0
        h = half_log_snr[after] - half_log_snr[t]
        use = min(order, len(outputs), left if len(timesteps) < 15 else order)
        z, c = (-h, alpha[after]) if data else (h, sigma[after])
        weights = [-c * torch.expm1(z), -c * (torch.expm1(z) / z - 1), -c * ((torch.expm1(z) - z) / z**2 - 0.5)]
        (l0, m0), *earlier = reversed(outputs[-use:])
        u = weights[0] * m0
        if use > 1:
            r0 = (l0 - earlier[0][0]) / h
            first = (m0 - earlier[0][1]) / r0
            if use == 2:
                u = u + (weights[1] if heun else weights[0] / 2) * first
            else:
                r1 = (earlier[0][0] - earlier[1][0]) / h
                second = (earlier[0][1] - earlier[1][1]) / r1
                u = u + weights[1] * (first + r0 / (r0 + r1) * (first - second))
                u = u + weights[2] / (r0 + r1) * (first - second)
        rest = sigma[after] / sigma[t] if data else alpha[after] / alpha[t]
        x, previous = rest * x + turned(u, previous, damping, mixing), u
        path.append(x)
    return path


def flow_euler(network: Network, x: Tensor, sigmas: Tensor, *, damping: float, mixing: float) -> list[Tensor]:
    """Flow-matching Euler: ``x' = x + (sigma' - sigma) v'`` with the turned velocity; ``network`` is told ``sigma``."""
    previous, path = None, []
    for now, after in itertools.pairwise(sigmas):
        v = network(x, now)
        x, previous = x + (after - now) * turned(v, previous, damping, mixing), v
        path.append(x)
    return path
