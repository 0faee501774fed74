"""Claims K1 to K3: the damped outer-product geometry and the direction of Algorithm 1, against exact arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lml import kernel
from lml.geometry import DampedOuterProduct
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics import rational
from theory_checks.numerics.levels import U

__all__ = ["check_identity", "check_multistep_form", "check_sherman_morrison", "draw_multistep_form"]

_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


@with_proofs("K1")
def check_sherman_morrison(settings: Settings) -> Finding:
    r"""K1: inverse, square root and log-determinant of ``G = lambda I + s s^T`` against exact rational arithmetic.

    Limits, in units of the round-off u = 2^-53: the inner product, the product and the subtraction of ``solve`` leave
    at most ``(d + 6) u |x|/lambda``, that is ``(d + 6) u cond(G)`` relative to the smallest possible result; the square
    root applied twice at most twice ``(d + 10) u cond(G)``. The logarithms are rounded to two units each, their product
    and sum to one, and ``lambda + |s|^2`` is known to ``d + 2``.
    """
    generator = settings.generator()
    worst = MaxError()
    dimensions = settings.pick((1, 2, 3, 5, 8), (1, 2, 3, 5, 8, 12, 16))
    cases = [(d, lam) for d in dimensions for lam in (1e-6, 1e-3, 1.0, 1e3)]
    for d, lam in track(cases, "exact elimination"):
        s, x = (torch.randn((2, d), dtype=torch.float64, generator=generator) * 3 for _ in range(2))
        G = DampedOuterProduct(s, lam)
        solved, root, logdet = G.solve(x), G.sqrt_solve(G.sqrt_solve(x)), G.logdet()
        matrix_product = (G.dense() @ x[..., None])[..., 0]
        for i in range(len(s)):
            vector, rhs, damping = rational.from_tensor(s[i]), rational.from_tensor(x[i]), Fraction(lam)
            condition = 1 + float(rational.dot(vector, vector)) / lam
            exact = rational.solve(vector, damping, rhs)
            size = math.sqrt(float(rational.dot(exact, exact)))
            for name, result, slack in (("solve", solved, d + 6), ("root", root, 2 * (d + 10))):
                error = rational.combine(Fraction(1), rational.from_tensor(result[i]), Fraction(-1), exact)
                relative = math.sqrt(float(rational.dot(error, error))) / size
                worst.update(name, relative / (slack * U * condition))
            gap = abs(float(logdet[i]) - rational.log(rational.determinant(vector, damping)))
            first, second = (d - 1) * math.log(lam), math.log(lam * condition)
            terms = 3 * abs(first) + 2 * abs(second) + 2 * abs(first + second) + d + 2
            worst.update("logdet", gap / (U * terms))
        product_size = (lam + (s * s).sum(1)) * x.norm(dim=1)
        dense_error = (G.matvec(x) - matrix_product).norm(dim=1) / product_size
        worst.update("dense", float(dense_error.max()) / (4 * (d + 4) * U))

    # The square root as algebra: with rational lambda/(lambda + |s|^2) = r^2, (I - (1 - r) P)^2 = lambda M exactly.
    inexact = 0
    for d in range(1, 7):
        a = [Fraction(int(k)) for k in torch.randint(-9, 10, (d,), generator=generator)]
        a[0] += 10  # not the zero vector
        square, r = rational.dot(a, a), Fraction(3, 5)
        rational_lam = square * r * r / (1 - r * r)
        for i in range(d):
            unit = [Fraction(i == j) for j in range(d)]
            once = rational.combine(Fraction(1), unit, -(1 - r) * a[i] / square, a)
            twice = rational.combine(Fraction(1), once, -(1 - r) * rational.dot(a, once) / square, a)
            inexact += twice != [rational_lam * y for y in rational.solve(a, rational_lam, unit)]

    figures = (
        *worst.figures(
            ("solve", "error of the inverse over its bound", "(d + 6) u cond(G)"),
            ("root", "error of the square root, twice, over its bound", "2 (d + 10) u cond(G)"),
            ("logdet", "error of the log-determinant over its bound", "its own roundings, term by term"),
            ("dense", "matvec against the dense matrix, over its bound", "4 (d + 4) u |G||x|"),
        ),
        Measured("columns where the square root is not exact in rationals", inexact, limit=0, basis="exact"),
    )
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading=f"d in {dimensions}, lambda from 1e-6 to 1e3, random s and x",
        methods=("closed forms in float64", "elimination on the dense matrix in exact rational arithmetic"),
        remark="The inverse loses log10 cond(G) digits on general vectors, as any method must; applied to s itself it "
        "loses none as s/(lambda + |s|^2), the form that the dynamics need.",
    )


@with_proofs("K2")
def check_identity(settings: Settings) -> Finding:
    r"""K2: ``kappa = 0``, or no previous noise, returns ``eps`` bit for bit, as Algorithm 1 does in exact arithmetic.

    Nothing jumps there: with ``a = kappa <e,D>/<e,e>``, ``b = kappa^2 w/lambda`` and ``t = eta0 |p'|/|e|``, the tangent
    of K3 is ``t (1 + a)/(1 + b)``, and a unit vector that turns by the angle of tangent ``t`` moves by ``t`` up to
    ``3/8 t^3``: together by ``t`` up to a relative ``|a| + b + 3/8 t^2 (1 + |a|)^2``.
    """
    generator = settings.generator()
    changed = 0
    for dtype in _DTYPES:
        for shape in ((3, 1), (2, 64), (2, 3, 8, 8)):
            noise, previous = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
            for damping in (1e-12, 1e-3, 1.0, 1e6):
                for mixing, given in ((0.0, previous), (0.3, None)):
                    out = kernel.lml_direction(noise, given, damping=damping, mixing=mixing)
                    changed += int((out.view(torch.int8) != noise.view(torch.int8)).sum())
    not_parallel = 0
    worst = MaxError()
    for d in range(1, 9):
        e, p = (rational.from_tensor(torch.randn(d, dtype=torch.float64, generator=generator)) for _ in range(2))
        E, along = rational.dot(e, e), rational.dot(e, p)
        w = rational.dot(p, p) - along * along / E
        for lam in (Fraction(1, 1000), Fraction(7, 3)):
            # r (lambda + <e,e>) = lambda e: a positive multiple of e, whatever lambda.
            r = rational.textbook_direction(e, p, lam, Fraction(0))
            not_parallel += [(lam + E) / lam * x for x in r] != e
            for kappa in (Fraction(1, 10**8), Fraction(1, 10**9)) if d > 1 else ():
                r = rational.textbook_direction(e, p, lam, kappa)
                t = float(kappa * E / lam) * math.sqrt(float(w / E))
                a, b = float(abs(kappa * (along / E - 1))), float(kappa**2 * w / lam)
                departure = abs(rational.relative_error(e, r, e) / t - 1)
                worst.update("angle", departure / (a + b + 0.375 * (t * (1 + a)) ** 2 + 8 * U))
    figures = (
        Measured("bytes that differ from eps at kappa = 0", changed, limit=0, basis="exact"),
        Measured("cases where Algorithm 1 is not parallel to eps", not_parallel, limit=0, basis="exact rationals"),
        *worst.figures(
            ("angle", "small angle over eta0 |p'|/|eps|, minus 1, over its bound", "the next order, and 8 u"),
        ),
    )
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading="normalised update of Algorithm 1, four dtypes, d from 1 to 192",
        methods=("bytes of the kernel's result", "exact rational arithmetic"),
        remark="At kappa = 0 the damped outer product of eps with itself can only rescale eps, and step 13 undoes "
        "that: whatever lambda, LML is then its base solver. All of its effect comes from the previous noise.",
    )


@with_proofs("K3")
def check_multistep_form(settings: Settings) -> Finding:
    r"""K3: Algorithm 1 equals ``e - zeta p'`` up to a positive factor; evaluated so, it keeps its digits.

    Limits of the error, relative to ``|eps|``, with the round-off u of float64. ``stretch = zeta |D| cos/|eps|``: the
    evaluation of ``e - zeta p'`` handles ``D``, which can be longer than its part ``p'``.

    - float64: inner products, ``p'`` and ``zeta`` carry at most ``(d + 10) u`` each, relative to terms of size
      ``1 + stretch``, and a rounding each remains: ``(2 d + 20) u (1 + stretch)``.
    - below 64 bits all of that is done in float64, and the last rounding, half a spacing of the dtype, comes on top.
    - the traced form combines in float32: on top, three roundings of ``e`` and five of ``zeta D``, half a spacing each,
      and a lower bound of ``w`` that moves the result by at most ``(2 spacing |D|/|p'|)^2``.
    """
    generator = settings.generator()
    worst = MaxError()
    cosine = 1.0
    cases = [(d, lam, kappa) for d in (2, 3, 64) for lam in (1e-3, 1.0, 1e-6) for kappa in (1e-7, 1e-3, 0.5)]
    for d, lam, kappa in track(cases, "rounding errors"):
        for dtype in _DTYPES:
            for step in (1.0, 1e-2):
                noise = torch.randn((1, d), generator=generator, dtype=torch.float64).to(dtype)
                move = step * torch.randn((1, d), generator=generator, dtype=torch.float64)
                previous = (noise.double() + move).to(dtype)
                e, p = rational.from_tensor(noise), rational.from_tensor(previous)
                r = rational.textbook_direction(e, p, Fraction(lam), Fraction(kappa))
                out = kernel.lml_direction(noise, previous, damping=lam, mixing=kappa)
                error = rational.relative_error(rational.from_tensor(out), r, e)
                stretch, lengthening = _stretch(e, p, r)
                scalars = (2 * d + 20) * U * (1 + stretch)
                if dtype is torch.float64:
                    worst.update("float64", error / scalars)
                    worst.update("norm", abs(float(out.norm() / noise.norm()) - 1) / ((d + 10) * U))
                    cosine = min(cosine, float((out * noise).sum() / (noise * noise).sum()))
                    continue
                last = torch.finfo(dtype).eps / 2
                worst.update("short", error / (last + scalars))
                traced = rational.from_tensor(_traced_direction(noise, previous, lam, kappa))
                single = torch.finfo(torch.float32).eps
                combination = single * (1.5 + 2.5 * stretch) + (2 * single * lengthening) ** 2
                worst.update("traced", rational.relative_error(traced, r, e) / (last + combination + scalars))
    opposed = _extrapolation_coefficient(
        [Fraction(1), Fraction(0)], [Fraction(-3), Fraction(1)], Fraction(1, 1000), Fraction(1, 10)
    )
    figures = (
        Measured("identities that fail in rationals", _failing(settings, generator), limit=0, basis="exact"),
        *worst.figures(
            ("short", "error in 32 bits and fewer over its bound", "half a spacing of the dtype"),
            ("float64", "error in float64 over its bound", "(2 d + 20) u (1 + stretch)"),
            ("traced", "error of the traced form over its bound", "half a spacing, and 8 roundings in float32"),
            ("norm", "change of the norm over its bound", "(d + 10) u"),
        ),
        Measured("cosine between eps and its direction, the least", cosine, basis="positive by Cauchy-Schwarz"),
        Measured(
            "lambda + kappa X + kappa^2 Q for e = (1, 0), p = (-3, 1), lambda = 0.001, kappa = 0.1 (control)",
            float(opposed),
            basis="exact: below zero, and e + eta (e - p) points away; e - zeta p' does not",
        ),
    )
    return Finding(
        verdict=agreement(*figures) if cosine > 0 > opposed else Verdict.OPEN,
        figures=figures,
        reading="d from 1 to 64, lambda from 1e-6 to 1, kappa from 1e-7 to 0.5, steps of 1 and 0.01 between noises",
        methods=("identities in exact rational arithmetic", "the kernel's results against exact rational directions"),
        remark="The direction is e minus a multiple of the part p' of the previous noise that is orthogonal to e. In "
        "exact arithmetic its angle stays below 90 degrees: the tangent is at most |eps|/(2 sqrt(lambda)) times "
        "1 + kappa <e,D>/<e,e>. Where lambda is below about (u |eps|)^2, rounding decides the sign of the cosine. "
        "Read as an extrapolation e + eta (e - p) the direction needs lambda + kappa X + kappa^2 Q > 0: where noises "
        "of two steps oppose each other that fails, eta is negative or infinite, and e + eta (e - p) points "
        "elsewhere, or away.",
        data=_geometry(),
    )


def _extrapolation_coefficient(e: rational.Vector, p: rational.Vector, lam: Fraction, kappa: Fraction) -> Fraction:
    """Return ``lambda + kappa X + kappa^2 Q``, by which the form ``e + eta (e - p)`` divides."""
    D = rational.combine(Fraction(1), p, Fraction(-1), e)
    return lam + kappa * rational.dot(e, D) + kappa**2 * rational.dot(D, D)


def _failing(settings: Settings, generator: torch.Generator) -> int:
    """Return how many of K3's identities fail in exact rational arithmetic, for random vectors."""
    failing = 0
    for d in settings.pick((1, 2, 3, 5), (1, 2, 3, 5, 9)):
        for _ in range(8):
            e, p = (rational.from_tensor(torch.randn(d, dtype=torch.float64, generator=generator)) for _ in range(2))
            lam, kappa = (Fraction(int(n), 97) for n in torch.randint(1, 97, (2,), generator=generator))
            r = rational.textbook_direction(e, p, lam, kappa)
            D = rational.combine(Fraction(1), p, Fraction(-1), e)
            E, X, Q = rational.dot(e, e), rational.dot(e, D), rational.dot(D, D)
            w = Q - X * X / E
            zeta = kappa * (E + kappa * X) / (lam + kappa**2 * w)
            ours = rational.combine(1 + zeta * X / E, e, -zeta, D)
            theirs = rational.combine(lam + kappa * X + kappa**2 * Q, e, -kappa * (E + kappa * X), D)
            total = lam + E + 2 * kappa * X + kappa**2 * Q
            failing += theirs != [total * x for x in r]
            failing += ours != [total / (lam + kappa**2 * w) * x for x in r]
            # cos > 0: <r,e> is a positive multiple of lambda E + kappa^2 (E Q - X^2).
            failing += total * rational.dot(r, e) != lam * E + kappa**2 * (E * Q - X * X)
    return failing


def _stretch(e: rational.Vector, p: rational.Vector, r: rational.Vector) -> tuple[float, float]:
    """Return ``zeta |D| cos/|e| = sin |D|/|p'|`` and ``|D|/|p'|``; zero and infinite where p is a multiple of e."""
    D = rational.combine(Fraction(1), p, Fraction(-1), e)
    E, X, Q = rational.dot(e, e), rational.dot(e, D), rational.dot(D, D)
    w = Q - X * X / E
    if w == 0:
        return 0.0, math.inf
    squared_sine = 1 - rational.dot(r, e) ** 2 / (rational.dot(r, r) * E)
    return math.sqrt(float(squared_sine * Q / w)), math.sqrt(float(Q / w))


def _traced_direction(noise: Tensor, previous: Tensor, lam: float, kappa: float) -> Tensor:
    """Evaluate the form that accelerators and compilers see: autograd selects it, as tracing does."""
    with torch.enable_grad():
        return kernel.lml_direction(noise.clone().requires_grad_(), previous, damping=lam, mixing=kappa).detach()


def _geometry() -> dict[str, np.ndarray]:
    """Return angle and eta against eta0 for noises at 10 degrees, d = 3072, lambda = 0.001: the picture of K3."""
    d, lam = 3072, 1e-3
    e = torch.zeros((1, d), dtype=torch.float64)
    e[0, 0] = math.sqrt(d)
    p = e.clone()
    p[0, 0], p[0, 1] = math.sqrt(d) * math.cos(math.radians(10)), math.sqrt(d) * math.sin(math.radians(10))
    eta0 = np.logspace(-2, 6, 81)
    kappas = eta0 * lam / d
    inside = kappas < 1
    angles = []
    for kappa in kappas[inside]:
        out = kernel.lml_direction(e, p, damping=lam, mixing=float(kappa))
        angles.append(math.degrees(math.atan2(-float(out[0, 1]), float(out[0, 0]))))
    return {"eta0": eta0[inside], "angle": np.array(angles), "kappa": kappas[inside]}


def draw_multistep_form(finding: Finding) -> Figure:
    """Draw the angle of the rotation against its scale-free strength."""
    figure, (axis,) = panels(1, width=5.0, height=3.0)
    data = finding.data
    axis.semilogx(data["eta0"], data["angle"], color=COLOURS["lml"], label="LML")
    limit = np.degrees(np.arctan(data["eta0"] * math.sin(math.radians(10))))
    axis.semilogx(data["eta0"], limit, color=COLOURS["control"], ls="--", label=r"$\arctan(\eta_0\,|p'|/|\epsilon|)$")
    axis.axhline(90, color=COLOURS["limit"], lw=0.8)
    axis.set(
        xlabel=r"strength $\eta_0=\kappa|\epsilon|^2/\lambda$", ylabel="angle from $\\epsilon$ (degrees)", ylim=(0, 97)
    )
    axis.set_title("Rotation away from a previous noise at 10°\n$d=3072$, $\\lambda=0.001$", loc="left")
    axis.legend(loc="upper left", bbox_to_anchor=(0, 0.92))
    return figure
