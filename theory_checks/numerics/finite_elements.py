"""Finite elements on a box, and the coefficients of the dynamics at their quadrature points; scikit-fem assembles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import skfem
import torch

from theory_checks.numerics.dynamics import diffusion_matrix
from toy import GaussianMixture

__all__ = ["Coefficients", "box_basis", "coefficients"]


class Coefficients(NamedTuple):
    """Fields at the quadrature points, (elements, points) behind the dimensions."""

    s: np.ndarray  # score, (d, ...)
    D: np.ndarray  # diffusion matrix, (d, d, ...)
    log_q: np.ndarray  # (...)

    def moved(self, vector: np.ndarray) -> np.ndarray:
        """Return ``D v`` for ``v`` (d, ...)."""
        return np.asarray(np.einsum("ij...,j...->i...", self.D, vector))


def box_basis(target: GaussianMixture, cells: int, drop: float) -> skfem.Basis:
    """Return quadratic elements on a uniform mesh of the box towards whose edge every component falls by ``drop``.

    Args:
        target: a mixture in one or two dimensions.
        cells: mesh cells an axis.
        drop: by how much ``log q`` of each component falls from its mean to the edge.
    """
    width = np.sqrt(2 * drop * target.component_covariances.dense().diagonal(dim1=1, dim2=2).numpy())
    means = (target.alpha * target.means).numpy()
    axes = [
        np.linspace(low, high, cells + 1)
        for low, high in zip((means - width).min(0), (means + width).max(0), strict=True)
    ]
    if target.dim == 1:
        return skfem.Basis(skfem.MeshLine(axes[0]), skfem.ElementLineP2())
    return skfem.Basis(skfem.MeshQuad.init_tensor(*axes), skfem.ElementQuad2())


def coefficients(basis: skfem.Basis, target: GaussianMixture, *, damping: float, dynamics: str) -> Coefficients:
    """Evaluate score, diffusion matrix and log-density at the quadrature points of a basis."""
    points = np.asarray(basis.global_coordinates())  # (d, elements, quadrature points)
    d, shape = target.dim, points.shape[1:]
    flat = torch.from_numpy(np.ascontiguousarray(points.reshape(d, -1).T))
    score = target.score(flat)
    D = diffusion_matrix(score, damping=damping, dynamics=dynamics).numpy()
    return Coefficients(
        score.numpy().T.reshape(d, *shape),
        np.moveaxis(D, 0, -1).reshape(d, d, *shape),
        target.log_density(flat).numpy().reshape(shape),
    )
