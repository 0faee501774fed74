r"""The rotation of `lml.kernel` in PyTorch: inner products first, then one linear combination, in float64.

One form serves every device, dtype and transform (gradients, `torch.func`, `torch.compile`), see `_turn`. On a GPU, for
one previous noise of at most 32 bits an element, `_rotation_triton` is the same in one or two launches, where Triton is
installed. The environment variable ``LML_KERNEL=eager``, read at the first rotation on a GPU, does without it; ``auto``
is the default.

On a CPU and outside of `torch.compile` a sample's direction has the same bits in any batch, at any place in it, with
any number of threads and any vector width. What that asks of every line here is in `lml._rows`.

What it costs (medians, one thread, float32, batches of 12 thousand to 4 million numbers): 2 to 5 times the arithmetic
of one step of DDIM, and 0.1 to 0.3 % of a step whose network is a UNet of 0.7 million weights. Forms of their own for
few small samples, for blocks and for the Gram matrix in two passes took 0.3 to 0.7 times as long, which is 0.05 to 0.2
% of such a step less; compiled, the two passes took 0.9 to 1.7 times as long as this. What is left of them is the walk
over blocks of samples, in the same form: by it the largest batches take a third to a half of the time.
"""

from __future__ import annotations

import functools
import os
from types import ModuleType
from typing import NamedTuple

import torch
from torch import Tensor

from lml._rows import accumulator, row_sum

# Elements of a block of samples on a CPU. Its temporaries in float64 (512 KiB each) stay in the last-level cache of a
# current machine, where those of a large batch would be streamed through main memory (benchmarks/test_kernel.py).
_BLOCK = 1 << 16

# A column of numbers, (B, 1), or the same number for every sample.
Column = Tensor | float


def rotate(noise: Tensor, history: tuple[Tensor, ...], damping: float | Tensor, kappa: float) -> Tensor:
    """Return ``|e| r/|r|`` for checked arguments: shapes (B, ...), ``kappa`` in (0, 1), at least one previous noise."""
    if noise.is_cuda and not torch.compiler.is_compiling():
        fused = _fused()
        if fused is not None and fused.serves(noise, history, damping, _rotate):
            result: Tensor = fused.rotate_on_device(noise, history[0], damping, kappa)
            return result
    batch = noise.shape[0]
    inputs = [t.reshape(batch, -1) for t in (noise, *history)]
    lam: Column = damping
    if isinstance(damping, Tensor):
        lam = damping.to(device=noise.device, dtype=accumulator(noise.device))
        lam = lam[:, None] if lam.ndim else lam
    if noise.device.type == "cpu" and not torch.compiler.is_compiling() and noise.numel() > _BLOCK:
        out = _rotate_in_blocks(inputs, lam, kappa)
    else:
        out = _rotate(inputs, lam, kappa)
    return out.reshape(noise.shape)


@functools.cache
def _fused() -> ModuleType | None:
    """Return `lml._rotation_triton`, or ``None`` without Triton or where ``LML_KERNEL`` is ``eager``."""
    choice = os.environ.get("LML_KERNEL", "auto")
    if choice not in ("auto", "eager"):
        raise ValueError(f"the environment variable LML_KERNEL must be 'auto' or 'eager', got {choice!r}")
    if choice == "eager":
        return None
    try:
        from lml import _rotation_triton
    except ImportError:
        return None
    return _rotation_triton


def _rotate_in_blocks(inputs: list[Tensor], lam: Column, kappa: float) -> Tensor:
    """Rotate (B, d) tensors some samples at a time."""
    batch, d = inputs[0].shape
    rows = max(1, _BLOCK // d)
    blocks = []
    for i in range(0, batch, rows):
        lam_block = lam[i : i + rows] if isinstance(lam, Tensor) and lam.ndim else lam
        blocks.append(_rotate([t[i : i + rows] for t in inputs], lam_block, kappa))
    return torch.cat(blocks)


def _rotate(inputs: list[Tensor], lam: Column, kappa: float) -> Tensor:
    """Rotate (B, d) tensors in the arithmetic of their device, and round once to their dtype."""
    dtype, acc = inputs[0].dtype, accumulator(inputs[0].device)
    e, *previous = (t.to(acc) for t in inputs)
    if torch.finfo(dtype).max < torch.finfo(acc).max ** 0.5:
        r = _turn(e, previous, lam, kappa)
    else:
        # Squares leave the range of `acc`: powers of two bring e, and the rest together, to order one.
        unit_e = _binade(e)
        unit = torch.stack([unit_e, *(_binade(p) for p in previous)]).amax(0)
        r = _turn(e / unit_e, [p / unit for p in previous], lam / unit / unit, kappa, unit_e / unit) * unit_e
    limit = torch.finfo(dtype).max
    return r.to(dtype).clamp(-limit, limit)


def _turn(e: Tensor, previous: list[Tensor], lam: Column, kappa: float, rho: Column = 1.0) -> Tensor:
    r"""Return ``|e| r/|r|`` with ``r = e - sum_j zeta_j p'_j``, shape (B, d), see `lml.kernel`.

    Differentiable, in both modes and twice. Where there is no noise the direction is zero and ``|e|`` has no
    derivative. What is given there is the limit along every noise that is orthogonal to the previous ones,
    ``lambda (lambda I + kappa^2 sum_j p_j p_j^T)^{-1}``: the identity where they vanish too.

    Args:
        e: the noise, shape (B, d).
        previous: the previous noises, each (B, d), in a unit of their own.
        lam: the damping in the square of that unit, a number or of shape (B, 1).
        kappa: the mixing.
        rho: the unit of ``e`` over that of the previous noises.
    """
    E = row_sum(e * e)
    noisy = E > 0
    E = torch.where(noisy, E, 1.0)
    rho = torch.where(noisy, rho, 0.0)
    projections = [_project(e, E, p) for p in previous]
    slope = torch.cat([each.ratio for each in projections], 1) - rho
    zeta, cos = _zeta_and_cosine(E, slope, _gram(E, projections), lam, kappa, rho)
    alpha = 1 + sum(zeta[:, j, None] * each.rest for j, each in enumerate(projections))
    if len(projections) == 1:
        return (cos * alpha) * e - (cos * zeta) * projections[0].part
    r = alpha * e
    for j, each in enumerate(projections):
        r = r - zeta[:, j, None] * each.part
    # The norm is measured: where several p'_j depend on each other, zeta^T W zeta loses what they cancel.
    return torch.sqrt(E / torch.where(noisy, row_sum(r * r), 1.0)) * r


class _Projection(NamedTuple):
    """A previous noise ``p`` beside ``e``: ``p = ratio e + p'`` with ``p' = part - rest e`` orthogonal to ``e``."""

    ratio: Tensor  # <e,p>/<e,e>, (B, 1)
    part: Tensor  # (B, d)
    rest: Tensor  # what rounding left of e in `part`, (B, 1)
    length: Tensor  # <p',p'>, (B, 1)


def _project(e: Tensor, E: Tensor, p: Tensor) -> _Projection:
    """Split ``p`` (B, d) into a multiple of ``e`` and ``p'``, for ``E = <e,e>``.

    Where the part has more left along ``e`` than across, ``p`` is a multiple of ``e`` as far as rounding can tell, and
    ``p'`` is zero; its derivative is not. ("Twice is enough": Parlett, The Symmetric Eigenvalue Problem, Sec. 6.9.)
    """
    ratio = row_sum(e * p) / E
    part = p - ratio * e
    rest = row_sum((e * part).detach()) / E.detach()  # zero but for rounding, and so is its derivative
    along, length = rest * rest * E, row_sum(part * part)
    across = (length > 2 * along).to(p.dtype)
    return _Projection(ratio + rest, part - part.detach() * (1 - across), rest * across, (length - along) * across)


def _zeta_and_cosine(
    E: Tensor, slope: Tensor, W: Tensor, lam: Column, kappa: float, rho: Column = 1.0
) -> tuple[Tensor, Tensor]:
    r"""Return ``zeta`` (B, m) and ``cos`` (B, 1) with ``direction = cos (e - sum_j zeta_j p'_j)``.

    ``zeta = kappa (lambda/E I + kappa^2 W/E)^{-1} a`` with ``a_j = 1 + kappa slope_j``, and
    ``cos = |e|/|e - sum_j zeta_j p'_j| = (1 + zeta^T W zeta/E)^{-1/2}``; see `lml.kernel`.

    Args:
        E: ``<e,e> > 0``, shape (B, 1).
        slope: ``<e, p_j - e>/E``, shape (B, m).
        W: ``<p'_i, p'_j>``, shape (B, m, m).
        lam: the damping, a number or of shape (B, 1).
        kappa: the mixing.
        rho: the unit of ``e`` over that of ``p'_j`` and ``sqrt(lambda)``, where they were scaled apart; 0 at e = 0.
    """
    # Damping below this fraction of |e|^2 is none in any dtype, and |p'|^2 above this multiple of it means that e is
    # zero: the bounds keep every product below in range.
    tiny = torch.finfo(E.dtype).tiny
    floor, ceiling = tiny**0.4, tiny**-0.65
    inverse = E.reciprocal()
    a = kappa * slope + rho
    lam = inverse * lam
    if slope.shape[1] == 1:
        w = (W[:, :, 0] * inverse).clamp_max(ceiling)
        zeta = kappa * a / (lam + kappa**2 * w).clamp_min(floor)
        return zeta, (zeta * w * zeta + 1).rsqrt()
    # One divisor for the whole matrix, which clamping its entries would make indefinite.
    largest = W.diagonal(dim1=1, dim2=2).amax(1, keepdim=True)
    w = W / torch.maximum(E, largest / ceiling)[:, :, None]
    zeta = kappa * _solve_damped(kappa**2 * w, lam.clamp_min(floor)[:, 0], a)
    moved = (zeta[:, :, None] * w * zeta[:, None, :]).flatten(1)
    return zeta, (row_sum(moved).clamp_min(0) + 1).rsqrt()


def _solve_damped(B: Tensor, lam: Tensor, a: Tensor) -> Tensor:
    """Solve ``(lambda I + B) x = a`` by Cholesky, with pivots held at their exact lower bound ``lambda``.

    Below four units in the last place of ``B_ii`` a pivot is what rounding left of it: the bound is raised by as much,
    a backward error of that size, so that dependent rows give finite numbers even where there is no damping.
    B is (batch, m, m) with few rows, so the loops are unrolled: the library's batched solvers check on the host.
    """
    rows: list[list[Tensor]] = []
    y: list[Tensor] = []
    for i in range(B.shape[-1]):
        row: list[Tensor] = []
        for j in range(i):
            row.append((B[:, i, j] - _dot(row, rows[j][:j])) / rows[j][j])
        least = lam + 4 * torch.finfo(B.dtype).eps * B[:, i, i]
        row.append(torch.sqrt(torch.maximum(B[:, i, i] + lam - _dot(row, row), least)))
        rows.append(row)
        y.append((a[:, i] - _dot(row[:i], y)) / row[i])
    x: list[Tensor] = []
    for i in reversed(range(len(y))):
        x.insert(0, (y[i] - _dot([row[i] for row in rows[i + 1 :]], x)) / rows[i][i])
    return torch.stack(x, 1)


def _dot(left: list[Tensor], right: list[Tensor]) -> Tensor | float:
    return sum((u * v for u, v in zip(left, right, strict=True)), start=0.0)


def _gram(E: Tensor, projections: list[_Projection]) -> Tensor:
    """Return the Gram matrices (B, m, m) of the ``p'_j``."""

    def product(i: int, j: int) -> Tensor:
        left, right = projections[i], projections[j]
        if i == j:
            return left.length
        return row_sum(left.part * right.part) - left.rest * right.rest * E

    m = range(len(projections))
    products = {(i, j): product(i, j) for j in m for i in range(j + 1)}
    return torch.stack([torch.cat([products[min(i, j), max(i, j)] for j in m], 1) for i in m], 1)


def _binade(x: Tensor) -> Tensor:
    """Return (B, 1): per row, a power of two within a factor two of the largest magnitude; 1 for a row of zeros."""
    # m 2^k / (2 m) is exact, and needs no integers, whose conversion some compilers lack. A unit has no derivative.
    largest = x.detach().abs().amax(1, keepdim=True)
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)
