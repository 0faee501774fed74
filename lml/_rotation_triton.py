r"""The rotation of `lml._rotation` on a GPU, for one previous noise of at most 32 bits each, in one or two launches.

Two passes over memory suffice: from ``E = <e,e>``, ``X = <e,D>`` and ``Q = <D,D>`` of ``D = p - e`` follow ``<p',p'> =
Q - X^2/E`` and two numbers a row, and the direction is ``alpha e - beta D``. Rows of up to `_TILE` elements stay in
registers: one launch, `_rotate_rows`, reads ``e`` and ``p`` and writes the direction. Longer rows are cut into parts:
`_sum_parts` leaves E, X and Q of every part in a scratch tensor; every program of `_combine_parts` adds those of its
row, in the same order, and writes its part. No atomics, nothing read on the host. How a row is cut and read depends on
its length and dtype alone, and no multiply-add is contracted, so neither the batch, the run nor the form of the damping
changes a bit. Kernels are built for a length of rows and a dtype (about a second, kept on disk). When these are first
met, the direction is compared with the eager form's, which rotates such rows from then on where the two differ. A CUDA
graph that is captured before that holds the eager form, since nothing can be compared during a capture: rotate once
before.

Memory: one launch moves 3 streams of the size of ``e``, two move 5 (and, for every part, 72 bytes of scratch beside
its 8192 elements and 24 more for every other part of its row); a copy moves 2. To run at 80 % of the copy's bandwidth
is to take at most ``3/2 / 0.8 = 1.9`` (one) or ``5/2 / 0.8 = 3.1`` (two) times as long as copying one of the tensors.

Resolution: the combination is made in float32. A p' shorter than two units of its rounding, ``2^-22 |D|``, counts as
none, and the direction is the noise: bit for bit for a p that is a multiple of e, or zero. A p' that is little longer
is resolved to ``2^-23 |D|/|p'|`` of itself, and where it decides the turn (``kappa^2 |p'|^2`` not far below ``lambda``)
so is the norm: with turns of 45 degrees and more the direction is too short, at worst by 22 % for ``|p'| = 3e-7 |D|``,
3 % for 1e-6, 0.4 % for 1e-5, 0.003 % for 1e-3 (this arithmetic on the CPU, d = 4096). Noises of neighbouring levels are
far from there: their ``|p'|`` is of the size of ``|D|``. `_rotation`, in float64, knows no such case.

Scalars are sums in float64: for an element two conversions, a difference, three products and
three sums, 9 operations on 8 bytes (4 in 16 bits). Cards of which a multiprocessor retires 32 or 64 such in a clock
(V100, A100, H100, B200, MI200, MI300) stay bound by memory. Where it retires 2 (GeForce, T4, A10, L4, L40, B300), a
3060 would be held to half its bandwidth, to a quarter in 16 bits. There the sums are taken in pairs of float32
(`_sum_of_products`): some 60 instructions an element, which with 128 lanes a multiprocessor stays below the time of
memory, except in 16 bits on a T4, and on a B300. These are counts of instructions against published rates.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["are_numbers", "rotate", "rotate_on_device", "serves"]

_TILE = 8192  # elements that a program holds: 32 of each input in a thread, all loads of a tile in flight at once
_STEP = 4096  # elements of a step of the second pass, which has half the threads: fewer repeat the float64 of the row
_PARTS = 256  # parts of a row at most: their sums, read by each of its programs, stay below an eighth of what it moves

# The eager form on (B, d) tensors, `_rotation._rotate`: of the noises, the damping (B, 1) and kappa.
Eager = Callable[[list[Tensor], Tensor, float], Tensor]

_DTYPES = frozenset({torch.float32, torch.float16, torch.bfloat16})

# Bounds as in `_rotation._zeta_and_cosine`; W is resolved down to the square of a rounding of D in float32.
_TINY = tl.constexpr(torch.finfo(torch.float64).tiny)
_FLOOR = tl.constexpr(torch.finfo(torch.float64).tiny ** 0.4)
_CEILING = tl.constexpr(torch.finfo(torch.float64).tiny ** -0.65)
_RESOLUTION = tl.constexpr(4 * torch.finfo(torch.float32).eps ** 2)
_SINGLE = tl.constexpr(torch.finfo(torch.float32).max)
_MODERATE, _DOWN, _UP = tl.constexpr(2.0**200), tl.constexpr(2.0**-32), tl.constexpr(2.0**32)
_NAN = tl.constexpr(tl.PropagateNan.ALL)  # a number that is none stays visible


@triton.jit
def _two_sum(a, a_low, b, b_low):
    """Add two pairs of float32: ``a + b`` and, exactly, what its rounding lost (Knuth), with the low parts."""
    s = a + b
    v = s - a
    return s, (a_low + b_low) + ((a - (s - v)) + (b - v))


@triton.jit
def _sum_of_products(a, b):
    r"""Return ``sum_i a_i b_i`` of every row of float32 tiles in float64, without float64 for the elements.

    A product is the pair of its rounding and what that lost, exact by one multiply-add. Pairs are added L = 40 deep in
    a tile of 8192; a low part stays below ``L u``, ``u = 2^-24``, of ``sum_i |a_i b_i|``, and is rounded twice an
    addition: the error is at most ``L^2 u^2 = 2^-37`` of that sum, in 200 draws of normal noise below ``2^-47``.
    """
    high = a * b
    high, low = tl.reduce((high, tl.fma(a, b, -high)), 1, _two_sum)
    return high.to(tl.float64) + low.to(tl.float64)


@triton.jit
def _exponent(x):
    """Return the biased exponent of a power of two that brings the largest magnitude of each row to order one."""
    return tl.maximum(254 - (tl.max(tl.abs(x), 1).to(tl.int32, bitcast=True) >> 23), 1)


@triton.jit
def _power(exponent):
    """Return ``2^(exponent - 127)`` in float32, a column, and its inverse in float64."""
    inverse = ((1150 - exponent).to(tl.int64) << 52).to(tl.float64, bitcast=True)
    return (exponent << 23).to(tl.float32, bitcast=True)[:, None], inverse


@triton.jit
def _sums(e, p, WIDE: tl.constexpr):
    """Return E, X and Q of every row of (R, C) tiles, in float64."""
    if WIDE:
        e = e.to(tl.float64)
        D = p.to(tl.float64) - e
        return tl.sum(e * e, 1), tl.sum(e * D, 1), tl.sum(D * D, 1)
    # Squares would leave the range of float32: e, D and their shared scale are powers of two, each brought to order
    # one. D is rounded to float32, as in the combination.
    e = e.to(tl.float32)
    p = p.to(tl.float32)
    of_e = _exponent(e)
    up, unit_e = _power(of_e)
    up_both, unit_both = _power(tl.minimum(of_e, _exponent(p)))
    D = p * up_both - e * up_both
    up_D, unit_D = _power(_exponent(D))
    unit_D *= unit_both
    e *= up
    D *= up_D
    E = _sum_of_products(e, e) * unit_e * unit_e
    return E, _sum_of_products(e, D) * unit_e * unit_D, _sum_of_products(D, D) * unit_D * unit_D


@triton.jit
def _coefficients(E, X, Q, lam, kappa):
    r"""Return ``alpha = cos (1 + zeta slope)`` and ``beta = cos zeta`` in float32, and the scale of the combination."""
    E = tl.maximum(E, _TINY, propagate_nan=_NAN)
    slope = X / E
    floor = Q * _RESOLUTION  # without it p' could grow beyond |e| by what rounding takes from W
    across = tl.maximum(Q - X * slope, 0.0, propagate_nan=_NAN)
    inverse = 1.0 / E
    w = tl.minimum((across + floor) * inverse, _CEILING, propagate_nan=_NAN)
    zeta = kappa * (1.0 + kappa * slope) / tl.maximum(lam * inverse + kappa * kappa * w, _FLOOR, propagate_nan=_NAN)
    zeta = tl.where(across <= floor, 0.0, zeta)  # p is a multiple of e
    cos = 1.0 / tl.sqrt(zeta * w * zeta + 1.0)
    alpha = (cos * (1.0 + zeta * slope)).to(tl.float32)
    beta = tl.clamp((cos * zeta).to(tl.float32), -_SINGLE, _SINGLE, propagate_nan=_NAN)
    moderate = tl.maximum(E, Q, propagate_nan=_NAN) < _MODERATE
    return alpha, beta, tl.where(moderate, 1.0, _DOWN), tl.where(moderate, 1.0, _UP)


@triton.jit
def _combine(e, p, alpha, beta, down, up, LIMIT: tl.constexpr):
    """Return ``alpha e - beta (p - e)`` in float32, within the range of the dtype."""
    e = e.to(tl.float32) * down
    D = p.to(tl.float32) * down - e
    return tl.clamp((alpha * e - beta * D) * up, -LIMIT, LIMIT, propagate_nan=_NAN)


@triton.jit(do_not_specialize=["lam_stride", "rows", "units"])
def _rotate_rows(
    noise, previous, out, lams, lam_stride, lam: tl.float64, kappa: tl.float64, rows, units,
    UNIT: tl.constexpr, R: tl.constexpr, C: tl.constexpr, LIMIT: tl.constexpr, WIDE: tl.constexpr,
):  # fmt: skip
    """Rotate R whole rows of ``units * UNIT <= C`` elements."""
    d = units * UNIT
    row = tl.program_id(0).to(tl.int64) * R + tl.arange(0, R)
    column = tl.arange(0, C)[None, :]
    at = row[:, None] * d + column
    inside = (row < rows)[:, None] & (column < d)
    e = tl.load(noise + at, inside, 0.0)
    p = tl.load(previous + at, inside, 0.0)
    E, X, Q = _sums(e, p, WIDE)
    if lams is not None:
        lam = tl.load(lams + row * lam_stride, row < rows, 1.0).to(tl.float64)
    alpha, beta, down, up = _coefficients(E, X, Q, lam, kappa)
    result = _combine(e, p, alpha[:, None], beta[:, None], down[:, None], up[:, None], LIMIT)
    tl.store(out + at, result.to(out.dtype.element_ty), inside)


@triton.jit(do_not_specialize=["units", "parts"])
def _sum_parts(
    noise, previous, sums, units, span, parts, UNIT: tl.constexpr, TILE: tl.constexpr, WIDE: tl.constexpr
):  # fmt: skip
    """Write E, X and Q of one part, ``span`` tiles of a row, to ``sums``, shape (rows, 3, parts)."""
    d = units.to(tl.int64) * UNIT
    row = (tl.program_id(0) // parts).to(tl.int64)
    part = tl.program_id(0) % parts
    begin = part.to(tl.int64) * span * TILE
    lane = tl.arange(0, TILE)[None, :]
    E = tl.zeros([1], tl.float64)
    X = tl.zeros([1], tl.float64)
    Q = tl.zeros([1], tl.float64)
    for tile in range(0, span):
        start = begin + tile * TILE
        inside = lane < d - start
        at = row * d + start
        e = tl.load(noise + at + lane, inside, 0.0)
        p = tl.load(previous + at + lane, inside, 0.0)
        more = _sums(e, p, WIDE)
        E += more[0]
        X += more[1]
        Q += more[2]
    first = sums + row * 3 * parts + part + tl.arange(0, 1)
    tl.store(first, E)
    tl.store(first + parts, X)
    tl.store(first + 2 * parts, Q)


@triton.jit(do_not_specialize=["lam_stride", "units", "parts"])
def _combine_parts(
    noise, previous, out, sums, lams, lam_stride, lam: tl.float64, kappa: tl.float64, units, span, parts,
    UNIT: tl.constexpr, TILE: tl.constexpr, STEP: tl.constexpr, PARTS: tl.constexpr, LIMIT: tl.constexpr,
):  # fmt: skip
    """Write the direction of one part, ``span`` tiles of a row of which ``sums`` holds E, X and Q of every part."""
    d = units.to(tl.int64) * UNIT
    # From the last part to the first: what the first pass read last is still in the cache.
    program = tl.num_programs(0) - 1 - tl.program_id(0)
    row = (program // parts).to(tl.int64)
    part = program % parts
    other = tl.arange(0, PARTS)
    first = sums + row * 3 * parts + other
    E = tl.sum(tl.load(first, other < parts, 0.0), 0)
    X = tl.sum(tl.load(first + parts, other < parts, 0.0), 0)
    Q = tl.sum(tl.load(first + 2 * parts, other < parts, 0.0), 0)
    if lams is not None:
        lam = tl.load(lams + row * lam_stride).to(tl.float64)
    alpha, beta, down, up = _coefficients(E, X, Q, lam, kappa)
    begin = part.to(tl.int64) * span * TILE
    lane = tl.arange(0, STEP)
    for step in range(0, span * (TILE // STEP)):
        start = begin + step * STEP
        inside = lane < d - start
        at = row * d + start
        e = tl.load(noise + at + lane, inside, 0.0)
        p = tl.load(previous + at + lane, inside, 0.0)
        result = _combine(e, p, alpha, beta, down, up, LIMIT)
        tl.store(out + at + lane, result.to(out.dtype.element_ty), inside)


def rotate(noise: Tensor, previous: Tensor, damping: float | Tensor, kappa: float, wide: bool) -> Tensor:
    """Return the direction for tensors of shape (B, ...), not empty, on one device; see the module's docstring."""
    noise, previous = _aligned(noise), _aligned(previous)
    rows = noise.shape[0]
    d = noise.numel() // rows
    out = torch.empty_like(noise)
    if isinstance(damping, Tensor) and damping.device != noise.device:
        damping = float(damping)  # one number, on the host
    lams, lam_stride, lam = None, 0, damping
    if isinstance(damping, Tensor):
        lams, lam_stride, lam = damping, damping.stride(0) if damping.ndim else 0, 1.0
    unit = math.gcd(d, 16)  # every row begins at a multiple of it: vectors of up to 16 bytes
    limit = torch.finfo(noise.dtype).max
    if d <= _TILE:
        C = triton.next_power_of_2(d)
        R = max(1, _STEP // C)
        _rotate_rows[(triton.cdiv(rows, R),)](
            noise, previous, out, lams, lam_stride, lam, kappa, rows, d // unit,
            UNIT=unit, R=R, C=C, LIMIT=limit, WIDE=wide, num_warps=R * C // 1024, enable_fp_fusion=False,
        )  # fmt: skip
        return out
    span = triton.cdiv(d, _TILE * _PARTS)
    parts = triton.cdiv(d, _TILE * span)
    sums = torch.empty((rows, 3, parts), dtype=torch.float64, device=noise.device)
    grid = (rows * parts,)
    _sum_parts[grid](
        noise, previous, sums, d // unit, span, parts,
        UNIT=unit, TILE=_TILE, WIDE=wide, num_warps=8, enable_fp_fusion=False,
    )  # fmt: skip
    _combine_parts[grid](
        noise, previous, out, sums, lams, lam_stride, lam, kappa, d // unit, span, parts,
        UNIT=unit, TILE=_TILE, STEP=_STEP, PARTS=triton.next_power_of_2(parts), LIMIT=limit,
        num_warps=4, enable_fp_fusion=False,
    )  # fmt: skip
    return out


def _aligned(x: Tensor) -> Tensor:
    """Return ``x`` as numbers in a row, at a multiple of 16 bytes: elsewhere they would be read in other vectors."""
    x = x.contiguous().resolve_neg()  # a tensor can be the negative of what its memory holds
    return x if x.data_ptr() % 16 == 0 else x.clone()


def rotate_on_device(noise: Tensor, previous: Tensor, damping: float | Tensor, kappa: float) -> Tensor:
    """Return the direction of tensors that `serves` has accepted."""
    with torch.cuda.device(noise.device):
        return rotate(noise, previous, damping, kappa, _is_wide(noise.device))


def serves(noise: Tensor, history: tuple[Tensor, ...], damping: float | Tensor, eager: Eager) -> bool:
    """Return whether `rotate_on_device` takes these arguments: one previous noise, where it agrees with ``eager``."""
    tensors = (noise, *history, damping) if isinstance(damping, Tensor) else (noise, *history)
    if not (len(history) == 1 and noise.is_cuda and noise.dtype in _DTYPES and are_numbers(tensors)):
        return False
    kind = (noise.device, noise.dtype, noise.numel() // noise.shape[0])
    if kind not in _agreed:
        if torch.cuda.is_current_stream_capturing():  # the host can read nothing: decided another time
            return False
        _agreed[kind] = _agrees(*kind, eager)
    return _agreed[kind]


def are_numbers(tensors: tuple[Tensor, ...]) -> bool:
    """Return whether these hold numbers and nothing but numbers: no trace, derivative or batch of a transform.

    What a kernel writes is seen by none of those; they take the eager form, which is made of operations that they know.
    """
    return (
        all(type(t) is Tensor for t in tensors)
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors))
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and torch.autograd.forward_ad._current_level < 0
        and torch._C._functorch.peek_interpreter_stack() is None
        and torch._C._len_torch_dispatch_stack() == 0
    )


@functools.cache
def _is_wide(device: torch.device) -> bool:
    """Return whether a multiprocessor of the device retires at least 32 operations in float64 a clock."""
    if torch.version.hip is not None:
        name: str = torch.cuda.get_device_properties(device).gcnArchName
        return name.startswith(("gfx908", "gfx90a", "gfx942", "gfx950"))
    return torch.cuda.get_device_capability(device) in {(7, 0), (8, 0), (9, 0), (10, 0)}


# Whether the kernels for rows of a device, a dtype and a length gave the eager form's direction.
_agreed: dict[tuple[torch.device, torch.dtype, int], bool] = {}


def _agrees(device: torch.device, dtype: torch.dtype, d: int, eager: Eager) -> bool:
    """Return whether the kernels, built for rows of d elements, give the eager form's direction; where not, say so.

    This reads numbers on the host, and needs as much memory as the eager form for one row.
    """
    kappa = 0.02
    try:
        e, p, oracle = (torch.empty((3, d), dtype=dtype, device=device) for _ in range(3))
        damping = torch.empty(3, dtype=torch.float64, device=device)
        # Rows that differ in scale by thousands, at every angle to the previous ones; no generator is touched.
        for row, scale in enumerate((1e-3, 1.0, 30.0)):
            phase = torch.arange(row * d + 1, (row + 1) * d + 1, dtype=torch.float64, device=device)
            e[row], p[row] = scale * torch.sin(0.7 * phase), scale * torch.sin(0.9 * phase)
            damping[row] = 1e-2 * e[row].double().square().sum()
            oracle[row] = eager([e[row : row + 1], p[row : row + 1]], damping[row, None, None], kappa)[0]
        # Damping that is a number is given to another kernel than a tensor of them.
        found = [rotate_on_device(e, p, damping, kappa), rotate_on_device(e[1:2], p[1:2], float(damping[1]), kappa)]
        difference = torch.cat(found).double() - torch.cat([oracle, oracle[1:2]]).double()
        size = oracle.abs().amax(1, keepdim=True).double()
        error = float((difference / torch.cat([size, size[1:2]])).abs().max())
    except Exception as problem:  # no C compiler, an old driver or an old card: Triton has no common class for these
        reason = f"for rows of {d} elements cannot be built for {device}: {problem}"
    else:
        # Each rounds once to the dtype, and four times to float32, where numbers are at most five times the result.
        bound = torch.finfo(dtype).eps + 20 * torch.finfo(torch.float32).eps
        if error <= bound:
            return True
        reason = (
            f"for rows of {d} elements is off by {error:.1e} on {device} in {dtype}, where {bound:.1e} is allowed; "
            "please report this"
        )
    warnings.warn(
        f"the rotation runs in eager PyTorch, since its kernel {reason}. "
        "LML_KERNEL=eager chooses that without this message.",
        RuntimeWarning,
        stacklevel=2,
    )
    return False
