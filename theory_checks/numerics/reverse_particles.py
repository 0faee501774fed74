r"""Particles of the corrected SDE (A4), with matrices: nothing of `lml.geometry` or of `reverse_time`.

In the clock ``tau`` with ``f = -1`` and ``g^2 = 2``, that is ``alpha = e^-tau``, an SDE that falls through the levels
by ``dtau`` is, with ``N = lambda M`` and ``M = (lambda I + s s^T)^{-1}``,

=============  ===================================  ====================================================================
name           drift a step ``dtau`` towards data   noise, squared: ``2 N``; what it is
=============  ===================================  ====================================================================
``literal``    ``x + 2 N s``                        Eq. 9
``corrected``  ``x + s + N s + div N``              its smallest change with the marginals ``q_t``
``plain``      ``x + (1 + c) s``, ``N = c I``       the reverse SDE with as much noise: ``c = E_q[tr N]/d`` of that N
=============  ===================================  ====================================================================

The divergence comes from the product rule, ``d_j M = -M (d_j G) M`` with ``d_j G = H_j s^T + s H_j^T``:

    ``div M = -M H M s - M s tr(H M)``,

and the root of M from a Cholesky factor, ``G = L L^T``, ``M = L^-T L^-1``: the symmetric root gives the same law.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.special import ndtr
from torch import Tensor

from lml.arguments import check_choice, check_positive
from theory_checks.numerics.clock import level_at
from toy import GaussianMixture

__all__ = [
    "NAMES",
    "Features",
    "ReverseSDE",
    "coupled",
    "directions",
    "divergence",
    "ends",
    "features_of",
    "sliced_wasserstein",
]

#: The SDEs by name.
NAMES = ("literal", "corrected", "plain")

# Samples for E_q[tr N]/d, which lies in [0, 1]: c is within 0.02, and any c has the marginals q_t.
_SAMPLES_OF_THE_TRACE = 2000


class _Local(NamedTuple):
    """Drift (B, d), and the factor ``F`` (B, d, d) with ``F F^T = N``."""

    drift: Tensor
    factor: Tensor


@dataclass(frozen=True)
class ReverseSDE:
    """An SDE that falls from level to level.

    Attributes:
        data: the data distribution, at ``alpha = 1, sigma = 0``.
        name: one of `NAMES`.
        damping: ``lambda``.

    Raises:
        ValueError: for another name, or a damping that is not finite and positive.
    """

    data: GaussianMixture
    name: str
    damping: float

    def __post_init__(self) -> None:
        check_choice(self.name, "name", NAMES)
        check_positive(self.damping, "damping")

    def level(self, tau: float) -> GaussianMixture:
        """Return ``q_t`` at a time."""
        return level_at(self.data, tau)

    def at(self, x: Tensor, tau: float) -> _Local:
        """Evaluate drift and noise at points (B, d)."""
        q = self.level(tau)
        s = q.score(x)
        if self.name == "plain":
            c = self._mean_diffusion(q)
            return _Local(x + (1 + c) * s, math.sqrt(c) * torch.eye(q.dim, dtype=x.dtype))
        L = torch.linalg.cholesky(_geometry(s, self.damping))
        M = torch.cholesky_inverse(L)
        factor = math.sqrt(self.damping) * torch.linalg.inv(L).mT
        Ns = self.damping * _apply(M, s)
        if self.name == "literal":
            return _Local(x + 2 * Ns, factor)
        return _Local(x + s + Ns + self.damping * divergence(M, s, q.hessian(x)), factor)

    def _mean_diffusion(self, q: GaussianMixture) -> float:
        s = q.score(q.sample(_SAMPLES_OF_THE_TRACE, generator=torch.Generator().manual_seed(0)))
        return 1 - float(((s * s).sum(1) / (self.damping + (s * s).sum(1))).mean()) / q.dim


def _geometry(s: Tensor, damping: float) -> Tensor:
    """Return ``lambda I + s s^T``, (B, d, d)."""
    return damping * torch.eye(s.shape[1], dtype=s.dtype) + s[:, :, None] * s[:, None, :]


def _apply(matrix: Tensor, vector: Tensor) -> Tensor:
    """Return the products of (B, d, d) or (d, d) and (B, d)."""
    return (matrix @ vector[:, :, None])[:, :, 0]


def divergence(M: Tensor, s: Tensor, H: Tensor) -> Tensor:
    """Return ``div M = -M H M s - M s tr(H M)``, (B, d), for M and H (B, d, d) and s (B, d)."""
    Ms = _apply(M, s)
    HM = H @ M
    return -_apply(M, _apply(H, Ms)) - Ms * HM.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)


def _step(sde: ReverseSDE, x: Tensor, tau: float, h: float, dB: Tensor) -> Tensor:
    """Return the points (B, d) after a step of Euler-Maruyama of length ``h`` from ``tau``."""
    local = sde.at(x, tau)
    return x + h * local.drift + math.sqrt(2) * _apply(local.factor, dB)


def ends(sde: ReverseSDE, x: Tensor, times: Sequence[float], generator: torch.Generator) -> Tensor:
    """Return where the particles x (B, d) are after steps of Euler-Maruyama through ``times``."""
    for before, after in itertools.pairwise(times):
        h = before - after
        x = _step(sde, x, before, h, math.sqrt(h) * torch.randn(x.shape, dtype=x.dtype, generator=generator))
    return x


def coupled(
    sde: ReverseSDE, coarse: Tensor, fine: Tensor, times: Sequence[float], generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return two sets of particles (B, d) after every second time, and after every time, under the same noise.

    Raises:
        ValueError: for an odd number of steps.
    """
    if len(times) % 2 == 0:
        raise ValueError(f"times must be an even number of steps, got {len(times) - 1}")
    for k in range(0, len(times) - 1, 2):
        sum_dB = torch.zeros_like(fine)
        for before, after in itertools.pairwise(times[k : k + 3]):
            h = before - after
            dB = math.sqrt(h) * torch.randn(fine.shape, dtype=fine.dtype, generator=generator)
            fine = _step(sde, fine, before, h, dB)
            sum_dB += dB
        coarse = _step(sde, coarse, times[k], times[k] - times[k + 2], sum_dB)
    return coarse, fine


class Features(NamedTuple):
    """Functions of x: ``cos <k,x>``, ``sin <k,x>`` for wave vectors ``k`` (K, d), then all ``x_i`` and ``x_i x_j``."""

    k: Tensor

    def of(self, x: Tensor) -> Tensor:
        """Return them at points (B, d), shape (B, m)."""
        phase = x @ self.k.T
        i, j = torch.triu_indices(x.shape[1], x.shape[1])
        return torch.cat((phase.cos(), phase.sin(), x, x[:, i] * x[:, j]), 1)

    def mean(self, q: GaussianMixture) -> Tensor:
        """Return their exact means under a mixture, shape (m,): ``E e^{i<k,x>} = sum_k w e^{i<k,m> - <k,Ck>/2}``."""
        m, C = q.alpha * q.means, q.component_covariances.dense()
        phase = self.k @ m.T
        size = q.weights * torch.exp(-0.5 * torch.einsum("ka,nab,kb->kn", self.k, C, self.k))
        i, j = torch.triu_indices(q.dim, q.dim)
        second = q.covariance() + torch.outer(q.mean(), q.mean())
        return torch.cat(((size * phase.cos()).sum(1), (size * phase.sin()).sum(1), q.mean(), second[i, j]))


def features_of(dim: int, lengths: Sequence[float] = (0.6, 1.5)) -> Features:
    """Return waves of these lengths of ``k`` along the axes and their diagonals, for one or two dimensions.

    Raises:
        ValueError: for more dimensions.
    """
    return Features(torch.cat([length * directions(dim, 4) for length in lengths]))


def directions(dim: int, count: int) -> Tensor:
    """Return ``count`` unit vectors of a half-circle in equal angles, (count, 2); on the line, the one (1, 1).

    Raises:
        ValueError: for more than two dimensions.
    """
    if dim not in (1, 2):
        raise ValueError(f"dim must be 1 or 2, got {dim!r}")
    angles = torch.arange(count, dtype=torch.float64) * (math.pi / count)
    return torch.stack((angles.cos(), angles.sin()), 1) if dim == 2 else torch.ones(1, 1, dtype=torch.float64)


def sliced_wasserstein(x: Tensor, q: GaussianMixture, count: int = 8) -> float:
    """Return the root of the mean over directions of ``W2^2`` between the projections of points (B, d) and of q.

    On a line the quantiles of q are exact, so that no sample of q adds its noise; in one dimension it is W2 itself.
    """
    total = 0.0
    rank = (np.arange(len(x)) + 0.5) / len(x)
    vectors = directions(q.dim, count)
    for e in vectors:
        means = (q.alpha * q.means @ e).numpy()
        spread = torch.einsum("a,nab,b->n", e, q.component_covariances.dense(), e).sqrt().numpy()
        grid = np.linspace((means - 8 * spread).min(), (means + 8 * spread).max(), 4001)
        below = ndtr((grid[:, None] - means) / spread) @ q.weights.numpy()
        total += float(np.mean((np.sort((x @ e).numpy()) - np.interp(rank, below, grid)) ** 2))
    return math.sqrt(total / len(vectors))
