"""Controls of a calibration: what is left of it without its levels, its rows, its network, or any fit.

All are fitted to other trajectories than the calibration, from the published method that it found best.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from image_exps.search.few_steps_plan import CONTROLS, SEEDS
from lml.samplers import NoiseModel
from lml.solver import Schedule, Solver, method, of_method, published_rows
from lml.solver.fitting import Problem, fit_levels, fit_rows
from lml.solver.solver import FITTED
from lml.solver.trajectories import Trajectories, trajectories

__all__ = ["controls", "noisy"]

_TRIALS = 20

#: Draws of the noise; its error is the mean of theirs.
_DRAWS = 3


def controls(
    model: NoiseModel, schedule: Schedule, baseline: str, evaluations: int, noise: Tensor
) -> Iterator[tuple[str, list[Solver]]]:
    """Yield the controls by name, each as one solver or several whose errors are averaged.

    Args:
        model: the noise prediction.
        schedule: its noise levels.
        baseline: the published method by name.
        evaluations: how many.
        noise: standard normal, shape (B, ...): the trajectories begin there.
    """
    flow = trajectories(model, schedule, noise)
    yield CONTROLS[0], [_fitted(model, flow, schedule, baseline, evaluations, rows=False)]
    rows = _fitted(model, flow, schedule, baseline, evaluations, levels=False)
    yield CONTROLS[1], [rows]
    # The flow of another sample: what is left is what any data would teach.
    other = flow._replace(states=torch.cat((flow.states[:1], flow.states[1:].roll(1, 1))))
    yield CONTROLS[2], [_fitted(model, other, schedule, baseline, evaluations, levels=False)]
    yield CONTROLS[3], noisy(of_method(baseline, schedule, evaluations), rows)


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


def _fitted(
    model: NoiseModel,
    flow: Trajectories,
    schedule: Schedule,
    baseline: str,
    n: int,
    *,
    levels: bool = True,
    rows: bool = True,
) -> Solver:
    """Return a fit to trajectories that begins with a published method, of its levels, its rows, or both."""
    prior = method(baseline)
    grid = [level.half_log_snr for level in flow.levels]
    start = [
        min(range(len(grid)), key=lambda p, at=level.half_log_snr: abs(grid[p] - at))  # type: ignore[misc]
        for level in schedule.levels(n, prior.spacing)
    ]
    start = [max(p, i) for i, p in enumerate(start)]
    weights = torch.ones(flow.states.shape[1], dtype=torch.float64)
    problem = Problem(model, flow, weights, lambda at: published_rows(prior.base, at))
    found = fit_levels(problem, [start], _TRIALS, fitted=rows) if levels else fit_rows(problem, start)
    return Solver(FITTED, tuple(flow.levels[p] for p in found.places), found.weights, (0.0,) * n)
