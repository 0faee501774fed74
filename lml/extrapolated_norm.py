r"""The norm of a turned noise: kept, as in step 13 of Algorithm 1, or carried forward as the direction is (claim A5).

Step 13 gives the turned noise the norm of ``e``, which belongs to the level where the step starts, while the direction
``e + zeta (e - p)`` belongs to a level further on. ``norm="extrapolated"`` takes both at the same place::

    |e| + zeta (|e| - |p|),    zeta = kappa (<e,e> + kappa <e,p - e>)/(lambda + kappa^2 |p'|^2)

with the weight ``zeta`` of the turn itself (`lml.kernel`, with ``p'`` the part of ``p`` orthogonal to ``e``), which is
``eta0 = kappa |e|^2/lambda`` to leading order. With ``eta0 = 1/2`` on equal steps of log-SNR DDIM is then of second
order; with step 13 it stays of first order. By the triangle inequality this norm never exceeds that of ``e + zeta (e -
p)`` itself.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from lml._rows import accumulator, row_sum

__all__ = ["NORMS", "Norm", "extrapolated_norm", "turn_weight", "with_extrapolated_norm"]

Norm = Literal["kept", "extrapolated"]

#: What becomes of the norm of the noise, by name: kept, as the paper has it, or extrapolated by the weight of the turn.
NORMS: tuple[str, ...] = get_args(Norm)


def extrapolated_norm(noise: Tensor, previous: Tensor, eta: float | Tensor) -> Tensor:
    """Return ``|e| + eta (|e| - |p|)``, shape (B,), in float64 where the device has it; ``|e|`` where not positive.

    Args:
        noise: ``e``, shape (B, ...).
        previous: ``p``, the noise of the level before, like ``noise``.
        eta: how far to extrapolate, in steps back to ``p``: one number or one a sample, (B,).
    """
    own, past = (torch.sqrt(_square(t))[:, 0] for t in (_rows(noise), _rows(previous)))
    norm = own + eta * (own - past)
    return torch.where(norm > 0, norm, own)


def turn_weight(noise: Tensor, previous: Tensor, *, damping: float | Tensor, mixing: float) -> Tensor:
    r"""Return ``zeta``, shape (B,): how far the noise is turned away from ``p'``; see `lml.kernel`.

    Args:
        noise: ``e``, shape (B, ...).
        previous: ``p``, like ``noise``.
        damping: ``lambda``, one number or one a sample, (B,).
        mixing: ``kappa``.
    """
    e, difference = _rows(noise), _rows(previous) - _rows(noise)
    E, X, Q = _square(e)[:, 0], row_sum(e * difference)[:, 0], row_sum(difference * difference)[:, 0]
    across = (Q - X * (X / E)).clamp_min(0)
    return mixing * (E + mixing * X) / (damping + mixing**2 * across)


def with_extrapolated_norm(
    turned: Tensor, noise: Tensor, previous: Tensor, *, damping: float | Tensor, mixing: float
) -> Tensor:
    """Return a turned noise, which has the norm of ``noise``, with the extrapolated one; shape and dtype of ``turned``.

    Where it exceeds the range of the dtype an element is clamped to the largest finite number.

    Args:
        turned: the direction of LML, shape (B, ...).
        noise: what was turned, like ``turned``.
        previous: what it was turned away from, like ``turned``.
        damping: ``lambda``, one number or one a sample, (B,).
        mixing: ``kappa``.
    """
    # In a unit in which no square leaves the range.
    both = torch.stack([_rows(t).detach().abs().amax(1, keepdim=True) for t in (noise, previous)]).amax(0)
    unit = torch.where(both > 0, both, 1.0)
    e, p = _rows(noise) / unit, _rows(previous) / unit
    zeta = turn_weight(e, p, damping=damping / unit[:, 0] / unit[:, 0], mixing=mixing)
    scale = extrapolated_norm(e, p, zeta) / torch.sqrt(_square(e))[:, 0]
    limit = torch.finfo(turned.dtype).max
    scaled = (_rows(turned) * scale[:, None]).clamp(-limit, limit)
    return scaled.to(turned.dtype).reshape(turned.shape)


def _rows(x: Tensor) -> Tensor:
    """Return samples as rows, (B, d), in the dtype in which scalars are accumulated."""
    rows = x.flatten(1) if x.ndim > 1 else x[:, None]
    return rows.to(accumulator(x.device))


def _square(x: Tensor) -> Tensor:
    """Return ``<x,x>``, shape (B, 1), never zero, so that its root has a derivative."""
    return row_sum(x * x).clamp_min(torch.finfo(x.dtype).tiny)
