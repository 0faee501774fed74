"""LML and its base in few steps beside the exact flow, on a mixture in the plane."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy import stats
from torch import Tensor

import toy
from image_exps.problems.seeds import sample_generators, starting_noise
from image_exps.problems.targets import levels
from lml.controls import Extrapolation, RandomTurn
from lml.correction import LML, Correction, NoCorrection
from lml.samplers import DDIM, SAMPLERS, sample, trajectory
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import READINGS, role
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.statistics import Interval

_TARGET = "cross-2d"
_STEPS = 5
# The baselines of higher order.
_HIGHER = ("dpm-solver++-2m", "unipc-2")
_BASELINES = {name: SAMPLERS[name] for name in ("ddim", *_HIGHER)}
_COUNTS = (3, 4, 5, 6, 8, 10, 15, 20, 30)
_FINE = 160  # points of the exact paths
_QUANTILES = (0.5, 0.75, 0.9)
_LEVEL = 0.9
_CONTOURS = np.array([0.02, 0.08, 0.2, 0.4, 0.7, 1.01])


def median_interval(samples: np.ndarray, level: float) -> Interval:
    """Return the median of independent samples (n,) with the order statistics that bound it, whatever their law.

    The number of samples below the median is binomial (n, 1/2).
    """
    ordered, n = np.sort(samples), len(samples)
    below = int(stats.binom.ppf((1 - level) / 2, n, 0.5))
    return Interval(float(np.median(ordered)), float(ordered[max(below - 1, 0)]), float(ordered[min(n - below, n - 1)]))


def compute(settings: Settings, *, count: int = 512) -> Data:
    """Return paths from three noises, and the median distance from the flow's endpoint over all of them.

    The three are not chosen by eye: DDIM's error from them is at fixed quantiles of all errors.
    """
    target = toy.target(_TARGET)
    model = toy.noise_model(target)
    x = starting_noise(settings.seed, 0, count, (2,))
    start, end = levels(1)
    exact = toy.probability_flow(target, x, start, end, rtol=1e-9, atol=1e-10)

    def arms() -> dict[str, Correction]:
        return {
            **{name: NoCorrection() for name in _BASELINES},
            "LML": LML(),
            "extrapolation": Extrapolation(LML()),
            "random turn": RandomTurn(LML(), sample_generators(settings.seed, 0, count, "correction")),
        }

    data: dict[str, np.ndarray] = {}
    for name in arms():
        rows = []
        for steps in _COUNTS:
            ends = sample(_BASELINES.get(name, DDIM), model, x, levels(steps), arms()[name])
            errors = (ends - exact).norm(dim=1)
            rows.append((*median_interval(errors.numpy(), _LEVEL), float(errors.max())))
            if steps == _STEPS and name == "ddim":
                ranks = errors.argsort()
                chosen = ranks[[round(q * (count - 1)) for q in _QUANTILES]]
        data[f"error: {name}"] = np.array(rows)

    for name in ("ddim", "LML"):
        path = [state.x[chosen] for state, _ in trajectory(DDIM, model, x, levels(_STEPS), arms()[name])]
        data[f"path: {name}"] = torch.stack([x[chosen], *path]).numpy()
    along: list[Tensor] = [x[chosen]]
    for before, after in itertools.pairwise(levels(_FINE)):
        along.append(toy.probability_flow(target, along[-1], before, after, rtol=1e-8, atol=1e-9))
    data["path: exact"] = torch.stack(along).numpy()
    grid = torch.linspace(-4.2, 4.2, 141, dtype=torch.float64)
    points = torch.cartesian_prod(grid, grid)
    density = target.diffuse(end.alpha, end.sigma).log_density(points).exp()
    return {
        **data,
        "grid": grid.numpy(),
        "density": density.view(len(grid), len(grid)).mT.numpy(),
        "counts": np.array(_COUNTS),
        "n": np.array(count),
        "steps": np.array(_STEPS),
        "quantiles": np.array(_QUANTILES),
        "level": np.array(_LEVEL),
    }


def draw(data: Data) -> Figure:
    """Draw the paths over the density, and the errors against the number of steps."""
    figure, axes = panels(1, 2, height=3.1)
    left, right = axes[0]
    grid, density = data["grid"], data["density"]
    top = density.max()
    left.contourf(grid, grid, density, levels=top * _CONTOURS, cmap="Greys", vmax=2 * top)
    paths = data["path: exact"]
    left.plot(*paths.transpose(2, 0, 1), color=READINGS["target"], lw=1)
    left.plot([], [], color=READINGS["target"], lw=1, label="exact flow")
    # LML's marks lie upon DDIM's, which are larger and hollow; from the end of a path, what it misses.
    for name, style in (("ddim", {"ms": 5.5, "mfc": "white", "ls": "--"}), ("LML", {"ms": 3.5})):
        look = role(name)
        steps = data[f"path: {name}"]
        left.plot(*steps.transpose(2, 0, 1), **look.line(lw=1, **style, label=None))
        left.plot([], [], **look.line(lw=1, **style))
        left.plot(*np.stack((steps[-1], paths[-1])).transpose(2, 0, 1), ":", color=look.colour, lw=0.9)
    left.plot(*paths[0].T, "o", color="white", mec=READINGS["target"], ms=5, zorder=5)
    left.plot(*paths[-1].T, "x", color=READINGS["target"], ms=6, mew=1.5, zorder=6)
    shown = np.concatenate([data[key].reshape(-1, 2) for key in data if key.startswith("path: ")])
    middle, half = (shown.max(0) + shown.min(0)) / 2, 0.6 * np.ptp(shown, axis=0).max()
    left.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    left.set(xlim=(middle[0] - half, middle[0] + half), ylim=(middle[1] - half, middle[1] + half))
    left.set_title(f"{int(data['steps'])} steps from noise (circle) to data")
    left.legend(loc="best")
    for name in ("random turn", "ddim", "LML", "extrapolation", *_HIGHER):
        value, low, high, _ = data[f"error: {name}"].T
        look = role(name)
        hollow = {"ms": 7, "mfc": "none", "ls": "none"} if name == "random turn" else {}  # it lies on DDIM
        right.errorbar(data["counts"], value, yerr=(value - low, high - value), lw=1.1, **look.line(**hollow))
    right.set(xscale="log", yscale="log", xlabel="steps", ylabel="distance from the flow's endpoint")
    right.set_xticks(data["counts"][::2], [str(n) for n in data["counts"][::2]])
    right.minorticks_off()
    right.set_title("median error")
    right.legend(loc="lower left")
    label_panels(axes)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    at = list(data["counts"]).index(int(data["steps"]))
    of = {name: data[f"error: {name}"][at] for name in ("ddim", "LML", *_HIGHER)}
    said = {name: f"{value:.3f} [{least:.3f}, {most:.3f}]" for name, (value, least, most, _) in of.items()}
    low, middle, high = (f"{q:.0%}" for q in data["quantiles"])
    return {
        "n": f"{int(data['n'])}",
        "steps": f"{int(data['steps'])}",
        "low": low,
        "middle": middle,
        "high": high,
        "level": f"{float(data['level']):.0%}",
        "worst": f"{data['error: extrapolation'][at, 3]:.2g}",
        "farthest": f"{data['error: ddim'][at, 3]:.2g}",
        "ddim": said["ddim"],
        "lml": said["LML"],
        "pp": said[_HIGHER[0]],
        "unipc": said[_HIGHER[1]],
    }


FIGURE = PaperFigure(
    name="schematic",
    title="LML against baselines in few steps, beside the exact flow, on a mixture in the plane",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""LML against baselines on a mixture of three Gaussians in the plane, with the exact score. (a) Paths of
    DDIM and of LML on DDIM in {steps} steps equal in log-SNR, and the exact probability flow from the same three
    noises; dotted: what each misses; grey: density of the data. The noises are those from which DDIM's error is at the
    {low}, {middle} and {high} quantiles. (b) Median distance between a sampler's end and the flow's, n = {n} noises,
    the same for each arm; bars: {level} intervals by order statistics. In {steps} steps: DDIM {ddim}, LML {lml},
    DPM-Solver++ {pp} and UniPC {unipc}, both of second order. Controls: a turn by LML's angle in a random direction,
    and extrapolation without the restored norm, whose farthest end in {steps} steps lies {worst} from the flow's
    (DDIM's: {farthest}).""",
    small={"count": 24},
)
