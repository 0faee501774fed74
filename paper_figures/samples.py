"""Grids of pictures from the same noises: base, LML and controls (the paper's Figures 3 to 5, 7 and 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from image_exps.arms import arm
from image_exps.endpoints import reference, rms
from image_exps.pixels import pixels
from image_exps.seeds import starting_noise
from image_exps.sweep_models import world
from lml.samplers import sample
from paper_figures.figure import Data, PaperFigure
from paper_figures.style import TWO_COLUMNS, panels
from theory_checks.ledger import Settings
from theory_checks.progress import track

#: Title and arm of each row, the exact flow last.
_ROWS = {
    "DDIM": "ddim",
    "LML on DDIM": "ddim/lml",
    "extrapolation": "ddim/extrapolation",
    "random turn": "ddim/random-turn",
    "element noise": "ddim/noise",
    "DPM-Solver++": "dpm-solver++",
    "LML on it": "dpm-solver++/lml",
}

# Steps of third order to the end of the flow: its error is far below what a picture shows.
_REFERENCE_STEPS = 50


def compute(
    settings: Settings,
    *,
    target: str = "emoji",
    model: str = "exact",
    rows: Sequence[str] = tuple(_ROWS),
    evaluations: Sequence[int] = (5, 10),
    count: int = 6,
) -> Data:
    """Return pictures (rows, budgets, count, height, width, channels) in bytes, and the error of each cell."""
    made = world(target, model)
    noise = made.model(settings.seed, 0, count)
    x = starting_noise(settings.seed, 0, count, made.shape).to(made.dtype)
    with torch.inference_mode():
        exact = reference(made.flow, x, _REFERENCE_STEPS)
        found, errors = [], []
        for name, n in track([(name, n) for name in rows for n in evaluations], "pictures"):
            plan = arm(_ROWS[name]).build(n, made.dim, seed=settings.seed, count=count)
            ends = sample(plan.sampler, noise, x, plan.levels, plan.correction)
            found.append(ends)
            errors.append(float(rms((ends - exact).flatten(1)).mean()))
    shape = (len(rows), len(evaluations), count, *made.shape)
    return {
        "pictures": _bytes(torch.stack(found).view(shape)),
        "exact": _bytes(exact),
        "errors": np.array(errors).reshape(shape[:2]),
        "rows": np.array(rows),
        "evaluations": np.array(evaluations),
        "target": np.array(target),
        "model": np.array(model),
        "dim": np.array(made.dim),
        "steps": np.array(_REFERENCE_STEPS),
    }


def _bytes(x: torch.Tensor) -> np.ndarray:
    """Return pictures of values in [-1, 1], channels first, as bytes, channels last."""
    return np.asarray(pixels(x).movedim(-3, -1).numpy())


def draw(data: Data) -> Figure:
    """Draw a strip of the same noises for each row and budget, with the strip's error beneath it."""
    pictures, exact = data["pictures"], data["exact"]
    rows, budgets, count, height, width, channels = pictures.shape
    strip_width = 2.7
    strip = strip_width * height / (count * width)
    figure, axes = panels(rows + 1, budgets, width=TWO_COLUMNS, height=(rows + 1) * (strip + 0.17) + 0.3)
    for i, name in enumerate((*data["rows"], "exact flow")):
        for j, n in enumerate(data["evaluations"]):
            axis = axes[i, j]
            cells = exact if i == rows else pictures[i, j]
            image = np.concatenate(list(cells), axis=1)
            axis.imshow(
                image[..., 0] if channels == 1 else image, cmap="gray", vmin=0, vmax=255, interpolation="nearest"
            )
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if i < rows:
                axis.set_xlabel(f"error {data['errors'][i, j]:.3f}", labelpad=1, fontsize=7, color="#555555")
            if i == 0:
                axis.set_title(f"{n} evaluations")
            if j == 0:
                axis.set_ylabel(str(name), rotation=0, ha="right", va="center", fontsize=7)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    return {
        "target": str(data["target"]),
        "score": "its exact score" if str(data["model"]) == "exact" else "the trained network of these pictures",
        "d": f"{int(data['dim'])}",
        "n": f"{data['pictures'].shape[2]}",
        "steps": f"{int(data['steps'])}",
        "budgets": " and ".join(str(n) for n in data["evaluations"]),
    }


FIGURE = PaperFigure(
    name="samples",
    title="pictures from the same noises: bases, LML and controls (the paper's Figures 3 to 5, 7 and 11)",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Pictures in {budgets} evaluations, in the place of the paper's Figures 3 to 5, 7 and 11: target {target}
    (d = {d}) with {score}, the same n = {n} noises in every strip, the first of the seed, none chosen. The last row is
    where the exact flow ends ({steps} steps of third order). Below a strip: mean over its pictures of the root mean
    square distance to that, in units where a pixel runs from minus one to one. LML with the defaults of its schedulers;
    random turn and element noise have the size of LML's own change. Few pictures say nothing of a mean: no intervals,
    see the figure quality for these.""",
    small={"target": "digits", "rows": ("DDIM", "LML on DDIM"), "evaluations": (5,), "count": 2},
)
