r"""Chains of particles for the readings of Eq. 7: Euler-Maruyama, and a Metropolis-adjusted one without bias.

Both propose ``Y = X + h b(X) + sqrt(2 h) M^{1/2}(X) z``. The adjusted chain goes there with probability

    ``min(1, q(y) N(x; y + h b(y), 2 h M(y)) / [q(x) N(y; x + h b(x), 2 h M(x))])``

and stays otherwise: q is stationary for every drift b and every step, so b may be the literal drift, which needs no
second derivatives of ``log q``. Source: Roberts & Stramer 2002; Girolami & Calderhead 2011.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lml.arguments import check_positive
from lml.geometry import DampedOuterProduct
from theory_checks.numerics.dynamics import check_dynamics
from toy import ExactTarget

__all__ = ["Observe", "Proposal", "adjusted", "coupled_euler", "euler"]

Observe = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Local:
    """What a proposal needs at points: where it is centred (B, d), and its geometry, none for ``M = I``."""

    x: Tensor
    centre: Tensor
    G: DampedOuterProduct | None


@dataclass(frozen=True)
class Proposal:
    """One Euler-Maruyama step.

    Attributes:
        q: the target.
        damping: ``lambda``.
        dynamics: ``langevin``, ``literal`` or ``corrected``.
        h: the step, in the clock of M.

    Raises:
        ValueError: for other dynamics, or a step that is not positive.
    """

    q: ExactTarget
    damping: float
    dynamics: str
    h: float

    def __post_init__(self) -> None:
        check_dynamics(self.dynamics)
        if self.dynamics == "corrected_normalised":
            raise ValueError("dynamics must be langevin, literal or corrected: lambda M is M with h lambda for h")
        check_positive(self.h, "h")

    @property
    def evaluations(self) -> int:
        """Score evaluations a step: ``H s`` is a product with the score's Jacobian, and ``tr H`` is d of them."""
        return 2 + self.q.dim if self.dynamics == "corrected" else 1

    def at(self, x: Tensor) -> _Local:
        """Evaluate the step's centre and geometry at points (B, d)."""
        s = self.q.score(x)
        if self.dynamics == "langevin":
            return _Local(x, x + self.h * s, None)
        G = DampedOuterProduct(s, self.damping)
        b = G.solve_vector()
        if self.dynamics == "corrected":
            b = b + G.divergence(self.q.hessian_vector(x, s), self.q.laplacian(x))
        return _Local(x, x + self.h * b, G)

    def move(self, local: _Local, z: Tensor) -> Tensor:
        """Return ``x + h b + sqrt(2 h) M^{1/2} z`` for normals z (B, d)."""
        return local.centre + math.sqrt(2 * self.h) * (z if local.G is None else local.G.sqrt_solve(z))

    def log_density(self, local: _Local, y: Tensor) -> Tensor:
        """Return the log density of a move to y (B, d), up to a constant, shape (B,)."""
        r = y - local.centre
        if local.G is None:
            return -(r * r).sum(1) / (4 * self.h)
        return 0.5 * local.G.logdet() - (r * local.G.matvec(r)).sum(1) / (4 * self.h)


def euler(proposal: Proposal, x: Tensor, steps: int, generator: torch.Generator) -> Tensor:
    """Return where Euler-Maruyama's chains end, (B, d), from x (B, d)."""
    for _ in range(steps):
        x = proposal.move(proposal.at(x), torch.randn(x.shape, dtype=x.dtype, generator=generator))
    return x


def coupled_euler(
    proposal: Proposal, half: Proposal, x: Tensor, steps: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return the ends, (B, d) each, of ``steps`` steps and of twice as many of half the size, under the same noise."""
    coarse = fine = x
    for _ in range(steps):
        z = torch.randn((2, *x.shape), dtype=x.dtype, generator=generator)
        for part in z:
            fine = half.move(half.at(fine), part)
        coarse = proposal.move(proposal.at(coarse), (z[0] + z[1]) / math.sqrt(2))
    return coarse, fine


def adjusted(
    proposal: Proposal, x: Tensor, steps: int, generator: torch.Generator, observe: Observe | None = None
) -> tuple[Tensor, Tensor, float]:
    """Run Metropolis-adjusted chains.

    Args:
        proposal: the step.
        x: where the chains start, shape (B, d).
        steps: how many proposals.
        generator: of the normals and of the decisions.
        observe: a function from points (B, d) to (B,).

    Returns:
        The ends (B, d), the mean of ``observe`` along each chain (B,), and the share of proposals that were accepted.
    """
    here = proposal.at(x)
    log_q = proposal.q.log_density(x)
    seen = observe(x) if observe else torch.zeros(len(x), dtype=x.dtype)
    total, accepted = torch.zeros_like(seen), 0.0
    for _ in range(steps):
        y = proposal.move(here, torch.randn(x.shape, dtype=x.dtype, generator=generator))
        there = proposal.at(y)
        log_q_y = proposal.q.log_density(y)
        ratio = log_q_y - log_q + proposal.log_density(there, here.x) - proposal.log_density(here, y)
        accept = torch.rand(len(x), dtype=x.dtype, generator=generator).log() < ratio
        column = accept[:, None]
        G = here.G
        if G is not None and there.G is not None:
            G = DampedOuterProduct(torch.where(column, there.G.vector, G.vector), proposal.damping)
        here = _Local(torch.where(column, y, here.x), torch.where(column, there.centre, here.centre), G)
        log_q = torch.where(accept, log_q_y, log_q)
        if observe:
            seen = torch.where(accept, observe(y), seen)
            total = total + seen
        accepted += float(accept.double().mean())
    return here.x, total / steps, accepted / steps
