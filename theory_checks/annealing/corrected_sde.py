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

import numpy as np
import torch
from matplotlib.figure import Figure

import toy
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
    ends,
    features_of,
    sliced_wasserstein,
)
from theory_checks.numerics.reverse_plane import planar_ends
from theory_checks.numerics.reverse_time import ReverseFlow, cell_edges, fokker_planck, probabilities_of
from toy import GaussianMixture

__all__ = ["check_repaired", "marginal_errors", "step_at_a_mode"]

# The noisiest level, as in A1 and A2: a log-SNR of -5.
_START = 2.5
# How many levels between it and the data are looked at, the data among them.
_LEVELS = 5
# That of the cloud, the W2 and the picture.
_PLANE = "cross-2d"
# Particles of one W2. It is not zero for exact samples either, which is the floor that is shown beside it.
_BATCH = 1500


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
    """Return how much longer a stable step is in the repaired SDE than in the reverse SDE at the mode of ``N(0, v)``.

    The slope of the drift by a difference quotient, and ``(2/v - 1)/(2/v + 2/(lambda v^2) - 1)``. Explicit steps are
    stable up to two over the slope.
    """
    v = torch.tensor([variance], dtype=torch.float64)
    data = GaussianMixture(torch.ones(1), torch.zeros(1, 1), v)
    x = torch.tensor([[1e-3 * variance * math.sqrt(damping)]], dtype=torch.float64)  # |s|^2 = 1e-6 lambda
    slope = -float(ReverseSDE(data, "repaired", damping).at(x, 0.0).drift / x)
    plain = 2 / variance - 1
    return plain / slope, plain / (plain + 2 / (damping * variance**2))


def _few_steps(damping: float, counts: Sequence[int], batches: int, settings: Settings) -> dict[str, list[Interval]]:
    """Return W2 to the data after a few steps, by SDE, and the ratio repaired over plain, an interval a count.

    The batches start from the same points under the same noise; the plain SDE has as much noise on average.
    """
    found: dict[str, list[Interval]] = {"repaired": [], "plain": [], "ratio": []}
    data = _mixture(_PLANE)
    for steps in counts:
        distance: dict[str, np.ndarray] = {}
        for kind in ("repaired", "plain"):
            sde, generator = ReverseSDE(data, kind, damping), settings.generator(3)
            x = sde.level(_START).sample(batches * _BATCH, generator=generator)
            distance[kind] = _distances(data, ends(sde, x, graded_times(_START, steps), generator))
            found[kind].append(mean_interval(distance[kind]))
        log_ratio = mean_interval(np.log(distance["repaired"] / distance["plain"]))
        found["ratio"].append(Interval(*(math.exp(value) for value in log_ratio)))
    return found


def _floor(batches: int, settings: Settings) -> Interval:
    """Return W2 to the data of as many exact samples."""
    data = _mixture(_PLANE)
    return mean_interval(_distances(data, data.sample(batches * _BATCH, generator=settings.generator(4))))


def _distances(data: GaussianMixture, x: torch.Tensor) -> np.ndarray:
    """Return W2 to the data of every batch of points (B, d)."""
    return np.array([sliced_wasserstein(batch, data) for batch in torch.split(x, _BATCH)])


def _in_the_plane_by_elements() -> Measured:
    """Return the total variation from the data at the end in the plane, over what a finer mesh changes."""
    coarse, fine = (
        planar_ends(
            _mixture(_PLANE), 1.0, start=_START, cells=cells, steps=steps, half_width=9.0, repaired=True
        ).distance("sde", "data")
        for cells, steps in ((16, 20), (24, 40))
    )
    return Measured(
        f"total variation from the data at the end in the plane, lambda = 1, over its error ({fine:.2g})",
        fine / abs(coarse - fine),
        limit=1,
        basis=f"{_PLANE}; quadratic finite elements, a coarser mesh and half of the steps",
    )


@with_proofs("A4")
def check_repaired(
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
    full = settings.profile == "full"
    if full:
        dampings, lines = (1e-3, 0.01, *dampings), (*lines, "gauss-1d")  # down to the paper's
        clouds = (*clouds, ("ring-2d", 0.1), ("ring-2d", 1.0))
    cells = settings.pick(600, 1200)
    worst, rejected, orders = MaxError(), math.inf, []
    data: dict[str, np.ndarray] = {}
    for name in track(lines, "the Fokker-Planck equation against q_t"):
        for damping in dampings:
            for flow, label in (("mixed", "repaired"), ("sde", "written")):
                taus, distance, error = marginal_errors(ReverseFlow(_mixture(name), flow, damping, _START), cells)
                ratio = distance / error
                if flow == "mixed":
                    worst.update("grid", float(ratio.max()))
                    worst.update("distance", float(distance.max()))
                    orders += list(np.log2(1 + 1 / ratio))
                else:
                    rejected = min(rejected, float(ratio[-1]))
                if name == lines[0]:
                    data |= {"taus": taus, f"distance:{label}:{damping:g}": distance}
    count, steps = settings.pick((4000, 80), (10_000, 120))
    features = features_of(2)
    rejected_cloud = math.inf
    for name, damping in track(clouds, "particles in the plane"):
        for kind in ("repaired", "written"):
            if kind == "written" and damping != 1:
                continue
            sde = ReverseSDE(_mixture(name), kind, damping)
            ratio, cloud = _cloud_errors(sde, features, count, steps, len(clouds), settings)
            if kind == "repaired":
                worst.update("cloud", ratio)
            else:
                rejected_cloud = min(rejected_cloud, ratio)
            if (name, damping) == (_PLANE, 1.0):
                data[f"cloud:{kind}"] = cloud[:1500].numpy()
    variance, small = 0.01, 1e-3
    measured, derived = step_at_a_mode(small, variance)
    counts, batches = settings.pick(((5, 10, 20), 8), ((5, 10, 20, 40), 16))
    few = {}
    for damping in track(few_steps, "few steps"):
        few[damping] = _few_steps(damping, counts, batches, settings)
        for kind, rows in few[damping].items():
            data[f"few:{kind}:{damping:g}"] = np.array(rows)
    floor = _floor(batches, settings)
    data["counts"] = np.array(counts)
    figures = (
        Measured("total variation from q_t over its error, grid, all levels, targets and dampings", worst["grid"],
                 limit=1, basis="halved cells and steps; a third once the scheme's second order shows"),
        Measured("the largest of these distances, which is the grid's error", worst["distance"], low=0.0,
                 high=worst["distance"], basis=f"{cells} cells"),
        Measured("the order at which the distance vanishes with the mesh", float(np.median(orders)), low=min(orders),
                 high=max(orders), basis="median and range; the scheme has order two"),
        Measured("total variation from q_t of Eq. 9 as written, at the end, over its error, least (control)", rejected,
                 basis="the same cells and steps; it must be far above 1"),
        Measured("error of a mean of particles in the plane over its bound, all features", worst["cloud"], limit=1,
                 basis="99 % simultaneous intervals, extrapolated in the step, and what that changed"),
        Measured("the same error over its bound for Eq. 9 as written, lambda = 1, least (control)", rejected_cloud,
                 basis="the same particles, steps and noise; it must be far above 1"),
        *((_in_the_plane_by_elements(),) if full else ()),
        Measured(f"longest stable step at a mode over that of the reverse SDE, N(0, {variance:g}), lambda = {small:g}",
                 measured, low=min(measured, derived), high=max(measured, derived), basis="difference quotient"),
        Measured("its distance from lambda v/(1 + lambda v), completed by f, over that", abs(measured / derived - 1),
                 limit=4e-6, basis="|s|^2 = 1e-6 lambda; the next term of the divergence is 2 |s|^2/lambda"),
        *((Measured(f"W2 to the data of as many exact samples, {_PLANE}", floor.value, low=floor.low, high=floor.high,
                    basis="95 % interval over batches"),) if few else ()),
        *(
            Measured(f"W2 to the data, repaired over the reverse SDE with as much noise, {n} steps, lambda = "
                     f"{damping:g}", ratio.value, low=ratio.low, high=ratio.high, basis="95 % interval over batches")
            for damping, rows in few.items() for n, ratio in zip(counts, rows["ratio"], strict=True)
            if n in (10, counts[-1])
        ),
    )  # fmt: skip
    agree = agreement(*figures)
    return Finding(
        verdict=agree if min(rejected, rejected_cloud) > 10 else Verdict.OPEN,
        figures=figures,
        reading="proofs: M itself, every damping; figures: N = lambda M as in A1, at lambda = 1 M itself; Ito; from "
        f"q_t at log-SNR {-2 * _START:g} to the data; {', '.join(lines)} at lambda = "
        f"{', '.join(f'{x:g}' for x in dampings)}, " + ", ".join(f"{name} at {damping:g}" for name, damping in clouds),
        methods=(
            "finite volumes for the Fokker-Planck equation against the exact distribution function of q_t",
            "particles in the plane, with matrices instead of Sherman-Morrison, against exact means",
            *(("finite elements in the plane, without any divergence of M",) if full else ()),
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
        data=data,
    )


def draw_repaired(finding: Finding) -> Figure:
    """Draw the distance from q_t on the way, two clouds in the plane, and what few steps give."""
    figure, (left, middle, right) = panels(3, width=3.1, height=3.0)
    data = finding.data
    markers = "osD^"
    for label, colour in (("written", "literal"), ("repaired", "corrected")):
        keys = [key for key in data if key.startswith(f"distance:{label}:")]
        for key, marker in zip(keys, markers, strict=False):
            text = "Eq. 9" if label == "written" else "repaired"
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
    for key, colour, text in (("written", "literal", "Eq. 9"), ("repaired", "corrected", "repaired")):
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
        repaired = kind == "repaired"
        right.errorbar(
            data["counts"], value, np.stack((value - low, high - value)), capsize=2, ms=4, lw=1.2,
            fmt=("o" if damping == "1" else "s") + ("-" if repaired else "--"),
            color=COLOURS["corrected" if repaired else "target"],
            label=rf"{'repaired' if repaired else 'reverse SDE'}, $\lambda={damping}$",
        )  # fmt: skip
    right.set(xscale="log", yscale="log", xlabel="steps of Euler-Maruyama", ylabel="sliced W2 to the data")
    right.set_xticks(data["counts"], [str(n) for n in data["counts"]])
    right.set_yticks((0.05, 0.1, 0.2, 0.5), ("0.05", "0.1", "0.2", "0.5"))
    right.minorticks_off()
    right.set_title("Few steps: no help", loc="left")
    if keys:
        right.legend(loc="lower left", fontsize=7)
    return figure
