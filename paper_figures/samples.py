"""Pictures from the same noises: what each sampler ends at, and where that differs from the exact flow."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from image_exps.images.pixels import pixels
from image_exps.problems.endpoints import reference, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import SamplingProblem, sampling_problem
from image_exps.problems.targets import TAU, final_level
from image_exps.samplers.arms import arm
from image_exps.search.frozen import TUNED
from lml.samplers import NoiseModel, sample
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import ONE_COLUMN, panels
from paper_figures.style import COLOURS, NOTE
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track

#: Title and arm of each row below the exact flow.
_ROWS = {
    "DDIM": "ddim",
    "noise of LML's size on DDIM": "ddim/noise",
    "LML on DDIM": "ddim/lml",
    "tuned": TUNED,
    "DPM-Solver++": "dpm-solver++-3m",
}

#: The rows in this order.
ROWS = tuple(_ROWS)

#: A column of strips: target, model and evaluations.
Column = tuple[str, str, int]

# Steps of third order to the end of the flow: its error is far below what a picture shows.
_REFERENCE_STEPS = 50

# A map of errors is black where the channels are this far off in the root mean square; pixels run from -1 to 1.
_DRAW_BLACK = 1.0


def compute(
    settings: Settings,
    *,
    columns: Sequence[Column] = (("emoji", "exact", 5), ("emoji", "exact", 10)),
    rows: Sequence[str] = ROWS,
    count: int = 7,
) -> Data:
    """Return for the k-th column pictures, maps of errors, errors, and which pictures end elsewhere.

    Pictures are posterior means, (rows + 1, count, height, width, channels) in bytes; maps (rows, count, height, width)
    are the root mean square over channels of their difference from the flow's. A picture ends elsewhere if it is
    further from the flow's than half of what two of the flow's pictures are apart, in the median.
    """
    data: dict[str, np.ndarray] = {}
    dims = []
    for k, (target, model, n) in enumerate(columns):
        made = sampling_problem(target, model)
        noise = made.model(settings.seed, 0, count)
        x = starting_noise(settings.seed, 0, count, made.shape).to(made.dtype)
        with torch.inference_mode():
            ends = [reference(made.flow, x, _REFERENCE_STEPS)]
            for name in track(list(rows), f"pictures of {target}, {model}"):
                plan = arm(_ROWS[name]).build(n, made.dim, seed=settings.seed, count=count)
                ends.append(sample(plan.sampler, noise, x, plan.levels, plan.correction))
            means = [_posterior_mean(noise, end, made, smoothed=model != "network") for end in ends]
        first, *others = means
        apart = [float(rms((a - b).flatten()[None])) for a, b in itertools.combinations(first, 2)]
        errors = torch.stack([rms((mean - first).flatten(1)) for mean in others])
        data[f"pictures {k}"] = np.stack([_bytes(mean) for mean in means])
        data[f"maps {k}"] = torch.stack([(m - first).square().mean(1).sqrt() for m in others]).numpy()
        data[f"elsewhere {k}"] = (errors > float(np.median(apart)) / 2).numpy()
        data[f"errors {k}"] = errors.mean(1).numpy()
        dims.append(made.dim)
    return {
        **data,
        "rows": np.array(rows),
        "targets": np.array([target for target, _, _ in columns]),
        "models": np.array([model for _, model, _ in columns]),
        "evaluations": np.array([n for _, _, n in columns]),
        "dims": np.array(dims),
        "n": np.array(count),
        "steps": np.array(_REFERENCE_STEPS),
    }


def _posterior_mean(noise: NoiseModel, x: torch.Tensor, made: SamplingProblem, *, smoothed: bool) -> torch.Tensor:
    """Return the picture without noise that a sample stands for, ``(x + v s)/alpha`` with the score ``s``.

    ``v`` is the variance of all noise in ``x``: ``sigma^2`` of the last level, and of smoothed data ``alpha^2 tau^2``.
    """
    level = final_level()
    variance = level.sigma**2 + ((level.alpha * TAU) ** 2 if smoothed else 0.0)
    return (x - variance / level.sigma * noise(x, level)) / level.alpha


def _bytes(x: torch.Tensor) -> np.ndarray:
    """Return pictures of values in [-1, 1], channels first, as bytes, channels last."""
    return np.asarray(pixels(x).movedim(-3, -1).numpy())


def _columns(data: Data) -> list[Column]:
    return list(zip(data["targets"], data["models"], data["evaluations"], strict=True))


def draw(data: Data) -> Figure:
    """Draw for each row and column a strip of pictures, framed where they end elsewhere, over one of their errors."""
    columns = _columns(data)
    lines, count = len(data["rows"]), int(data["n"])
    strip = ONE_COLUMN / count  # inches, of square pictures over the width of a column
    figure, axes = panels(lines + 1, len(columns), height=(2 * lines + 1) * strip + 0.2 * (lines + 1), by_column=True)
    grid = axes[0, 0].get_gridspec()
    alone = {axis.get_subplotspec().rowspan.start for axis in axes[0]}  # strips without errors below them
    grid.set_height_ratios([(1 if row in alone else 2) * strip + 0.2 for row in range(grid.nrows)])
    for k, (target, model, n) in enumerate(columns):
        pictures, maps = data[f"pictures {k}"], data[f"maps {k}"]
        score = "exact score" if model == "exact" else "network"
        _draw_strip(axes[0, k], pictures[0], None, f"exact flow: {target}, {score}")
        for i, name in enumerate(data["rows"]):
            _draw_strip(axes[i + 1, k], pictures[i + 1], maps[i],
                        f"{name}, {n} evaluations: {data[f'errors {k}'][i]:.3f}")  # fmt: skip
            for j in np.flatnonzero(data[f"elsewhere {k}"][i]):
                side = pictures.shape[2]
                axes[i + 1, k].add_patch(Rectangle((j * side - 0.5, -0.5), side, side, fill=False, lw=1.4,
                                                   ec=COLOURS["red"], clip_on=False))  # fmt: skip
    return figure


def _draw_strip(axis: Axes, cells: np.ndarray, maps: np.ndarray | None, title: str) -> None:
    image = np.concatenate([cell if cell.shape[-1] == 3 else np.repeat(cell, 3, -1) for cell in cells], axis=1)
    if maps is not None:
        grey = 255 * (1 - np.concatenate(list(maps), axis=1) / _DRAW_BLACK).clip(0, 1)
        image = np.concatenate((image, np.repeat(grey[..., None], 3, -1).astype(np.uint8)))
    axis.imshow(image, interpolation="nearest")
    axis.set_axis_off()
    axis.set_title(title, fontsize=NOTE, pad=2)


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    shown = []
    for (target, model, n), d in zip(_columns(data), data["dims"], strict=True):
        score = "its exact score" if model == "exact" else "the network that was trained on it"
        shown.append(f"{target} (d = {d}) with {score}, {n} evaluations")
    framed = [sum(data[f"elsewhere {k}"][i].sum() for k in range(len(shown))) for i in range(len(data["rows"]))]
    return {
        "shown": "; ".join(shown),
        "n": f"{int(data['n'])}",
        "steps": f"{int(data['steps'])}",
        "black": f"{_DRAW_BLACK:g}",
        "framed": ", ".join(f"{name} {number}" for name, number in zip(data["rows"], framed, strict=True)),
        "all": f"{int(data['n']) * len(shown)}",
        "tau": f"{TAU:g}",
    }


FIGURE = PaperFigure(
    name="samples",
    title="pictures from the same noises, their errors, and which end elsewhere (the paper's Figures 3 to 5, 7 and 11)",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Pictures from the same n = {n} noises, the first of the seed, for the paper's Figures 3 to 5, 7 and
    11. Below each strip: its difference from the exact flow's pictures, white for none. A red frame: the sample
    ends at another picture. Of {all} each: {framed}. Above each strip: the mean difference, where a pixel runs from
    minus one to one.""",
    methods="""Columns: {shown}. Pictures are posterior means at the last level: without the noise that is left
    there, and of exact scores without the noise of {tau} with which the data are smoothed. The flow is that of the
    same score or network, {steps} steps of third order. Differences are root mean squares, of a picture over all
    pixels, of a pixel over the channels, black from {black} on. A sample ends elsewhere if it is further from the
    flow's picture than half of the median distance of two of the flow's pictures. LML has the defaults of its
    schedulers; the noise has the size of LML's own change; tuned: a turn away from all past noises, learned on
    other targets. Few pictures say nothing of a mean: no intervals, see the figures quality and quality_networks.""",
    small={"columns": (("digits", "exact", 5),), "rows": ("DDIM", "LML on DDIM"), "count": 2},
)
