"""Which absolute damping is best: it grows in proportion to the dimension, so that a fixed one fits none (claim K7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from image_exps.problems.endpoints import reference, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import sampling_problem
from image_exps.problems.targets import levels
from lml.correction import LML
from lml.samplers import DDIM, sample
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import COLOURS, LIMIT, NOTE, QUIET, ROLES
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track

_TARGETS = ("ring-2d", "random-16d", "digits", "mnist", "emoji")
_EVALUATIONS, _MIXING = 10, 5e-4
_REFERENCE_STEPS = 50

# The dampings that are tried, over mixing times dimension: strengths from 3 to 0.03.
_TRIED = tuple(float(x) for x in np.geomspace(0.35, 35, 13))
_RESAMPLES, _LEVEL = 400, 0.9

# What the paper sets for two-digit and more numbers of steps (Table 6).
_PAPER = 1e-3

_LOOKS = (
    (COLOURS["blue"], "o", "-"),
    (COLOURS["orange"], "s", "--"),
    (COLOURS["green"], "^", "-."),
    (COLOURS["purple"], "D", ":"),
    (COLOURS["vermilion"], "v", (0, (6, 1, 1, 1, 1, 1))),
)


def compute(settings: Settings, *, targets: Sequence[str] = _TARGETS, count: int | None = None) -> Data:
    """Return for each target the errors over DDIM's by damping, and the best damping with its interval."""
    n = count or settings.pick(32, 256)
    ratios, tried, best, dims = [], [], [], []
    for stream, name in enumerate(track(list(targets), "dampings")):
        made = sampling_problem(name, "exact")
        x = starting_noise(settings.seed, 0, n, made.shape).to(made.dtype)
        grid = np.array(_TRIED) * _MIXING * made.dim
        with torch.inference_mode():
            exact = reference(made.flow, x, _REFERENCE_STEPS)

            def error(correction: LML | None, made=made, x=x, exact=exact) -> np.ndarray:  # type: ignore[no-untyped-def]
                ends = sample(DDIM, made.flow, x, levels(_EVALUATIONS), correction)
                return np.asarray(rms((ends - exact).flatten(1)).double().numpy())

            plain = error(None)
            found = np.stack([error(LML(float(lam), _MIXING, damping_mode="absolute")) for lam in grid])
        draws = torch.randint(n, (_RESAMPLES, n), generator=settings.generator(stream)).numpy()
        resampled = np.sort([_least(grid, found[:, rows].mean(1)) for rows in draws])
        low, high = np.quantile(resampled, ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2))
        ratios.append(found.mean(1) / plain.mean())
        best.append((_least(grid, found.mean(1)), low, high))
        tried.append(grid)
        dims.append(made.dim)
    return {
        "targets": np.array(targets),
        "dims": np.array(dims),
        "dampings": np.array(tried),
        "ratios": np.array(ratios),
        "best": np.array(best),
        "mixing": np.array(_MIXING),
        "n": np.array(n),
        "evaluations": np.array(_EVALUATIONS),
        "level": np.array(_LEVEL),
        "paper": np.array(_PAPER),
    }


def _least(dampings: np.ndarray, errors: np.ndarray) -> float:
    """Return where errors are least, by a parabola in the logarithm of the damping through the least three."""
    i = int(np.clip(errors.argmin(), 1, len(errors) - 2))
    below, at, above = errors[i - 1 : i + 2]
    bend = below - 2 * at + above
    shift = float(np.clip((below - above) / (2 * bend), -1, 1)) if bend > 0 else 0.0
    return float(dampings[i] * (dampings[i + 1] / dampings[i]) ** shift)


def _slope(data: Data) -> float:
    """Return the power of the dimension with which the best damping grows, by least squares of logarithms."""
    if len(data["dims"]) < 2:
        return float("nan")
    return float(np.polyfit(np.log(data["dims"]), np.log(data["best"][:, 0]), 1)[0])


def draw(data: Data) -> Figure:
    """Draw the error against the damping, and the best damping against the dimension."""
    figure, (axes,) = panels(1, 2, height=2.9)
    left, right = axes
    for (colour, marker, dashes), name, d, lam, ratio, (best, low, high) in zip(
        _LOOKS, data["targets"], data["dims"], data["dampings"], data["ratios"], data["best"], strict=False
    ):
        left.plot(lam, ratio, ls=dashes, color=colour, marker=marker, ms=3, lw=1.1, label=f"{name}, $d={d}$")
        right.errorbar([d], [best], yerr=[[best - low], [high - best]], color=colour, marker=marker, ls="none", ms=5)
    left.axhline(1, color=LIMIT, lw=0.8)
    left.text(
        0.99, 1.02, "DDIM", transform=left.get_yaxis_transform(), fontsize=NOTE, color=QUIET, ha="right", va="bottom"
    )
    left.set(
        xscale="log", yscale="log", xlabel=r"absolute damping $\lambda$", ylabel="error over DDIM's", ylim=(None, 2.2)
    )
    left.set_title("one mixing, five targets")
    line = np.geomspace(data["dims"].min(), data["dims"].max(), 50)
    right.plot(
        line,
        2 * float(data["mixing"]) * line,
        color=ROLES["LML"].colour,
        lw=1,
        label=r"strength $\kappa d/\lambda=1/2$",
    )
    right.axhline(float(data["paper"]), color=LIMIT, lw=0.8, ls="--", label=r"$\lambda=0.001$, as in the paper")
    right.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel=r"best absolute damping $\lambda$")
    right.set_title("the best damping")
    right.legend(loc="upper left")
    label_panels(axes)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=5, columnspacing=1.2)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    slope = _slope(data)
    best = [f"{name} {value:.2g} [{low:.2g}, {high:.2g}]"
            for name, (value, low, high) in zip(data["targets"], data["best"], strict=True)]  # fmt: skip
    strengths = float(data["mixing"]) * data["dims"] / data["best"][:, 0]
    return {
        "mixing": f"{float(data['mixing']):g}",
        "evaluations": f"{int(data['evaluations'])}",
        "slope": f"{slope:.2f}" if np.isfinite(slope) else "not known",
        "first": f"{data['best'][0, 0]:.2g}",
        "last": f"{data['best'][-1, 0]:.2g}",
        "low": f"{data['dims'].min()}",
        "high": f"{data['dims'].max()}",
        "strengths": f"{strengths.min():.2f} to {strengths.max():.2f}",
        "best": "; ".join(best),
        "n": f"{int(data['n'])}",
        "level": f"{float(data['level']):.0%}",
        "paper": f"{float(data['paper']):g}",
    }


FIGURE = PaperFigure(
    name="best_damping",
    title="the best absolute damping grows with the dimension",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Which absolute damping is best for LML on DDIM, at one mixing ({mixing}) and in {evaluations}
    evaluations. (a) Distance to the flow's end over DDIM's, against the damping. (b) The best damping grows like
    the dimension to the power {slope}: from {first} at d = {low} to {last} at d = {high}. No absolute damping fits
    two dimensions; the strength, mixing times d over damping, does: it is {strengths} at the best. Bars: {level}
    intervals.""",
    methods="""Exact scores. Distances are means over n = {n} noises of the root mean square over dimensions; the
    best is that of a parabola in the logarithm of the damping; intervals by resampling the noises, the same for all
    dampings. Best dampings: {best}. Dashed: {paper}, of the size that the paper sets. Relative damping, the default
    here, is a share of the squared norm of the noise (claim K7).""",
    small={"targets": ("ring-2d", "random-16d"), "count": 8},
)
