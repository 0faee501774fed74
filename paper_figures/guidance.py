"""Pareto curves along the guidance, with and without LML: the paper's Figure 8 where everything is known exactly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from image_exps.distances import FrechetDistance
from image_exps.distances.base import Distance, centred_interval, resamples
from image_exps.problems.endpoints import flow_endpoints
from image_exps.problems.seeds import sample_generators, starting_noise
from image_exps.problems.targets import TAU, final_level
from image_exps.samplers.arms import arm
from lml.samplers import sample
from paper_figures.figure import Data, PaperFigure
from paper_figures.fronts import common_gains, front_ratio, path
from paper_figures.layout import label_panels, panels_by_name
from paper_figures.style import LIMIT, NOTE, ROLES, Role, log_bars, tint
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track
from toy import ClassifierFreeGuidance, ClassMixture, dataset, gaussian_classes, smoothed_classes
from toy.threads import single_thread

_LEVEL = 0.95

_TARGETS: dict[str, Callable[[], ClassMixture]] = {
    "smoothed classes": lambda: smoothed_classes(dataset("digits"), TAU),
    "normal classes": lambda: gaussian_classes(dataset("digits"), TAU),
}

# Half steps: where a solver breaks it does so from one whole number to the next.
_GUIDANCES = tuple(float(w) for w in np.arange(1, 8.25, 0.5))

# Every second point has a marker and bars.
_MARKED = 2

# LML has one colour; on the base of higher order it is dashed and hollow.
_ARMS: dict[str, Role] = {
    "ddim": ROLES["ddim"],
    "ddim/lml": replace(ROLES["LML"], label="LML on DDIM"),
    "dpm-solver-3m": replace(ROLES["dpm-solver-3m"], label="DPM-Solver-3m", variant=False),
    "dpm-solver-3m/lml": replace(ROLES["LML"], label="LML on DPM-Solver-3m", variant=True),
    "unipc-3": ROLES["unipc"],
}

# What LML is compared with: base, and LML on it.
_PAIRS = (("ddim", "ddim/lml"), ("dpm-solver-3m", "dpm-solver-3m/lml"))


class _Batch(NamedTuple):
    """What all samplers share on one target: its classes, also where samples end; class and noise of each sample."""

    mixture: ClassMixture
    final: ClassMixture
    labels: Tensor
    noises: Tensor
    distance: Distance
    repeats: int

    def measure(self, ends: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return log odds and Frechet distance of samples, and of their resamples: shapes (2,) and (repeats, 2).

        The same rows are drawn for every sampler, so that curves of the same noises are paired.
        """
        odds = self.final.log_odds(ends, self.labels)
        frechet, n = self.distance.prepare(ends), len(ends)
        weights = resamples(n, self.repeats, torch.Generator().manual_seed(0))
        draws = np.array([(float(w @ odds) / n, frechet(w)) for w in weights])
        return np.array((float(odds.mean()), frechet(torch.ones(n, dtype=torch.float64)))), draws


def compute(
    settings: Settings,
    *,
    targets: Sequence[str] = tuple(_TARGETS),
    evaluations: Sequence[int] = (5, 10),
    guidances: Sequence[float] = _GUIDANCES,
    count: int | None = None,
    flow_steps: int = 48,
) -> Data:
    """Return log odds and Frechet distances of all samplers and of the guided flow, by guidance.

    Curves are arrays (guidances, 2, 3): log odds and distance, each with value, low and high.
    """
    count = count or settings.pick(512, 4096)
    data: dict[str, np.ndarray] = {
        "targets": np.array(targets),
        "evaluations": np.array(evaluations),
        "guidances": np.array(guidances, dtype=np.float64),
        "count": np.array(count),
        "flow steps": np.array(flow_steps),
    }
    with single_thread(), torch.inference_mode():
        for name in targets:
            batch = _batch(_TARGETS[name](), count, settings)
            made = _curves(name, batch, evaluations, guidances, flow_steps, settings.seed)
            data |= {f"{name}: {key}": value for key, value in made.items()}
    return data


def _batch(mixture: ClassMixture, count: int, settings: Settings) -> _Batch:
    level = final_level()
    final = mixture.diffuse(level.alpha, level.sigma)
    labels = mixture.draw_labels(sample_generators(settings.seed, 0, count, "model"))
    noises = starting_noise(settings.seed, 0, count, (mixture.dim,))
    return _Batch(mixture, final, labels, noises, FrechetDistance(final.whole), settings.pick(100, 400))


def _curves(
    name: str, batch: _Batch, evaluations: Sequence[int], guidances: Sequence[float], flow_steps: int, seed: int
) -> dict[str, np.ndarray]:
    """Return the curves of one target by name, the ratios of fronts, and what is known of the flow and of the floor."""
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    refined, certain = [], []
    for w in track(list(guidances), f"guidance, {name}"):
        model = ClassifierFreeGuidance(batch.mixture, batch.labels, w)
        ends = flow_endpoints(model, batch.noises, flow_steps)
        found.setdefault("flow", []).append(batch.measure(ends.exact))
        refined.append(float(ends.refinement.median()))
        certain.append(float(batch.final.log_odds(ends.exact, batch.labels).sigmoid().mean()))
        for n in evaluations:
            for each in _ARMS:
                plan = arm(each).build(n, batch.mixture.dim, seed=seed, count=len(batch.noises))
                ended = sample(plan.sampler, model, batch.noises, plan.levels, plan.correction)
                found.setdefault(f"{each}@{n}", []).append(batch.measure(ended))
    floor = batch.distance.floor(len(batch.noises))
    return {
        **{key: np.stack([_intervals(*point) for point in points]) for key, points in found.items()},
        **{f"{lml}@{n} over base": _ratio(found, f"{lml}@{n}", f"{base}@{n}")
           for n in evaluations for base, lml in _PAIRS},
        "floor": np.array([floor.mean(), *np.quantile(floor, (0.025, 0.975))]),
        "refinement": np.array(refined),
        "posterior": np.array(certain),
    }  # fmt: skip


def _intervals(value: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return value, low and high of log odds and distance, shape (2, 3)."""
    return np.array([centred_interval(float(v), d, _LEVEL) for v, d in zip(value, draws.T, strict=True)])


def _ratio(found: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]], first: str, second: str) -> np.ndarray:
    """Return the ratio of two fronts, low and high, and the share of the flow's log odds over which it is, shape (4,).

    The logarithm of the ratio is resampled, of both curves at once.
    """
    one, other, flow = (np.stack([value for value, _ in found[key]], 1) for key in (first, second, "flow"))
    at = common_gains(one[0], other[0], flow[0])
    if len(at) == 0:
        return np.array((math.nan, math.nan, math.nan, 0.0))
    draws = (np.stack([draws for _, draws in found[key]], 2) for key in (first, second))
    spread = np.log([front_ratio(a, b, at) for a, b in zip(*draws, strict=True)])
    interval = centred_interval(math.log(front_ratio(one, other, at)), spread, _LEVEL)
    return np.array((*np.exp(interval), np.ptp(at) / np.ptp(flow[0])))


def draw(data: Data) -> Figure:
    """Draw a panel for each target and budget, where better is below and to the right, and the ratios of the fronts."""
    names, budgets = [str(name) for name in data["targets"]], [int(n) for n in data["evaluations"]]
    places = {(name, n): f"{i} {j}" for i, name in enumerate(names) for j, n in enumerate(budgets)}
    layout = [[*(places[name, n] for n in budgets), "ratios"] for name in names]
    figure, axes = panels_by_name(layout, height=0.5 + 2.35 * max(len(names), 1))
    for (name, n), place in places.items():
        _draw_panel(axes[place], data, name, n)
        axes[place].set_title(f"{name}, {n} evaluations")
        axes[place].set(xlabel="log odds of the class (nats)", ylabel="Frechet distance")
    _draw_ratios(axes["ratios"], data)
    label_panels([axes[place] for place in (*places.values(), "ratios")])
    first = axes[places[names[0], budgets[0]]]
    figure.legend(*first.get_legend_handles_labels(), loc="outside upper center", ncols=4, columnspacing=1.2)
    return figure


def _draw_panel(axis: Axes, data: Data, name: str, n: int) -> None:
    """Draw the curves of one target and budget; the range is that of DDIM, LML on it and the flow."""
    curves = {each: data[f"{name}: {each}@{n}"] for each in _ARMS}
    flow = data[f"{name}: flow"]
    inside = np.concatenate([flow, curves["ddim"], curves["ddim/lml"]])[..., 0]
    (left, right), (low, high) = ((float(v.min()), float(v.max())) for v in inside.T)
    floor, least, most = data[f"{name}: floor"]
    room = 0.08 * (right - left)
    axis.set(yscale="log", xlim=(left - room, right + 2 * room), ylim=(0.7 * min(low, least), 1.6 * high))
    for each, found in curves.items():
        main = each in _PAIRS[0]
        _draw_curve(axis, found, _ARMS[each].line(lw=1.5 if main else 0.8, ms=4.5 if main else 3, zorder=3 + main))
        if main:
            _draw_bars(axis, found[::_MARKED], _ARMS[each].colour)
    _draw_curve(axis, flow, ROLES["exact"].line(label="guided flow", ls=":", ms=4.5, mew=1.1, zorder=5))
    for w, (x, y) in zip(data["guidances"][[0, -1]], flow[[0, -1], :, 0], strict=True):
        axis.annotate(f"{w:g}", (x, y), (5, -4), textcoords="offset points", ha="left", va="top", fontsize=NOTE)
    axis.axhspan(least, most, color=LIMIT, alpha=0.25, lw=0)
    axis.axhline(floor, color=LIMIT, lw=0.8, ls=":", label="exact samples")


def _draw_curve(axis: Axes, found: np.ndarray, look: Mapping[str, Any]) -> None:
    """Draw points (k, 2, 3) joined as their front joins them: straight, in distances and not in their logarithms."""
    joined = path(*found[..., 0].T)
    axis.plot(*joined, markevery=_MARKED * (joined.shape[1] - 1) // (len(found) - 1), **look)


def _draw_bars(axis: Axes, found: np.ndarray, colour: str) -> None:
    """Draw the intervals of the points (k, 2, 3) that lie in the panel."""
    (left, right), (_, top) = axis.get_xlim(), axis.get_ylim()
    inside = (left < found[:, 0, 0]) & (found[:, 0, 0] < right) & (found[:, 1, 0] < top)
    (x, *across), (y, *along) = found[inside].transpose(1, 2, 0)
    xerr, yerr = (np.abs(np.stack(ends) - middle) for ends, middle in ((across, x), (along, y)))
    axis.errorbar(x, y, xerr=xerr, yerr=log_bars(y, yerr), fmt="none", ecolor=tint(colour, 0.6), elinewidth=0.6,
                  capsize=0, zorder=2)  # fmt: skip


def _draw_ratios(axis: Axes, data: Data) -> None:
    """Draw the area below LML's front over that below its base's, for each base, target and budget."""
    rows = [(base, lml, str(name), int(n)) for base, lml in _PAIRS for name in data["targets"]
            for n in data["evaluations"]]  # fmt: skip
    for place, (base, lml, name, n) in enumerate(rows):
        value, low, high, share = data[f"{name}: {lml}@{n} over base"]
        if share:
            look = _ARMS[lml].line(label=None, ms=4.5, ls="none")
            axis.errorbar([value], [place], xerr=[[value - low], [high - value]], **look)
        axis.text(0.03, place - 0.22, f"{_ARMS[base].label}, {name}, {n}", transform=axis.get_yaxis_transform(),
                  fontsize=NOTE, va="bottom",
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    axis.axvline(1, color=LIMIT, lw=0.8, zorder=0)
    axis.set(xscale="log", ylim=(len(rows) - 0.6, -0.9), yticks=(), xlabel="LML over its base: below 1 it helps")
    axis.spines["left"].set_visible(False)
    axis.set_title("area below the front")


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    names, budgets = [str(name) for name in data["targets"]], [int(n) for n in data["evaluations"]]
    few = budgets[0]
    ratios = {
        (name, n, lml): data[f"{name}: {lml}@{n} over base"] for name in names for n in budgets for _, lml in _PAIRS
    }
    last = {each: [data[f"{name}: {each}@{few}"][-1, 1, 0] for name in names] for each in _ARMS}
    return {
        "tau": f"{TAU:g}",
        "weakest": f"{data['guidances'].min():g}",
        "strongest": f"{data['guidances'].max():g}",
        "values": f"{len(data['guidances'])}",
        "marked": f"{len(data['guidances'][::_MARKED])}",
        "posterior": "; ".join(_posteriors(data, name) for name in names),
        "n": f"{int(data['count'])}",
        "level": f"{_LEVEL:.0%}",
        "steps": f"{int(data['flow steps'])}",
        "refinement": f"{max(float(data[f'{name}: refinement'].max()) for name in names):.1g}",
        "ddim": _said(ratios, "ddim/lml"),
        "third": _said(ratios, "dpm-solver-3m/lml"),
        **_at_equal_guidance(data),
        "moved": f"{sum(r[2] < 1 for r in ratios.values())} of {len(ratios)}",
        "worse": f"{sum(r[1] > 1 for r in ratios.values())}",
        "few": f"{few}",
        "last": "; ".join(f"{_ARMS[a].label} {' and '.join(map(_short, values))}" for a, values in last.items()),
    }


def _posteriors(data: Data, name: str) -> str:
    low, high = data[f"{name}: posterior"][[0, -1]]
    return f"{name} {low:.4f} and {high:.4f}"


def _at_equal_guidance(data: Data) -> dict[str, str]:
    """Return at how many points LML on DDIM ends nearer than DDIM, and at how many of these with lower log odds."""
    pairs = [(data[f"{name}: ddim/lml@{n}"], data[f"{name}: ddim@{n}"]) for name in data["targets"]
             for n in data["evaluations"]]  # fmt: skip
    odds, distance = np.concatenate([(lml - base)[..., 0] for lml, base in pairs]).T
    nearer = distance < 0
    return {"nearer": f"{nearer.sum()} of {len(nearer)}", "less": f"{(nearer & (odds < 0)).sum()}"}


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def _said(ratios: Mapping[tuple[str, int, str], np.ndarray], lml: str) -> str:
    parts = []
    for (name, n, each), (value, low, high, share) in ratios.items():
        if each == lml:
            found = f"{value:.2f} [{low:.2f}, {high:.2f}] ({share:.0%})" if share else "none in common"
            parts.append(f"{name}, {n} evaluations: {found}")
    return "; ".join(parts)


FIGURE = PaperFigure(
    name="guidance",
    title="Frechet distance against the log odds of the asked class along the guidance (the paper's Figure 8)",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""The paper's Figure 8 where everything is known exactly: classifier-free guidance from {weakest} to
    {strongest} on exact noise predictions of the ten digits. (a-d) Frechet distance against the log odds of the
    asked class; better is below and to the right; crosses: the guided flow. (e) Area below LML's Pareto front over
    its base's: below one in {moved} cases, above one in {worse}. n = {n} samples; bars: {level} bootstrap
    intervals; grey: exact samples.""",
    methods="""{values} equidistant values of the guidance, {marked} with markers. In the place of the CLIP score
    stands the log odds of the asked class, its exact posterior over that of all others, in the mean over samples;
    in the place of the FID the Frechet distance of all samples together to the exact moments, classes being asked
    for as often as they occur. Smoothed classes: the pictures with noise of {tau}; their classes do not overlap.
    Normal classes: means and shared covariance of the same pictures; they overlap. Mean posterior of the asked
    class by the guided flow, at the least and the greatest guidance: {posterior}. No law has the guided field as
    its score, so that no end is the right one at more than the least guidance; the limit of all samplers is the
    guided flow ({steps} steps of third order, median distance to half as many at most {refinement}). All samplers
    start from the same noises, one seed. Where curves leave a panel samplers break: Frechet distances in {few}
    evaluations at guidance {strongest}, by target: {last}. At equal guidance LML on DDIM has the smaller distance
    at {nearer} points, at {less} of them with smaller log odds too, as of less guidance: only fronts compare. The
    area below LML's front over that of its base, over the log odds of the flow that both attain (in brackets: their
    share of the flow's): on DDIM {ddim}; on DPM-Solver-3m {third}. Intervals of each by itself.""",
    small={"targets": ("normal classes",), "evaluations": (5,), "guidances": (1, 2.5, 4), "count": 80, "flow_steps": 8},
)
