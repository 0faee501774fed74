"""Claim K4: what Algorithm 1 loses to rounding when it is evaluated as published."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from lml import kernel
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import mean_interval
from theory_checks.numerics.rounding_noise import predicted_deviation, turns_of

__all__ = ["ROWS", "check_precision", "draw_precision"]

#: Source of the noise, dimension and damping.
ROWS = (
    *(("normal", d, lam) for d in (64, 1024, 3072) for lam in (1e-3, 8e-4)),
    ("normal", 16384, 1e-3),
    ("normal", 65536, 1e-3),
    ("digits", 64, 1e-3),
    ("emoji", 3072, 8e-4),
)

# Up to this deviation what is left of an element, lambda/|e|^2 of it, spans more than a spacing.
_RESOLVED = 0.3


Row = tuple[str, int, float]


@dataclass
class _Results:
    """What the rows of K4 gave.

    Attributes:
        worst: errors over their bounds.
        measured: mean deviation from the identity, a row.
        predicted: the mean of its prediction.
        excess: furthest mean of deviation over prediction, minus 1, where both are resolved.
        undefined: share of samples at the largest dimension that are 0/0.
    """

    worst: MaxError = field(default_factory=MaxError)
    measured: list[float] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    excess: float = 0.0
    undefined: float = 0.0


def check_precision(settings: Settings, rows: Sequence[Row] = ROWS) -> Finding:
    r"""K4: at ``kappa = 0``, where the truth is the identity, what the textbook expression adds to ``eps``.

    The prediction is `theory_checks.numerics.rounding_noise.predicted_deviation`, from an analysis of each rounding.

    Limit: the quotient lies ``m turns`` spacings below ``e``, with ``turns = 2^23 lambda'/S`` and the mantissa ``m`` of
    ``e_i``. For the density of a mantissa, of variation below 2.9, the Fourier coefficients of the phase are below
    ``0.46/(j turns)``: they move the variance of the second rounding, and its covariance with the first, by at most
    1.8 of ``t^2`` over ``turns``, hence ``t`` by a relative ``1/turns``. The mean of the root of a random ``t^2`` is
    low by an eighth of its relative variance, which stays below ``1/d``.

    Where ``lambda`` is below half a spacing of S, ``lambda'`` is zero: what is left is rounding and nothing else, and
    where no element happens to be rounded, zero divided by zero.

    Args:
        settings: profile and seed.
        rows: source of the noise ("normal", or a data set), dimension and damping.
    """
    results = _measure(settings, rows)
    return _describe(_figures(results, rows), results, rows)


def _measure(settings: Settings, rows: Sequence[Row]) -> _Results:
    """Evaluate the published expression at ``kappa = 0``, and form K3 where it has to do the work, on every row."""
    generator = settings.generator()
    count = settings.pick(64, 256)
    found = _Results()
    for source, d, lam in track(rows, "rounding noise"):
        noise = _noises(source, d, count, generator).float()
        deviation = _deviation(kernel.lml_direction_textbook(noise, noise, damping=lam, mixing=0.0), noise)
        finite = deviation[deviation.isfinite()]
        prediction = predicted_deviation(noise, lam)
        found.measured.append(float(finite.mean()))
        found.predicted.append(float(prediction.mean()))
        if float(prediction.max()) < _RESOLVED:
            interval = mean_interval((deviation / prediction).numpy(), level=1 - 1e-4, comparisons=len(rows))
            limit = (interval.high - interval.low) / 2 + 1 / d + 1 / turns_of(noise, lam)
            found.worst.update("prediction", abs(interval.value - 1) / limit)
            found.excess = max(found.excess, interval.value - 1, 1 - interval.value)
        elif d >= 1 << 16:
            # What is left has random signs, so that its cosine to eps is below max|e|/|e| in mean square.
            cosine = float((noise.abs().amax(1) / noise.norm(dim=1)).max())
            gap = abs(float(finite.mean()) - math.sqrt(2))
            found.worst.update("random", gap / (5 * cosine / math.sqrt(2 * len(finite))))
            found.undefined = max(found.undefined, 1 - len(finite) / count)
        # K3 of the same objects, where it has to do the work: a previous noise that is eps again, at kappa > 0.
        moved = kernel.lml_direction(noise, noise.clone(), damping=lam, mixing=1e-7)
        found.worst.update("form K3", float(_deviation(moved, noise).max()) / torch.finfo(torch.float32).eps)
        if d >= 3072:
            half = noise.half()
            wrong = _deviation(kernel.lml_direction_textbook(half, half, damping=lam, mixing=0.0), half)
            found.worst.update("float16", float((wrong <= 0.5).sum()))
    return found


def _figures(found: _Results, rows: Sequence[Row]) -> tuple[Measured, ...]:
    named = {
        f"{source} noise, d = {d}, lambda = {lam:g}": value
        for (source, d, lam), value in zip(rows, found.measured, strict=True)
    }
    return (
        *found.worst.figures(
            ("prediction", "deviation over prediction, minus 1, over its error", "99.99 % interval, 1/d, 1/turns")
        ),
        Measured("deviation over prediction, minus 1, the furthest", found.excess, basis="where both are below 0.3"),
        *(
            Measured(f"deviation on {name}", value)
            for name, value in named.items()
            if "3072" in name or "16384" in name
        ),
        *found.worst.figures(
            ("random", "deviation at d = 65536 from the root of 2, over its error", "5 standard errors"),
            ("form K3", "form K3, the same inputs, in spacings", "one rounding an element"),
        ),
        Measured("share of samples at d = 65536 that are 0/0", found.undefined, basis="no element was rounded"),
        Measured(
            "float16 samples within half of eps, d >= 3072",
            found.worst["float16"],
            limit=0,
            basis="lambda is below half a spacing of |eps|^2",
        ),
    )


def _describe(figures: tuple[Measured, ...], found: _Results, rows: Sequence[Row]) -> Finding:
    return Finding(
        verdict=agreement(*figures),
        figures=figures,
        reading="Eq. 8 and Algorithm 1 evaluated from left to right in float32 and float16, on normal noise and on the "
        "exact noise predictions of digits and colour pictures",
        methods=("measured deviation from the identity", "error analysis of each rounding, without a fitted constant"),
        remark="At kappa = 0 an implementation of this expression adds this rounding noise to its base solver and "
        "nothing else. Another order of evaluation rounds elsewhere, with noise of the same size.",
        data={
            "measured": np.array(found.measured),
            "predicted": np.array(found.predicted),
            "strength": np.array([2.0**-24 * d / lam for _, d, lam in rows]),
            "real": np.array([source != "normal" for source, _, _ in rows]),
        },
    )


def _noises(source: str, d: int, count: int, generator: torch.Generator) -> Tensor:
    """Return (count, d) noise: standard normal, or the exact predictions of a data set over four noise levels."""
    if source == "normal":
        return torch.randn((count, d), generator=generator, dtype=torch.float64)
    data = toy.target(source)
    schedule = toy.noise_schedule("vp-linear")
    levels = [data.diffuse(float(schedule.alpha(t)), float(schedule.sigma(t))) for t in (0.2, 0.4, 0.6, 0.8)]
    return torch.cat([q.noise(q.sample(count // 4, generator=generator)) for q in levels])


def _deviation(direction: Tensor, noise: Tensor) -> Tensor:
    """Return ``|direction - eps| / |eps|`` a sample."""
    gap: Tensor = (direction.double() - noise.double()).norm(dim=1) / noise.double().norm(dim=1)
    return gap


def draw_precision(finding: Finding) -> Figure:
    """Draw measured and predicted deviation against ``u |eps|^2/lambda``."""
    figure, (axis,) = panels(1, width=5.0, height=3.2)
    data = finding.data
    order = np.argsort(data["strength"])
    axis.loglog(
        data["strength"][order], data["predicted"][order], color=COLOURS["bound"], label="predicted from rounding"
    )
    for real, marker, label in ((False, "o", "normal noise"), (True, "s", "exact noise of digits and emoji")):
        rows = data["real"] == real
        axis.loglog(data["strength"][rows], data["measured"][rows], marker, color=COLOURS["lml"],
                    mfc="none" if real else None, label=label)  # fmt: skip
    axis.axhline(math.sqrt(2), color=COLOURS["limit"], lw=0.8)
    axis.text(data["strength"].min(), 1.5, "a random direction", color=COLOURS["limit"], fontsize=8)
    axis.set(xlabel=r"$u\,d/\lambda$ in float32", ylabel="deviation from the identity", ylim=(None, 3))
    axis.set_title("Textbook expression at $\\kappa=0$, where the truth is $\\epsilon$", loc="left")
    axis.legend(loc="lower right")
    return figure
