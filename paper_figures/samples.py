"""Grids of pictures from the same noises: base, LML and controls (the paper's Figures 3 to 5, 7 and 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from image_exps.images.pixels import pixels
from image_exps.problems.endpoints import reference, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import sampling_problem
from image_exps.samplers.arms import arm
from image_exps.search.frozen import TUNED
from lml.samplers import sample
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import panels
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track

#: Title and arm of each row; the first is the exact flow.
_ROWS = {
    "DDIM": "ddim",
    "element noise on DDIM": "ddim/noise",
    "LML on DDIM": "ddim/lml",
    "extrapolation only": "ddim/extrapolation",
    "tuned": TUNED,
    "DPM-Solver++": "dpm-solver++-3m",
    "LML on DPM-Solver++": "dpm-solver++-3m/lml",
}

#: A column of strips: target, model and evaluations.
Column = tuple[str, str, int]

# Steps of third order to the end of the flow: its error is far below what a picture shows.
_REFERENCE_STEPS = 50


def compute(
    settings: Settings,
    *,
    columns: Sequence[Column] = (("emoji", "exact", 5), ("emoji", "exact", 10)),
    rows: Sequence[str] = tuple(_ROWS),
    count: int = 7,
) -> Data:
    """Return for the k-th column pictures (rows + 1, count, height, width, channels) in bytes, and errors (rows,)."""
    data: dict[str, np.ndarray] = {}
    dims = []
    for k, (target, model, n) in enumerate(columns):
        made = sampling_problem(target, model)
        noise = made.model(settings.seed, 0, count)
        x = starting_noise(settings.seed, 0, count, made.shape).to(made.dtype)
        with torch.inference_mode():
            found = [reference(made.flow, x, _REFERENCE_STEPS)]
            for name in track(list(rows), f"pictures of {target}, {model}"):
                plan = arm(_ROWS[name]).build(n, made.dim, seed=settings.seed, count=count)
                found.append(sample(plan.sampler, noise, x, plan.levels, plan.correction))
        data[f"pictures {k}"] = np.stack([_bytes(ends) for ends in found])
        data[f"errors {k}"] = np.array([float(rms((ends - found[0]).flatten(1)).mean()) for ends in found[1:]])
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


def _bytes(x: torch.Tensor) -> np.ndarray:
    """Return pictures of values in [-1, 1], channels first, as bytes, channels last."""
    return np.asarray(pixels(x).movedim(-3, -1).numpy())


def _columns(data: Data) -> list[Column]:
    return list(zip(data["targets"], data["models"], data["evaluations"], strict=True))


def draw(data: Data) -> Figure:
    """Draw a strip of the same noises for each row and column, its arm and its error above it."""
    columns = _columns(data)
    lines = len(data["rows"]) + 1
    strip = 3.3 / int(data["n"])  # inches, of square pictures over the width of a column
    figure, axes = panels(lines, len(columns), height=lines * (strip + 0.2), by_column=True)
    for k, (target, model, n) in enumerate(columns):
        pictures = data[f"pictures {k}"]
        titles = [
            f"exact flow ({target}, {'exact score' if model == 'exact' else 'network'})",
            *(f"{name}, {n} evaluations: {e:.3f}" for name, e in zip(data["rows"], data[f"errors {k}"], strict=True)),
        ]
        for axis, cells, title in zip(axes[:, k], pictures, titles, strict=True):
            image = np.concatenate(list(cells), axis=1)
            axis.imshow(image.squeeze(), cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            axis.set_axis_off()
            axis.set_title(title, fontsize=7, pad=2)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    shown = []
    for (target, model, n), d in zip(_columns(data), data["dims"], strict=True):
        score = "its exact score" if model == "exact" else "the network that was trained on it"
        shown.append(f"{target} (d = {d}) with {score}, {n} evaluations")
    return {"shown": "; ".join(shown), "n": f"{int(data['n'])}", "steps": f"{int(data['steps'])}"}


FIGURE = PaperFigure(
    name="samples",
    title="pictures from the same noises: bases, LML and controls (the paper's Figures 3 to 5, 7 and 11)",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Pictures in the place of the paper's Figures 3 to 5, 7 and 11, by columns: {shown}. The same n = {n}
    noises in every strip of a column, the first of the seed, none chosen. The first row is where the exact flow of the
    same score or network ends ({steps} steps of third order). Above a strip: mean over its pictures of the root mean
    square distance to that, in units where a pixel runs from minus one to one. LML with the defaults of its schedulers;
    element noise has the size of LML's own change; tuned: a turn away from all past noises, learned on other targets.
    Few pictures say nothing of a mean: no intervals, see the figures quality and quality_networks for these.""",
    small={"columns": (("digits", "exact", 5),), "rows": ("DDIM", "LML on DDIM"), "count": 2},
)
