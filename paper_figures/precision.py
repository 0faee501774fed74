"""What the textbook expression of LML loses to rounding, by dtype, against ``u |eps|^2/lambda`` (claim K4)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from lml import kernel
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import COLOURS, LIMIT, NOTE, QUIET
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track
from theory_checks.numerics.rounding_noise import predicted_deviation

_DTYPES = {
    "float64": (torch.float64, COLOURS["blue"], "o"),
    "float32": (torch.float32, COLOURS["vermilion"], "s"),
    "bfloat16": (torch.bfloat16, COLOURS["green"], "^"),
    "float16": (torch.float16, COLOURS["purple"], "D"),
}
_DIMS = (64, 1024, 3072, 16384, 65536)
_DAMPINGS = (1e-3, 1.0, 1e3)
_QUANTILES = (0.05, 0.95)

# The form of K3 has nothing to do at kappa = 0: it is shown where it works, at this strength and change of the noise.
_ETA0, _CHANGE = 0.5, 0.1


def compute(settings: Settings, *, dims: Sequence[int] = _DIMS, count: int | None = None) -> Data:
    """Return a row for each dtype, dimension and damping: d, lambda, deviations of both forms, and the NaN's share."""
    n = count or settings.pick(32, 256)
    data: dict[str, np.ndarray] = {
        "n": np.array(n),
        "eta0": np.array(_ETA0),
        "change": np.array(_CHANGE),
        "quantiles": np.array(_QUANTILES),
    }
    for name, (dtype, _, _) in _DTYPES.items():
        rows = []
        for stream, d in enumerate(track(dims, name)):
            generator = settings.generator(stream)
            first, change = (torch.randn((n, d), generator=generator, dtype=torch.float64) for _ in range(2))
            noise, previous = first.to(dtype), (first + _CHANGE * change).to(dtype)
            for lam in _DAMPINGS:
                textbook = _deviation(kernel.lml_direction_textbook(noise, noise, damping=lam, mixing=0.0), noise)
                ours = _error(noise, previous, lam)
                finite = textbook[np.isfinite(textbook)]
                median, low, high = np.quantile(finite, (0.5, *_QUANTILES)) if len(finite) else (math.nan,) * 3
                predicted = float(predicted_deviation(noise, lam).mean()) if name == "float32" else math.nan
                share = 1 - len(finite) / n
                rows.append((d, lam, median, low, high, share, float(np.median(ours)), float(ours.max()), predicted))
        data[name] = np.array(rows)
        data[f"{name}: u"] = np.array(torch.finfo(dtype).eps / 2)
    return data


def _error(noise: Tensor, previous: Tensor, lam: float) -> np.ndarray:
    """Return the error of the form K3, relative to ``|eps|``, (B,): against float64 with the same inputs."""
    mixing = min(_ETA0 * lam / noise.shape[1], 0.5)
    exact = kernel.lml_direction(noise.double(), previous.double(), damping=lam, mixing=mixing)
    return _deviation(kernel.lml_direction(noise, previous, damping=lam, mixing=mixing), exact)


def _deviation(direction: Tensor, truth: Tensor) -> np.ndarray:
    """Return ``|direction - truth|/|truth|`` a sample, (B,)."""
    e = truth.double()
    return np.asarray(((direction.double() - e).norm(dim=1) / e.norm(dim=1)).numpy())


def draw(data: Data) -> Figure:
    """Draw the deviation from the identity of the textbook expression, and of the form K3."""
    figure, (axes,) = panels(1, 2, height=2.9, sharex=True)
    left, right = axes
    least, most = math.inf, 0.0
    for name, (_, colour, marker) in _DTYPES.items():
        d, lam, median, low, high, share, ours, _, predicted = data[name].T
        strength = float(data[f"{name}: u"]) * d / lam
        least, most = min(least, strength.min()), max(most, strength.max())
        told = np.isfinite(median)
        bars = np.stack((median - low, high - median))
        look = {"color": colour, "marker": marker, "ls": "none", "mfc": "white"}
        left.errorbar(strength[told], np.maximum(median, 1e-18)[told], yerr=bars[:, told], label=name, **look)
        lost = share > 0.5
        left.plot(strength[lost], np.full(lost.sum(), 8.0), marker=marker, color=colour, ls="none")
        if name != "float64":  # the reference
            right.plot(strength, ours, **look)
        if name == "float32":
            order = np.argsort(strength)
            left.plot(strength[order], predicted[order], color=colour, lw=0.9, label="its prediction")
    line = np.geomspace(least, most, 100)
    for axis in axes:
        axis.plot(line, line, "--", color=LIMIT, lw=0.8, label=r"$u\,|\epsilon|^2/\lambda$" if axis is left else None)
        axis.axhline(math.sqrt(2), color=LIMIT, lw=0.8, ls=":")
        axis.set(xscale="log", yscale="log", xlabel=r"$u\,d/\lambda$", ylim=(1e-17, 40))
    left.text(least, 0.8, "a random direction", fontsize=NOTE, color=QUIET, va="top")
    left.text(least, 8.0, "not a number (filled)", fontsize=NOTE, color=QUIET, va="center")
    left.set_ylabel(r"deviation $|\hat\epsilon_{\mathrm{lml}}-\epsilon|\,/\,|\epsilon|$")
    right.set_ylabel(r"error $|\hat\epsilon_{\mathrm{lml}}-\epsilon_{\mathrm{lml}}|\,/\,|\epsilon_{\mathrm{lml}}|$")
    left.set_title(r"textbook expression at $\kappa=0$")
    right.set_title(rf"the form of K3, $\eta_0={float(data['eta0']):g}$")
    left.legend(loc="lower right")
    label_panels(axes)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    rows = data["float32"]
    paper = rows[(rows[:, 0] == 3072) & (rows[:, 1] == 1e-3)]
    largest = rows[rows[:, 0] == rows[:, 0].max()]
    row = paper[0] if len(paper) else largest[0]
    half = data["float16"]
    ours = max(float((data[name][:, 7] / (2 * data[f"{name}: u"])).max()) for name in _DTYPES if name != "float64")
    low, high = (f"{q:.0%}" for q in data["quantiles"])
    return {
        "n": f"{int(data['n'])}",
        "dims": ", ".join(f"{d:.0f}" for d in np.unique(rows[:, 0])),
        "lams": ", ".join(f"{lam:g}" for lam in np.unique(rows[:, 1])),
        "low": low,
        "high": high,
        "d": f"{row[0]:.0f}",
        "lam": f"{row[1]:g}",
        "deviation": f"{row[2]:.0%}",
        "nan": f"{int((half[:, 5] > 0.5).sum())} of {len(half)}",
        "ours": f"{ours:.2f}",
        "eta0": f"{float(data['eta0']):g}",
        "change": f"{float(data['change']):.0%}",
    }


FIGURE = PaperFigure(
    name="precision",
    title="rounding error of the textbook expression against u |eps|^2/lambda, by dtype",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Rounding in LML, by dtype (claims K2 and K4). (a) The textbook expression at mixing zero, where the
    truth is the noise itself: its deviation grows with round-off u times d over the damping, until nothing but
    rounding noise is left. At d = {d} and damping {lam} float32 adds {deviation}. Symbols on the upper line: not a
    number. (b) The form of claim K3: the largest error of all samples is {ours} spacings of the dtype.""",
    methods="""Normal noise of d = {dims}, damping {lams}; n = {n} samples each, medians, bars from the {low} to the
    {high} quantile of the samples. Orange line: the deviation that the analysis of each rounding predicts in
    float32. Dotted: a random direction of the same length. A symbol on the upper line stands where more than half
    of the samples are not a number (float16: {nan} settings). (b) The same noise and another that differs by
    {change} of its size, at strength {eta0}: medians of the error relative to float64 with the same inputs.""",
    small={"dims": (64,), "count": 4},
)
