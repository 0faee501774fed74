r"""The flows of Eqs. 9 and 10: a Fokker-Planck solver and exact transport in one dimension, and particles in any.

In ``u = x/alpha`` and the clock ``v = (sigma/alpha)^2``, which falls to zero, the linear drift ``f_t x`` is gone, and
every flow of this file is ``dU = b dv + D^{1/2} dB_v`` with ``q_t`` the law of ``y + sqrt(v) z``. With ``p = alpha s``
the score in u and ``N = lambda M``:

====================  =======================  ======  ============================================================
flow                  b                        D       what it is
====================  =======================  ======  ============================================================
``literal``           ``N p``                  ``N``   Eq. 9 read literally (Ito)
``divergence_added``  ``N p + div N/2``        ``N``   Eq. 9 with the divergence that Prop. 3 lacks (S2)
``ode``               ``N p/2``                ``0``   Eq. 10
``corrected``         ``(p + N p + div N)/2``  ``N``   the ordinary flow, and corrected LML dynamics at each level (A4)
====================  =======================  ======  ============================================================

For ``lambda = inf``, ``N = I``: the reverse SDE and the probability flow of Song et al. 2021. Time is
``tau = log(1 + v)/2``, in which ``alpha = e^-tau`` for every variance-preserving schedule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from scipy.integrate import solve_ivp
from scipy.special import ndtr
from torch import Tensor

from lml.arguments import check_choice, check_positive
from lml.geometry import DampedOuterProduct
from theory_checks.numerics.clock import level_at
from toy import GaussianMixture

__all__ = [
    "FLOWS",
    "ReverseFlow",
    "cell_edges",
    "cumulative",
    "fokker_planck",
    "implicit_midpoint",
    "particles",
    "probabilities_of",
    "transported",
]

#: Flows by name.
FLOWS = ("literal", "divergence_added", "ode", "corrected")


@dataclass(frozen=True)
class ReverseFlow:
    """One flow from ``tau = start`` down to the data at ``tau = 0``.

    Attributes:
        data: the data distribution, with ``alpha = 1, sigma = 0``.
        name: one of `FLOWS`.
        damping: ``lambda``; infinite for the ordinary flows.
        start: ``tau`` of the noisiest level.

    Raises:
        ValueError: for another name, a damping or start that is not positive.
    """

    data: GaussianMixture
    name: str
    damping: float
    start: float

    def __post_init__(self) -> None:
        check_choice(self.name, "name", FLOWS)
        if not self.damping > 0:
            raise ValueError(f"damping must be positive, got {self.damping!r}")
        check_positive(self.start, "start")

    def level(self, tau: float) -> GaussianMixture:
        """Return ``q_t`` in x at a time."""
        return level_at(self.data, tau)

    def coefficients(self, u: Tensor, tau: float) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
        """Return ``b dv/dtau`` at points u, (B, d), and the map ``z -> (D dv/dtau)^{1/2} z`` of tensors (B, d)."""
        alpha = math.exp(-tau)
        q, x = self.level(tau), alpha * u
        s = q.score(x)
        root: Callable[[Tensor], Tensor] = lambda z: z  # noqa: E731
        damped, divergence = s, torch.zeros_like(s)
        if math.isfinite(self.damping):
            G = DampedOuterProduct(s, self.damping)
            damped = self.damping * G.solve_vector()
            root = lambda z: math.sqrt(self.damping) * G.sqrt_solve(z)  # noqa: E731
            if self.name in ("divergence_added", "corrected"):
                divergence = self.damping * G.divergence(q.hessian_vector(x, s), q.laplacian(x))
        b = {
            "literal": damped,
            "divergence_added": damped + 0.5 * divergence,
            "ode": 0.5 * damped,
            "corrected": 0.5 * (s + damped + divergence),
        }[self.name]
        rate = 2 / alpha**2
        if self.name == "ode":
            return rate * alpha * b, torch.zeros_like
        return rate * alpha * b, lambda z: math.sqrt(rate) * root(z)

    def on_line(self, u: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
        """Return ``b dv/dtau`` and ``D dv/dtau`` at points (n,) of one dimension."""
        b, root = self.coefficients(torch.from_numpy(u)[:, None], tau)
        return b[:, 0].numpy(), root(torch.ones_like(b))[:, 0].numpy() ** 2


def cumulative(q: GaussianMixture, x: np.ndarray) -> np.ndarray:
    """Return the distribution function of a mixture in one dimension at points (n,)."""
    means = (q.alpha * q.means)[:, 0].numpy()
    spread = np.sqrt(q.component_covariances.dense()[:, 0, 0].numpy())
    return np.asarray(ndtr((x[:, None] - means) / spread) @ q.weights.numpy())


def cell_edges(data: GaussianMixture, start: float, cells: int) -> np.ndarray:
    """Return the edges, (cells + 1,), of cells in u: uniform near the data, in proportion to u far from it.

    Raises:
        ValueError: for data of more than one dimension, or fewer than 16 cells.
    """
    if data.dim != 1:
        raise ValueError(f"data must have one dimension, got {data.dim}")
    if cells < 16:
        raise ValueError(f"cells must be at least 16, got {cells!r}")
    spread = float(data.component_covariances.dense().max())
    reach = 9 * math.sqrt(spread + math.expm1(2 * start)) + float(data.means.abs().max())
    return np.sinh(np.linspace(-1, 1, cells + 1) * math.asinh(reach))


def probabilities_of(flow: ReverseFlow, edges: np.ndarray, tau: float) -> np.ndarray:
    """Return the probabilities of ``q_t`` in the cells, (n,)."""
    return np.diff(cumulative(flow.level(tau), math.exp(-tau) * edges))


def transported(flow: ReverseFlow, edges: np.ndarray, steps: int) -> np.ndarray:
    """Return the probabilities of the cells, (n,), after the flow took ``q_t`` at its start to ``tau = 0``.

    Without noise the edges are followed back to the start, where the distribution function is known: exact up to the
    tolerance of DOP853. With noise the Fokker-Planck equation is solved by finite volumes, of which no mass is lost,
    and the implicit midpoint rule; both of second order.
    """
    return _followed(flow, edges) if flow.name == "ode" else _fokker_planck(flow, edges, steps)


def _followed(flow: ReverseFlow, edges: np.ndarray) -> np.ndarray:
    def slope(tau: float, u: np.ndarray) -> np.ndarray:
        return -flow.on_line(u, tau)[0]

    inner = edges[1:-1]
    path = solve_ivp(slope, (0.0, flow.start), inner, method="DOP853", rtol=1e-8, atol=1e-9)
    below = cumulative(flow.level(flow.start), math.exp(-flow.start) * path.y[:, -1])
    return np.diff(below, prepend=0.0, append=1.0)


def _fokker_planck(flow: ReverseFlow, edges: np.ndarray, steps: int) -> np.ndarray:
    *_, (_, p) = fokker_planck(flow, edges, steps)
    return p


def fokker_planck(flow: ReverseFlow, edges: np.ndarray, steps: int) -> Iterator[tuple[float, np.ndarray]]:
    """Yield the time and the probabilities of the cells, (n,), after each of equal steps from ``q_t`` at the start."""
    # The centres are half-way between the edges in the variable in which the grid is uniform.
    grid = np.arcsinh(edges)
    centre = np.sinh(0.5 * (grid[:-1] + grid[1:]))
    points = np.concatenate((centre, edges[1:-1]))
    h = flow.start / steps
    p = probabilities_of(flow, edges, flow.start)
    for k in range(steps):
        b, D = flow.on_line(points, flow.start - (k + 0.5) * h)
        p = implicit_midpoint(p, b[len(centre) :], D[: len(centre)], edges, centre, h)
        yield flow.start * (steps - k - 1) / steps, p


def implicit_midpoint(
    p: np.ndarray, b: np.ndarray, D: np.ndarray, edges: np.ndarray, centre: np.ndarray, h: float
) -> np.ndarray:
    """Return the cells' probabilities a step later under ``d rho/dt = -(b rho)' + (D rho)''/2``, with no flux outside.

    Args:
        p: probabilities of the cells, shape (n,).
        b: drift at the edges between cells, shape (n - 1,).
        D: squared noise at the centres, shape (n,).
        edges: of the cells, shape (n + 1,).
        centre: of the cells, shape (n,).
        h: the step.
    """
    width, gap = np.diff(edges), np.diff(centre)
    # Flux through the edge between i and i + 1: left_i P_i + right_i P_{i+1}, of density P/width.
    left = (0.5 * b + 0.5 * D[:-1] / gap) / width[:-1]
    right = (0.5 * b - 0.5 * D[1:] / gap) / width[1:]
    lower, upper = 0.5 * h * left, -0.5 * h * right
    diagonal = np.zeros(len(p))
    diagonal[:-1] -= lower
    diagonal[1:] -= upper
    change = diagonal * p
    change[1:] += lower * p[:-1]
    change[:-1] += upper * p[1:]
    bands = np.zeros((3, len(p)))
    bands[0, 1:], bands[1], bands[2, :-1] = -upper, 1 - diagonal, -lower
    return np.asarray(scipy.linalg.solve_banded((1, 1), bands, p + change, overwrite_ab=True, check_finite=False))


def particles(flow: ReverseFlow, count: int, steps: int, generator: torch.Generator) -> Tensor:
    """Return ``count`` independent ends of the flow, (count, d): Euler-Maruyama with noise, Heun's rule without."""
    u = math.exp(flow.start) * flow.level(flow.start).sample(count, generator=generator)
    h = flow.start / steps
    for k in range(steps):
        tau = flow.start - k * h
        b, root = flow.coefficients(u, tau)
        if flow.name == "ode":
            after, _ = flow.coefficients(u + h * b, max(tau - h, 0.0))
            u = u + 0.5 * h * (b + after)
        else:
            u = u + h * b + math.sqrt(h) * root(torch.randn(u.shape, dtype=torch.float64, generator=generator))
    return u
