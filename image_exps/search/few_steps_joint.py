r"""One fit of levels and rows to many problems together, judged on problems of a kind that it was not fitted to.

It begins with the published method that is best on the problems that are fitted to, by the loss of
`lml.solver.choice`, and minimises the power mean ``(mean_k E_k^p)^(1/p)`` of their mean distances by that of the
published method that is best on each: p = 1 for the mean, p = 3 for what is near to the worst.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import pandas as pd
import torch

from image_exps.search.few_steps_tuning_problems import (
    SEEDS,
    fresh,
    fresh_baselines,
    mean_and_square,
    oracle,
    problem_of,
    trajectories,
)
from lml.solver import method
from lml.solver.choice import BASELINES, TARGETS, Errors, choose, schedule_errors
from lml.solver.fitting import Problem, fit
from lml.solver.path import end
from lml.solver.schedule import spaced
from lml.solver.trajectories import Checked, distances

__all__ = ["FOLDS", "PLAN", "Run", "joint"]

#: Problems that are left out together, since they are of a kind: skies, textures, drawings, points.
FOLDS: dict[str, tuple[str, ...]] = {
    "skies": ("sky-mixer", "bright-mixer", "faint-convolutions", "blobs", "bright blobs"),
    "textures": ("texture-transformer", "binary-convolutions", "smooth pictures", "binary pictures"),
    "drawings": ("shapes-transformer", "strokes-convolutions", "heavy tails", "low rank", "guidance"),
    "points": ("points-perceptron", "small scale", "large scale", "few modes", "many modes"),
}


class Run(NamedTuple):
    """A fold that is left out, a number of evaluations, and the power of the loss."""

    fold: str
    evaluations: int
    power: float


#: The fits in the order in which they are made.
PLAN: tuple[Run, ...] = tuple(
    Run(fold, n, power) for n, power in ((5, 1.0), (5, 3.0), (4, 1.0), (8, 1.0)) for fold in FOLDS
)

_RIDGES = (1.0, 0.3, 0.1, 0.03)


@torch.no_grad()
def joint(run: Run) -> pd.DataFrame:
    """Return the rows of the fit without a fold, one a problem that was left out and ridge.

    Columns: fold, evaluations, power, problem, ridge, begun (the published method that it began with), mean and square
    (of the fit, on the fresh noises), begun_mean and begun_square (of that method), oracle_mean and oracle_square (the
    smallest of all published methods, each chosen after the fact).
    """
    fold, n, power = run
    errors = {name: each for name, each in _errors(n).items() if name not in FOLDS[fold]}
    levels = problem_of(TARGETS[0]).levels
    begun = method(choose(errors).baseline)
    problems = []
    for name, each in errors.items():
        on, flow = problem_of(name), trajectories(name, SEEDS[0])
        model, scale = Checked(on.model, dtype=on.dtype).unchecked, min(each[one.name][0] for one in BASELINES)
        problems.append(Problem(model, flow.x, flow.ends, torch.ones(len(flow.x), dtype=torch.float64), scale))
    found = fit(
        problems, begun.base, levels, spaced(levels, n, begun.spacing), ridges=_RIDGES, power=power
    )  # fmt: skip
    rows = []
    for name in FOLDS[fold]:
        (x, ends), baselines = fresh(name), fresh_baselines(name, n)
        before = mean_and_square(baselines[begun.name])
        best = oracle(baselines.values())
        for made in found:
            mean, square = mean_and_square(distances(end(made.solver(levels), problem_of(name).model, x), ends))
            rows.append(
                {**run._asdict(), "problem": name, "ridge": made.ridge, "begun": begun.name, "mean": mean,
                 "square": square, "begun_mean": before[0], "begun_square": before[1], "oracle_mean": best[0],
                 "oracle_square": best[1]}
            )  # fmt: skip
    return pd.DataFrame(rows)


@cache
def _errors(evaluations: int) -> dict[str, Errors]:
    """Return the distances of every method on every problem, by which one is begun with."""
    return dict(schedule_errors(problem_of(TARGETS[0]).levels, evaluations))
