r"""Where a sampler really is: its own levels beside those that it asks its network at, and where it ends.

With all data at one point every solver that is exact for constant predictions stays on ``x = a m + b z``: its sample
*is* its level. What it asks its network at is another number, and that the two agree is the first thing that a port
gets wrong. The symptoms that are named here need no error of convergence: they are exact, to rounding.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.judge.judged import SMOOTH, CannotRunError, Grid, Judged
from image_exps.judge.predictors import Budget, Limited, PointPredictor
from image_exps.judge.scheduler_levels import timestep_level
from lml.samplers import Level

__all__ = ["Levels", "NoLevelError", "end_level", "level_symptoms", "own_levels", "timestep_gap"]

# A sample that misses its level by less than this share of a step is where it says; rounding is 1e-12 of one.
_EXACT = 1e-6
# Symptoms that name a cause must fit it to this.
_FITS = 1e-3


class NoLevelError(CannotRunError):
    """A sampler that ends where its signal is gone or negative."""


class Levels(NamedTuple):
    """The levels of a run.

    Attributes:
        asked: at which the network was asked, one an evaluation.
        own: ``(a, b)`` of the sample at each, shape (evaluations, 2), in the coordinates of ``asked``.
        end: ``(a, b)`` of the sample that was returned.
        exact: whether the run was in float64 throughout.
    """

    asked: tuple[Level, ...]
    own: np.ndarray
    end: tuple[float, float]
    exact: bool

    @property
    def gaps(self) -> np.ndarray:
        """How far the sample is from where its network is asked, in steps of the half-log-SNR; shape (evaluations,)."""
        told = np.array([level.half_log_snr for level in self.asked])
        with np.errstate(all="ignore"):
            own = np.log(np.abs(self.own[:, 0] / self.own[:, 1]))
            size = np.hypot(*self.own.T) / [math.hypot(level.alpha, level.sigma) for level in self.asked]
            steps = np.abs(np.diff(told))
            step = float(np.median(steps[steps > 0])) if (steps > 0).any() else 1.0
            away = np.abs(own - told) / step + np.abs(np.log(size)) / step
        # Where there is no signal the half-log-SNR is minus infinity on both sides.
        silent = np.array([level.alpha < 1e-6 for level in self.asked])
        return np.where(silent, 0.0, np.where(np.isnan(away), np.inf, away))

    @property
    def jump(self) -> bool:
        """Whether it ends without noise."""
        return abs(self.end[1]) <= 1e-7 * abs(self.end[0])


def _start(level: Level) -> Tensor:
    return torch.tensor([[level.alpha, level.sigma]], dtype=torch.float64)


def own_levels(judged: Judged, steps: int, grid: Grid = SMOOTH, levels: tuple[Level, ...] | None = None) -> Levels:
    """Return the levels of a run of so many steps.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    predictor = Limited(PointPredictor(), torch.Size((1, 2)), Budget(40 * steps + 400))
    run = judged.run(predictor, _start, steps, grid=grid, levels=levels)
    if not run.calls:
        raise CannotRunError("it never asks its network")
    own = np.array([call.x[0].double().tolist() for call in run.calls])
    a, b = run.end[0].double().tolist()
    return Levels(tuple(call.level for call in run.calls), own, (a, b), run.end.dtype == torch.float64)


def end_level(levels: Levels) -> Level:
    """Return where a run ends.

    Raises:
        NoLevelError: where that is no level, since the signal is gone or negative.
    """
    a, b = levels.end
    if not (math.isfinite(a) and math.isfinite(b) and a > 0):
        raise NoLevelError(f"it ends at x = {a:.4g} y + {b:.4g} z of data y and noise z, which is no noise level")
    return Level(a, 0.0 if levels.jump else abs(b))


def level_symptoms(levels: Levels) -> list[str]:
    """Return what is wrong with the levels of a deterministic sampler, by name; the likeliest cause first."""
    gaps = levels.gaps
    if not (gaps > _EXACT).any():
        return []
    cause = _swapped(levels) or _shifted(levels) or _scaled(levels)
    if cause:
        return [cause]
    worst = int(np.argmax(gaps))
    size = f"up to {_share(float(gaps.max()))} (evaluation {worst + 1} of {len(levels.asked)})"
    return [f"levels drift apart: the sample is not at the level that its network is asked at, {size}"]


def _share(gap: float) -> str:
    return "out of all proportion" if not math.isfinite(gap) or gap > 100 else f"{gap:.3g} steps"


def _swapped(levels: Levels) -> str:
    """Name alpha and sigma in each other's place, from the first step of a point."""
    if len(levels.asked) < 2:
        return ""
    now, after = levels.asked[:2]
    a, b = levels.own[1]
    signal, noise = a / after.alpha, b / after.sigma
    own, ratio = now.alpha / now.sigma, after.sigma / after.alpha
    if abs(ratio - 1) < _FITS:
        return ""
    known = {
        (ratio, 1 / ratio): "sigma for alpha: the next sample has sigma' of the data and alpha' of the noise",
        (ratio, 1.0): "sigma for alpha: the next sample has sigma' of the data where alpha' belongs",
        (1.0, 1 / ratio): "alpha for sigma: the next sample has alpha' of the noise where sigma' belongs",
        (ratio * own, 1 - own + 1 / ratio): "sigma for alpha: the two have changed places throughout",
        (own, 1.0): "sigma for alpha: the data prediction is divided by sigma where alpha belongs",
    }
    for (s, n), text in known.items():
        if abs(signal / s - 1) < _FITS and abs(noise / n - 1) < _FITS:
            return text
    return ""


def _shifted(levels: Levels) -> str:
    """Name a sample that, where it first misses its level, is exactly at the one before or after.

    Later samples say less: an answer for another level leaves the levels altogether.
    """
    told = [level.half_log_snr for level in levels.asked]
    with np.errstate(all="ignore"):
        own = np.log(np.abs(levels.own[:, 0] / levels.own[:, 1]))
    i = int(np.flatnonzero(levels.gaps > _EXACT)[0])
    for j, text in ((i + 1, "ahead of"), (i - 1, "behind")):
        if 0 <= j < len(told) and abs(own[i] - told[j]) < _FITS * abs(told[j] - told[i]):
            return f"off by one level: the sample is one level {text} the one that its network is asked at"
    if i == 0 and len(told) > 1 and abs((told[0] - own[0]) / (told[1] - told[0]) - 1) < 0.5:
        return "off by one level: the sample is one level behind the one that its network is asked at"
    return ""


def _scaled(levels: Levels) -> str:
    """Name a sample that is a multiple of what it should be."""
    ratios = levels.own / [(level.alpha, level.sigma) for level in levels.asked]
    last = ratios[-1]
    if abs(last[0] - last[1]) < _FITS * abs(last[0]) and abs(last[0] - 1) > _FITS:
        return f"scale: at its last evaluation the sample is {last[0]:.4g} times what its level says"
    return ""


def timestep_gap(judged: Judged, steps: int, grid: Grid) -> float | None:
    """Return the largest distance between the level of a timestep and that of the sample, in steps, or ``None``.

    A trained network is asked at the timestep, a whole number in most schedulers; the sample is at its sigma.
    """
    of = timestep_level(judged.origin) if judged.origin is not None else None
    if of is None or grid.name == "smooth":
        return None
    asked = own_levels(judged, steps, grid).asked
    told = np.array([level.half_log_snr for level in asked])
    at = np.array([of(level.time).half_log_snr for level in asked if math.isfinite(level.time)])
    if len(at) != len(told) or not len(told):
        return None
    steps_of = np.abs(np.diff(told))
    step = float(np.median(steps_of[steps_of > 0])) if (steps_of > 0).any() else 1.0
    finite = np.isfinite(at) & np.isfinite(told)
    return float(np.abs(at - told)[finite].max() / step) if finite.any() else None
