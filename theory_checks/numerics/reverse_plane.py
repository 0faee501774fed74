r"""The flows of Eqs. 9 and 10 on a grid in the plane: finite elements for the SDE, characteristics for the ODE.

In x and the time ``tau`` of `theory_checks.numerics.reverse_time`, with ``N = lambda M``, Eq. 9 falls
through the levels as ``dX = (X + 2 N s) dtau + sqrt(2 N) dB`` and Eq. 10 as ``dX = (X + N s) dtau``. Densities obey

    ``Eq. 9:   d rho/dtau = -div((x + 2 N s - div N) rho - N grad rho)``,
    ``Eq. 10:  d log rho/dtau = -div(x + N s)`` along the path, ``div(N s) = <div N, s> + tr(N H)``.

The corrected SDE of A4 has the drift ``x + s + N s + div N``, of which the divergence cancels in the flux:

    ``d rho/dtau = -div((x + s + N s) rho - N grad rho)``.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import skfem
import torch
from skfem.helpers import dot, grad
from torch import Tensor

from lml.geometry import DampedOuterProduct
from theory_checks.numerics.clock import graded_times, level_at
from theory_checks.numerics.dynamics import fields
from toy import GaussianMixture

__all__ = ["PlanarEnds", "planar_ends"]


# Of the mesh: cosh(3) = 10 is the ratio of the outermost to the middle cells.
_GRADING = 3.0


class PlanarEnds(NamedTuple):
    """Densities at the end on quadrature points with weights (n,), and the data's; the points' distance from 0."""

    sde: np.ndarray
    ode: np.ndarray
    data: np.ndarray
    weights: np.ndarray
    radius: np.ndarray

    def distance(self, a: str, b: str) -> float:
        """Return the total variation between two of them."""
        return 0.5 * float((np.abs(getattr(self, a) - getattr(self, b)) * self.weights).sum())


class _Fields(NamedTuple):
    """``s``, ``N s``, ``div N`` (B, 2), ``div(N s)`` (B,) and ``N`` (B, 2, 2)."""

    score: Tensor
    damped: Tensor
    divergence: Tensor
    spread: Tensor
    diffusion_matrix: Tensor


def _fields(q: GaussianMixture, x: Tensor, damping: float) -> _Fields:
    at = fields(q, x)
    identity = torch.eye(2, dtype=torch.float64).expand(len(x), -1, -1)
    if math.isinf(damping):
        return _Fields(at.s, at.s, torch.zeros_like(at.s), at.laplacian, identity)
    G = DampedOuterProduct(at.s, damping)
    total = damping + (at.s * at.s).sum(1)
    divergence = damping * G.divergence(at.Hs, at.laplacian)
    return _Fields(
        at.s,
        damping * G.solve_vector(),
        divergence,
        (divergence * at.s).sum(1) + at.laplacian - (at.s * at.Hs).sum(1) / total,
        identity - at.s[:, :, None] * at.s[:, None, :] / total[:, None, None],
    )


def planar_ends(
    data: GaussianMixture,
    damping: float,
    *,
    start: float,
    cells: int,
    steps: int,
    half_width: float,
    corrected: bool = False,
) -> PlanarEnds:
    """Return where Eqs. 9 and 10 end from the same ``q_start``, on a mesh of ``[-half_width, half_width]^2``.

    Args:
        data: a mixture in two dimensions, at ``alpha = 1, sigma = 0``.
        damping: ``lambda``; infinite for the ordinary reverse SDE and probability flow.
        start: ``tau`` of the noisiest level.
        cells: mesh cells an axis, quadratic elements.
        steps: of the implicit midpoint rule, and of the Runge-Kutta rule along the characteristics.
        half_width: of the square.
        corrected: take the SDE of A4 in the place of Eq. 9.
    """
    # Both flows throw mass far out: cells grow from the middle, by a factor of about 10.
    axis = half_width * np.sinh(_GRADING * np.linspace(-1, 1, cells + 1)) / math.sinh(_GRADING)
    basis = skfem.Basis(skfem.MeshQuad.init_tensor(axis, axis), skfem.ElementQuad2())
    points = np.asarray(basis.global_coordinates())
    flat = torch.from_numpy(np.ascontiguousarray(points.reshape(2, -1).T))
    shape = points.shape[1:]
    B = skfem.BilinearForm(lambda u, v, _: u * v).assemble(basis).tocsc()

    def right_side(tau: float) -> scipy.sparse.csc_matrix:
        at = _fields(level_at(data, tau), flat, damping)
        drift = at.score + at.damped if corrected else 2 * at.damped - at.divergence
        carried = (flat + drift).numpy().T.reshape(2, *shape)
        N = np.moveaxis(at.diffusion_matrix.numpy(), 0, -1).reshape(2, 2, *shape)

        def form(u: skfem.DiscreteField, v: skfem.DiscreteField, _: object) -> np.ndarray:
            return np.asarray(dot(carried, grad(v)) * u - dot(np.einsum("ij...,j...->i...", N, grad(u)), grad(v)))

        return skfem.BilinearForm(form).assemble(basis).tocsc()

    density = level_at(data, start).log_density(flat).exp().numpy().reshape(shape)
    rho = scipy.sparse.linalg.splu(B).solve(skfem.LinearForm(lambda v, _: density * v).assemble(basis))
    times = graded_times(start, steps)
    for before, after in itertools.pairwise(times):
        dt = before - after
        A = right_side(0.5 * (before + after))
        middle = scipy.sparse.linalg.splu((B - 0.5 * dt * A).tocsc()).solve(B @ rho)
        rho = 2 * middle - rho

    ode = _along_characteristics(data, damping, flat, times)
    end = np.asarray(basis.interpolate(rho)).reshape(-1)
    target = data.log_density(flat).exp().numpy()
    return PlanarEnds(end, ode, target, np.asarray(basis.dx).reshape(-1), flat.norm(dim=1).numpy())


def _along_characteristics(data: GaussianMixture, damping: float, x: Tensor, times: list[float]) -> np.ndarray:
    """Return the density of Eq. 10 at the end in points x (B, 2): follow them back, and what the flow expands."""

    def slope(y: Tensor, tau: float) -> tuple[Tensor, Tensor]:
        at = _fields(level_at(data, tau), y, damping)
        return y + at.damped, 2 + at.spread

    log_change = torch.zeros(len(x), dtype=torch.float64)
    for after, before in zip(times[:0:-1], times[-2::-1], strict=True):
        dt, middle = before - after, 0.5 * (before + after)
        k1, c1 = slope(x, after)
        k2, c2 = slope(x - 0.5 * dt * k1, middle)
        k3, c3 = slope(x - 0.5 * dt * k2, middle)
        k4, c4 = slope(x - dt * k3, before)
        x = x - dt * (k1 + 2 * k2 + 2 * k3 + k4) / 6
        log_change = log_change - dt * (c1 + 2 * c2 + 2 * c3 + c4) / 6
    start = level_at(data, times[0]).log_density(x)
    return np.asarray((start + log_change).exp().numpy())
