r"""Claim K6: the geometry of several past noises, ``lambda I + sum_j v_j v_j^T``, ``v_j = kappa p_j + (1 - kappa) e``.

With ``D_j = p_j - e``, ``a_j = 1 + kappa <e,D_j>/<e,e>``, ``p'_j`` the part of ``p_j`` orthogonal to ``e`` and
``W_ij = <p'_i,p'_j>``, the direction ``(lambda I + V V^T)^{-1} e`` is parallel to

    ``e - sum_j zeta_j p'_j``,    ``zeta = kappa <e,e> (lambda I + kappa^2 W)^{-1} a``.

On a straight path, ``p_j = e - j v``, all ``p'_j`` are multiples of ``v'`` (``w = <v',v'>``), and the turn is a sum:

    ``sum_j j zeta_j = kappa <e,e> (S_1 - kappa S_2 <e,v>/<e,e>)/(lambda + kappa^2 w S_2)``,
    ``S_1 = m (m + 1)/2``,    ``S_2 = m (m + 1)(2 m + 1)/6``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lml import kernel
from lml.correction import LML
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics import rational
from theory_checks.numerics.levels import U
from theory_checks.numerics.rational import Vector

__all__ = ["check_rank", "dense_direction", "draw_rank", "error_bound", "orthogonal_parts", "small_system"]


def orthogonal_parts(e: Vector, history: list[Vector]) -> list[Vector]:
    """Return ``p'_j``, the part of every past noise that is orthogonal to ``e``, exactly."""
    E = rational.dot(e, e)
    return [rational.combine(Fraction(1), p, -rational.dot(e, p) / E, e) for p in history]


def small_system(e: Vector, history: list[Vector], damping: Fraction, mixing: Fraction) -> Vector:
    """Return ``zeta = kappa <e,e> (lambda I + kappa^2 W)^{-1} a``, exactly."""
    E, parts, m = rational.dot(e, e), orthogonal_parts(e, history), range(len(history))
    a = [1 + mixing * (rational.dot(e, p) / E - 1) for p in history]
    S = [[damping * (i == j) + mixing**2 * rational.dot(parts[i], parts[j]) for j in m] for i in m]
    return [mixing * E * y for y in rational.solve_dense(S, a)]


def dense_direction(e: Vector, history: list[Vector], damping: Fraction, mixing: Fraction) -> Vector:
    """Return ``(lambda I + V V^T)^{-1} e`` by elimination on the d x d matrix, exactly, without ``zeta``."""
    v = [rational.combine(mixing, p, 1 - mixing, e) for p in history]
    d = range(len(e))
    return rational.solve_dense([[damping * (i == j) + sum(u[i] * u[j] for u in v) for j in d] for i in d], e)


def error_bound(e: Vector, history: list[Vector], damping: Fraction, mixing: Fraction, dtype: torch.dtype) -> float:
    r"""Return what rounding may do to the kernel's direction, relative to ``|e|``; lengths here in units of ``|e|``.

    With ``c = (d + 10) u`` for an inner product and ``|.|`` of the blocks ``D, P'`` their Frobenius norms, rounding
    moves ``P'`` by ``delta = c |D|`` (``c (|D| + sqrt(m))`` below 64 bits, where ``p' = p - <e,p> e`` directly), ``a``
    by ``kappa c |D| + 2 u sqrt(m)`` and ``S = lambda I + kappa^2 W`` by
    ``kappa^2 (2 |P'| delta + delta^2 + c |P'|^2)``, Cholesky with its held pivots by another ``(8 + 4 m) u tr S``.
    From ``zeta^ - zeta = S^{-1}(kappa da - dS zeta^)``
    and ``|P' S^{-1}| <= g = min(1/(2 kappa sqrt(lambda)), |P'|/lambda)``,

        ``|dr| <= delta |zeta^| + g (kappa |da| + |dS| |zeta^|) + (m + 2) u (1 + |zeta^| |P'|)``,

    where ``|zeta^| <= kappa (|a| + |da|)/lambda``, and ``<= 2 (|zeta| + kappa |da|/lambda)`` if ``|dS| <= lambda/2``.
    A unit vector moves by at most ``2 |dr|/|r|``; the norm costs another ``c``, the last rounding half a spacing.
    """
    E, d, m = rational.dot(e, e), len(e), len(history)
    c = (d + 10) * U
    kappa, lam = float(mixing), float(damping / E)
    zeta = small_system(e, history, damping, mixing)
    D = [rational.combine(Fraction(1), p, Fraction(-1), e) for p in history]
    parts = orthogonal_parts(e, history)
    size = math.sqrt(float(sum(rational.dot(v, v) for v in D) / E))
    across = math.sqrt(float(sum(rational.dot(v, v) for v in parts) / E))
    delta = c * (size + (0 if dtype is torch.float64 else math.sqrt(m)))
    da = kappa * c * size + 2 * U * math.sqrt(m)
    a = math.sqrt(sum(float(1 + mixing * rational.dot(e, v) / E) ** 2 for v in D))
    dS = kappa**2 * (2 * across * delta + delta**2 + c * across**2)
    dS += (8 + 4 * m) * U * (m * lam + kappa**2 * across**2)
    length = kappa * (a + da) / lam
    if dS <= lam / 2:
        length = min(length, 2 * (math.hypot(*map(float, zeta)) + kappa * da / lam))
    gain = min(1 / (2 * kappa * math.sqrt(lam)), across / lam)
    moved = delta * length + gain * (kappa * da + dS * length) + (m + 2) * U * (1 + length * across)
    turn = [sum((z * v[i] for z, v in zip(zeta, parts, strict=True)), start=Fraction(0)) for i in range(d)]
    last = 0.0 if dtype is torch.float64 else torch.finfo(dtype).eps / 2
    return 2 * moved / math.sqrt(1 + float(rational.dot(turn, turn) / E)) + c + last


def _histories(generator: torch.Generator, d: int, m: int) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield noises (d,) with m past ones: independent, in slow change, and on a straight line, where W has rank one."""
    e, change, *past = torch.randn((m + 2, d), generator=generator, dtype=torch.float64)
    yield e, past
    yield e, [e + 0.01 * p for p in past]
    grid, step = torch.round(256 * e) / 256, torch.round(64 * change) / 256
    yield grid, [grid - j * step for j in range(1, m + 1)]


@with_proofs("K6")
def check_rank(settings: Settings) -> Finding:
    """K6: the geometry of several past noises is solved by a small system; the kernel keeps its digits in it."""
    generator = settings.generator()
    worst = MaxError()
    not_parallel = not_rank_one = unequal = changed = 0
    shapes = settings.pick(((2, 1), (3, 2), (5, 3), (6, 4)), ((2, 1), (3, 2), (5, 3), (6, 4), (3, 5), (9, 4), (16, 8)))
    for d, m in track(shapes, "elimination"):
        for lam, kappa in ((1e-3, 1e-7), (1e-3, 5e-4), (1.0, 0.5), (1e-6, 1e-3)):
            for noise, past in _histories(generator, d, m):
                exact = Fraction(lam), Fraction(kappa)
                e, history = rational.from_tensor(noise), [rational.from_tensor(p) for p in past]
                r, zeta = dense_direction(e, history, *exact), small_system(e, history, *exact)
                c = e
                for z, part in zip(zeta, orthogonal_parts(e, history), strict=True):
                    c = rational.combine(Fraction(1), c, -z, part)
                factor = rational.dot(c, e) / rational.dot(r, e)
                not_parallel += c != [factor * x for x in r] or factor <= 0
                first = rational.textbook_direction(e, history[0], *exact)
                one = dense_direction(e, history[:1], *exact)
                not_rank_one += one != [rational.dot(one, e) / rational.dot(first, e) * x for x in first]
                for dtype in (torch.float64, torch.float32):
                    given, *before = (t.to(dtype)[None] for t in (noise, *past))
                    out = kernel.lml_direction_rank(given, before, damping=lam, mixing=kappa)
                    rounded = [rational.from_tensor(t) for t in (given, *before)]
                    truth = r if dtype is torch.float64 else dense_direction(rounded[0], rounded[1:], *exact)
                    error = rational.relative_error(rational.from_tensor(out), truth, rounded[0])
                    worst.update(str(dtype), error / error_bound(rounded[0], rounded[1:], *exact, dtype))
                    worst.update(f"{dtype} error", error)
                    off = kernel.lml_direction_rank(given, before, damping=lam, mixing=0.0)
                    changed += int((off.view(torch.int8) != given.view(torch.int8)).sum())
            # On a line, p_j = e - j v, the sums over j are numbers: `noise, past` are the last of the histories.
            v = rational.combine(Fraction(1), e, Fraction(-1), history[0])
            E, slope = rational.dot(e, e), rational.dot(e, v) / rational.dot(e, e)
            w = rational.dot(v, v) - slope * slope * E
            first_sum, second_sum = m * (m + 1) // 2, m * (m + 1) * (2 * m + 1) // 6
            total = sum((j * z for j, z in enumerate(zeta, 1)), start=Fraction(0))
            k = exact[1]
            unequal += total != k * E * (first_sum - k * slope * second_sum) / (exact[0] + k * k * w * second_sum)
    data = _growth()
    figures = (
        Measured("cases where the small system and the dense one disagree", not_parallel, limit=0, basis="exact"),
        Measured("cases where rank one is not Algorithm 1", not_rank_one, limit=0, basis="exact"),
        Measured("cases where the turn on a straight path is not its sum", unequal, limit=0, basis="exact"),
        Measured("bytes that differ from eps at kappa = 0", changed, limit=0, basis="exact"),
        *worst.figures(
            ("torch.float64", "error in float64 over its bound", "perturbation of the small system"),
            ("torch.float32", "error in float32 over its bound", "the same, and half a spacing"),
        ),
        Measured("largest error in float64, relative to |eps|", worst["torch.float64 error"]),
        Measured("turn of rank 4 over that of rank 1 on a straight path, default strength",
                 float(data["turn"][3] / data["turn"][0]), basis="4 x 5/2 for small turns"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading=f"(d, m) in {shapes}; past noises independent, in slow change, and on a straight line",
        methods=("an m x m system", "elimination on the d x d matrix in exact rational arithmetic"),
        remark="Every past noise adds its own turn, and an older one lies further away: on a straight path rank m "
        "turns m(m+1)/2 times as far as rank one. Ranks are compared at equal turn, with mixing divided by that.",
        data=data,
    )


def _growth() -> dict[str, np.ndarray]:
    """Return the turn in degrees against rank and strength on a straight path at five degrees a step, d = 64."""
    e = torch.zeros((1, 64), dtype=torch.float64)
    e[0, 0] = 8
    v = torch.zeros_like(e)
    v[0, 1] = 8 * math.tan(math.radians(5))
    turns = []
    for m in range(1, 7):
        u = LML(rank=m).direction(e, [e - j * v for j in range(1, m + 1)])
        turns.append(math.degrees(math.atan2(float(u[0, 1]), float(u[0, 0]))))
    return {"rank": np.arange(1, 7), "turn": np.array(turns)}


def draw_rank(finding: Finding) -> Figure:
    """Draw how far rank m turns on a straight path."""
    figure, (axis,) = panels(1, width=4.6, height=2.8)
    rank, turn = finding.data["rank"], finding.data["turn"]
    first = math.tan(math.radians(turn[0]))
    axis.plot(rank, turn, "o", color=COLOURS["lml"], label="LML")
    axis.plot(rank, np.degrees(np.arctan(first * rank * (rank + 1) / 2)), color=COLOURS["control"], ls="--",
              label=r"$\arctan\left(\frac{m(m+1)}{2}\tan\varphi_1\right)$")  # fmt: skip
    axis.set(xlabel="rank $m$", ylabel="turn (degrees)", ylim=(0, None))
    axis.set_title("Straight path, 5° a step, $\\eta_0 = 1/2$", loc="left")
    axis.legend(loc="upper left")
    return figure
