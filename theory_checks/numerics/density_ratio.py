r"""The Fokker-Planck equation of reversible dynamics by finite elements in the density ratio, in 1-d and 2-d.

For ``f = rho/q`` the weak form is ``d/dt int q f g = -int q <grad f, D grad g>`` for all g. With quadratic elements
and the implicit midpoint rule ``B (f' - f) = -dt A (f + f')/2`` two laws hold exactly at the discrete level, on any
mesh and for any step. Mass ``1^T B f`` is kept, since constants are in the space and ``A 1 = 0``; and
``chi2 = int q (f - 1)^2`` never grows: ``chi2' - chi2 = -2 dt <f_mid, A f_mid>``. The first steps are halves of
implicit Euler, for which both hold as well: the midpoint rule would not damp what is rough in the start (Rannacher
1984).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
import skfem
import torch
from skfem.helpers import dot, grad
from torch import Tensor

from lml.arguments import check_number
from theory_checks.numerics.dynamics import check_dynamics
from theory_checks.numerics.finite_elements import box_basis, coefficients
from toy import GaussianMixture

__all__ = ["EULER_STEPS", "DensityRatioFlow"]

# Entries of the matrices are scaled by the diagonal of B before they are factorised; beyond this fall of log q from the
# middle to the edge of the box their products would leave the range of numbers.
_DEEPEST = 300.0

#: Steps that are taken as two halves of implicit Euler: four halves leave 1/16 of what one leaves of a stiff mode.
EULER_STEPS = 2


class DensityRatioFlow:
    """The flow of one of the reversible `theory_checks.numerics.dynamics` on a box.

    Args:
        target: the density q, a mixture in one or two dimensions.
        damping: ``lambda``.
        dynamics: ``langevin``, ``corrected`` or ``corrected_normalised``.
        cells: mesh cells an axis.
        drop: by how much ``log q`` falls towards the edge of the box.

    Raises:
        ValueError: for the literal dynamics, more than two dimensions, or a box on which the density underflows.
    """

    def __init__(
        self,
        target: GaussianMixture,
        *,
        damping: float,
        dynamics: str = "corrected",
        cells: int = 40,
        drop: float = 40.0,
    ) -> None:
        check_dynamics(dynamics)
        if dynamics == "literal":
            raise ValueError(
                "dynamics must be reversible with respect to q: langevin, corrected or corrected_normalised"
            )
        if target.dim > 2:
            raise ValueError(f"target must have one or two dimensions, got {target.dim}")
        check_number(drop, "drop", above=0, most=_DEEPEST)
        self.target = target
        self.basis = box_basis(target, cells, drop)
        at = coefficients(self.basis, target, damping=damping, dynamics=dynamics)
        q = np.exp(at.log_q)

        def energy(u: skfem.DiscreteField, v: skfem.DiscreteField, _: object) -> np.ndarray:
            return np.asarray(q * dot(at.moved(grad(u)), grad(v)))

        def mass(u: skfem.DiscreteField, v: skfem.DiscreteField, _: object) -> np.ndarray:
            return np.asarray(q * u * v)

        #: Stiffness and mass with the weight q, sparse, (n, n).
        self.A, self.B = (skfem.BilinearForm(form).assemble(self.basis).tocsc() for form in (energy, mass))
        self._scale = scipy.sparse.diags(1 / np.sqrt(self.B.diagonal()))
        self._total = float(self.B.sum())

    def start(self, density: Callable[[Tensor], Tensor]) -> np.ndarray:
        """Return the coefficients (n,) of ``rho/q`` for a density of points (B, d), projected in ``L2(q)``; mass 1."""
        points = np.asarray(self.basis.global_coordinates())
        flat = torch.from_numpy(np.ascontiguousarray(points.reshape(self.target.dim, -1).T))
        rho = density(flat).numpy().reshape(points.shape[1:])
        load = skfem.LinearForm(lambda v, _: rho * v).assemble(self.basis)
        f = self._solve(self.B, load)
        return np.asarray(f / self.mass(f))

    def mass(self, f: np.ndarray) -> float:
        """Return ``int q f``, one for a density."""
        return float(np.ones(len(f)) @ (self.B @ f))

    def chi_squared(self, f: np.ndarray) -> float:
        """Return ``int q (f - 1)^2`` over the box."""
        return float((f - 1 / self._total) @ (self.B @ (f - 1 / self._total)))

    def evolved(self, f: np.ndarray, dt: float, steps: int) -> np.ndarray:
        """Return the coefficients after 0, 1 .. ``steps`` steps, shape (steps + 1, n)."""
        S = self._scale
        factors = scipy.sparse.linalg.splu((S @ (self.B + 0.5 * dt * self.A) @ S).tocsc())

        def half(g: np.ndarray) -> np.ndarray:
            """Half a step of implicit Euler; twice it less the start is a step of the midpoint rule."""
            return np.asarray(S @ factors.solve(S @ (self.B @ g)))

        path = [f]
        for k in range(steps):
            path.append(half(half(path[-1])) if k < EULER_STEPS else 2 * half(path[-1]) - path[-1])
        return np.stack(path)

    def _solve(self, matrix: scipy.sparse.csc_matrix, rhs: np.ndarray) -> np.ndarray:
        S = self._scale
        return np.asarray(S @ scipy.sparse.linalg.splu((S @ matrix @ S).tocsc()).solve(S @ rhs))
