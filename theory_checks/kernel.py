"""Claims K1 to K4: the damped outer-product geometry, the direction of Algorithm 1, and its precision."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from lml import kernel
from lml.geometry import DampedOuterProduct
from theory_checks import rational
from theory_checks.ledger import Claim, Finding, Measured, Settings, Verdict, agreement
from theory_checks.plotting import COLOURS, panels
from theory_checks.progress import track

_U64 = torch.finfo(torch.float64).eps / 2
_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def check_sherman_morrison(settings: Settings) -> Finding:
    r"""K1: inverse, square root and log-determinant of ``G = lambda I + s s^T`` against exact rational arithmetic.

    Limits, in units of the round-off u = 2^-53: the inner product, the product and the subtraction of ``solve`` leave at
    most ``(d + 6) u |x|/lambda``, that is ``(d + 6) u cond(G)`` relative to the smallest possible result; the square root
    applied twice at most twice ``(d + 10) u cond(G)``; the logarithm's sum a rounding for each of its terms.
    """
    generator = settings.generator()
    worst = {"solve": 0.0, "root": 0.0, "logdet": 0.0, "dense": 0.0}
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
                worst[name] = max(worst[name], relative / (slack * _U64 * condition))
            determinant = rational.determinant(vector, damping)
            exact_log = math.log(determinant.numerator) - math.log(determinant.denominator)
            terms = (d + 2) * (1 + abs(d * math.log(lam)) + abs(math.log(condition)))
            # The exact determinant is a quotient of long integers, whose logarithms are rounded as well.
            terms += math.log(determinant.numerator) + math.log(determinant.denominator)
            worst["logdet"] = max(worst["logdet"], abs(float(logdet[i]) - exact_log) / (4 * _U64 * terms))
        product_size = (lam + (s * s).sum(1)) * x.norm(dim=1)
        dense_error = (G.matvec(x) - matrix_product).norm(dim=1) / product_size
        worst["dense"] = max(worst["dense"], float(dense_error.max()) / (4 * (d + 4) * _U64))

    # The square root as algebra: with rational lambda/(lambda + |s|^2) = r^2, (I - (1 - r) P)^2 = lambda M exactly.
    identities = 0
    for d in range(1, 7):
        s = [Fraction(int(k)) for k in torch.randint(-9, 10, (d,), generator=generator)]
        s[0] += 10  # not the zero vector
        square, r = rational.dot(s, s), Fraction(3, 5)
        lam = square * r * r / (1 - r * r)
        for i in range(d):
            unit = [Fraction(i == j) for j in range(d)]
            once = rational.combine(Fraction(1), unit, -(1 - r) * s[i] / square, s)
            twice = rational.combine(Fraction(1), once, -(1 - r) * rational.dot(s, once) / square, s)
            identities += twice != [lam * y for y in rational.solve(s, lam, unit)]

    figures = (
        Measured("error of the inverse over its bound", worst["solve"], limit=1, basis="(d + 6) u cond(G)"),
        Measured(
            "error of the square root, twice, over its bound", worst["root"], limit=1, basis="2 (d + 10) u cond(G)"
        ),
        Measured("error of the log-determinant over its bound", worst["logdet"], limit=1, basis="a rounding a term"),
        Measured(
            "matvec against the dense matrix, over its bound", worst["dense"], limit=1, basis="4 (d + 4) u |G||x|"
        ),
        Measured("columns where the square root is not exact in rationals", identities, limit=0, basis="exact"),
    )
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading=f"d in {dimensions}, lambda from 1e-6 to 1e3, random s and x",
        methods=("closed forms in float64", "elimination on the dense matrix in exact rational arithmetic"),
        remark="The inverse loses log10 cond(G) digits on general vectors, as any method must; applied to s itself it loses "
        "none as s/(lambda + |s|^2), the form that the dynamics need.",
    )


def check_identity(settings: Settings) -> Finding:
    """K2: ``kappa = 0``, or no previous noise, gives back ``eps`` bit for bit, and Algorithm 1 does so in exact arithmetic."""
    generator = settings.generator()
    changed = 0
    for dtype in _DTYPES:
        for shape in ((3, 1), (2, 64), (2, 3, 8, 8)):
            noise, previous = (torch.randn(shape, generator=generator).to(dtype) for _ in range(2))
            for damping in (1e-12, 1e-3, 1.0, 1e6):
                for kappa, p in ((0.0, previous), (0.3, None)):
                    out = kernel.lml_direction(noise, p, damping=damping, mixing=kappa)
                    changed += int((out.view(torch.int8) != noise.view(torch.int8)).sum())
    not_parallel = 0
    continuous = []
    for d in range(1, 9):
        e, p = (rational.from_tensor(torch.randn(d, dtype=torch.float64, generator=generator)) for _ in range(2))
        for damping in (Fraction(1, 1000), Fraction(7, 3)):
            # r (lambda + <e,e>) = lambda e: a positive multiple of e, whatever lambda.
            r = rational.textbook_direction(e, p, damping, Fraction(0))
            factor = (damping + rational.dot(e, e)) / damping
            not_parallel += [factor * x for x in r] != e
            # From kappa = 0 the direction leaves eps at the rate eta0 |p'|/|e|, so that the limit is the identity.
            E, squared, along = rational.dot(e, e), rational.dot(p, p), rational.dot(e, p)
            w = squared - along * along / E
            for kappa in (Fraction(1, 10**8), Fraction(1, 10**9)):
                r = rational.textbook_direction(e, p, damping, kappa)
                tangent = float(kappa * E / damping) * math.sqrt(float(w / E))
                next_order = float(kappa * abs(along / E - 1) + kappa**2 * w / damping) + tangent**2
                if d > 1:
                    departure = abs(rational.relative_error(e, r, e) / tangent - 1)
                    continuous.append(departure / next_order)
    figures = (
        Measured("bytes that differ from eps at kappa = 0", changed, limit=0, basis="exact"),
        Measured("cases where Algorithm 1 is not parallel to eps", not_parallel, limit=0, basis="exact rationals"),
        Measured(
            "departure of the small angle from eta0 |p'|/|eps|, over the next order",
            max(continuous),
            limit=2,
            basis="zeta expanded in kappa: the two neglected terms, and tan against sin",
        ),
    )
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading="normalised update of Algorithm 1, four dtypes, d from 1 to 192",
        methods=("bytes of the kernel's result", "exact rational arithmetic"),
        remark="At kappa = 0 the damped outer product of eps with itself can only rescale eps, and step 13 undoes that: "
        "whatever lambda, LML is then its base solver. All of its effect comes from the previous noise.",
    )


def check_multistep_form(settings: Settings) -> Finding:
    r"""K3: Algorithm 1 equals ``e - zeta p'`` up to a positive factor; evaluated so, it keeps its digits.

    Limits of the error, relative to ``|eps|``: below 64 bits everything but the last rounding is done in float64, so the
    result is within one spacing ``eps`` of the dtype; in float64 itself the two inner products, ``p'`` and ``zeta`` carry
    relative errors of at most ``(d + 10) u`` each, times the sine of the angle, and a rounding each remains: ``2 d + 20``
    round-offs. The traced form combines in float32, where ``p'`` is resolved to a round-off of ``|p - e|``:
    ``8 (1 + tan)`` spacings.
    """
    generator = settings.generator()
    different = 0
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
            different += theirs != [total * x for x in r]
            different += ours != [total / (lam + kappa**2 * w) * x for x in r]
            # cos > 0: <r,e> is a positive multiple of lambda E + kappa^2 (E Q - X^2).
            different += total * rational.dot(r, e) != lam * E + kappa**2 * (E * Q - X * X)

    worst = {"float64": 0.0, "32 bits and fewer": 0.0, "traced": 0.0}
    norm, cosine = 0.0, 1.0
    cases = [(d, lam, kappa) for d in (2, 3, 64) for lam in (1e-3, 1.0, 1e-6) for kappa in (1e-7, 1e-3, 0.5)]
    traced = _traced_direction
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
                spacing = torch.finfo(dtype).eps
                if dtype is torch.float64:
                    worst["float64"] = max(worst["float64"], error / ((2 * d + 20) * _U64))
                    norm = max(norm, abs(float(out.norm() / noise.norm()) - 1) / ((d + 10) * _U64))
                    cosine = min(cosine, float((out * noise).sum() / (noise * noise).sum()))
                else:
                    worst["32 bits and fewer"] = max(worst["32 bits and fewer"], error / spacing)
                    error = rational.relative_error(rational.from_tensor(traced(noise, previous, lam, kappa)), r, e)
                    tangent = _tangent(r, e)
                    worst["traced"] = max(worst["traced"], error / (8 * (1 + tangent) * spacing))
    figures = (
        Measured("identities that fail in rationals", different, limit=0, basis="exact"),
        Measured(
            "error in spacings of the dtype, 32 bits and fewer", worst["32 bits and fewer"], limit=1, basis="see code"
        ),
        Measured("error in float64 over its bound", worst["float64"], limit=1, basis="(2 d + 20) u"),
        Measured("error of the traced form over its bound", worst["traced"], limit=1, basis="8 (1 + tan) spacings"),
        Measured("change of the norm over its bound", norm, limit=1, basis="(d + 10) u"),
        Measured("cosine, the least", cosine, low=cosine, high=1.0, basis="positive by Cauchy-Schwarz"),
    )
    verdict = agreement(*figures) if cosine > 0 else Verdict.OPEN
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="d from 1 to 64, lambda from 1e-6 to 1, kappa from 1e-7 to 0.5, steps of 1 and 0.01 between noises",
        methods=("identities in exact rational arithmetic", "the kernel's results against exact rational directions"),
        remark="The direction is e minus a multiple of the part p' of the previous noise that is orthogonal to e. In exact "
        "arithmetic its angle stays below 90 degrees; near 90 (lambda below about u |eps|^2) rounding decides its sign.",
        data=_geometry(),
    )


def _traced_direction(noise: Tensor, previous: Tensor, lam: float, kappa: float) -> Tensor:
    """Evaluate the form that accelerators and compilers see: autograd selects it, as tracing does."""
    with torch.enable_grad():
        return kernel.lml_direction(noise.clone().requires_grad_(), previous, damping=lam, mixing=kappa).detach()


def _tangent(r: rational.Vector, e: rational.Vector) -> float:
    """Return the tangent of the angle between r and e."""
    squared = rational.dot(r, r) * rational.dot(e, e) / rational.dot(r, e) ** 2
    return math.sqrt(max(0.0, float(squared - 1)))


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


def check_precision(settings: Settings) -> Finding:
    r"""K4: at ``kappa = 0``, where the truth is the identity, what the textbook expression adds to ``eps``.

    Each of its two roundings of ``e <e,e>/(lambda + <e,e>)`` is uniform within half a spacing, and what is left of ``e``
    after the subtraction is ``lambda/(lambda + |e|^2)`` of it. The rounding noise relative to that is
    ``t = sqrt(2/12) rms(spacing)/rms(e) (lambda + |e|^2)/lambda``, and the normalised vector is off by
    ``sqrt(2 - 2/sqrt(1 + t^2))``, which ends at sqrt(2): a random direction.
    """
    generator = settings.generator()
    count = settings.pick(64, 256)
    rows: list[tuple[str, int, float]] = [("normal", d, lam) for d in (64, 1024, 3072) for lam in (1e-3, 8e-4)]
    rows += [("normal", 16384, 1e-3), ("normal", 65536, 1e-3), ("digits", 64, 1e-3), ("emoji", 3072, 8e-4)]
    measured, predicted, ours, halves, names = [], [], [], [], []
    for source, d, lam in track(rows, "rounding noise"):
        exact = _noises(source, d, count, generator)
        noise = exact.float()
        textbook = kernel.lml_direction_textbook(noise, noise, damping=lam, mixing=0.0)
        measured.append(float(_deviation(textbook, noise).mean()))
        predicted.append(float(_predicted_deviation(noise, lam).mean()))
        # K3 of the same objects, where it has to do the work: a previous noise that is eps again, at kappa > 0.
        moved = kernel.lml_direction(noise, noise.clone(), damping=lam, mixing=1e-7)
        ours.append(float(_deviation(moved, noise).max()) / torch.finfo(torch.float32).eps)
        half = noise.half()
        wrong = _deviation(kernel.lml_direction_textbook(half, half, damping=lam, mixing=0.0), half)
        halves.append(float(((wrong > 0.5) | wrong.isnan()).double().mean()))
        names.append(f"{source} d={d} lambda={lam:g}")
    resolved = [(m, p) for m, p in zip(measured, predicted, strict=True) if p < 0.3]
    ratios = [m / p for m, p in resolved]
    large = names.index("normal d=65536 lambda=0.001")
    figures = (
        Measured("deviation over prediction, furthest from 1, minus 1", max(ratios, key=lambda r: abs(r - 1)) - 1, limit=0.3,
                 basis="the coefficient's own rounding shifts t by up to u |e|^2/lambda, 30 % at the largest t that counts"),
        Measured("deviation at d = 3072, lambda = 0.001", measured[names.index("normal d=3072 lambda=0.001")]),
        Measured("deviation at d = 3072, lambda = 0.0008", measured[names.index("normal d=3072 lambda=0.0008")]),
        Measured("deviation at d = 16384, lambda = 0.001", measured[names.index("normal d=16384 lambda=0.001")]),
        Measured("deviation at d = 65536, lambda = 0.001, from sqrt 2", measured[large] - math.sqrt(2), limit=0.02,
                 basis="two independent directions in d dimensions: 1/sqrt(d) a sample, and their norm"),
        Measured("deviation on emoji noise, lambda = 0.0008", measured[names.index("emoji d=3072 lambda=0.0008")]),
        Measured("form K3, the same inputs, in spacings", max(ours), limit=1, basis="one rounding an element"),
        Measured("float16 samples that are not a number or off by half", min(h for h, (_, d, _) in zip(halves, rows, strict=True)
                 if d >= 3072), low=min(halves), high=max(halves), basis="least for d >= 3072; over all rows"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading="Eq. 8 and Algorithm 1 evaluated left to right in float32 and float16, on normal noise and on the exact "
        "noise predictions of digits and colour pictures",
        methods=(
            "measured deviation from the identity",
            "error analysis of the two roundings, without a fitted constant",
        ),
        remark="With the damping and mixing that the published commands use (kappa = 0), what float32 adds to the base solver "
        "is this rounding noise and nothing else.",
        data={
            "measured": np.array(measured),
            "predicted": np.array(predicted),
            "strength": np.array([2.0**-24 * d / lam for _, d, lam in rows]),
            "real": np.array([source != "normal" for source, _, _ in rows]),
        },
    )


def _noises(source: str, d: int, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, d) noise: standard normal, or the exact predictions of a data set over four noise levels."""
    if source == "normal":
        return torch.randn((count, d), generator=generator, dtype=torch.float64)
    data = toy.target(source)
    schedule = toy.noise_schedule("vp-linear")
    levels = [data.diffuse(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in (0.2, 0.4, 0.6, 0.8)]
    return torch.cat([q.noise(q.sample(count // 4, generator=generator)) for q in levels])


def _deviation(direction: Tensor, noise: Tensor) -> Tensor:
    """Return ``|direction - eps| / |eps|`` a sample."""
    return (direction.double() - noise.double()).norm(dim=1) / noise.double().norm(dim=1)


def _predicted_deviation(noise: Tensor, lam: float) -> Tensor:
    exact = noise.double()
    mantissa_bits = 24
    spacing = torch.ldexp(torch.ones_like(exact), torch.frexp(exact).exponent.double() - mantissa_bits)
    squared = (exact**2).sum(1)
    t = torch.sqrt((spacing**2).sum(1) * 2 / 12 / squared) * (lam + squared) / lam
    return torch.sqrt(2 - 2 / torch.sqrt(1 + t * t))


def draw_precision(finding: Finding) -> Figure:
    """Draw measured and predicted deviation against ``u |eps|^2/lambda``."""
    figure, (axis,) = panels(1, width=5.0, height=3.2)
    data = finding.data
    order = np.argsort(data["strength"])
    axis.loglog(
        data["strength"][order], data["predicted"][order], color=COLOURS["bound"], label="predicted from rounding"
    )
    for real, marker, label in ((False, "o", "normal noise"), (True, "s", "exact noise of digits and emoji")):
        rows = data["real"] == real
        axis.loglog(data["strength"][rows], data["measured"][rows], marker, color=COLOURS["lml"],
                    mfc="none" if real else None, label=label)  # fmt: skip
    axis.axhline(math.sqrt(2), color=COLOURS["limit"], lw=0.8)
    axis.text(data["strength"].min(), 1.5, "a random direction", color=COLOURS["limit"], fontsize=8)
    axis.set(xlabel=r"$u\,d/\lambda$ in float32", ylabel="deviation from the identity", ylim=(None, 3))
    axis.set_title("Textbook expression at $\\kappa=0$, where the truth is $\\epsilon$", loc="left")
    axis.legend(loc="lower right")
    return figure


CLAIMS = (
    Claim(
        "K1",
        "inverse, square root and determinant of the damped geometry are those of Sherman-Morrison",
        source="Eq. 8, Supp. A.3",
        expected=Verdict.HOLDS,
        check=check_sherman_morrison,
        formula=r"(\lambda I + s s^\top)^{-1} = \frac{1}{\lambda}\left(I - \frac{s s^\top}{\lambda + |s|^2}\right), \qquad "
        r"\log\det(\lambda I + s s^\top) = (d-1)\log\lambda + \log(\lambda + |s|^2)",
        seconds=2,
    ),
    Claim(
        "K2",
        "with kappa = 0 the normalised update is the identity, whatever lambda",
        source="Algorithm 1, steps 7 to 13",
        expected=Verdict.HOLDS,
        check=check_identity,
        formula=r"\kappa = 0 \;\Rightarrow\; |\epsilon|\,\frac{(\lambda I + v v^\top)^{-1}\epsilon}"
        r"{|(\lambda I + v v^\top)^{-1}\epsilon|} = \epsilon",
        seconds=1,
    ),
    Claim(
        "K3",
        "LML is a norm-preserving linear-multistep extrapolation, at less than 90 degrees from eps",
        source="Algorithm 1 and Eq. 8, rearranged",
        expected=Verdict.HOLDS,
        check=check_multistep_form,
        formula=r"(\lambda I + v v^\top)^{-1}\epsilon \;\parallel\; (\lambda + \kappa X + \kappa^2 Q)\,\epsilon - "
        r"\kappa (E + \kappa X)\,D \;\parallel\; \epsilon - \zeta\,p'",
        draw=draw_multistep_form,
        seconds=4,
    ),
    Claim(
        "K4",
        "the textbook expression loses u |eps|^2/lambda digits: in float32 it is rounding noise",
        source="Eq. 8 and Algorithm 1 in floating point",
        expected=Verdict.HOLDS,
        check=check_precision,
        formula=r"\kappa = 0:\quad \frac{|\hat\epsilon_{\mathrm{lml}} - \epsilon|}{|\epsilon|} \approx "
        r"\sqrt{2 - 2/\sqrt{1+t^2}}, \qquad t \propto u\,\frac{|\epsilon|^2}{\lambda}",
        draw=draw_precision,
        seconds=4,
    ),
)
