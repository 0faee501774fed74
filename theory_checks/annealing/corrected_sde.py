r"""Claim A4: the smallest change of Eq. 9 that has the marginals ``q_t``.

In reverse time, with ``M = (lambda I + s s^T)^{-1}`` or any other positive definite ``M(x, t)``,

    ``dX = [f X - (g^2/2)(s + M s + div M)] dt + g M^{1/2} dB``.

Its Fokker-Planck equation at ``rho = q`` is that of the forward process, ``-div(f x q) + (g^2/2) lap q``, plus
``(g^2/2) div(q M s + q div M - div(M q))``, and the bracket is zero since ``div(M q) = q div M + M grad q``, in any
dimension. Eq. 9 has ``2 M s`` in the place of ``s + M s + div M``. With M = I both are the reverse SDE of Anderson
1982.

That ``q_t`` solves the equation makes it the law of X on every ``[t_0, T]`` with ``sigma > 0``, for every law of the
data that has a mean, and every damping:

- *A solution with these marginals exists* if drift and noise are integrable, ``int int (|a| + g^2 |M|) q dx dt``
  finite (superposition: Figalli 2008; Trevisan 2016, Theorem 2.5; test functions have compact support, so that nothing
  is asked of q far out). Here ``|M| <= 1/lambda`` (matrices in operator norm), ``|M s| <= lambda^{-1/2}/2`` and

      ``|div M| <= lambda^{-3/2} [(1/2 + 3 sqrt(3)/8) |H| + |tr H|/2]``;

  and in the mean ``|s| <= sqrt(d)/sigma`` and ``|H|, |tr H| <= 2 d/sigma^2``, for ``H = (Cov(z|x) - I)/sigma^2`` and
  ``E tr Cov(z|x) <= d``.
- *It is the only one*, and none explodes: q is smooth and positive, hence s, M, ``M^{1/2}`` and ``div M`` are smooth in
  x, and SDEs of locally Lipschitz coefficients have one solution until they leave a ball (Ikeda & Watanabe 1989, IV.3).

As ``sigma -> 0`` the bound on ``div M`` is no longer integrable. That the marginals tend to the data is then a
property of ``q_t`` alone; that paths have an end is not claimed.

Where it stops: about a mode, ``N = lambda M`` falls from I within ``|s|^2 < lambda``, and in one dimension, where
``s = -x/v``, the drift towards the mode is ``2/v + 2/(lambda v^2)`` times the distance, against ``2/v`` for the reverse
SDE. So an explicit step must be shorter by ``lambda v/(1 + lambda v)``, and v falls with ``sigma^2``. In d dimensions
``(d + 1)/(lambda v^2)`` stands for ``2/(lambda v^2)``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure

import toy
from theory_checks.annealing.few_steps import distance_after_few_steps, distance_of_exact_samples
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.clock import graded_times
from theory_checks.numerics.reverse_particles import (
    Features,
    ReverseSDE,
    coupled,
    features_of,
)
from theory_checks.numerics.reverse_plane import planar_ends
from theory_checks.numerics.reverse_time import ReverseFlow, cell_edges, fokker_planck, probabilities_of
from toy import GaussianMixture

__all__ = ["check_corrected_sde", "marginal_errors", "step_at_a_mode"]

# The noisiest level, as in A1 and A2: a log-SNR of -5.
_START = 2.5
# How many levels between it and the data are looked at, the data among them.
_LEVELS = 5
# That of the cloud, the W2 and the picture.
_PLANE = "cross-2d"


def _mixture(name: str) -> GaussianMixture:
    data = toy.target(name)
    assert isinstance(data, GaussianMixture)
    return data


def marginal_errors(flow: ReverseFlow, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, the total variation from ``q_t`` there, and its error: what halving cells and steps changed.

    The scheme is of second order, so that the distance of a flow that has the marginals is a third of that change.
    """
    edges = cell_edges(flow.data, flow.start, cells)
    found = []
    for grid in (edges[::2], edges):
        steps = _LEVELS * max(1, (len(grid) - 1) // (4 * _LEVELS))
        path = list(fokker_planck(flow, grid, steps))[steps // _LEVELS - 1 :: steps // _LEVELS]
        found.append([0.5 * float(np.abs(p - probabilities_of(flow, grid, tau)).sum()) for tau, p in path])
    coarse, fine = np.array(found)
    return np.array([tau for tau, _ in path]), fine, np.abs(coarse - fine)


def _cloud_errors(
    sde: ReverseSDE, features: Features, count: int, steps: int, comparisons: int, settings: Settings
) -> tuple[float, torch.Tensor]:
    """Return the largest error of a feature's mean over its bound, half-way and at the end, and the ends (B, d).

    Euler-Maruyama has a bias ``c h + O(h^2)``. What halving the steps changes, under the same noise, is ``-c h`` for
    the finer ones, and is added; the bound is half of a simultaneous interval of the result, and that change once more
    for what is of higher order.
    """
    generator = settings.generator()
    coarse = fine = sde.level(_START).sample(count, generator=generator)
    times = graded_times(_START, steps)
    worst = MaxError()
    for part in (times[: steps // 2 + 1], times[steps // 2 :]):
        coarse, fine = coupled(sde, coarse, fine, part, generator)
        seen, exact = features.of(fine), features.mean(sde.level(part[-1]))
        change = seen - features.of(coarse)
        for i in range(len(exact)):
            samples = (seen + change)[:, i].numpy()
            mean = mean_interval(samples, level=0.99, comparisons=2 * len(exact) * comparisons)
            bound = (mean.high - mean.low) / 2 + abs(float(change[:, i].mean()))
            worst.update("ratio", abs(mean.value - float(exact[i])) / bound)
    return worst["ratio"], fine


def step_at_a_mode(damping: float, variance: float) -> tuple[float, float]:
    """Return how much longer a stable step is in the corrected SDE than in the reverse SDE at the mode of ``N(0, v)``.

    The slope of the drift by a difference quotient, and ``(2/v - 1)/(2/v + 2/(lambda v^2) - 1)``. Explicit steps are
    stable up to two over the slope.
    """
    v = torch.tensor([variance], dtype=torch.float64)
    data = GaussianMixture(torch.ones(1), torch.zeros(1, 1), v)
    x = torch.tensor([[1e-3 * variance * math.sqrt(damping)]], dtype=torch.float64)  # |s|^2 = 1e-6 lambda
    slope = -float(ReverseSDE(data, "corrected", damping).at(x, 0.0).drift / x)
    plain = 2 / variance - 1
    return plain / slope, plain / (plain + 2 / (damping * variance**2))


def _in_the_plane_by_elements() -> Measured:
    """Return the total variation from the data at the end in the plane, over what a finer mesh changes."""
    coarse, fine = (
        planar_ends(
            _mixture(_PLANE), 1.0, start=_START, cells=cells, steps=steps, half_width=9.0, corrected=True
        ).distance("sde", "data")
        for cells, steps in ((16, 20), (24, 40))
    )
    return Measured(
        f"total variation from the data at the end in the plane, lambda = 1, over its error ({fine:.2g})",
        fine / abs(coarse - fine),
        limit=1,
        basis=f"{_PLANE}; quadratic finite elements, a coarser mesh and half of the steps",
    )


# Of the step at a mode: the variance of the data, and the paper's damping.
_VARIANCE, _SMALL = 0.01, 1e-3


@dataclass
class _Results:
    """What the grid, the particles and the few steps gave.

    Attributes:
        cells: of the grid in one dimension.
        counts: of few steps.
        worst: errors over their bounds, and the grid's largest distance from ``q_t``.
        orders: observed orders at which that distance vanishes with the mesh.
        rejected: least distance of literal Eq. 9 from the data, over its error, on the grid.
        rejected_cloud: the same of particles.
        step: longest stable step at a mode over that of the reverse SDE, measured and derived.
        few: W2 after few steps, by damping and SDE.
        exact: W2 to the data of as many exact samples of it.
        by_elements: the figure of finite elements in the plane, in the full profile.
        data: arrays behind the picture.
    """

    cells: int
    counts: tuple[int, ...]
    worst: MaxError = field(default_factory=MaxError)
    orders: list[float] = field(default_factory=list)
    rejected: float = math.inf
    rejected_cloud: float = math.inf
    step: tuple[float, float] = (math.nan, math.nan)
    few: dict[float, dict[str, list[Interval]]] = field(default_factory=dict)
    exact: Interval | None = None
    by_elements: tuple[Measured, ...] = ()
    data: dict[str, np.ndarray] = field(default_factory=dict)


@with_proofs("A4")
def check_corrected_sde(
    settings: Settings,
    dampings: Sequence[float] = (0.1, 1.0, 10.0),
    lines: Sequence[str] = ("bimodal-1d", "skewed-1d"),
    clouds: Sequence[tuple[str, float]] = ((_PLANE, 0.1), (_PLANE, 1.0)),
    few_steps: Sequence[float] = (0.1, 1.0),
) -> Finding:
    """A4: with the drift ``f X - (g^2/2)(s + M s + div M)`` the SDE of Eq. 9 has the marginals ``q_t``.

    Args:
        settings: profile and seed.
        dampings: of the grid in one dimension.
        lines: targets of the grid.
        clouds: targets in the plane with their dampings, one of them 1 for the control.
        few_steps: dampings at which the W2 of few steps is measured, which decides nothing.
    """
    if settings.profile == "full":
        dampings, lines = (1e-3, 0.01, *dampings), (*lines, "gauss-1d")  # down to the paper's
        clouds = (*clouds, ("ring-2d", 0.1), ("ring-2d", 1.0))
    found = _Results(cells=settings.pick(600, 1200), counts=settings.pick((5, 10, 20), (5, 10, 20, 40)))
    for name in track(lines, "the Fokker-Planck equation against q_t"):
        _on_the_grid(found, name, dampings, shown=name == lines[0])
    for name, damping in track(clouds, "particles in the plane"):
        _in_the_plane(found, name, damping, len(clouds), settings)
    found.step = step_at_a_mode(_SMALL, _VARIANCE)
    plane, batches = _mixture(_PLANE), settings.pick(8, 16)
    for damping in track(few_steps, "few steps"):
        found.few[damping] = distance_after_few_steps(plane, damping, _START, found.counts, batches, settings)
        for kind, rows in found.few[damping].items():
            found.data[f"few:{kind}:{damping:g}"] = np.array(rows)
    found.exact = distance_of_exact_samples(plane, batches, settings)
    found.data["counts"] = np.array(found.counts)
    if settings.profile == "full":
        found.by_elements = (_in_the_plane_by_elements(),)
    verdict, figures = _judge(found)
    return _describe(verdict, figures, found, dampings, lines, clouds)


def _on_the_grid(found: _Results, name: str, dampings: Sequence[float], *, shown: bool) -> None:
    """The corrected SDE's distance from ``q_t`` on the way, and literal Eq. 9's at the end, in one dimension."""
    for damping in dampings:
        for flow in ("corrected", "literal"):
            taus, distance, error = marginal_errors(ReverseFlow(_mixture(name), flow, damping, _START), found.cells)
            ratio = distance / error
            if flow == "corrected":
                found.worst.update("grid", float(ratio.max()))
                found.worst.update("distance", float(distance.max()))
                found.orders += list(np.log2(1 + 1 / ratio))
            else:
                found.rejected = min(found.rejected, float(ratio[-1]))
            if shown:
                found.data |= {"taus": taus, f"distance:{flow}:{damping:g}": distance}


def _in_the_plane(found: _Results, name: str, damping: float, comparisons: int, settings: Settings) -> None:
    """Means of particles against exact ones, of the corrected SDE and, at damping 1, of literal Eq. 9."""
    count, steps = settings.pick((4000, 80), (10_000, 120))
    features = features_of(2)
    for kind in ("corrected", "literal") if damping == 1 else ("corrected",):
        sde = ReverseSDE(_mixture(name), kind, damping)
        ratio, cloud = _cloud_errors(sde, features, count, steps, comparisons, settings)
        if kind == "corrected":
            found.worst.update("cloud", ratio)
        else:
            found.rejected_cloud = min(found.rejected_cloud, ratio)
        if (name, damping) == (_PLANE, 1.0):
            found.data[f"cloud:{kind}"] = cloud[:1500].numpy()


def _judge(found: _Results) -> tuple[Verdict, tuple[Measured, ...]]:
    """Return the verdict with its figures: ``q_t`` within every error, and literal Eq. 9 ten times outside."""
    worst, orders, (step, derived), exact = found.worst, found.orders, found.step, found.exact
    figures = (
        Measured("total variation from q_t over its error, grid, all levels, targets and dampings", worst["grid"],
                 limit=1, basis="halved cells and steps; a third once the scheme's second order shows"),
        Measured("the largest of these distances, which is the grid's error", worst["distance"], low=0.0,
                 high=worst["distance"], basis=f"{found.cells} cells"),
        Measured("the order at which the distance vanishes with the mesh", float(np.median(orders)), low=min(orders),
                 high=max(orders), basis="median and range; the scheme has order two"),
        Measured("total variation from q_t of literal Eq. 9, at the end, over its error, least (control)",
                 found.rejected, basis="the same cells and steps; it must be far above 1"),
        Measured("error of a mean of particles in the plane over its bound, all features", worst["cloud"], limit=1,
                 basis="99 % simultaneous intervals, extrapolated in the step, and what that changed"),
        Measured("the same error over its bound for literal Eq. 9, lambda = 1, least (control)", found.rejected_cloud,
                 basis="the same particles, steps and noise; it must be far above 1"),
        *found.by_elements,
        Measured(f"longest stable step at a mode over that of the reverse SDE, N(0, {_VARIANCE:g}), lambda = "
                 f"{_SMALL:g}", step, low=min(step, derived), high=max(step, derived), basis="difference quotient"),
        Measured("its distance from lambda v/(1 + lambda v), completed by f, over that", abs(step / derived - 1),
                 limit=4e-6, basis="|s|^2 = 1e-6 lambda; the next term of the divergence is 2 |s|^2/lambda"),
        *((Measured(f"W2 to the data of as many exact samples, {_PLANE}", exact.value, low=exact.low, high=exact.high,
                    basis="95 % interval over batches"),) if exact and found.few else ()),
        *(
            Measured(f"W2 to the data, corrected over the reverse SDE with as much noise, {n} steps, lambda = "
                     f"{damping:g}", ratio.value, low=ratio.low, high=ratio.high, basis="95 % interval over batches")
            for damping, rows in found.few.items() for n, ratio in zip(found.counts, rows["ratio"], strict=True)
            if n in (10, found.counts[-1])
        ),
    )  # fmt: skip
    agree = agreement(*figures)
    return (agree if min(found.rejected, found.rejected_cloud) > 10 else Verdict.OPEN), figures


def _describe(
    verdict: Verdict,
    figures: tuple[Measured, ...],
    found: _Results,
    dampings: Sequence[float],
    lines: Sequence[str],
    clouds: Sequence[tuple[str, float]],
) -> Finding:
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="proofs: M itself, every damping; figures: N = lambda M as in A1, at lambda = 1 M itself; Ito; from "
        f"q_t at log-SNR {-2 * _START:g} to the data; {', '.join(lines)} at lambda = "
        f"{', '.join(f'{x:g}' for x in dampings)}, " + ", ".join(f"{name} at {damping:g}" for name, damping in clouds),
        methods=(
            "finite volumes for the Fokker-Planck equation against the exact distribution function of q_t",
            "particles in the plane, with matrices instead of Sherman-Morrison, against exact means",
            *(("finite elements in the plane, without any divergence of M",) if found.by_elements else ()),
        ),
        assumption="The score of q_t is exact, the data have a mean, and sigma > 0: the law at the data is the limit. "
        "Of M it is used that it is smooth, positive definite, and that M, M s and div M are integrable, which "
        "(lambda I + s s^T)^-1 and its multiples are at every damping.",
        remark="This is what Eq. 9 needs to say what the paper wants of it, and little is missing: s + M s + div M for "
        "2 M s. The part M s + div M with its noise is the corrected dynamics of Prop. 3, at rest in every q_t; the "
        "part s is the probability flow, which carries q_t from level to level. That the marginals are right does not "
        "make it a good sampler: any M has them, and this one costs d + 1 products with the score's Jacobian a step. "
        "Near a mode of variance v the divergence pulls with (d + 1)/(lambda v^2), so that on the way to point-like "
        "data explicit steps must shrink with sigma^4 where those of the reverse SDE shrink with sigma^2. In 5 to 20 "
        "steps it ended further from the data than the plain reverse SDE with as much noise, the more so the smaller "
        "the damping: we know of no use of it in few steps.",
        data=found.data,
    )


def draw_corrected_sde(finding: Finding) -> Figure:
    """Draw the distance from q_t on the way, two clouds in the plane, and what few steps give."""
    figure, (left, middle, right) = panels(3, width=3.1, height=3.0)
    data = finding.data
    markers = "osD^"
    for label, colour in (("literal", "literal"), ("corrected", "corrected")):
        keys = [key for key in data if key.startswith(f"distance:{label}:")]
        for key, marker in zip(keys, markers, strict=False):
            text = "Eq. 9" if label == "literal" else "corrected"
            left.semilogy(
                -2 * data["taus"], data[key], f"{marker}-", color=COLOURS[colour], ms=3.5, lw=1.2,
                label=rf"{text}, $\lambda={key.rpartition(':')[2]}$",
            )  # fmt: skip
    left.set(xlabel=r"time from noise ($-5$) to data ($0$)", ylabel=r"total variation from $q_t$", ylim=(None, 60))
    left.set_title("Marginals on the way", loc="left")
    left.legend(loc="upper left", ncols=2, fontsize=6.5, columnspacing=0.8, handletextpad=0.3)

    q = _mixture(_PLANE)
    axis = torch.linspace(-6, 6, 121, dtype=torch.float64)
    points = torch.cartesian_prod(axis, axis)
    density = q.log_density(points).exp().reshape(121, 121).T.numpy()
    for key, colour, text in (("literal", "literal", "Eq. 9"), ("corrected", "corrected", "corrected")):
        if f"cloud:{key}" in data:
            cloud = data[f"cloud:{key}"]
            middle.plot(cloud[:, 0], cloud[:, 1], ".", ms=1.2, color=COLOURS[colour], label=text, rasterized=True)
    middle.contour(axis, axis, density, levels=6, colors=COLOURS["target"], linewidths=0.7)
    middle.set(xlim=(-6, 6), ylim=(-6, 6), aspect="equal")
    middle.set_title(r"Ends over the data ($\lambda=1$)", loc="left")
    middle.legend(loc="upper left", markerscale=6)

    keys = [key for key in data if key.startswith("few:") and not key.startswith("few:ratio")]
    for key in keys:
        _, kind, damping = key.split(":")
        value, low, high = data[key].T
        corrected = kind == "corrected"
        right.errorbar(
            data["counts"], value, np.stack((value - low, high - value)), capsize=2, ms=4, lw=1.2,
            fmt=("o" if damping == "1" else "s") + ("-" if corrected else "--"),
            color=COLOURS["corrected" if corrected else "target"],
            label=rf"{'corrected' if corrected else 'reverse SDE'}, $\lambda={damping}$",
        )  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="steps of Euler-Maruyama", ylabel="sliced W2 to the data")
    right.set_xticks(data["counts"], [str(n) for n in data["counts"]])
    right.set_yticks((0.05, 0.1, 0.2, 0.5), ("0.05", "0.1", "0.2", "0.5"))
    right.minorticks_off()
    right.set_title("Few steps: no help", loc="left")
    if keys:
        right.legend(loc="lower left", fontsize=7)
    return figure
