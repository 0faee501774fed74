r"""How the rotation of `lml.kernel` walks through memory: scalars first, then one linear combination.

`_zeta_and_cosine` is the mathematics. The rest is arithmetic and memory, two ways to the same direction:

- `_rotate_orthogonal`, `_rotate_few` and `_rotate_block` form the orthogonal parts ``p'_j`` and measure them: the most
  exact way, for float64 and for eager CPUs, where large batches are walked in blocks that stay in the cache (eager
  PyTorch would otherwise stream every temporary through main memory);
- `_rotate_gram` needs only the Gram matrix of ``e, p_1 - e .. p_m - e``, so two passes over memory suffice: for
  accelerators and `torch.compile`. On a GPU, for one previous noise of at most 32 bits an element, `_rotation_triton`
  is the same in one or two launches, where Triton is installed. The environment variable ``LML_KERNEL=eager``, read
  at the first rotation on a GPU, does without it; ``auto`` is the default.
"""

from __future__ import annotations

import functools
import math
import os
from types import ModuleType

import torch
from torch import Tensor

# Devices without float64. There scalars are accumulated in float32, from inputs that were scaled to order one.
_NO_FLOAT64 = frozenset({"mps"})


def accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype in which scalars of a batch on this device are accumulated."""
    return torch.float32 if device.type in _NO_FLOAT64 else torch.float64


# Elements of a block on a CPU. Two float64 copies of it (8 MiB) fit the last-level cache of a current machine; smaller
# blocks pay more for calls than they save in traffic (benchmarks/test_kernel.py).
_BLOCK = 1 << 19

# Elements up to which a CPU's cost is that of the calls, not of the arithmetic: these go the way with the fewest calls.
_SMALL = 1 << 15

# Samples up to which a loop over them with Python's own floats costs less than a few calls on tensors of scalars.
_FEW = 4

# Elements of one inner product of a batched product: longer rows are cut so that the batch occupies every core, and
# rows much shorter are better multiplied and summed.
_SEGMENT = 4096
_SHORT = 256

# A column of numbers, (B, 1), or the same number for every sample.
Column = Tensor | float


def rotate(noise: Tensor, history: tuple[Tensor, ...], damping: float | Tensor, kappa: float) -> Tensor:
    """Return ``|e| r/|r|`` for checked arguments: shapes (B, ...), ``kappa`` in (0, 1), at least one previous noise."""
    if noise.is_cuda and not torch.compiler.is_compiling():
        fused = _fused()
        if fused is not None and fused.serves(noise, history, damping, _rotate_gram):
            result: Tensor = fused.rotate_on_device(noise, history[0], damping, kappa)
            return result
    batch = noise.shape[0]
    inputs = [t.reshape(batch, -1) for t in (noise, *history)]
    acc = accumulator(noise.device)
    tensors = [noise, *history]
    lam: Column
    if isinstance(damping, Tensor):
        tensors.append(damping)
        lam = damping.to(device=noise.device, dtype=acc)
        lam = lam[:, None] if lam.ndim else lam
    else:
        lam = damping
    differentiable = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    eager_cpu = noise.device.type == "cpu" and not torch.compiler.is_compiling() and not differentiable
    narrow = noise.dtype is not torch.float64
    plain = all(type(t) is Tensor for t in tensors)  # not a tracer's, which has no values
    if eager_cpu and narrow and plain and batch <= _FEW and len(history) == 1 and noise.numel() <= _SMALL:
        out = _rotate_few(inputs[0], inputs[1], lam, kappa)
    elif eager_cpu and noise.numel() > _SMALL:
        out = _rotate_blocked(inputs, lam, kappa)
    elif eager_cpu or acc is torch.float32 or not narrow:
        out = _rotate_orthogonal(inputs, lam, kappa, acc)
    else:
        out = _rotate_gram(inputs, lam, kappa)
    return out.view(noise.shape)


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
        rho: the unit of ``e`` over that of ``p'_j`` and ``sqrt(lambda)``, where they were scaled apart.
    """
    # Damping below this fraction of |e|^2 is none in any dtype, and |p'|^2 above this multiple of it means that e is
    # zero: the bounds keep every product below in range.
    tiny = torch.finfo(E.dtype).tiny
    floor, ceiling = tiny**0.4, tiny**-0.65
    inverse = E.reciprocal()
    a = (kappa * slope).add_(rho)
    lam = inverse * lam
    if slope.shape[1] == 1:
        w = (W[:, :, 0] * inverse).clamp_max_(ceiling)
        zeta = a.mul_(kappa).div_(torch.add(lam, w, alpha=kappa**2).clamp_min_(floor))
        return zeta, (zeta * w).mul_(zeta).add_(1).rsqrt_()
    # One divisor for the whole matrix, which clamping its entries would make indefinite.
    largest = W.diagonal(dim1=1, dim2=2).amax(1, keepdim=True)
    w = W / torch.maximum(E, largest / ceiling)[:, :, None]
    zeta = kappa * _solve_damped(kappa**2 * w, lam.clamp_min_(floor)[:, 0], a)
    return zeta, (zeta[:, None, :] @ w @ zeta[:, :, None])[:, 0].clamp_min_(0).add_(1).rsqrt_()


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
        least = torch.add(lam, B[:, i, i], alpha=4 * torch.finfo(B.dtype).eps)
        row.append(torch.sqrt(torch.maximum(B[:, i, i] + lam - _dot(row, row), least)))
        rows.append(row)
        y.append((a[:, i] - _dot(row[:i], y)) / row[i])
    x: list[Tensor] = []
    for i in reversed(range(len(y))):
        x.insert(0, (y[i] - _dot([row[i] for row in rows[i + 1 :]], x)) / rows[i][i])
    return torch.stack(x, 1)


def _dot(left: list[Tensor], right: list[Tensor]) -> Tensor | float:
    return sum((u * v for u, v in zip(left, right, strict=True)), start=0.0)


def _rotate_few(noise: Tensor, previous: Tensor, lam: Column, kappa: float) -> Tensor:
    """Rotate few small (B, d) tensors on a CPU: as `_rotate_orthogonal`, with the fewest calls.

    Only for at most 32 bits an element, of which no square leaves the range of float64.
    """
    tiny = torch.finfo(torch.float64).tiny
    floor, ceiling = tiny**0.4, tiny**-0.65  # as in _zeta_and_cosine
    limit = torch.finfo(noise.dtype).max
    lams = lam.flatten().tolist() if isinstance(lam, Tensor) else [lam]
    if len(lams) == 1:
        lams *= len(noise)
    out = torch.empty_like(noise)
    for row, (e, p, damping) in enumerate(zip(noise.double(), previous.double(), lams, strict=True)):
        E = max(torch.dot(e, e).item(), tiny)
        ratio = torch.dot(e, p).item() / E
        p.sub_(e, alpha=ratio)
        w = min(torch.dot(p, p).item() / E, ceiling)
        zeta = kappa * (1 + kappa * (ratio - 1)) / max(damping / E + kappa * kappa * w, floor)
        cos = 1 / math.sqrt(1 + zeta * w * zeta)
        out[row] = e.mul_(cos).sub_(p, alpha=cos * zeta)
    return out.clamp_(-limit, limit)


def _rotate_gram(inputs: list[Tensor], lam: Column, kappa: float) -> Tensor:
    r"""Rotate (B, d) tensors of at most 32 bits in two passes: ``W = Q - X X^T/E`` from the Gram matrix of ``e, D_j``.

    With ``D_j = p_j - e``, ``X_j = <e,D_j>``, ``Q_ij = <D_i,D_j>``, ``p'_j = D_j - slope_j e``: the direction is
    ``cos ((1 + sum_j zeta_j slope_j) e - sum_j zeta_j D_j)``. Scalars in float64, the combination in float32.
    """
    e = inputs[0].double()
    D = [p.double() - e for p in inputs[1:]]
    E = _positive(_row_sum(e * e))
    X = torch.cat([_row_sum(e * u) for u in D], 1)
    lengths = torch.cat([_row_sum(u * u) for u in D], 1)
    slope = X / E
    # W is resolved down to the square of a float32 rounding of D. Below that p' is rounding noise, and a W without this
    # floor would let it grow beyond |e|. It matters only where every p_j is parallel to e.
    single = torch.finfo(torch.float32)
    resolution = 4 * single.eps**2 * lengths
    if len(D) == 1:
        W = (lengths - X * slope + resolution)[:, :, None]
    else:
        W = _gram(D) - X[:, :, None] * slope[:, None, :] + torch.diag_embed(resolution)
    zeta, cos = _zeta_and_cosine(E, slope, W, lam, kappa)
    alpha = (cos * (1 + (zeta * slope).sum(1, keepdim=True))).float()
    beta = (cos * zeta).clamp(-single.max, single.max).float()

    # No intermediate exceeds |e| by more than floor^(-1/2) ~ 2^22: scale by 2^-32 near the end of the range of float32.
    moderate = torch.maximum(E, lengths.amax(1, keepdim=True)) < 2.0**200
    down = torch.where(moderate, 1.0, 2.0**-32).float()
    up = torch.where(moderate, 1.0, 2.0**32).float()
    scaled = inputs[0].float() * down
    out = alpha * scaled
    for j, p in enumerate(inputs[1:]):
        out = out - beta[:, j, None] * (p.float() * down - scaled)
    return _rounded(out * up, inputs[0].dtype)


def _rotate_orthogonal(inputs: list[Tensor], lam: Column, kappa: float, acc: torch.dtype) -> Tensor:
    """Rotate (B, d) tensors as a whole in arithmetic ``acc``, whatever their scale."""
    e, *previous = (t.to(acc) for t in inputs)
    dtype = inputs[0].dtype
    if torch.finfo(dtype).max < torch.finfo(acc).max ** 0.5:
        E = _positive(_row_sum(e * e))
        ratio = torch.cat([_row_sum(e * p) / E for p in previous], 1)
        parts = [torch.addcmul(p, e, ratio[:, j, None], value=-1) for j, p in enumerate(previous)]
        zeta, cos = _zeta_and_cosine(E, ratio - 1, _gram(parts), lam, kappa)
        r = _combine(e, zeta, parts)
        return _rounded((cos if len(parts) == 1 else _measured_cosine(E, r)) * r, dtype)

    # Squares leave the range of `acc`: powers of two bring e, and the rest together, to order one.
    unit_e = _binade(e)
    unit = torch.stack([unit_e, *(_binade(p) for p in previous)]).amax(0)
    shared = e / unit
    e = e / unit_e
    E = _positive(_row_sum(e * e))
    parts, slopes = [], []
    for p in previous:
        part = p / unit - shared
        slope = torch.zeros_like(E)
        for _ in range(2):  # the second removes what rounding left along e: "twice is enough" (Parlett, Kahan)
            along = _row_sum(e * part) / E
            part = part - along * e
            slope = slope + along
        parts.append(part)
        slopes.append(slope)
    zeta, _ = _zeta_and_cosine(E, torch.cat(slopes, 1), _gram(parts), lam / unit / unit, kappa, unit_e / unit)
    r = _combine(e, zeta, parts)
    return _rounded(_measured_cosine(_row_sum(e * e), r) * r * unit_e, dtype)


def _measured_cosine(E: Tensor, r: Tensor) -> Tensor:
    """Return ``|e|/|r|`` measured: where several p'_j depend on each other, zeta^T W zeta loses what they cancel."""
    return torch.sqrt(E / _positive(_row_sum(r * r)))


def _combine(e: Tensor, zeta: Tensor, parts: list[Tensor]) -> Tensor:
    """Return ``e - sum_j zeta_j p'_j``."""
    for j, part in enumerate(parts):
        e = torch.addcmul(e, part, zeta[:, j, None], value=-1)
    return e


def _rotate_blocked(inputs: list[Tensor], lam: Column, kappa: float) -> Tensor:
    """Rotate (B, d) tensors on a CPU, a block of samples at a time; a sample that is larger is walked in pieces."""
    batch, d = inputs[0].shape
    dtype = inputs[0].dtype
    out = torch.empty((batch, d), dtype=dtype)
    rows = max(1, _BLOCK // d)
    work = torch.empty((len(inputs), min(rows, batch), min(d, _BLOCK)), dtype=torch.float64)
    for i in range(0, batch, rows):
        block = [t[i : i + rows] for t in inputs]
        lam_block = lam[i : i + rows] if isinstance(lam, Tensor) and lam.ndim else lam
        target = out[i : i + rows]
        if dtype is torch.float64 or len(block) > 2:
            target.copy_(_rotate_orthogonal(block, lam_block, kappa, torch.float64))
        else:
            _rotate_block(block, lam_block, kappa, work[:, : len(target)], target)
    return out


def _rotate_block(inputs: list[Tensor], lam: Column, kappa: float, work: Tensor, target: Tensor) -> None:
    """Rotate one block of at most 32 bits an element into ``target``, in float64, where no square leaves the range.

    Here ``p'_j = p_j - (<e,p_j>/E) e`` directly: rounding in float64 is far below the resolution of the inputs.
    """
    starts = range(0, inputs[0].shape[1], work.shape[2])
    loaded = -1

    def load(start: int) -> Tensor:
        nonlocal loaded
        vectors = work[:, :, : inputs[0].shape[1] - start]
        if start != loaded:
            loaded = start
            for vector, source in zip(vectors, inputs, strict=True):
                vector.copy_(source[:, start : start + vector.shape[1]])
        return vectors

    products = sum((_inner(v[:1], v) for v in map(load, starts)), start=_ZERO)[:, 0]
    E = _positive(products[:, :1])
    ratio = products[:, 1:] / E

    def orthogonal(start: int) -> Tensor:
        vectors = load(start)
        for j, p in enumerate(vectors[1:]):
            p.addcmul_(vectors[0], ratio[:, j, None], value=-1)
        return vectors

    W = _ZERO
    for start in starts:
        parts = orthogonal(start)[1:]
        W = W + _inner(parts, parts)
    zeta, cos = _zeta_and_cosine(E, ratio - 1, W, lam, kappa)
    beta = cos * zeta
    for start in starts:
        vectors = work if len(starts) == 1 else orthogonal(start)
        result = vectors[0].mul_(cos)
        for j, part in enumerate(vectors[1:]):
            result.addcmul_(part, beta[:, j, None], value=-1)
        limit = torch.finfo(target.dtype).max
        target[:, start : start + result.shape[1]].copy_(result).clamp_(-limit, limit)


_ZERO = torch.zeros((), dtype=torch.float64)


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner products (rows, m, n) of ``left`` (m, rows, cols) and ``right`` (n, rows, cols)."""
    rows, cols = left.shape[1:]
    if len(left) == len(right) == 1:
        length: Tensor = torch.linalg.vector_norm(left[0], dim=1)
        return length.square_().view(rows, 1, 1)
    if cols < _SHORT:
        return (left[:, None] * right).sum(3).permute(2, 0, 1)
    if cols >= 2 * _SEGMENT and cols % _SEGMENT == 0 and left.is_contiguous() and right.is_contiguous():
        left, right = (t.view(len(t), -1, _SEGMENT) for t in (left, right))
    products = torch.bmm(left.transpose(0, 1), right.permute(1, 2, 0))
    return products if len(products) == rows else products.view(rows, -1, len(left), len(right)).sum(1)


def _gram(vectors: list[Tensor]) -> Tensor:
    """Return the Gram matrices (B, m, m) of m vectors (B, d)."""
    if len(vectors) == 1:
        return _row_sum(vectors[0] * vectors[0])[:, :, None]
    m = range(len(vectors))
    products = {(i, j): _row_sum(vectors[i] * vectors[j])[:, 0] for j in m for i in range(j + 1)}
    return torch.stack([torch.stack([products[min(i, j), max(i, j)] for j in m], 1) for i in m], 1)


def _row_sum(x: Tensor) -> Tensor:
    """Return the sums of the rows, (B, 1), in an order that depends on neither B nor the number of threads.

    Eager PyTorch splits one long sum among its threads, several it does not: long rows are cut, so that none is alone.
    """
    rows, cols = x.shape
    if x.device.type != "cpu" or torch.compiler.is_compiling() or cols < 2 * _SEGMENT:
        return x.sum(1, keepdim=True)
    whole = cols - cols % _SEGMENT
    total = x[:, :whole].view(rows, -1, _SEGMENT).sum(2).sum(1, keepdim=True)
    return total if whole == cols else total + x[:, whole:].sum(1, keepdim=True)


def _positive(E: Tensor) -> Tensor:
    """Return a divisor: ``E``, or the smallest normal number where a sample has no noise."""
    return E.clamp_min(torch.finfo(E.dtype).tiny)


def _binade(x: Tensor) -> Tensor:
    """Return (B, 1): per row, a power of two within a factor two of the largest magnitude; 1 for a row of zeros."""
    # m 2^k / (2 m) is exact, and needs no integers, whose conversion some compilers lack. A unit has no derivative.
    largest = x.detach().abs().amax(1, keepdim=True)
    return torch.where(largest > 0, largest / (2 * torch.frexp(largest).mantissa), 1.0)


def _rounded(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Round to ``dtype``, to its largest finite number where ``x`` exceeds it."""
    limit = torch.finfo(dtype).max
    return x.clamp(-limit, limit).to(dtype)
