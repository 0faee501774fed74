r"""The LML direction: the noise prediction, rotated away from the noise of the previous steps at constant norm.

Algorithm 1 of the paper, steps 7 to 13, for one sample with noise ``e`` and previous noise ``p``::

    v = kappa p + (1 - kappa) e             mixed noise, step 7
    r = (lambda I + v v^T)^{-1} e           damped Gauss-Newton direction, steps 11 and 12 (Eq. 8)
    direction = |e| r / |r|                 unit spectrum, step 13

`lml_direction_textbook` evaluates these lines as published. They subtract two vectors that agree to ``lambda/|e|^2``
(claim K4), so `lml_direction` evaluates an equal expression in which nothing cancels (claim K3). With ``D = p - e``,
with ``p' = D - (<e,D>/<e,e>) e``, the part of the previous noise orthogonal to ``e``, and ``w = <p',p'>``::

    r  is parallel to  e - zeta p',     zeta = kappa (<e,e> + kappa <e,D>) / (lambda + kappa^2 w)

The coefficient of ``e`` is one and ``p'`` is orthogonal to it: hence ``|r|^2 = <e,e> + zeta^2 w``, the angle between
``e`` and the direction is always below 90 degrees (``tan = zeta sqrt(w)/|e|``), and ``kappa = 0`` is the identity. This
orthogonal form never fails, since its denominator is at least ``lambda``. In terms of ``D`` itself, with ``X = <e,D>``
and ``Q = <D,D>``, r is parallel to ``(lambda + kappa X + kappa^2 Q) e - kappa (<e,e> + kappa X) D``. Only where
``lambda + kappa X + kappa^2 Q > 0`` is that the direction of an extrapolation ``e + eta (e - p)``, with ``eta = kappa
(<e,e> + kappa X)/(lambda + kappa X + kappa^2 Q)``; elsewhere, where ``D`` points far enough against ``e``, no ``eta``
gives it.

The same holds for several previous noises ``p_1 .. p_m``. With ``v_j = e + kappa D_j``, ``W_ij = <p'_i,p'_j>`` and
``a_j = 1 + kappa <e,D_j>/<e,e>`` one has ``v_j = a_j e + kappa p'_j``, and Sherman-Morrison on the m x m matrix
``lambda I + V^T V = (lambda I + kappa^2 W) + <e,e> a a^T`` gives::

    (lambda I + V V^T)^{-1} e  is parallel to  e - sum_j zeta_j p'_j,   zeta = kappa <e,e> (lambda I + kappa^2 W)^{-1} a
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lml._rotation import rotate
from lml.arguments import check_number
from lml.tensor_arguments import check_damping, check_floating, check_like

__all__ = ["lml_direction", "lml_direction_rank", "lml_direction_textbook"]


def lml_direction(noise: Tensor, previous: Tensor | None, *, damping: float | Tensor, mixing: float) -> Tensor:
    r"""Rotate ``noise`` away from ``previous``: ``|e| r/|r|`` with ``r = (damping I + v v^T)^{-1} e``.

    The module's docstring derives the expression that is evaluated. Scalars are accumulated in float64 (float32 on a
    device that has none); nothing synchronises with the host and no branch depends on data.

    Args:
        noise: the current noise prediction ``e``, shape (B, ...), any real floating-point dtype. A sample is all
            dimensions but the first.
        previous: the noise prediction of the previous step ``p``, like ``noise``; ``None`` at the first step.
        damping: ``lambda > 0``, one number or a tensor of shape (B,), in units of ``|noise|^2``.
        mixing: ``kappa`` in [0, 1), the weight of ``previous`` in ``v``.

    Returns:
        A tensor of the shape, dtype and device of ``noise``, each sample with the norm of ``noise``'s. It is ``noise``
        itself if ``previous`` is ``None`` or ``mixing`` is zero. Where ``|noise|`` exceeds the range of the dtype an
        element can too; it is clamped to the largest finite number.

    Raises:
        ValueError: for arguments that do not fit, naming the argument, the value and what is allowed. The values of a
            ``damping`` tensor are checked on the CPU only.

    Source: Algorithm 1, steps 7 to 13; Eq. 8; claim K3.
    """
    return lml_direction_rank(noise, () if previous is None else (previous,), damping=damping, mixing=mixing)


def lml_direction_rank(noise: Tensor, history: Sequence[Tensor], *, damping: float | Tensor, mixing: float) -> Tensor:
    r"""Rotate ``noise`` away from every noise of ``history``: rank-m geometry ``damping I + sum_j v_j v_j^T``.

    ``v_j = mixing p_j + (1 - mixing) e``. One entry is `lml_direction`, the paper's rank one; no entry, or
    ``mixing = 0``, returns ``noise`` itself. Arguments, result and errors are those of `lml_direction`.

    Source: Supp. D.4 of the paper names the L-BFGS-like extension; the algebra is in this module's docstring.
    """
    lam, kappa = _checked(noise, history, damping, mixing)
    if not history or kappa == 0 or noise.numel() <= noise.shape[0]:  # a sample of one number has one direction
        return noise
    return rotate(noise, tuple(history), lam, kappa)


def lml_direction_textbook(noise: Tensor, previous: Tensor | None, *, damping: float | Tensor, mixing: float) -> Tensor:
    r"""Evaluate Algorithm 1 as published, in the dtype of ``noise``: the object of the precision audit (claim K4).

    ``e - v <v,e>/(damping + <v,v>)``, then the norm of ``e``. Arguments and errors are those of `lml_direction`; the
    result is not to be used for sampling: in low precision it is rounding noise, or not a number.

    Source: Eq. 8 and Algorithm 1, steps 7 to 13.
    """
    damping, kappa = _checked(noise, () if previous is None else (previous,), damping, mixing)
    e = noise.flatten(1) if noise.ndim > 1 else noise[:, None]
    p = e if previous is None else previous.reshape(e.shape)
    lam = damping.to(e)[..., None] if isinstance(damping, Tensor) else damping
    v = kappa * p + (1 - kappa) * e
    r = e - v * (v * e).sum(1, keepdim=True) / (lam + (v * v).sum(1, keepdim=True))  # from left to right, as written
    direction: Tensor = r * torch.sqrt((e * e).sum(1, keepdim=True)) / torch.sqrt((r * r).sum(1, keepdim=True))
    return direction.reshape(noise.shape)


def _checked(
    noise: Tensor, history: Sequence[Tensor], damping: float | Tensor, mixing: float
) -> tuple[float | Tensor, float]:
    """Return damping and mixing, if all arguments fit."""
    check_floating(noise, "noise")
    for previous in history:
        check_like(previous, noise, "previous", "noise")
    kappa = check_number(mixing, "mixing", least=0, below=1)
    return check_damping(damping, noise.shape[:1], noise.device), kappa
