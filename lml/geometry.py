r"""The damped outer-product geometry ``G = lambda I + s s^T`` of the LML dynamics, and its inverse ``M``.

Every operation is exact algebra on the one vector ``s``: no d x d matrix is formed but by `dense`.
Source: Eq. 8 of the paper (Sherman-Morrison); claim K1. The divergence of ``M`` is what the corrected reading of Eq. 7
adds to the drift (claim S2).
"""

from __future__ import annotations

import torch
from torch import Tensor

from lml._rows import row_sum
from lml.tensor_arguments import check_damping, check_floating, check_like

__all__ = ["DampedOuterProduct"]


class DampedOuterProduct:
    r"""A batch of matrices ``G = damping I + s s^T``, held as the vectors ``s``.

    Args:
        vector: ``s``, shape (B, d), any real floating-point dtype; in this toolkit a score or a noise prediction.
        damping: ``lambda > 0``, one number or a tensor of shape (B,), in units of ``|s|^2``.

    Raises:
        ValueError: if ``vector`` is not (B, d) floating point or ``damping`` is not positive and of a fitting shape.
    """

    def __init__(self, vector: Tensor, damping: float | Tensor) -> None:
        check_floating(vector, "vector")
        if vector.ndim != 2:
            raise ValueError(f"vector must have shape (B, d), got {tuple(vector.shape)}")
        check_damping(damping, vector.shape[:1], vector.device)
        self.vector = vector
        #: ``lambda`` as a column, shape (B, 1) or (1, 1).
        self.damping = torch.as_tensor(damping, dtype=vector.dtype, device=vector.device).reshape(-1, 1)
        #: ``|s|^2``, shape (B, 1).
        self.squared_norm = row_sum(vector * vector)

    def _check(self, x: Tensor, name: str) -> None:
        check_like(x, self.vector, name, "the geometry's vector")

    def matvec(self, x: Tensor) -> Tensor:
        """Return ``G x = lambda x + s <s,x>``; x and the result are (B, d)."""
        self._check(x, "x")
        return self.damping * x + self.vector * self._inner(x)

    def solve(self, x: Tensor) -> Tensor:
        """Return ``M x = (x - s <s,x> / (lambda + |s|^2)) / lambda``; x and the result are (B, d).

        Along ``s`` the result is smaller than the terms by ``lambda/(lambda + |s|^2)``, which is how many digits the
        subtraction loses there; where ``x`` is ``s`` itself, use `solve_vector`.
        """
        self._check(x, "x")
        return (x - self.vector * (self._inner(x) / (self.damping + self.squared_norm))) / self.damping

    def solve_vector(self) -> Tensor:
        """Return ``M s = s / (lambda + |s|^2)``, the drift of the literal dynamics, without cancellation; (B, d)."""
        return self.vector / (self.damping + self.squared_norm)

    def sqrt_solve(self, x: Tensor) -> Tensor:
        r"""Return ``M^{1/2} x`` with the symmetric positive root; x and the result are (B, d).

        ``M^{1/2} = lambda^{-1/2} (I - (1 - r) s s^T/|s|^2)`` with ``r = sqrt(lambda/(lambda + |s|^2))``, in which
        ``(1 - r)/|s|^2 = 1/((lambda + |s|^2)(1 + r))`` is finite at ``s = 0``.
        """
        self._check(x, "x")
        total = self.damping + self.squared_norm
        root = torch.sqrt(self.damping / total)
        return (x - self.vector * (self._inner(x) / (total * (1 + root)))) / torch.sqrt(self.damping)

    def logdet(self) -> Tensor:
        """Return ``log det G = (d - 1) log lambda + log(lambda + |s|^2)``, shape (B,)."""
        d = self.vector.shape[1]
        return ((d - 1) * torch.log(self.damping) + torch.log(self.damping + self.squared_norm))[:, 0]

    def dense(self) -> Tensor:
        """Return ``G``, shape (B, d, d)."""
        identity = torch.eye(self.vector.shape[1], dtype=self.vector.dtype, device=self.vector.device)
        return self.damping[:, :, None] * identity + self.vector[:, :, None] * self.vector[:, None, :]

    def divergence(self, hessian_vector: Tensor, laplacian: Tensor) -> Tensor:
        r"""Return ``div M``, shape (B, d), for ``s = grad f`` and ``H = hess f``.

        ``div M = -(1/lambda) [ (H s + s tr H)/(lambda + |s|^2) - 2 s (s^T H s)/(lambda + |s|^2)^2 ]``,
        where ``(div M)_i = sum_j d M_ij / d x_j``.

        Args:
            hessian_vector: ``H s``, shape (B, d).
            laplacian: ``tr H``, shape (B,).
        """
        self._check(hessian_vector, "hessian_vector")
        if laplacian.shape != self.vector.shape[:1]:
            raise ValueError(f"laplacian must have shape {tuple(self.vector.shape[:1])}, got {tuple(laplacian.shape)}")
        total = self.damping + self.squared_norm
        curvature = self._inner(hessian_vector)
        first = hessian_vector + self.vector * laplacian[:, None]
        return -(first / total - 2 * self.vector * (curvature / total**2)) / self.damping

    def _inner(self, x: Tensor) -> Tensor:
        """Return ``<s,x>``, shape (B, 1)."""
        return row_sum(self.vector * x)
