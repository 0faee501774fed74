"""Faults of several past noises, relative and adaptive damping, for the claims K6 to K8."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from theory_checks.ledger.faults import fault


@fault("lml._rotation:_solve_damped", "K6")
def past_noises_taken_one_by_one(original: Any) -> Any:
    """The coupling of the past noises is left out: every ``zeta_j`` is that of rank one."""
    return lambda B, lam, a: a / (lam[:, None] + B.diagonal(dim1=1, dim2=2))


@fault("lml._rotation:_zeta_and_cosine", "K6")
def weights_of_the_past_are_one(original: Any) -> Any:
    """``a_j = 1``: the part of the past noises along ``e`` is left out of the mixed noise."""
    return lambda E, slope, *rest: original(E, torch.zeros_like(slope), *rest)


@fault("theory_checks.kernel.rank:orthogonal_parts", "K6")
def past_noises_not_made_orthogonal(original: Any) -> Any:
    """The second method's small system of the past noises themselves instead of their orthogonal parts."""
    return lambda e, history: history


@fault("lml.correction:damping_of", "K7")
def share_of_the_norm_instead_of_its_square(original: Any) -> Any:
    """``lambda = damping |e|``."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        lam = original(noise, history, mode=mode, damping=damping)
        return torch.sqrt(damping * lam) if isinstance(lam, Tensor) else lam

    return damping_of


@fault("lml.correction:damping_of", "K7")
def share_of_the_mean_square(original: Any) -> Any:
    """``lambda = damping |e|^2/d``: free of scale, but not of dimension."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        lam = original(noise, history, mode=mode, damping=damping)
        return lam / noise[0].numel() if isinstance(lam, Tensor) else lam

    return damping_of


@fault("lml.correction:damping_of", "K8")
def gain_of_the_present_change(original: Any) -> Any:
    """Projected on the present change instead of the last one: ``<e - p_1, p_1 - p_2>/|e - p_1|^2``."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        p1, p2 = history[:2] if len(history) > 1 else (noise, noise)
        lam: float | Tensor = original(p2, (p1, noise), mode=mode, damping=damping)
        return lam

    return damping_of


@fault("lml.correction:damping_of", "K8")
def gain_multiplies_the_damping(original: Any) -> Any:
    """``lambda = damping |e|^2 gain``: it turns furthest where the noise turned back."""

    def damping_of(noise: Tensor, history: Any, *, mode: str, damping: float) -> float | Tensor:
        lam: float | Tensor = original(noise, history, mode=mode, damping=damping)
        relative: Tensor = original(noise, (), mode="relative", damping=damping)
        return relative**2 / lam if mode == "adaptive" else lam

    return damping_of


@fault("lml.damping:_LEAST_GAIN", "K8")
def least_gain_forgotten(original: Any) -> float:
    """The gain is bounded by a tenth from below: LML stays on where the noise turned back."""
    return 0.1
