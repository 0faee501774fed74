r"""Covariance matrices of the K components of a mixture, in the form that keeps every operation cheap and stable.

Diffusing a component maps ``C`` to ``C_t = alpha^2 C + sigma^2 I``. In an eigenbasis of ``C`` that is a change of
eigenvalues, so full, diagonal and isotropic covariances are one class, `EigenCovariance`: at ``sigma = 1e-4`` as at 1e3
nothing is inverted that was not a number. A low-rank factor plus a diagonal stays one too, `LowRankPlusDiagonal`, and
is solved through its r x r capacitance matrix (Woodbury). Where the diagonal is a number, see `toy.spiked`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["Covariance", "EigenCovariance", "LowRankPlusDiagonal", "as_covariance"]


class Covariance(ABC):
    """K symmetric positive definite d x d matrices; vectors come as (B, K, d), one for each component."""

    count: int
    dim: int

    @abstractmethod
    def diffuse(self, alpha: float, sigma: float) -> Covariance:
        """Return ``alpha^2 C + sigma^2 I``."""

    @abstractmethod
    def matvec(self, u: Tensor) -> Tensor:
        """Return ``C_k u_k``; u and the result are (B, K, d)."""

    @abstractmethod
    def solve(self, u: Tensor) -> Tensor:
        """Return ``C_k^{-1} u_k``; u and the result are (B, K, d)."""

    @abstractmethod
    def logdet(self) -> Tensor:
        """Return ``log det C_k``, shape (K,)."""

    @abstractmethod
    def dense(self) -> Tensor:
        """Return ``C_k``, shape (K, d, d)."""

    @abstractmethod
    def precision(self) -> Tensor:
        """Return ``C_k^{-1}``, shape (K, d, d)."""

    @abstractmethod
    def precision_trace(self) -> Tensor:
        """Return ``tr C_k^{-1}``, shape (K,)."""

    @abstractmethod
    def sample(self, component: Tensor, generator: torch.Generator) -> Tensor:
        """Return one centred draw, shape (n, d), for each of the components (n,)."""

    @abstractmethod
    def to(self, *, dtype: torch.dtype, device: torch.device) -> Covariance:
        """Return a copy in this dtype on this device."""

    def average(self, weights: Tensor) -> Tensor:
        """Return ``sum_k w_k C_k``, shape (d, d); weights are (K,)."""
        return (weights[:, None, None] * self.dense()).sum(0)

    @property
    def row_numbers(self) -> int:
        """Temporaries of `deviations` for each of its rows."""
        return 5 * self.count * self.dim

    def deviations(self, x: Tensor, means: Tensor) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return ``u_k^T C_k^{-1} u_k`` for ``u_k = x - m_k``, and a function that averages ``C_k^{-1} u_k``.

        Args:
            x: shape (B, d).
            means: ``m``, shape (K, d).

        Returns:
            Numbers (B, K), and the map from weights ``r`` (B, K) to ``sum_k r_k C_k^{-1} u_k``, shape (B, d).
        """
        u = x[:, None] - means
        solved = self.solve(u)
        return (u * solved).sum(2), lambda r: (r[:, :, None] * solved).sum(1)


class EigenCovariance(Covariance):
    """``C_k = U_k diag(l_k) U_k^T``.

    Args:
        eigenvalues: ``l``, shape (K, d), positive.
        eigenvectors: ``U``, shape (K, d, d) with orthonormal columns; ``None`` for the coordinate axes.
    """

    def __init__(self, eigenvalues: Tensor, eigenvectors: Tensor | None = None) -> None:
        self.count, self.dim = eigenvalues.shape
        self.eigenvalues = eigenvalues
        self.eigenvectors = eigenvectors

    def diffuse(self, alpha: float, sigma: float) -> EigenCovariance:
        return EigenCovariance(alpha**2 * self.eigenvalues + sigma**2, self.eigenvectors)

    def _apply(self, u: Tensor, values: Tensor) -> Tensor:
        if self.eigenvectors is None:
            return u * values
        # (K, B, d) products: one matrix product for each component rather than one for each vector.
        rotated = u.transpose(0, 1) @ self.eigenvectors
        return ((rotated * values[:, None]) @ self.eigenvectors.mT).transpose(0, 1)

    def matvec(self, u: Tensor) -> Tensor:
        return self._apply(u, self.eigenvalues)

    def solve(self, u: Tensor) -> Tensor:
        return self._apply(u, self.eigenvalues.reciprocal())

    def logdet(self) -> Tensor:
        return self.eigenvalues.log().sum(1)

    def _dense(self, values: Tensor) -> Tensor:
        if self.eigenvectors is None:
            return torch.diag_embed(values)
        return (self.eigenvectors * values[:, None]) @ self.eigenvectors.mT

    def dense(self) -> Tensor:
        return self._dense(self.eigenvalues)

    def precision(self) -> Tensor:
        return self._dense(self.eigenvalues.reciprocal())

    def precision_trace(self) -> Tensor:
        return self.eigenvalues.reciprocal().sum(1)

    def sample(self, component: Tensor, generator: torch.Generator) -> Tensor:
        z = _normal((len(component), self.dim), self.eigenvalues, generator) * self.eigenvalues[component].sqrt()
        if self.eigenvectors is None:
            return z
        draws = torch.empty_like(z)
        for k in range(self.count):
            rows = component == k
            draws[rows] = z[rows] @ self.eigenvectors[k].mT
        return draws

    def to(self, *, dtype: torch.dtype, device: torch.device) -> EigenCovariance:
        vectors = None if self.eigenvectors is None else self.eigenvectors.to(dtype=dtype, device=device)
        return EigenCovariance(self.eigenvalues.to(dtype=dtype, device=device), vectors)


class LowRankPlusDiagonal(Covariance):
    r"""``C_k = diag(D_k) + L_k L_k^T``, never formed but by `dense`.

    ``C^{-1} = A - A L S^{-1} L^T A`` with ``A = diag(D)^{-1}`` and the capacitance ``S = I + L^T A L`` (Woodbury).

    Args:
        factor: ``L``, shape (K, d, r).
        diagonal: ``D``, shape (K, d), positive.

    Raises:
        ValueError: if the shapes disagree, or the diagonal is not positive.
    """

    def __init__(self, factor: Tensor, diagonal: Tensor) -> None:
        if factor.ndim != 3 or diagonal.shape != factor.shape[:2]:
            raise ValueError(
                "factor must have shape (K, d, r) and diagonal (K, d), "
                f"got {tuple(factor.shape)} and {tuple(diagonal.shape)}"
            )
        if not bool((torch.isfinite(diagonal) & (diagonal > 0)).all()):
            raise ValueError(f"diagonal must be finite and positive, its smallest entry is {float(diagonal.min())}")
        if not bool(torch.isfinite(factor).all()):
            raise ValueError("factor must be finite")
        self.count, self.dim, self.rank = factor.shape
        self.factor, self.diagonal = factor, diagonal
        self._scaled = factor / diagonal[:, :, None]
        capacitance = torch.eye(self.rank, dtype=factor.dtype, device=factor.device) + factor.mT @ self._scaled
        self._cholesky: Tensor = torch.linalg.cholesky(capacitance)

    def diffuse(self, alpha: float, sigma: float) -> LowRankPlusDiagonal:
        return LowRankPlusDiagonal(alpha * self.factor, alpha**2 * self.diagonal + sigma**2)

    def matvec(self, u: Tensor) -> Tensor:
        v = u.transpose(0, 1)
        return (v * self.diagonal[:, None] + (v @ self.factor) @ self.factor.mT).transpose(0, 1)

    def solve(self, u: Tensor) -> Tensor:
        v = u.transpose(0, 1)
        inner = torch.cholesky_solve((v @ self._scaled).mT, self._cholesky)
        solved: Tensor = v / self.diagonal[:, None] - (self._scaled @ inner).mT
        return solved.transpose(0, 1)

    def logdet(self) -> Tensor:
        return self.diagonal.log().sum(1) + 2.0 * self._cholesky.diagonal(dim1=1, dim2=2).log().sum(1)

    def dense(self) -> Tensor:
        return torch.diag_embed(self.diagonal) + self.factor @ self.factor.mT

    def precision(self) -> Tensor:
        inner = torch.cholesky_solve(self._scaled.mT, self._cholesky)
        return torch.diag_embed(self.diagonal.reciprocal()) - self._scaled @ inner

    def precision_trace(self) -> Tensor:
        inner = torch.cholesky_solve(self._scaled.mT, self._cholesky)
        return self.diagonal.reciprocal().sum(1) - (self._scaled * inner.mT).sum((1, 2))

    def sample(self, component: Tensor, generator: torch.Generator) -> Tensor:
        draws = _normal((len(component), self.dim), self.diagonal, generator) * self.diagonal[component].sqrt()
        z = _normal((len(component), self.rank), self.diagonal, generator)
        for k in range(self.count):
            rows = component == k
            draws[rows] += z[rows] @ self.factor[k].mT
        return draws

    def to(self, *, dtype: torch.dtype, device: torch.device) -> LowRankPlusDiagonal:
        return LowRankPlusDiagonal(
            self.factor.to(dtype=dtype, device=device), self.diagonal.to(dtype=dtype, device=device)
        )


def as_covariance(covariances: Covariance | Tensor, count: int, dim: int) -> Covariance:
    """Return covariances of ``count`` components in ``dim`` dimensions, checked.

    Args:
        covariances: a `Covariance`, or a tensor of shape (K,) for isotropic variances, (K, d) for diagonals, or
            (K, d, d) for full matrices.
        count: K, the number of components.
        dim: the dimension d.

    Raises:
        ValueError: for another shape, or a matrix that is not symmetric positive definite.
    """
    if isinstance(covariances, Covariance):
        if (covariances.count, covariances.dim) != (count, dim):
            raise ValueError(
                f"covariances must be {count} matrices of size {dim}, got {covariances.count} of size {covariances.dim}"
            )
        return covariances
    if not bool(torch.isfinite(covariances).all()):
        raise ValueError("covariances must be finite")
    if covariances.shape == (count,):
        covariances = covariances[:, None].expand(count, dim)
    elif covariances.shape == (count, dim, dim):
        asymmetry = float((covariances - covariances.mT).abs().max())
        # Matrices estimated in float32 are symmetric to 1e-7 only.
        if asymmetry > 1e-6 * float(covariances.abs().max()):
            raise ValueError(f"covariances must be symmetric, they differ from their transpose by {asymmetry:.3g}")
        eigenvalues, eigenvectors = torch.linalg.eigh(0.5 * (covariances + covariances.mT))
        # eigh resolves eigenvalues to this fraction of the largest: below it a matrix is singular.
        _check_definite(eigenvalues, dim * torch.finfo(covariances.dtype).eps)
        return EigenCovariance(eigenvalues, eigenvectors)
    elif covariances.shape != (count, dim):
        raise ValueError(
            f"covariances must have shape ({count},), ({count}, {dim}) or ({count}, {dim}, {dim}) "
            f"for means of shape ({count}, {dim}), got {tuple(covariances.shape)}"
        )
    _check_definite(covariances)
    return EigenCovariance(covariances.clone())


def _check_definite(eigenvalues: Tensor, resolution: float = 0.0) -> None:
    definite = eigenvalues.amin(1) > resolution * eigenvalues.abs().amax(1)
    if not bool(definite.all()):
        k = int(definite.int().argmin())
        raise ValueError(
            f"covariances must be positive definite, component {k} has the eigenvalue {float(eigenvalues[k].min()):.3g}"
        )


def _normal(shape: tuple[int, int], like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw in float64 on the generator's device, so that every dtype and device sees the same draws."""
    return torch.randn(shape, dtype=torch.float64, generator=generator, device=generator.device).to(like)
