r"""Claim S6: for bounded data in two dimensions or more, Eq. 7 as written may have no stationary law at all (ours).

Let ``q`` be the density of ``alpha y + sigma z`` with ``|alpha y - c| <= rho`` for some c, taken as the origin, and ``d
>= 2``. In the unit sigma, ``s = m(x) - x`` with the posterior mean ``|m| <= rho``, and ``lambda sigma^2`` stands for
lambda. Let ``t = 1/|x|``, ``m`` and ``p`` be the parts of ``m(x)`` along and across x, and

    ``D = lambda t^2 + (1 - t m)^2 + t^2 p^2``,    so that ``lambda + |s|^2 = D/t^2``.

The generator ``L f = <M s, grad f> + tr(M hess f)`` of the literal dynamics has

    ``L |x|^2 = 2 A``,                        ``A = (d - 1)/lambda - (1 - t m - t^2)/D``,                        (1)
    ``L |x|^{-2b} = -2 b |x|^{-2b-2} (A - 2 (b + 1) B)``,    ``B = (t^2/D)(1 + p^2/lambda)``.                    (2)

Far out ``A -> a = (d - 1)/lambda - 1`` and ``B -> 0``, whatever the data are: for ``t rho <= 1/2``

    ``|A - a| <= (t rho + (lambda + rho^2 + 1) t^2)/(1 - t rho)^2``,                                            (3)
    ``B <= t^2 (1 + rho^2/lambda)/(1 - t rho)^2``,    ``(1 - t rho)^2 >= 1/4``,

as ``(1 - t m - D)/D = (t m - lambda t^2 - t^2 (m^2 + p^2))/D`` and ``D >= (1 - t rho)^2``. So beyond

    ``R = max{ 2 rho, 16 rho/|a|, 4 sqrt(K/|a|) }``,    ``K = lambda + rho^2 + 1 + 2 (b + 1)(1 + rho^2/lambda)``,

``A <= a/2`` if ``a < 0``, and ``A - 2 (b + 1) B >= a/2`` if ``a > 0``.

*Claim.* The literal dynamics do not explode. They are positive recurrent, with one stationary law, if
``lambda sigma^2 > d - 1``; they are transient, with no stationary law, if ``lambda sigma^2 < d - 1``, and then
``E|X_t|^2/t -> 2 ((d - 1)/lambda - sigma^2)``.

*Proof.* M and M s are smooth, ``M <= I/lambda`` and ``|M s| <= 1/(2 sqrt(lambda))``: one solution for all times; and M
is positive definite. If ``a < 0``, ``L |x|^2 <= a`` beyond R: mean times of return to the ball of radius R are finite,
and there is one stationary law (Khasminskii 2012, Chs. 3 and 4). If ``a > 0``, ``|x|^{-2b}`` is superharmonic beyond R:
from ``|x| > R`` the ball is reached with a probability of at most ``(R/|x|)^{2b}``. From any point of the ball ``2 R``
is reached almost surely, as M is non-degenerate, and each time the ball is never seen again with a probability of at
least ``1 - 4^{-b}``: it is left for ever, and ``|X_t| -> infinity``. A stationary law would give the ball a probability
that does not fall. ``L |x|^2`` is bounded and tends to ``2 a`` along every path: so does the mean of its average over
time, which is ``(E|X_t|^2 - E|X_0|^2)/t`` (Dynkin).

*At equality* the shape of the data decides. ``A = (-t m + (lambda + m^2 + p^2 + 1) t^2)/D`` and
``L |x|^3 = 3 |x| (A + B)``. If the data are finitely many points whose convex hull holds a ball of radius delta about
the origin, ``m >= delta - (rho^2/2 + log(1/min w))/|x|`` (the slope of the convex function
``r -> log sum_i w_i e^{r <y_i,u> - |y_i|^2/2}`` is at least its chord's): then ``L |x|^3 <= -3 delta + o(1)``, positive
recurrent. For a single point S5 has the answer: no stationary law. Other flat data are left open.

Data with a Gaussian of variance tau^2 added to each point are of this kind with ``alpha^2 tau^2 + sigma^2`` for
``sigma^2``. With ``G = lambda I + eps eps^T`` in place of ``lambda I + s s^T``, lambda itself stands for
``lambda sigma^2``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from flint import arb
from matplotlib.figure import Figure
from torch import Tensor

import toy
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.interval_minimum import Certificate, certified_minimum, squared
from theory_checks.numerics.levels import U, levels
from theory_checks.numerics.particles import Proposal
from toy import DataMixture
from toy.schedule import SCHEDULES

__all__ = [
    "POWER",
    "Terms",
    "certified_margin",
    "check_bounded_data",
    "deviation",
    "draw_bounded_data",
    "growth_rate",
    "largest_strength",
    "radius",
    "terms",
]

#: ``b`` of the superharmonic function ``|x|^{-2b}``; any positive number would do.
POWER = 0.5


class Terms(NamedTuple):
    """``A`` and ``B`` of equations (1) and (2)."""

    A: arb
    B: arb


def terms(d: int, strength: float, t: arb, m: arb, p: arb) -> Terms:
    """Enclose A and B for ``lambda sigma^2 = strength``, in balls or in single numbers."""
    lam, tt = arb(strength), squared(t)
    D = lam * tt + squared(1 - t * m) + tt * squared(p)
    return Terms((d - 1) / lam - (1 - t * m - tt) / D, tt / D * (1 + squared(p) / lam))


def growth_rate(d: int, strength: float) -> float:
    """Return ``2 a = 2 ((d - 1)/lambda - 1)``, the limit of ``L |x|^2`` far out in the unit sigma."""
    return 2 * ((d - 1) / strength - 1)


def deviation(strength: float, rho: float, t: Tensor) -> Tensor:
    """Return (3), ``(t rho + (lambda + rho^2 + 1) t^2)/(1 - t rho)^2``, the bound on ``|A - a|``."""
    return (t * rho + (strength + rho**2 + 1) * t**2) / (1 - t * rho) ** 2


def radius(d: int, strength: float, rho: float) -> float:
    """Return the R beyond which the claim's inequalities hold with half of a to spare."""
    a = abs(growth_rate(d, strength)) / 2
    K = strength + rho**2 + 1 + 2 * (POWER + 1) * (1 + rho**2 / strength)
    return max(2 * rho, 16 * rho / a, 4 * math.sqrt(K / a))


def certified_margin(d: int, strength: float, rho: float, beyond: float) -> Certificate:
    """Enclose the least of ``-A``, or of ``A - 2 (b + 1) B``, over all ``|x| >= beyond`` and all data within rho.

    The variables are ``t`` in [0, 1/beyond], ``m`` in [-rho, rho] and ``p`` in [0, rho], a box that contains every
    posterior mean: a positive lower end is a proof for every law of the data at once.
    """

    def margin(variables: Sequence[arb]) -> arb:
        A, B = terms(d, strength, *variables)
        return -A if strength > d - 1 else A - 2 * (POWER + 1) * B

    box = ((0.0, 1 / beyond), (-rho, rho), (0.0, rho))
    return certified_minimum(margin, margin, box, tolerance=0.5, boxes=4000)


def largest_strength(damping: float) -> dict[str, float]:
    """Return the largest ``lambda sigma^2`` over the 1000 levels of each variance-preserving schedule."""
    return {
        name: damping * float(schedule.discrete().sigma.square().max())
        for name, schedule in SCHEDULES.items()
        if name not in ("ve", "flow-matching")
    }


def _dense_generator(q: DataMixture, x: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Return ``L |x|^2`` and ``L |x|^{-2b}`` from dense matrices and derivatives by autograd, shape (B,) each."""
    s = q.score(x)
    M = torch.linalg.inv(damping * torch.eye(q.dim).double() + s[:, :, None] * s[:, None, :])
    drift = (M @ s[:, :, None])[:, :, 0]

    def applied(power: float) -> Tensor:
        def f(y: Tensor) -> Tensor:
            return (y * y).sum() ** power

        slope = torch.func.vmap(torch.func.grad(f))(x)
        curvature = torch.func.vmap(torch.func.jacrev(torch.func.grad(f)))(x)
        found: Tensor = (drift * slope).sum(1) + (M * curvature).sum((1, 2))
        return found

    return applied(1.0), applied(-POWER)


def _see_generator(worst: MaxError, name: str, log_snr: float, strength: float, generator: torch.Generator) -> None:
    """Compare (1), (2) and (3) with dense matrices at points near and far."""
    (q,) = levels(toy.target(name), (log_snr,))
    assert isinstance(q, DataMixture)
    damping = strength / q.sigma**2
    rho = q.alpha * float(q.points.norm(dim=1).max()) / q.sigma
    x = torch.randn((24, q.dim), dtype=torch.float64, generator=generator)
    x = x / x.norm(dim=1, keepdim=True) * torch.logspace(-1, 4, 24, dtype=torch.float64)[:, None] * q.sigma
    square, power = _dense_generator(q, x, damping)
    mean = q.alpha * q.posterior_mean(x) / q.sigma
    for k in range(len(x)):
        r = float(x[k].norm()) / q.sigma
        along = float(mean[k] @ x[k]) / float(x[k].norm())
        across = math.sqrt(max(float(mean[k] @ mean[k]) - along**2, 0.0))
        A, B = (float(v) for v in terms(q.dim, strength, arb(1 / r), arb(along), arb(across)))
        # The dense inverse loses the condition of G, and M is up to 1/lambda in d directions.
        rounding = 40 * q.dim * U * (1 + (r + rho) ** 2 / strength) * (q.dim / strength + 1)
        worst.update("square", abs(float(square[k]) / q.sigma**2 - 2 * A) / rounding)
        claimed = -2 * POWER * (A - 2 * (POWER + 1) * B)
        found = float(power[k]) * q.sigma ** (2 * POWER) * r ** (2 * POWER + 2)
        worst.update("power", abs(found - claimed) / rounding)
        if rho / r <= 0.5:
            bound = float(deviation(strength, rho, torch.tensor(1 / r, dtype=torch.float64)))
            worst.update("deviation", abs(A - growth_rate(q.dim, strength) / 2) / bound)


class _Path(NamedTuple):
    """Means over particles of ``|X|^2`` in the unit sigma, (steps,), with its growth in the second half."""

    square: np.ndarray
    growth: Interval


def _particles(
    q: DataMixture, damping: float, h: float, steps: int, start: Tensor, generator: torch.Generator
) -> _Path:
    """Run Euler-Maruyama's literal chains; they know neither A nor B."""
    proposal = Proposal(q, damping, "literal", h)
    x, squares = start, []
    for _ in range(steps):
        x = proposal.move(proposal.at(x), torch.randn(x.shape, dtype=torch.float64, generator=generator))
        squares.append((x * x).sum(1) / q.sigma**2)
    time = h * (steps - steps // 2)
    rates = (squares[-1] - squares[steps // 2 - 1]) / time
    growth = mean_interval(rates.numpy(), level=0.99)
    return _Path(np.array([float(v.mean()) for v in squares]), growth)


def _points(d: int, count: int, scale: float) -> DataMixture:
    generator = torch.Generator().manual_seed(count + d)
    return DataMixture(scale * torch.randn((count, d), dtype=torch.float64, generator=generator))


#: Dimension, ``lambda sigma^2/(d - 1)`` and rho in the unit sigma: both sides of the threshold, data near and far.
_FAMILY = ((2, 0.5, 1.0), (2, 2.0, 1.0), (2, 0.001, 10.0), (3, 0.9, 3.0), (3, 1.1, 3.0), (64, 0.5, 10.0),
           (64, 2.0, 10.0), (3072, 1e-3 / 3071, 100.0), (3072, 0.99, 100.0), (3072, 1.01, 100.0))  # fmt: skip

_SETS = (("points-2d", 0.0), ("points-8d", -2.0), ("points-8d", 2.0))


@with_proofs("S6")
def check_bounded_data(
    settings: Settings,
    family: Sequence[tuple[int, float, float]] = _FAMILY,
    sets: Sequence[tuple[str, float]] = _SETS,
) -> Finding:
    """S6: for bounded data the literal reading has a stationary law if ``lambda sigma^2 > d - 1``, none if below.

    Args:
        settings: profile and seed.
        family: dimension, ``lambda sigma^2/(d - 1)`` and rho in the unit sigma of the certificates.
        sets: data sets with log-SNRs, on which the generator is compared with dense matrices.
    """
    generator = settings.generator()
    worst = MaxError()
    margins, rows, shares = math.inf, [], []
    for d, ratio, rho in track(family, "certificates for all bounded data"):
        strength = ratio * (d - 1)
        beyond = radius(d, strength, rho)
        found = certified_margin(d, strength, rho, beyond)
        half = abs(growth_rate(d, strength)) / 4
        margins = min(margins, found.low / half)
        nearer = beyond
        while nearer / 2 > 1.05 * rho and certified_margin(d, strength, rho, nearer / 2).low > 0:
            nearer /= 2
        shares.append(nearer / beyond)
        rows.append((d, ratio, rho, beyond, nearer))
    for name, log_snr in track(sets, "generator against dense matrices"):
        for ratio in (0.2, 3.0):
            _see_generator(worst, name, log_snr, ratio * (toy.target(name).dim - 1), generator)
    data, figures = _see_particles(settings, generator)
    strengths = largest_strength(1e-3)
    figures = (
        Measured("certified margin over half of |a|, the least", margins, low=margins, high=math.inf,
                 basis=f"ball arithmetic, all |x| >= R and all data within rho: {len(rows)} cases; 1 by the proof"),
        Measured("radius from which the sign is certified, over R", float(np.median(shares)), low=min(shares),
                 high=max(shares), basis="median and range, by halving: R is not sharp"),
        *worst.figures(
            ("square", "L |x|^2 against dense matrices and autograd, over rounding", "40 d u cond(G) tr M"),
            ("power", "L |x|^(-2b) against the same, over rounding", "the same"),
            ("deviation", "|A - a| over its bound (3), far out", "a theorem"),
        ),
        *figures,
        Measured("lambda sigma^2 at lambda = 0.001, the largest of all levels of variance-preserving schedules",
                 max(strengths.values()), limit=1.0,
                 basis="linear, scaled linear, cosine: below d - 1 for every d >= 2, so no level has a law"),
        Measured("lambda that a law at sigma = 1 and d = 3072 asks for, more than", 3071.0,
                 basis="the paper's largest is 0.006"),
    )  # fmt: skip
    grows = data["grown"] > 2 and margins >= 1 - 1e-9
    return Finding(
        verdict=agreement(*figures) if grows else Verdict.OPEN,
        figures=figures,
        reading="literal (Ito) reading of Eq. 7 on q_t, bounded data, d >= 2",
        methods=(
            "Lyapunov functions |x|^2 and |x|^(-2b): by hand, and by ball arithmetic over all data within rho at once",
            "the generator from dense matrices and derivatives by autograd",
            "Euler-Maruyama particles on both sides of the threshold, which know no Lyapunov function",
        ),
        assumption="Bounded data, or bounded data with one Gaussian blur. Stationary means a probability.",
        remark="Prop. 3 as written fails at every level of a variance-preserving schedule for lambda < d - 1: not only "
        "is q_t not stationary (S1), nothing is. At equality the shape of the data decides; for data that span no "
        "volume it is open here. The growth of E|X|^2 is 2 (d - 1)/lambda a unit of time at little noise: at lambda = "
        "0.001 and d = 3072 that is 6.1 million. With div M in the drift (S2) the law is q_t.",
        data={key: value for key, value in data.items() if key != "grown"} | {"family": np.array(rows)},
    )


def _see_particles(
    settings: Settings, generator: torch.Generator
) -> tuple[dict[str, np.ndarray], tuple[Measured, ...]]:
    """Run particles on twenty points in six dimensions, on both sides, and return curves and figures."""
    q = _points(6, 20, 0.3).diffuse(1.0, 1.0)
    rho = float(q.points.norm(dim=1).max())
    count, steps = settings.pick((200, 2000), (1000, 8000))
    data: dict[str, np.ndarray] = {}
    # Below the threshold: the growth in the second half, against its limit and what (3) allows at that distance.
    strength, h = 0.4 * 5, 0.1
    start = q.sample(count, generator=generator)
    path = _particles(q, strength, h, steps, start, generator)
    finer = _particles(q, strength, h / 2, 2 * steps, start, generator)
    rate = growth_rate(6, strength)
    # At the distance that the claim itself predicts for the middle of the run, and that grows from then on.
    t = 1 / math.sqrt(rate * h * steps / 2)
    allowed = 2 * float(deviation(strength, rho, torch.tensor(t, dtype=torch.float64)))
    width = (path.growth.high - path.growth.low) / 2
    off = abs(path.growth.value - rate) / (allowed + width)
    halved = abs(path.growth.value - finer.growth.value) / (2 * width)
    # Above it: from near and from far to the same mean square.
    strength, h = 3.0 * 5, 0.5
    near = _particles(q, strength, h, steps, start, generator)
    far = _particles(q, strength, h, steps, 4 * start, generator)
    last = [path.square[-steps // 2 :].mean() for path in (near, far)]
    data |= {"time": 0.1 * np.arange(steps), "square": path.square, "predicted": np.array(rate),
             "near": near.square, "far": far.square, "settled time": 0.5 * np.arange(steps),
             "grown": np.array(path.square[-1] / path.square[0])}  # fmt: skip
    figures = (
        Measured("growth of E|X|^2 below the threshold, lambda sigma^2 = 0.4 (d - 1), d = 6", path.growth.value,
                 low=path.growth.low, high=path.growth.high, basis=f"predicted limit {rate:g}; 99 %"),
        Measured("its distance from the limit over what (3) allows at that distance and the interval", off, limit=1,
                 basis="at the distance that the claim predicts for the middle of the run"),
        Measured("what halving the step changes, over both intervals", halved, limit=1, basis="99 % each"),
        Measured("E|X|^2 above the threshold, 3 (d - 1), from far over from near", float(last[1] / last[0]),
                 basis="two starts, one law"),
        Measured("growth there over the threshold's other side (control)",
                 float(far.growth.value / path.growth.value), low=far.growth.low / path.growth.value,
                 high=far.growth.high / path.growth.value, basis="zero where there is a law; 99 %"),
    )  # fmt: skip
    return data, figures


def draw_bounded_data(finding: Finding) -> Figure:
    """Draw the mean square of particles over time on both sides of the threshold."""
    figure, (left, right) = panels(2, width=3.4, height=2.8)
    data = finding.data
    left.plot(data["time"], data["square"], color=COLOURS["literal"], label="particles")
    half = len(data["time"]) // 2
    line = data["square"][half] + float(data["predicted"]) * (data["time"] - data["time"][half])
    left.plot(data["time"], line, ":", color=COLOURS["limit"], label=f"slope {float(data['predicted']):g}")
    left.set_title(r"$\lambda\sigma^2 = 0.4\,(d-1)$: no law", loc="left")
    for key, colour, label in (("near", "target", "from q"), ("far", "literal", "from afar")):
        right.plot(data["settled time"], data[key], color=COLOURS[colour], lw=1, label=label)
    right.set_title(r"$3\,(d-1)$: one law", loc="left")
    for axis in (left, right):
        axis.set(xlabel="time", ylim=(0, None))
        axis.legend(loc="best")
    left.set_ylabel(r"$E|X_t|^2/\sigma^2$")
    return figure
