r"""What sets the damping ``lambda`` of a sample: a number, a share of ``|e|^2``, or the gain of the last extrapolation.

The turn that LML makes is ``eta0 = kappa |e|^2/lambda`` times the part of the previous noise that is orthogonal to
``e`` (`lml.kernel`, small ``kappa``). So a fixed ``lambda`` turns a picture of d pixels d times as far as a pixel,
while ``lambda = damping |e|^2`` gives ``eta0 = kappa/damping`` in any dimension and at any scale of the noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from lml._rows import accumulator, row_sum
from lml.arguments import check_choice, check_positive

__all__ = ["DAMPING_MODES", "DampingMode", "check_damping_mode", "damping_of", "history_needed"]

DampingMode = Literal["absolute", "relative", "adaptive"]

#: The rules by name: ``lambda = damping``; ``damping |e|^2``; ``damping |e|^2/gain``.
DAMPING_MODES: tuple[str, ...] = get_args(DampingMode)

# The least gain: lambda stays finite where the last extrapolation was worth nothing, and LML is off to six digits.
_LEAST_GAIN = 1e-6


def check_damping_mode(mode: str) -> None:
    """Refuse a mode that is not in `DAMPING_MODES`.

    Raises:
        ValueError: naming the mode and what is allowed.
    """
    check_choice(mode, "damping_mode", DAMPING_MODES)


def history_needed(mode: str, rank: int) -> int:
    """Return how many past noises a correction of this rank has to remember: the gain needs two."""
    return max(rank, 2) if mode == "adaptive" else rank


def damping_of(noise: Tensor, history: Sequence[Tensor], *, mode: str, damping: float) -> float | Tensor:
    r"""Return ``lambda``: a number for ``absolute``, one per sample, shape (B,), for the other modes.

    ``adaptive`` divides by the gain, the share of the last turn that came true. LML extrapolates the change of the
    noise: it bets that the next change resembles the last one, ``e - p_1`` against ``p_1 - p_2``. The gain is

        ``gain = clip(<e - p_1, p_1 - p_2>/|p_1 - p_2|^2, 0, 1)``,

    one where the noise goes on as it did, zero where it turned back. With fewer than two past noises it is one.

    Args:
        noise: ``e``, shape (B, ...).
        history: past noises ``p_1, p_2, ...``, latest first, like ``noise``.
        mode: one of `DAMPING_MODES`.
        damping: ``lambda``, or its share of ``|e|^2``; positive.

    Raises:
        ValueError: for an unknown mode, or a damping that is not positive.

    Source: Supp. D.4 of the paper asks for adaptive damping; the ratio of actual to predicted change as what rules it
    is Marquardt's (1963), in the form of Nielsen (1999, IMM-REP-1999-05).
    """
    check_damping_mode(mode)
    check_positive(damping, "damping")
    if mode == "absolute":
        return damping
    acc = accumulator(noise.device)
    limits = torch.finfo(acc)
    e = noise.flatten(1).to(acc) if noise.ndim > 1 else noise[:, None].to(acc)
    # Between the limits, so that neither a sample without noise nor a square out of range gives a damping of 0 or inf.
    lam = (damping * row_sum(e * e)[:, 0]).clamp(limits.tiny, limits.max)
    if mode == "relative" or len(history) < 2:
        return lam
    p1, p2 = (p.reshape(e.shape).to(acc) for p in history[:2])
    last = p1 - p2
    squared = row_sum(last * last)[:, 0].clamp(limits.tiny, limits.max)
    gain = row_sum((e - p1) * last)[:, 0].clamp(-limits.max, limits.max) / squared
    return (lam / gain.clamp(_LEAST_GAIN, 1)).clamp_max(limits.max)
