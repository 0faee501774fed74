"""Controls of a calibration: what is left of it without its levels, its rows, its network, or any fit.

All are fitted to other trajectories than the calibration, from the published method that it found best.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd
import torch
from torch import Tensor

from image_exps.search.few_steps_plan import CONTROLS, SEEDS
from lml.samplers import NoiseModel
from lml.solver import Calibration, Schedule, Solver, method, of_method, published_rows
from lml.solver.fitting import Problem, fit
from lml.solver.schedule import spaced
from lml.solver.solver import FITTED
from lml.solver.storage import from_dict, to_dict
from lml.solver.trajectories import reference

__all__ = ["calibration_of", "controls", "noisy", "to_text"]

#: Draws of the noise; its error is the mean of theirs.
_DRAWS = 3


def controls(
    model: NoiseModel, schedule: Schedule, found: Calibration, noise: Tensor
) -> Iterator[tuple[str, list[Solver]]]:
    """Yield the controls by name, each as one solver or several whose errors are averaged.

    Args:
        model: the noise prediction.
        schedule: its noise levels.
        found: the calibration that they stand beside: they begin with its baseline.
        noise: standard normal, shape (B, ...): the trajectories begin there.
    """
    evaluations, prior = found.solver.evaluations, method(found.baseline)
    start = spaced(schedule, evaluations, prior.spacing)
    x, ends = schedule.levels(evaluations, "time")[0].sigma * noise, reference(model, schedule, noise).ends

    def fitted(towards: Tensor, *, levels: bool, rows: bool) -> Solver:
        problem = Problem(model, x, towards, torch.ones(len(x), dtype=torch.float64))
        made = fit([problem], prior.base, schedule, start, levels=levels, rows=rows)
        return made[-1].solver(schedule)

    yield CONTROLS[0], [fitted(ends, levels=True, rows=False)]
    rows = fitted(ends, levels=False, rows=True)
    yield CONTROLS[1], [rows]
    # The ends of other samples: what is left is what any data would teach.
    yield CONTROLS[2], [fitted(ends.roll(1, 0), levels=False, rows=True)]
    yield CONTROLS[3], noisy(of_method(prior, schedule, evaluations), rows)


def to_text(found: Calibration) -> str:
    """Return a calibration as JSON."""
    return json.dumps({**vars(found), "solver": to_dict(found.solver)})


def calibration_of(rows: pd.DataFrame, name: str) -> Calibration:
    """Return the calibration of an arm from the rows of its part."""
    values = json.loads(rows.set_index("arm").at[name, "detail"])
    return Calibration(**{**values, "solver": from_dict(values["solver"])})


def noisy(published: Solver, fitted: Solver, draws: int = _DRAWS) -> list[Solver]:
    """Return a published method with its rows changed at random, each by the length of the fit's change of it."""
    base = method(published.method).base
    changes = [
        torch.tensor(row, dtype=torch.float64) - torch.tensor(own, dtype=torch.float64)
        for row, own in zip(fitted.weights, published_rows(base, fitted.levels), strict=True)
    ]
    generator = torch.Generator().manual_seed(SEEDS["controls"])
    made = []
    for _ in range(draws):
        rows = []
        for own, change in zip(published.weights, changes, strict=True):
            drawn = torch.randn(len(own), dtype=torch.float64, generator=generator)
            length = drawn.norm().clamp_min(torch.finfo(torch.float64).tiny)
            rows.append(tuple((torch.tensor(own, dtype=torch.float64) + change.norm() / length * drawn).tolist()))
        made.append(Solver(FITTED, published.levels, tuple(rows), published.restored))
    return made
