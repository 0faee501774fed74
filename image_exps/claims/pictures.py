"""Pictures from the exact denoiser, as figures of a claim: the same noises through base, LML and controls.

The grids of pipelines are `image_exps.images.grid`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from image_exps.images.pixels import pixels
from image_exps.problems.endpoints import EVALUATIONS, FlowBenchmark, reference
from image_exps.problems.seeds import starting_noise
from lml.correction import Correction, Memory
from theory_checks.ledger.plotting import panels
from toy import DataMixture
from toy.levels import Spacing

__all__ = ["ROWS", "arm_pictures", "draw_arm_pictures", "emoji_benchmark"]

# float32: an error of 1e-6 of a pixel, which no picture shows.
_DTYPE = torch.float32

#: The arms that a grid shows.
ROWS = ("base", "LML", "extrapolation", "random turn", "element noise 20%")


def emoji_benchmark(count: int, seed: int) -> FlowBenchmark:
    """Return noises and endpoints on the 3786 colour pictures at 32x32, d = 3072, smoothed by ``tau = 0.05``.

    The endpoints are those of 50 steps of third order, whose error the picture does not show.
    """
    target = DataMixture(toy.dataset("emoji").images, 0.05, dtype=_DTYPE)
    model = toy.noise_model(target)
    x = starting_noise(seed, 0, count, (target.dim,)).to(_DTYPE)
    exact = reference(model, x, 50)
    return FlowBenchmark(target, model, x, exact, refinement=float("nan"), disagreement=float("nan"))


class _Groups(Correction):
    """A correction for each of the equal parts of a batch: one product with the data serves all of them."""

    def __init__(self, corrections: Sequence[Correction]) -> None:
        self._corrections = corrections

    @property
    def depth(self) -> int:
        return max(c.depth for c in self._corrections)

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        groups = len(self._corrections)
        parts = zip(vector.chunk(groups), *(h.chunk(groups) for h in history), strict=True)
        return torch.cat(
            [
                correction.correct(now, Memory(tuple(past)), progress)[0]
                for correction, (now, *past) in zip(self._corrections, parts, strict=True)
            ]
        )


def arm_pictures(
    benchmark: FlowBenchmark, base: str, spacing: Spacing, rows: Callable[[], Mapping[str, Correction]]
) -> dict[str, np.ndarray]:
    """Return pictures (rows, evaluations + 1, B, 32, 32, 3) in bytes, the flow's endpoint last, and their errors.

    Args:
        benchmark: the target of the pictures, with B noises.
        base: name of a sampler.
        spacing: of its levels.
        rows: makes the correction of every row, anew for each column, since some draw noise.
    """
    names = list(rows())
    exact = benchmark.exact.expand(len(names), *benchmark.exact.shape)
    together = replace(benchmark, x=benchmark.x.repeat(len(names), 1))
    ends = [together.endpoints(base, spacing, n, _Groups(tuple(rows().values()))) for n in EVALUATIONS]
    cells = torch.stack([*(x.view(exact.shape) for x in ends), exact], 1)
    errors = (cells - exact[:, None]).square().mean((2, 3)).sqrt()
    levels = pixels(cells)
    return {
        "pictures": levels.view(*levels.shape[:3], *benchmark.shape).movedim(3, -1).numpy(),
        "picture errors": errors.numpy(),
        "picture rows": np.array(names),
    }


def draw_arm_pictures(data: Mapping[str, np.ndarray]) -> Figure:
    """Draw the pictures of `arm_pictures`, a strip of the same noises a cell, with the error of the strip below it."""
    pictures, names, errors = data["pictures"], data["picture rows"], data["picture errors"]
    rows, columns, count = pictures.shape[:3]
    figure, axes = panels(columns, rows=rows, width=0.62 * count, height=0.84)
    titles = [*(f"{n} evaluations" for n in EVALUATIONS), "the flow's endpoint"]
    for i in range(rows):
        for j in range(columns):
            axis = axes[i * columns + j]
            axis.imshow(np.concatenate(list(pictures[i, j]), axis=1), interpolation="nearest")
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            if j < columns - 1:
                axis.set_xlabel(f"{errors[i, j]:.2f}", labelpad=1, fontsize=7, color="#555555")
            if i == 0:
                axis.set_title(titles[j], fontsize=9)
            if j == 0:
                axis.set_ylabel(str(names[i]), rotation=0, ha="right", va="center", fontsize=9)
    return figure
