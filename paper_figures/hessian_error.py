"""How far the diffusion Hessian is from the outer product of the score: bound, error and three yardsticks (H3, H5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

import toy
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import READINGS
from theory_checks.hessian.error_bound import hessian_error_bound, outer_product_errors
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track
from theory_checks.numerics.levels import levels
from toy import DataMixture

_NAMES = {"digits": "digits, $d=64$", "emoji": "colour pictures, $d=3072$"}
_RANGE = (-9.0, 9.0)

# Key, label, style of the line; the keys are those of READINGS and, in this order, of OuterProductErrors.
_LINES = (
    ("bound", "bound of Prop. 2", "--"),
    ("outer", r"$s\,s^\top$ (the paper)", "-"),
    ("zero", "zero matrix", "-"),
    ("best multiple", r"best $c\,s\,s^\top$", ":"),
    ("best with identity", r"best $a I + b\,s\,s^\top$", "-."),
)


def compute(settings: Settings, *, names: Sequence[str] = tuple(_NAMES), count: int | None = None) -> Data:
    """Return mean, least and largest distance over samples of each level, over ``sqrt(d)/sigma^2``."""
    grid = tuple(float(x) for x in np.linspace(*_RANGE, settings.pick(13, 37)))
    data: dict[str, np.ndarray] = {"log_snr": np.array(grid), "names": np.array(names)}
    for stream, name in enumerate(names):
        target = toy.target(name)
        assert isinstance(target, DataMixture)
        n = count or settings.pick(8 if target.dim > 1000 else 64, 64)
        diameter = target.diameter()
        rows, tightness = [], []
        for q in track(levels(target, grid), name):
            x = q.sample(n, generator=settings.generator(stream))
            noise = q.noise(x)
            errors = outer_product_errors(q, x, -noise / q.sigma)
            bound = hessian_error_bound(q, noise.norm(dim=1), 0.0, diameter)
            tightness.append(float((errors.outer / bound).max()))
            scale = math.sqrt(q.dim) / q.sigma**2
            found = (bound, errors.outer, errors.zero, errors.best_multiple, errors.best_with_identity)
            rows.append([[float(f(v)) / scale for f in (np.mean, np.min, np.max)] for v in (v.numpy() for v in found)])
        data[name] = np.array(rows)
        data[f"{name}: tightness"] = np.array(tightness)
        data[f"{name}: n"] = np.array(n)
    return data


def draw(data: Data) -> Figure:
    """Draw bound, error and yardsticks against the noise level, with their ranges over the samples."""
    figure, axes = panels(1, len(data["names"]), height=2.7, sharey=True)
    for axis, name in zip(axes[0], data["names"], strict=True):
        for (key, label, dashes), curve in zip(_LINES, data[str(name)].transpose(1, 2, 0), strict=True):
            mean, low, high = np.maximum(curve, 1e-6)
            width = 4.0 if key == "zero" else 1.3  # the best multiple lies on it
            axis.semilogy(data["log_snr"], mean, dashes, color=READINGS[key], label=label, lw=width)
            axis.fill_between(data["log_snr"], low, high, color=READINGS[key], alpha=0.2, lw=0)
        axis.set(
            xlabel="log-SNR (noise falls to the right)",
            xticks=range(-9, 10, 3),
            ylim=(1e-4, 2 * max(float(data[str(n)].max()) for n in data["names"])),
        )
        axis.set_title(_NAMES[str(name)])
    axes[0, 0].set_ylabel(r"distance, in $\sqrt{d}/\sigma^2$")
    label_panels(axes)
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=5, columnspacing=1.2)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    names = [str(name) for name in data["names"]]
    last = data[names[-1]]
    loud = last[0, :, 0]
    return {
        "n": " and ".join(f"{int(data[f'{name}: n'])} ({name})" for name in names),
        "levels": f"{len(data['log_snr'])}",
        "low": f"{data['log_snr'][0]:g}",
        "high": f"{data['log_snr'][-1]:g}",
        "name": names[-1],
        "tight": f"{max(float(data[f'{name}: tightness'].max()) for name in names):.2f}",
        "worse": f"{loud[1] / loud[2]:.0f}",
    }


FIGURE = PaperFigure(
    name="hessian_error",
    title="error and bound of the rank-one Hessian against the noise level, with three yardsticks",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""How far the outer product of the score is from the diffusion Hessian, by noise level: its error, the
    bound of Prop. 2, and three yardsticks. The bound holds (largest error over bound: {tight}). Yet at log-SNR
    {low} the outer product is {worse} times as far from the Hessian as the zero matrix is ({name}; claims H3 and
    H5), and its best multiple is hardly nearer than zero. Lines: means over samples; bands: least and largest.""",
    methods="""Hilbert-Schmidt distances. The bound has the restored constant and the exact score. Yardsticks: the
    zero matrix, the best multiple of the outer product, and the best sum of it with a multiple of the identity,
    each fitted at every point. n = {n} samples at each of {levels} levels from log-SNR {low} to {high}. What lies
    below the panel is nearer still.""",
    small={"names": ("digits",), "count": 2},
)
