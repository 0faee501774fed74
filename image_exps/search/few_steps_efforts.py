r"""How many steps a fit should take in many evaluations, where each costs the square of these.

On every problem of `image_exps.search.few_steps_tuning_problems` in 12 evaluations `lml.solver.fitting.fit` begins with
the published method that is best on 16 trajectories, and goes on by each of `EFFORTS`. What it found is judged on 96
fresh noises.
"""

from __future__ import annotations

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
from lml.solver import of_method
from lml.solver.calibration import start_of
from lml.solver.choice import BASELINES
from lml.solver.fitting import ITERATIONS, RIDGES, Effort, Problem, effort, fit, fit_cost
from lml.solver.path import end
from lml.solver.schedule import spaced
from lml.solver.selection import Candidate
from lml.solver.trajectories import Checked, distances

__all__ = ["EFFORTS", "EVALUATIONS", "SHIPS", "efforts"]

EVALUATIONS = 12

#: What ships.
SHIPS = "two steps, ridges 0.1, 0.001 (ships)"

#: Ridges and steps by name.
EFFORTS: dict[str, Effort] = {
    "six steps, ridges 0.1, 0.01, 0.001": Effort(RIDGES, ITERATIONS),
    SHIPS: effort(EVALUATIONS),
    "two steps, ridge 0.01": Effort((0.01,), 2),
    "two steps, ridge 0.001": Effort((0.001,), 2),
    "one step, ridge 0.01": Effort((0.01,), 1),
}


@torch.no_grad()
def efforts(name: str) -> pd.DataFrame:
    """Return the rows of a problem, one an effort, the first the published method that all begin with.

    Columns: problem, effort, cost (evaluations of one sample), mean and square (on the fresh noises), oracle_mean and
    oracle_square (the smallest of all published methods, each chosen after the fact).
    """
    on, n, flow = problem_of(name), EVALUATIONS, trajectories(name, SEEDS[0])
    model = Checked(on.model, dtype=on.dtype).unchecked
    found = [
        Candidate(each.name, 0, distances(end(of_method(each, on.levels, n), model, flow.x), flow.ends))
        for each in BASELINES
    ]
    seen = torch.ones(len(flow.x), dtype=torch.bool)
    begun = start_of([each for each in found if bool(torch.isfinite(each.errors).all())], seen)
    given, levels = Problem(model, flow.x, flow.ends, seen.double()), spaced(on.levels, n, begun.spacing)
    (x, ends), baselines = fresh(name), fresh_baselines(name, n)
    best = oracle(baselines.values())
    errors, costs = {"none": baselines[begun.name]}, {"none": 0}
    for each, (ridges, iterations) in EFFORTS.items():
        made = fit([given], begun.base, on.levels, levels, ridges=ridges, iterations=iterations)[-1]
        errors[each] = distances(end(made.solver(on.levels), on.model, x), ends)
        costs[each] = fit_cost(n, ridges, iterations)
    rows = []
    for each, values in errors.items():
        mean, square = mean_and_square(values)
        rows.append(
            {"problem": name, "effort": each, "cost": costs[each], "mean": mean, "square": square,
             "oracle_mean": best[0], "oracle_square": best[1]}
        )  # fmt: skip
    return pd.DataFrame(rows)
