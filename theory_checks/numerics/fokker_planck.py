r"""The Fokker-Planck equation of reversible dynamics in one dimension, in the density ratio, exactly in time.

``d_t f = (1/q) (q D f')'`` for ``f = rho/q`` becomes ``pi_i f_i' = sum_j c_ij (f_j - f_i)`` on a uniform grid, with
``pi_i = q(x_i) h`` and ``c = q D/h`` half-way between neighbours: finite volumes with no flux through the ends. It is a
reversible Markov chain, so mass is kept and chi-squared falls at the discrete level whatever the grid. In the variable
``sqrt(pi) f`` its matrix is symmetric and tridiagonal, with entries in which the density's many orders of magnitude
cancel; its eigenvectors give the solution at any time without a time step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
import scipy.special
import torch

from lml.arguments import check_positive
from theory_checks.numerics.dynamics import check_dynamics, diffusion_matrix
from toy import ExactTarget

__all__ = ["DIVERGENCES", "ReversibleFlow", "reversible_flow"]


@dataclass(frozen=True)
class ReversibleFlow:
    """A discretised reversible flow.

    Attributes:
        x: the grid, shape (n,).
        weight: ``pi``, the probabilities of q on the grid, shape (n,), of sum one.
        eigenvalues: of ``-L``, ascending, the first zero; shape (n,).
        eigenvectors: orthonormal columns in the variable ``sqrt(pi) f``, shape (n, n).
    """

    x: np.ndarray
    weight: np.ndarray
    eigenvalues: np.ndarray
    eigenvectors: np.ndarray

    @property
    def gap(self) -> float:
        """The spectral gap."""
        return float(self.eigenvalues[1])

    def probabilities(self, start: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return the probabilities (len(times), n) that the flow makes of ``start`` (n,), of sum one.

        ``start`` must vanish where q is beyond the range of numbers: it is divided by ``sqrt(pi)``.
        """
        root = np.sqrt(self.weight)
        coefficients = self.eigenvectors.T @ (start / root)
        decayed = np.exp(-np.outer(times, self.eigenvalues)) * coefficients
        return np.asarray(decayed @ self.eigenvectors.T * root)

    def chi_squared(self, start: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Return ``chi2(rho_t | q) = sum_k exp(-2 mu_k t) c_k^2``, shape (len(times),), without cancellation."""
        coefficients = self.eigenvectors[:, 1:].T @ (start / np.sqrt(self.weight))
        return np.asarray(np.exp(-2 * np.outer(times, self.eigenvalues[1:])) @ coefficients**2)


def reversible_flow(
    q: ExactTarget, *, damping: float, dynamics: str, low: float, high: float, cells: int
) -> ReversibleFlow:
    """Return the flow of one of the reversible `theory_checks.numerics.dynamics` on ``[low, high]``.

    Args:
        q: a target in one dimension whose density is a normal number on the interval.
        damping: ``lambda``.
        dynamics: ``langevin``, ``corrected`` or ``corrected_normalised``.
        low: the interval's left end.
        high: its right end.
        cells: grid points, one in the middle of each cell.

    Raises:
        ValueError: for the literal dynamics, which are not reversible with respect to q, a damping that is not
            positive, fewer than two cells, an empty interval, or a density that underflows.
    """
    check_dynamics(dynamics)
    if dynamics == "literal":
        raise ValueError("dynamics must be reversible with respect to q: langevin, corrected or corrected_normalised")
    check_positive(damping, "damping")
    if cells < 2:
        raise ValueError(f"cells must be at least 2, got {cells!r}")
    if not low < high:
        raise ValueError(f"low must be below high, got {low!r} and {high!r}")
    h = (high - low) / cells
    x = low + h * (np.arange(cells) + 0.5)
    middle = torch.from_numpy(x[:-1] + h / 2)[:, None]
    log_q = q.log_density(torch.from_numpy(x)[:, None]).numpy()
    if log_q.min() < -650:
        raise ValueError(f"low and high must keep log q above -650, it falls to {log_q.min():.0f}")
    D = diffusion_matrix(q.score(middle), damping=damping, dynamics=dynamics)[:, 0, 0].numpy()
    log_c = q.log_density(middle).numpy()
    eigenvalues, eigenvectors = scipy.linalg.eigh_tridiagonal(*_symmetric_matrix(log_q, log_c, D, h))
    weight = np.exp(log_q)
    weight /= weight.sum()
    # The null vector is known exactly; the solver's is off by its rounding, which would leak mass.
    eigenvalues[0], eigenvectors[:, 0] = 0.0, np.sqrt(weight)
    return ReversibleFlow(x, weight, eigenvalues, eigenvectors)


def _symmetric_matrix(log_q: np.ndarray, log_c: np.ndarray, D: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray]:
    """Return diagonal (n,) and off-diagonal (n - 1,) of ``-L`` in the variable ``sqrt(pi) f``.

    With ``c = q D/h`` half-way: ``sum_j c_ij/pi_i`` and ``-c_ij/sqrt(pi_i pi_j)``.
    """
    off = -D * np.exp(log_c - 0.5 * (log_q[:-1] + log_q[1:])) / h**2
    diagonal = np.zeros(len(log_q))
    diagonal[:-1] += D * np.exp(log_c - log_q[:-1]) / h**2
    diagonal[1:] += D * np.exp(log_c - log_q[1:]) / h**2
    return diagonal, off


def _chi_squared(p: np.ndarray, q: np.ndarray) -> float:
    return float(((p - q) ** 2 / q).sum())


def _kullback_leibler(p: np.ndarray, q: np.ndarray) -> float:
    # p log(p/q) - p + q in r = p/q - 1: never negative, and where p is nearly q the rounding is that of r, not of one.
    r = np.maximum((p - q) / q, -1.0)
    return float((q * (scipy.special.xlog1py(1 + r, r) - r)).sum())


def _total_variation(p: np.ndarray, q: np.ndarray) -> float:
    return 0.5 * float(np.abs(p - q).sum())


def _hellinger(p: np.ndarray, q: np.ndarray) -> float:
    return float(np.sqrt(0.5 * ((np.sqrt(np.clip(p, 0, None)) - np.sqrt(q)) ** 2).sum()))


#: Divergences between probability vectors by name.
DIVERGENCES = {
    "chi-squared": _chi_squared,
    "KL": _kullback_leibler,
    "total variation": _total_variation,
    "Hellinger": _hellinger,
}
