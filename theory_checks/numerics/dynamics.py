r"""The readings of Eq. 7 as diffusions ``dX = b dt + sqrt(2 D) dB`` at one noise level.

With ``M = (lambda I + s s^T)^{-1}``:

- ``langevin``: ``b = s``, ``D = I``;
- ``literal``: ``b = M s``, ``D = M``, in the Ito sense, as the paper writes it;
- ``corrected``: ``b = M s + div M``, ``D = M``, the Riemannian (preconditioned) Langevin dynamics;
- ``corrected_normalised``: the same in the clock of ``lambda M``, whose ``D`` never exceeds the identity.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from lml.arguments import check_choice
from lml.geometry import DampedOuterProduct
from toy import ExactTarget

__all__ = [
    "DYNAMICS",
    "Dynamics",
    "Fields",
    "check_dynamics",
    "diffusion_matrix",
    "drift",
    "fields",
    "generator_of_square",
    "generator_of_wave",
]

Dynamics = Literal["langevin", "literal", "corrected", "corrected_normalised"]
DYNAMICS: tuple[str, ...] = get_args(Dynamics)


def check_dynamics(name: str) -> None:
    """Refuse a name that is not in `DYNAMICS`.

    Raises:
        ValueError: naming it and what is allowed.
    """
    check_choice(name, "dynamics", DYNAMICS)


class Fields(NamedTuple):
    """What the dynamics need of q at points x: ``s``, ``H s`` (B, d) and ``tr H`` (B,)."""

    x: Tensor
    s: Tensor
    Hs: Tensor
    laplacian: Tensor


def fields(q: ExactTarget, x: Tensor) -> Fields:
    """Evaluate the fields of q at points (B, d)."""
    s = q.score(x)
    return Fields(x, s, q.hessian_vector(x, s), q.laplacian(x))


def drift(at: Fields, *, damping: float, dynamics: str) -> Tensor:
    """Return ``b(x)``, shape (B, d)."""
    check_dynamics(dynamics)
    if dynamics == "langevin":
        return at.s
    G = DampedOuterProduct(at.s, damping)
    b = G.solve_vector()
    if dynamics != "literal":
        b = b + G.divergence(at.Hs, at.laplacian)
    return damping * b if dynamics == "corrected_normalised" else b


def diffusion_matrix(s: Tensor, *, damping: float, dynamics: str) -> Tensor:
    """Return ``D`` for scores ``s`` (B, d), shape (B, d, d)."""
    check_dynamics(dynamics)
    identity = torch.eye(s.shape[1], dtype=s.dtype)
    if dynamics == "langevin":
        return identity.expand(len(s), -1, -1)
    total = damping + (s * s).sum(1)
    scale = 1.0 if dynamics == "corrected_normalised" else 1 / damping
    return scale * (identity - s[:, :, None] * s[:, None, :] / total[:, None, None])


def generator_of_square(at: Fields, *, damping: float, dynamics: str) -> Tensor:
    r"""Return ``L f = <b,x> + tr D`` for ``f = |x|^2/2``, shape (B,); its mean is zero where q is stationary."""
    b = drift(at, damping=damping, dynamics=dynamics)
    d = at.x.shape[1]
    if dynamics == "langevin":
        return (b * at.x).sum(1) + d
    squared = (at.s * at.s).sum(1)
    scale = 1.0 if dynamics == "corrected_normalised" else 1 / damping
    return (b * at.x).sum(1) + scale * (d - squared / (damping + squared))


def generator_of_wave(at: Fields, k: Tensor, *, damping: float, dynamics: str) -> Tensor:
    r"""Return ``L f = -<b,k> sin<k,x> - (k^T D k) cos<k,x>`` for ``f = cos<k,x>`` with ``k`` (d,); shape (B,)."""
    b = drift(at, damping=damping, dynamics=dynamics)
    phase = at.x @ k
    if dynamics == "langevin":
        along = (k @ k).expand(len(phase))
    else:
        scale = 1.0 if dynamics == "corrected_normalised" else 1 / damping
        along = scale * (k @ k - (at.s @ k) ** 2 / (damping + (at.s * at.s).sum(1)))
    return -(b @ k) * torch.sin(phase) - along * torch.cos(phase)
