r"""Low rank plus isotropic covariances: r eigenvectors that all noise levels share, and r + 1 eigenvalues.

Source: Tipping & Bishop 1999, Probabilistic Principal Component Analysis: ``C = W W^T + c I``, in the eigenbasis of
``W W^T``. Diffusing it changes eigenvalues alone, so that a level of noise costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from toy.covariance import Covariance, _normal

__all__ = ["LowRankPlusIsotropic"]


class LowRankPlusIsotropic(Covariance):
    r"""``C_k = c_k I + U_k diag(l_k) U_k^T``, never formed but by `dense`.

    ``C^{-1} = I/c - U diag(l/(c (c + l))) U^T``. Diffusing changes ``c`` and ``l``; the levels share ``U``.

    Args:
        vectors: ``U``, shape (K, d, r), with orthonormal columns.
        excess: ``l``, shape (K, r), the eigenvalues less ``c``, not negative.
        floor: ``c``, shape (K,), positive: the eigenvalue of the other d - r directions.

    Raises:
        ValueError: if the shapes disagree, columns are not orthonormal (to 1e-6), an excess is negative or a floor is
            not positive.
    """

    def __init__(self, vectors: Tensor, excess: Tensor, floor: Tensor) -> None:
        if vectors.ndim != 3 or excess.shape != (len(vectors), vectors.shape[2]) or floor.shape != vectors.shape[:1]:
            raise ValueError(
                "vectors must have shape (K, d, r), excess (K, r) and floor (K,), "
                f"got {tuple(vectors.shape)}, {tuple(excess.shape)} and {tuple(floor.shape)}"
            )
        if not bool((torch.isfinite(floor) & (floor > 0)).all()):
            raise ValueError(f"floor must be finite and positive, its smallest entry is {float(floor.min())}")
        if not bool((torch.isfinite(excess) & (excess >= 0)).all()):
            raise ValueError(f"excess must be finite and not negative, its smallest entry is {float(excess.min())}")
        identity = torch.eye(vectors.shape[2], dtype=vectors.dtype, device=vectors.device)
        defect = float((vectors.mT @ vectors - identity).abs().max()) if vectors.shape[2] else 0.0
        if not defect <= 1e-6:
            raise ValueError(f"vectors must be orthonormal, their products differ from the identity by {defect:.3g}")
        # Copies of the vectors by dtype and device, common to all levels: they are nearly all of the memory.
        self._copies = {(vectors.dtype, vectors.device): vectors}
        self._set(vectors, excess, floor)

    def _set(self, vectors: Tensor, excess: Tensor, floor: Tensor) -> None:
        self.count, self.dim, self.rank = vectors.shape
        self.vectors, self.excess, self.floor = vectors, excess, floor

    def _level(self, vectors: Tensor, excess: Tensor, floor: Tensor) -> Self:
        level = object.__new__(type(self))
        level._copies = self._copies
        level._set(vectors, excess, floor)
        return level

    def diffuse(self, alpha: float, sigma: float) -> Self:
        return self._level(self.vectors, alpha**2 * self.excess, alpha**2 * self.floor + sigma**2)

    @property
    def _shrinkage(self) -> Tensor:
        """Return ``l/(c (c + l))``, shape (K, r)."""
        c = self.floor[:, None]
        return self.excess / (c * (c + self.excess))

    def _apply(self, u: Tensor, floor: Tensor, excess: Tensor) -> Tensor:
        v = u.transpose(0, 1)
        along = (v @ self.vectors) * excess[:, None]
        return (v * floor[:, None, None] + along @ self.vectors.mT).transpose(0, 1)

    def matvec(self, u: Tensor) -> Tensor:
        return self._apply(u, self.floor, self.excess)

    def solve(self, u: Tensor) -> Tensor:
        return self._apply(u, self.floor.reciprocal(), -self._shrinkage)

    def logdet(self) -> Tensor:
        rest = (self.dim - self.rank) * self.floor.log()
        return rest + (self.floor[:, None] + self.excess).log().sum(1)

    def _dense(self, floor: Tensor, excess: Tensor) -> Tensor:
        within = (self.vectors * excess[:, None]) @ self.vectors.mT
        return torch.diag_embed(floor[:, None].expand(-1, self.dim)) + within

    def dense(self) -> Tensor:
        return self._dense(self.floor, self.excess)

    def precision(self) -> Tensor:
        return self._dense(self.floor.reciprocal(), -self._shrinkage)

    def precision_trace(self) -> Tensor:
        return (self.dim - self.rank) / self.floor + (self.floor[:, None] + self.excess).reciprocal().sum(1)

    def average(self, weights: Tensor) -> Tensor:
        U = self.vectors.transpose(0, 1).flatten(1)
        identity = torch.eye(self.dim, dtype=U.dtype, device=U.device)
        return (weights @ self.floor) * identity + (U * (weights[:, None] * self.excess).flatten()) @ U.mT

    @property
    def row_numbers(self) -> int:
        return 3 * self.dim + self.count * (2 * self.rank + 4)

    def deviations(self, x: Tensor, means: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        # One component at a time: (B, d) stays in the cache where (B, K, d) would fill the memory, and differences
        # from each mean are formed before they are squared, so that nothing cancels.
        shrinkage, inverse = self._shrinkage, self.floor.reciprocal()
        quadratic, along = [], []
        for k in range(self.count):
            u = x - means[k]
            along.append(u @ self.vectors[k])
            quadratic.append(inverse[k] * (u * u).sum(1) - (along[k] * along[k]) @ shrinkage[k])

        def average(r: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for k in range(self.count):
                weight = r[:, k, None]
                total.addcmul_(x - means[k], weight * inverse[k])
                total.addmm_(along[k] * (weight * shrinkage[k]), self.vectors[k].mT, alpha=-1)
            return total

        return torch.stack(quadratic, 1), average

    def sample(self, component: Tensor, generator: torch.Generator) -> Tensor:
        draws = _normal((len(component), self.dim), self.floor, generator) * self.floor[component, None].sqrt()
        z = _normal((len(component), self.rank), self.floor, generator) * self.excess[component].sqrt()
        for k in range(self.count):
            rows = component == k
            draws[rows] += z[rows] @ self.vectors[k].mT
        return draws

    def to(self, *, dtype: torch.dtype, device: torch.device) -> Self:
        if (dtype, device) not in self._copies:
            self._copies[dtype, device] = self.vectors.to(dtype=dtype, device=device)
        cast = self._copies[dtype, device]
        return self._level(cast, self.excess.to(cast), self.floor.to(cast))
