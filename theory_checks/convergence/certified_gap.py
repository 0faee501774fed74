r"""Claim C1c: the spectral gap of the corrected dynamics in one dimension, enclosed with a proof of both ends.

From above. The gap is at most ``E_q[M f'^2]/Var_q f`` for any f: a polynomial, constant beyond ``[-X, X]``, with its
integrals enclosed by rigorous quadrature.

From below (Barta 1937, Chen and Wang 1997). Let ``p`` be continuous and piecewise smooth. Then the gap is at least

    ``inf_x R(x),    R = -(p' + p^2 + s p + s')/(lambda + s^2)``.

Proof. On ``[-n, n]`` with reflecting ends let f be the first eigenfunction and ``h = M f'``, zero at both ends. With
``D h = h' + s h = L f``, the gap is ``int q (D h)^2 / int q (lambda + s^2) h^2``. Write ``h = w h_0``,
``h_0 = exp(int p)``: then ``D h = w' h_0 + w D h_0``, and integrating ``(w^2)' q h_0 D h_0`` by parts,

    ``int q (D h)^2 = int q h_0^2 w'^2 - int q h_0 (D h_0)' w^2 >= inf R int q (lambda + s^2) h^2``,

as ``(D h_0)' = (p' + p^2 + s p + s') h_0``. So ``Var f <= E[M f'^2]/inf R`` on every ``[-n, n]``, and in the limit on
the line. The best p solves ``R = gap``; here it is a cubic spline close to that one. Past its ends ``p = -theta s``,

    ``R = (1 - theta)(theta s^2 - s')/(lambda + s^2)``.

Beyond the last mean the widest component w rules: ``|s| >= |s_w|`` and ``s' <= -1/v_w + sum_k (r_k/r_w)(s_k - s_w)^2``,
both monotone in x, so that their values at the end bound the whole tail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from flint import acb, arb, arb_series
from matplotlib.figure import Figure

import toy
from theory_checks.convergence.gaussian_gap import gaussian_gap
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics.interval_minimum import certified_minimum, lower, squared, upper
from theory_checks.numerics.spectral import COARSE, spectral_gap
from theory_checks.numerics.trial_functions import Spline, eigenfunction, riccati_solution
from toy import GaussianMixture

__all__ = [
    "CASES",
    "Line",
    "SplinePiece",
    "barta_rate",
    "check_certified_gap",
    "draw_certified_gap",
    "gap_from_above",
    "gap_from_below",
    "rayleigh",
    "tail_rate",
]

#: Targets and dampings, a Gaussian among them, whose gap C6 knows; the last three in the full profile.
CASES = (("bimodal-1d", 1.0), ("gauss-1d", 4.0), ("bimodal-1d", 10.0), ("skewed-1d", 1.0), ("skewed-1d", 10.0))

SplinePiece = Callable[[arb_series], tuple[arb_series, arb_series]]

_ORDER = 4  # of the Taylor forms
_SHORT = 1 - 1e-4  # the rate of the Riccati solution over the gap: below it the solution never blows up
_TOLERANCE = arb(2) ** -40  # of the quadrature; its actual error is part of the ball


@dataclass(frozen=True)
class Line:
    """A mixture on the line, its numbers taken as exact: weights, means and variances of its components."""

    weights: tuple[float, ...]
    means: tuple[float, ...]
    variances: tuple[float, ...]

    @classmethod
    def of(cls, q: GaussianMixture) -> Line:
        """Read the parameters of a target at its own level, ``sigma = 0``."""
        if q.dim != 1 or q.sigma != 0 or q.alpha != 1:
            raise ValueError(f"target must be one-dimensional and not diffused, got dim {q.dim}, sigma {q.sigma}")
        variances = q.component_covariances.dense()[:, 0, 0].tolist()
        return cls(tuple(q.weights.tolist()), tuple(q.means[:, 0].tolist()), tuple(variances))

    def mirrored(self) -> Line:
        """Return the law of ``-x``."""
        return Line(self.weights, tuple(-m for m in self.means), self.variances)

    def log_ratio(self, j: int, k: int, x: arb_series) -> arb_series:
        """Return ``log(w_j N(x; m_j, v_j)) - log(w_k N(x; m_k, v_k))``, a polynomial that is multiplied out.

        The difference of the two squares would count the width of x twice.
        """
        (w, m, v), (other_w, n, u) = (
            [arb(numbers[i]) for numbers in (self.weights, self.means, self.variances)] for i in (j, k)
        )
        constant = (w / other_w).log() + (u / v).log() / 2 + (n * n / u - m * m / v) / 2
        square = arb(0) if self.variances[j] == self.variances[k] else (1 / u - 1 / v) / 2
        return constant + x * ((m / v - n / u) + x * square)

    def responsibilities(self, x: arb_series) -> list[arb_series]:
        """Return the shares ``r_k`` of the components in the density."""
        every = range(len(self.means))
        return [1 / sum((self.log_ratio(j, k, x).exp() for j in every if j != k), 1 + 0 * x) for k in every]

    def score(self, x: arb_series) -> tuple[arb_series, arb_series]:
        """Return ``s`` and ``s' = -sum_k r_k/v_k + sum_{j<k} r_j r_k (s_j - s_k)^2``."""
        r = self.responsibilities(x)
        scores = [(arb(m) - x) / arb(v) for m, v in zip(self.means, self.variances, strict=True)]
        s = sum((a * b for a, b in zip(r, scores, strict=True)), 0 * x)
        slope = sum((-a / arb(v) for a, v in zip(r, self.variances, strict=True)), 0 * x)
        for k in range(len(r)):
            for j in range(k):
                slope += r[j] * r[k] * (scores[j] - scores[k]) * (scores[j] - scores[k])
        return s, slope

    def densities(self, x: acb) -> tuple[acb, acb]:
        """Return ``q`` and ``q'`` at complex arguments."""
        q, slope = acb(0), acb(0)
        for w, m, v in zip(self.weights, self.means, self.variances, strict=True):
            part = arb(w) / (2 * arb.pi() * arb(v)).sqrt() * (-(x - m) * (x - m) / (2 * arb(v))).exp()
            q, slope = q + part, slope - part * (x - m) / arb(v)
        return q, slope

    def mass_beyond(self, x: float) -> arb:
        """Enclose ``P(X > x)``."""
        parts = zip(self.weights, self.means, self.variances, strict=True)
        return sum((arb(w) * ((arb(x) - arb(m)) / (2 * arb(v)).sqrt()).erfc() / 2 for w, m, v in parts), arb(0))


def barta_rate(s: arb_series, slope: arb_series, p: arb_series, p_slope: arb_series, damping: float) -> arb_series:
    """Return ``R = -(p' + p^2 + s p + s')/(lambda + s^2)``."""
    return -(p_slope + p * p + s * p + slope) / (arb(damping) + _squared(s))


def _squared(s: arb_series) -> arb_series:
    """Return ``s^2`` with a first coefficient that is never negative: a product would not know its factors are one."""
    product = s * s
    return arb_series([squared(s[0]), *(product[j] for j in range(1, product.prec))], prec=product.prec)


def tail_rate(line: Line, damping: float, x: float, theta: arb) -> float:
    """Return a certified lower bound of R on ``[x, inf)`` for ``p = -theta s`` there; ``-inf`` if x is too small."""
    w = max(range(len(line.means)), key=lambda k: (line.variances[k], line.means[k]))
    at = arb(x)
    own = (arb(line.means[w]) - at) / arb(line.variances[w])
    spread = arb(0)
    for k in range(len(line.means)):
        if k == w:
            continue
        gap = (arb(line.means[k]) - at) / arb(line.variances[k]) - own  # s_k - s_w, falling or constant
        change = 1 / arb(line.variances[w]) - 1 / arb(line.variances[k])  # its derivative, <= 0
        # (r_k/r_w)(s_k - s_w)^2 falls from x on if s_k < s_w and (s_k - s_w)^2 + 2 (s_k - s_w)' > 0.
        if not (gap < 0 and gap * gap + 2 * change > 0):
            return -math.inf
        spread += line.log_ratio(k, w, arb_series([at], prec=1))[0].exp() * gap * gap
    if not (own < 0 and theta > 0 and theta < 1):
        return -math.inf
    curvature = 1 / arb(line.variances[w]) - spread  # -s' is at least this
    # (theta s^2 + curvature)/(lambda + s^2) is monotone in s^2: between its values at the end and at infinity.
    nearest = (theta * own * own + curvature) / (arb(damping) + own * own)
    return lower((1 - theta) * nearest.min(theta))


def gap_from_below(line: Line, damping: float, trial: Spline) -> tuple[float, int]:
    """Return a certified lower bound of the gap, ``inf R`` for this p, and how many boxes it took.

    On each piece R is enclosed by Taylor's formula of order four about the middle, the last coefficient over the piece.
    """
    least, boxes = math.inf, 0
    for i in range(len(trial.knots) - 1):
        spline = trial.piece(i)

        def rate(at: arb, order: int, spline: SplinePiece = spline) -> arb_series:
            x = arb_series([at, 1] if order > 1 else [at], prec=order)
            return barta_rate(*line.score(x), *spline(x), damping)

        def bound(variables: Sequence[arb], rate: Callable[[arb, int], arb_series] = rate) -> arb:
            (x,) = variables
            middle, radius = arb(x.mid()), arb(x.rad())
            centre, whole = rate(middle, _ORDER), rate(x, _ORDER + 1)
            total = centre[0]
            for j in range(1, _ORDER):
                total -= abs(centre[j]) * radius**j
            return total - abs(whole[_ORDER]) * radius**_ORDER

        def value(variables: Sequence[arb], rate: Callable[[arb, int], arb_series] = rate) -> arb:
            return rate(variables[0], 1)[0]

        ends = ((float(trial.knots[i]), float(trial.knots[i + 1])),)
        found = certified_minimum(bound, value, ends, tolerance=1e-5, boxes=40)
        least, boxes = min(least, found.low), boxes + found.boxes
    for side, x, p in ((line, trial.knots[-1], trial.values[-1]),
                       (line.mirrored(), -trial.knots[0], -trial.values[0])):  # fmt: skip
        s = side.score(arb_series([arb(float(x))], prec=1))[0][0]
        least = min(least, tail_rate(side, damping, float(x), -arb(float(p)) / s))
    return least, boxes


def gap_from_above(line: Line, damping: float, trial: Spline) -> float:
    """Return a certified upper bound of the gap: ``E_q[M f'^2]/Var_q f`` of a spline f, constant beyond its ends.

    With ``M q = q^3/(lambda q^2 + q'^2)``, every integrand is meromorphic.
    """
    totals = [arb(0)] * 3
    for i in range(len(trial.knots) - 1):
        ends = (acb(float(trial.knots[i])), acb(float(trial.knots[i + 1])))
        spline = trial.piece(i)

        def integrand(x: acb, which: int, spline: Callable[[acb], tuple[acb, acb]] = spline) -> acb:
            (f, slope), (q, change) = spline(x), line.densities(x)
            if which == 0:
                return slope * slope * q * q * q / (arb(damping) * q * q + change * change)
            return f * q if which == 1 else f * f * q

        for which in range(3):
            totals[which] += _integral(partial(integrand, which=which), ends)
    energy, first, second = totals
    for side, end, value in ((line, trial.knots[-1], trial.values[-1]),
                             (line.mirrored(), -trial.knots[0], trial.values[0])):  # fmt: skip
        mass, f = side.mass_beyond(float(end)), arb(float(value))
        first, second = first + f * mass, second + f * f * mass
    total = sum((arb(weight) for weight in line.weights), arb(0))  # one, but for the rounding of the weights
    return upper(rayleigh(energy, second - first * first / total))


def _integral(integrand: Callable[[acb], acb], ends: tuple[acb, acb]) -> arb:
    """Enclose an integral of a function that is real on the line and meromorphic about it."""
    return acb.integral(lambda x, _: integrand(x), *ends, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE).real


def rayleigh(energy: arb, variance: arb) -> arb:
    """Return ``E_q[M f'^2]/Var_q f``."""
    return energy / variance


_REACH = {"bimodal-1d": 6.0, "gauss-1d": 8.0, "skewed-1d": 10.0}


@with_proofs("C1c")
def check_certified_gap(settings: Settings, cases: Sequence[tuple[str, float]] | None = None) -> Finding:
    """C1c: the gap between a certified lower and a certified upper bound, and where other methods put it."""
    figures: list[Measured] = []
    rows: list[tuple[float, float, float]] = []
    cases = cases or settings.pick(CASES[:2], CASES)
    outside, width = 0.0, 0.0
    for name, damping in track(cases, "ball arithmetic"):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        line, gap = Line.of(q), spectral_gap(q, damping=damping, dynamics="corrected", **COARSE[1])
        low, boxes = gap_from_below(line, damping, riccati_solution(q, damping, gap.value * _SHORT, _REACH[name]))
        high = gap_from_above(line, damping, eigenfunction(q, damping, _REACH[name]))
        value, error = gap.value, gap.error
        if name == "gauss-1d":
            value, error = gaussian_gap(damping, 1.0), 1e-12
        outside = max(outside, (low - value) / error, (value - high) / error)
        width = max(width, (high - low) / low)
        rows.append((low, value, high))
        figures.append(
            Measured(f"gap, {name}, lambda = {damping:g}", value, low=low, high=high,
                     basis=f"certified at both ends; {boxes} boxes below, rigorous quadrature above")
        )  # fmt: skip
    proven = all(0 < low <= high for low, _, high in rows)
    figures = [
        *figures,
        Measured("gap by finite elements, or C6, outside the enclosure, over its error", max(outside, 0.0), limit=1,
                 basis="refined mesh and box; C6 to rounding"),
        Measured("width of the widest enclosure over its lower end", width, limit=0.01,
                 basis="a bound that is no enclosure to speak of would prove little"),
    ]  # fmt: skip
    return Finding(
        verdict=agreement(*figures) if proven else Verdict.OPEN,
        figures=tuple(figures),
        reading="corrected dynamics, M = 1/(lambda + s^2), one dimension: "
        + ", ".join(f"{name} at lambda = {damping:g}" for name, damping in cases),
        methods=(
            "from below: Barta's and Chen's inequality, its infimum enclosed by Taylor forms and branch and bound, and "
            "its tails by monotonicity",
            "from above: the quotient of one explicit spline, by rigorous quadrature",
            "finite elements; C6's closed form",
        ),
        remark="These bounds prove what C1 assumes, a Poincare inequality in the geometry M (Assumption 1 of the "
        "paper), with its constant to within the width.",
        data={"rows": np.array(rows), "name": np.array([f"{n}, {d:g}" for n, d in cases])},
    )


def draw_certified_gap(finding: Finding) -> Figure:
    """Draw each enclosure relative to its lower end."""
    figure, (axis,) = panels(1, width=5.6, height=2.2)
    low, value, high = finding.data["rows"].T
    at = np.arange(len(low))[::-1]
    axis.hlines(at, np.zeros(len(low)), high / low - 1, color=COLOURS["bound"], lw=3, label="certified")
    axis.plot(value / low - 1, at, "|", ms=12, color=COLOURS["corrected"], label="finite elements, C6")
    axis.set_yticks(at, [name.replace(", ", r", $\lambda=$") for name in finding.data["name"]])
    axis.set(xlabel="gap over its certified lower bound, minus 1")
    axis.set_title("The spectral gap, enclosed", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
