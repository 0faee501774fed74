r"""Claims H1, H2 and H4: three identities of the diffusion Hessian ``F = -hess log q_t``."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from theory_checks.hessian.error_bound import outer_product_errors
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics import derivatives
from theory_checks.numerics.levels import LOG_SNR, SMALL, U, levels, rounding, smallest_term
from toy import DataMixture, ExactTarget, GaussianMixture

__all__ = ["BARTLETT_CASES", "check_bartlett", "check_residual", "check_tweedie", "draw_bartlett"]


@with_proofs("H1")
def check_residual(
    settings: Settings, names: Sequence[str] = (*SMALL, "digits"), large: Sequence[str] = ("emoji",)
) -> Finding:
    """H1: ``F = s s^T - hess(q)/q``, with ``hess(q)`` from automatic differentiation and from differences of ``q``.

    Args:
        settings: profile and seed.
        names: targets for full matrices.
        large: targets for products with random vectors.
    """
    generator = settings.generator()
    worst = MaxError()
    for name in track(names, "derivatives of the density"):
        for q in levels(toy.target(name), LOG_SNR):
            x = q.sample(settings.pick(2, 6), generator=generator)
            s, F = q.score(x), -q.hessian(x)
            log_density = derivatives.reference_log_density(q)
            for i in range(len(x)):
                curvature = derivatives.relative_hessian(log_density, x[i])
                outer = torch.outer(s[i], s[i])
                size = float(outer.norm() + curvature.norm()) + smallest_term(q)
                worst.update("matrix", float((F[i] - (outer - curvature)).norm()) / size / rounding(q, x))
                if q.dim <= 2:
                    estimate, error = derivatives.difference_hessian(log_density, x[i], q.sigma)
                    worst.update("differences", float((F[i] - (outer - estimate)).norm()) / error)

    for name in large:
        for q in track(levels(toy.target(name), settings.pick(LOG_SNR[1::2], LOG_SNR)), "Hessian-vector products"):
            x = q.sample(2, generator=generator)
            u = torch.randn(x.shape, dtype=torch.float64, generator=generator)
            s = q.score(x)
            product = -q.hessian_vector(x, u)
            log_density = derivatives.reference_log_density(q)
            for i in range(len(x)):
                curved = derivatives.relative_hessian_vector(log_density, x[i], u[i])
                along = s[i] * (s[i] @ u[i])
                gap = float((product[i] - (along - curved)).norm()) / float(along.norm() + curved.norm())
                worst.update("products", gap / rounding(q, x))
    figures = worst.figures(
        ("matrix", "error of the identity over the rounding bound", "8 u (K + d + exponent)"),
        ("products", "the same at d = 3072, along random vectors", "8 u (K + d + exponent)"),
        ("differences", "against differences, over their error", "two step sizes, 6th order"),
    )
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading=f"c_t = 1; {', '.join(names)} (full matrices), {', '.join(large)} (products); log-SNR from -6 to 6",
        methods=(
            "closed form of F",
            "automatic differentiation of q itself",
            "central differences of q, dimensions 1 and 2",
        ),
        remark="The identity is exact. Proposition 1 then drops hess(q)/q, which is not small: see H3 and H5.",
    )


@with_proofs("H2")
def check_tweedie(
    settings: Settings, names: Sequence[str] = (*SMALL, "digits"), large: Sequence[str] = ("emoji",)
) -> Finding:
    """H2: ``F = I/sigma^2 - (alpha^2/sigma^4) Cov(y|x)``, with the covariance from the posterior's definition.

    Args:
        settings: profile and seed.
        names: targets for full matrices.
        large: data sets for products with random vectors.
    """
    generator = settings.generator()
    worst = MaxError()
    for name in track(names, "posterior covariances"):
        data = toy.target(name)
        for q in levels(data, LOG_SNR):
            x = q.sample(settings.pick(3, 8), generator=generator)
            F, covariance = -q.hessian(x), q.posterior_covariance(x)
            worst.update("closed", _tweedie_error(q, F, covariance) / rounding(q, x))
            if isinstance(q, DataMixture):
                worst.update("definition", _tweedie_error(q, F, derivatives.posterior_of_points(q, x)) / rounding(q, x))
            elif q.dim <= 2 and isinstance(data, GaussianMixture):
                estimate, error = derivatives.posterior_by_quadrature(data, q, x)
                worst.update("quadrature", _tweedie_error(q, F, estimate) / (error + rounding(q, x)))
    for name in large:
        for q in track(levels(_data(name), settings.pick(LOG_SNR[1::2], LOG_SNR)), "products with vectors"):
            x = q.sample(2, generator=generator)
            u = torch.randn(x.shape, dtype=torch.float64, generator=generator)
            product = u / q.sigma**2 - (q.alpha / q.sigma**2) ** 2 * derivatives.posterior_of_points_vector(q, x, u)
            gap = (product + q.hessian_vector(x, u)).norm(dim=1) / (u.norm(dim=1) / q.sigma**2)
            worst.update("products", float(gap.max()) / rounding(q, x))
    figures = worst.figures(
        ("definition", "error with the posterior of the digits by definition", "8 u (K + d + exponent)"),
        ("quadrature", "error with the posterior by quadrature, over its error", "two grids"),
        ("products", "error at d = 3072, along random vectors", "8 u (K + d + exponent)"),
        ("closed", "error with the closed-form covariance, over the rounding bound", "8 u (K + d + exponent)"),
    )
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading=f"{', '.join((*names, *large))}; log-SNR from -6 to 6",
        methods=(
            "closed forms of F and of Cov(y|x)",
            "Cov(y|x) from the posterior's definition: quadrature, or the points",
        ),
        remark="A covariance is positive semidefinite, so no eigenvalue of F exceeds 1/sigma^2: H5 builds on it.",
    )


def _data(name: str) -> DataMixture:
    target = toy.target(name)
    if not isinstance(target, DataMixture):
        raise TypeError(f"{name} is not a data set")
    return target


def _tweedie_error(q: ExactTarget, F: Tensor, covariance: Tensor) -> float:
    """Return the largest HS norm of the identity's error, relative to that of ``I/sigma^2``."""
    identity = torch.eye(q.dim, dtype=torch.float64) / q.sigma**2
    gap = F - identity + (q.alpha / q.sigma**2) ** 2 * covariance
    return float(gap.norm(dim=(1, 2)).max()) / float(identity.norm())


#: Target, log-SNR, what is compared ("trace" or "first axis"), and the margin within which it counts as equal.
BARTLETT_CASES = (
    ("random-8d", 0.0, "trace", 0.02),
    ("random-64d", 0.0, "trace", 0.02),
    ("digits", -2.0, "trace", 0.02),
    ("digits", 2.0, "trace", 0.02),
    ("emoji", -2.0, "trace", 0.02),
    ("emoji", 2.0, "trace", 0.02),
    ("random-8d", 0.0, "first axis", 0.06),
    ("random-64d", 0.0, "first axis", 0.06),
    ("digits", 0.0, "first axis", 0.06),
)


def check_bartlett(
    settings: Settings,
    names: Sequence[str] = ("gauss-1d", "bimodal-1d", "skewed-1d", "ring-2d", "cross-2d"),
    cases: Sequence[tuple[str, float, str, float]] = BARTLETT_CASES,
) -> Finding:
    """H4: ``E_q[s s^T] = E_q[F]``: by quadrature in dimensions 1 and 2, by equivalence tests above.

    Args:
        settings: profile and seed.
        names: mixtures for the quadrature.
        cases: the equivalence tests, as `BARTLETT_CASES`.
    """
    generator = settings.generator()
    worst = MaxError()
    for name in names:
        for q in levels(toy.target(name), (-2.0, 2.0, 6.0)):
            (coarse, _), (fine, size) = (_bartlett_by_quadrature(q, spacing) for spacing in (0.45, 0.3))
            # Every term is rounded by 8 u (K + d + exponent) of itself, and q is below 1e-19 where the exponent is 45.
            error = float((coarse - fine).norm()) + 8 * U * (8 + 2 + 45) * size
            worst.update("quadrature", float(fine.norm()) / error)

    quantile = 2.6  # of a 90 % interval that is to hold in nine cases at once
    intervals, counts, controls = [], [], []
    for name, level, what, margin in track(cases, "equivalence in many dimensions"):
        (q,) = levels(toy.target(name), (level,))
        # A pilot gives the spread, and the spread the sample whose interval is so small a part of the margin.
        pilot = _relative_gap(q, what, 400, generator)
        wanted = math.ceil((settings.pick(2.5, 3.0) * quantile * float(pilot.std()) / margin) ** 2)
        count = min(max(wanted, 400), settings.pick(40_000, 400_000))
        interval = mean_interval(_relative_gap(q, what, count, generator), level=0.90, comparisons=len(cases))
        intervals.append(Interval(*(end / margin for end in interval)))
        counts.append(count)
        if q.dim >= 64:
            x = q.sample(2, generator=generator)
            errors = outer_product_errors(q, x, q.score(x))
            controls.append(float((errors.outer / errors.zero).min()))
    furthest = max(intervals, key=lambda i: max(abs(i.low), abs(i.high)))
    control = min(controls)
    figures = (
        *worst.figures(("quadrature", "difference of the two matrices over its error, d <= 2", "two grid spacings")),
        Measured(
            "difference over its margin, d > 2, the furthest",
            furthest.value,
            low=furthest.low,
            high=furthest.high,
            basis=f"90 % intervals, simultaneous over {len(cases)} cases of {min(counts)} to {max(counts)} samples; "
            "equal if inside +-1; margins 2 % of the trace and 6 % along the first principal axis",
        ),
        Measured(
            "|F - s s^T| over |F| at single points, d >= 64, the least (control)",
            control,
            basis="by H5 at least 1 where |eps|^2 >= 2: this is what the mean must undo",
        ),
    )
    equal = all(interval.inside(1.0) for interval in intervals)
    return Finding(
        verdict=agreement(*figures) if equal and control >= 1 else Verdict.OPEN,
        figures=figures,
        reading="the mean over q_t, not any single x; mixtures, digits and emoji",
        methods=("trapezoidal rule on the closed forms", "two one-sided tests on independent samples"),
        assumption="q and its gradient vanish at infinity, as after any noise they do.",
        remark="This is what is true of 'F ~ s s^T': it holds on average over x. At a single x the outer product has "
        "rank one, and at high noise a Hilbert-Schmidt norm of about sqrt(d) times that of F.",
        data={
            "low": np.array([i.low for i in intervals]),
            "high": np.array([i.high for i in intervals]),
            "value": np.array([i.value for i in intervals]),
            "name": np.array([f"{name}, log-SNR {level:g}, {what}" for name, level, what, _ in cases]),
        },
    )


def _relative_gap(q: ExactTarget, what: str, count: int, generator: torch.Generator) -> np.ndarray:
    """Draw the gap between ``s s^T`` and ``F``, of trace or along the first principal axis, over its size; (count,)."""
    x = q.sample(count, generator=generator)
    s = q.score(x)
    if what == "trace":
        left, right = (s**2).sum(1), -q.laplacian(x)
    else:
        u = torch.linalg.eigh(q.covariance()).eigenvectors[:, -1].expand_as(x)
        left, right = (s * u).sum(1) ** 2, -(q.hessian_vector(x, u) * u).sum(1)
    gap: np.ndarray = ((left - right) / right.mean()).numpy()
    return gap


def _bartlett_by_quadrature(q: ExactTarget, spacing: float) -> tuple[Tensor, float]:
    """Return ``E_q[s s^T - F]`` by the trapezoidal rule, and the size of either term."""
    if not isinstance(q, GaussianMixture):
        raise TypeError(f"the grid is laid by the components of a GaussianMixture, got {type(q).__name__}")
    spread = torch.linalg.eigvalsh(q.component_covariances.dense())
    reach = float((q.alpha * q.means).abs().max()) + 9.5 * math.sqrt(float(spread.max()))
    step = spacing * math.sqrt(float(spread.min()))
    axis = torch.arange(-math.ceil(reach / step), math.ceil(reach / step) + 1, dtype=torch.float64) * step
    grid = torch.cartesian_prod(*[axis] * q.dim).reshape(-1, q.dim)
    density = q.log_density(grid).exp() * step**q.dim
    s = q.score(grid)
    outer = (s * density[:, None]).mT @ s
    return outer + (density[:, None, None] * q.hessian(grid)).sum(0), float(outer.norm())


def draw_bartlett(finding: Finding) -> Figure:
    """Draw the intervals within the margin."""
    figure, (axis,) = panels(1, width=6.0, height=3.0)
    data = finding.data
    rows = np.arange(len(data["value"]))[::-1]
    axis.axvspan(-1, 1, color=COLOURS["limit"], alpha=0.15, lw=0, label="margin")
    axis.hlines(rows, data["low"], data["high"], color=COLOURS["lml"], lw=2)
    axis.plot(data["value"], rows, "o", color=COLOURS["lml"], ms=4)
    axis.set_yticks(rows, data["name"])
    axis.set(xlabel=r"$E_q[s s^\top] - E_q[F]$ over the margin (90 % simultaneous)", xlim=(-1.3, 1.3))
    axis.set_title("Equal on average", loc="left")
    axis.legend(loc="upper right")
    return figure
