"""Noises for the tests of the rotation: normal ones, and every scale that a dtype holds."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


def pair(shape: tuple[int, ...], dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return a noise and a previous one."""
    generator = torch.Generator().manual_seed(seed)
    e, p = (torch.randn(shape, dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    return e, p


def bits(x: Tensor) -> Tensor:
    return x.view(_BITS[x.element_size()])


def norm(x: Tensor) -> Tensor:
    """Return the norm of every sample, (B,), in float64."""
    return x.double().flatten(1).norm(dim=1)


def pairs_of_every_scale(dtype: torch.dtype, d: int) -> tuple[Tensor, Tensor]:
    """Return every noise of `_noises` with every one of them, its opposite, its reverse and its half, (N, d) each."""
    noises = _noises(dtype, d)
    others = torch.cat([noises, -noises, noises.flip(1), 0.5 * noises])
    i, j = torch.tensor(list(itertools.product(range(len(noises)), range(len(others))))).T
    return noises[i], others[j]


def _magnitudes(dtype: torch.dtype) -> list[float]:
    info = torch.finfo(dtype)
    return [
        0.0,
        info.smallest_normal * info.eps,
        info.smallest_normal,
        1e-3,
        1.0,
        info.max**0.5,
        info.max / 2,
        info.max,
    ]


def _noises(dtype: torch.dtype, d: int) -> Tensor:
    """Return rows of every magnitude, with random signs and factors, and one that mixes all magnitudes."""
    generator = torch.Generator().manual_seed(7)
    levels = torch.tensor(_magnitudes(dtype), dtype=torch.float64)
    factors = 2 * torch.rand((len(levels), d), dtype=torch.float64, generator=generator) - 1
    rows = (levels[:, None] * factors).to(dtype)
    mixed = (levels[torch.arange(d) % len(levels)] * factors[0]).to(dtype)
    extreme = torch.full((d,), torch.finfo(dtype).max, dtype=dtype)
    return torch.cat([rows, mixed[None], extreme[None]])
