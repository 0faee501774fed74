r"""Spectral gaps of ``-L f = -(1/q) div(q D grad f)`` by finite elements, in one and two dimensions.

With ``g = sqrt(q) f`` the form becomes ``a(g,g) = int (grad g - s g/2)^T D (grad g - s g/2)`` and the mass ``int g^2``:
the density, which spans hundreds of orders of magnitude, is gone. Functions that vanish at the edge of a box belong to
the form's domain on all of R^d, so by the min-max principle the second Galerkin eigenvalue is, up to quadrature, an
*upper bound* of the gap, and falls as mesh and box grow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse.linalg
import skfem
from skfem.helpers import dot, grad

from lml.arguments import check_positive
from theory_checks.numerics.dynamics import check_dynamics
from theory_checks.numerics.finite_elements import box_basis, coefficients
from toy import GaussianMixture

__all__ = ["COARSE", "SpectralGap", "eigenvalues", "spectral_gap"]

# Boxes on which log q falls by so much towards the edge, and cells an axis, in 1-d and 2-d. Where the gap lies at the
# edge of the essential spectrum the error is of order (pi/drop)^2: hence the wide box in 1-d.
_DROP = {1: 400.0, 2: 60.0}
_CELLS = {1: 3000, 2: 64}

# Vectors of the Lanczos iteration: many, since at the threshold of the essential spectrum eigenvalues crowd.
_KRYLOV = {1: 100, 2: 40}


#: Smaller meshes and boxes by dimension, where a check needs many gaps.
COARSE: dict[int, Any] = {1: {"cells": 1500, "drop": 200.0}, 2: {"cells": 40, "drop": 60.0}}


@dataclass(frozen=True)
class SpectralGap:
    """A spectral gap with its error.

    Attributes:
        value: the gap, in units of the inverse of the dynamics' time.
        error: what refining the mesh and widening the box may still change, from one step of either.
        upper: the Galerkin value itself, a bound from above up to quadrature.
    """

    value: float
    error: float
    upper: float


def spectral_gap(
    target: GaussianMixture,
    *,
    damping: float = 1.0,
    dynamics: str = "corrected",
    cells: int | None = None,
    drop: float | None = None,
) -> SpectralGap:
    r"""Return the spectral gap ``1/C`` of a reversible diffusion with stationary density q.

    The error is twice the sum of what halving the cells and halving the box change. Away from the essential spectrum
    these changes are far above what remains (quadratic elements have order four, the box's edge counts exponentially);
    at its threshold, or where M is narrower than a cell, convergence may be of first order only, and a change as large
    as what remains.

    Args:
        target: the density q, a mixture in one or two dimensions with ``alpha, sigma`` of its level.
        damping: ``lambda``, positive; not used by ``langevin``.
        dynamics: ``langevin``, ``corrected`` or ``corrected_normalised``; ``literal`` does not have q as its
            stationary density.
        cells: mesh cells an axis.
        drop: by how much ``log q`` falls towards the edge of the box.

    Raises:
        ValueError: for a target of more than two dimensions, a damping or drop that is not positive, fewer than 8
            cells, or other dynamics.
    """
    if not isinstance(target, GaussianMixture) or target.dim > 2:
        raise ValueError("target must be a GaussianMixture in one or two dimensions")
    check_dynamics(dynamics)
    if dynamics == "literal":
        raise ValueError("dynamics must be reversible with respect to q: langevin, corrected or corrected_normalised")
    check_positive(damping, "damping")
    cells = _CELLS[target.dim] if cells is None else cells
    drop = _DROP[target.dim] if drop is None else drop
    if cells < 8:
        raise ValueError(f"cells must be at least 8, of which the error takes halves, got {cells!r}")
    check_positive(drop, "drop")

    def gap(n: int, depth: float) -> float:
        return float(eigenvalues(target, damping=damping, dynamics=dynamics, cells=n, drop=depth, count=2)[1])

    fine = gap(cells, drop)
    mesh = abs(gap(cells // 2, drop) - fine)
    # Half the drop is 1/sqrt(2) of the width: as many cells fewer keep the mesh as it is.
    box = abs(gap(round(cells / math.sqrt(2)), drop / 2) - fine)
    return SpectralGap(fine, 2 * (mesh + box), fine)


def eigenvalues(
    target: GaussianMixture, *, damping: float, dynamics: str, cells: int, drop: float, count: int
) -> np.ndarray:
    """Return the ``count`` smallest Galerkin eigenvalues, ascending; the first, of the constants, is near zero."""
    basis = box_basis(target, cells, drop)
    at = coefficients(basis, target, damping=damping, dynamics=dynamics)

    def energy(u: skfem.DiscreteField, v: skfem.DiscreteField, _: object) -> np.ndarray:
        left, right = _root_gradient(u, at.s), _root_gradient(v, at.s)
        return np.asarray(dot(at.moved(left), right))

    def mass(u: skfem.DiscreteField, v: skfem.DiscreteField, _: object) -> np.ndarray:
        return np.asarray(u * v)

    inner = basis.complement_dofs(basis.get_dofs())
    A, B = (skfem.BilinearForm(form).assemble(basis)[inner][:, inner].tocsc() for form in (energy, mass))
    # Below the spectrum, at a distance that keeps the shifted matrix well conditioned against its scale.
    shift = -1e-3 * float(target.component_covariances.precision_trace().max()) / max(1.0, damping)
    start = np.ones(len(inner))  # a fixed start makes the iteration deterministic
    values = scipy.sparse.linalg.eigsh(
        A, k=count, M=B, sigma=shift, v0=start, ncv=_KRYLOV[target.dim], tol=1e-11, return_eigenvectors=False
    )
    return np.sort(values)


def _root_gradient(g: skfem.DiscreteField, s: np.ndarray) -> np.ndarray:
    """Return ``sqrt(q) grad f = grad g - s g/2`` for ``g = sqrt(q) f``."""
    return np.asarray(grad(g) - 0.5 * s * g)
