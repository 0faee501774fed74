r"""The Frechet distance of a few-step solver to independent draws of the network's exact flow.

For each network of the plan's `FRECHET`, in as many evaluations as have controls: the calibrated solver, the baseline
that is the oracle of the cell, and the ends of the exact flow from the same noises, whose distance is what no sampler
can be expected to be below. Distances are within the 16 leading principal components of the draws. A row is an arm,
with the distance ``F`` and the influence ``a_i`` of each sample on it: of other weights ``w_i`` of the samples it is
``F + sum_i (w_i - 1) a_i`` to first order (`image_exps.distances.frechet`).

``python -m image_exps.search.few_steps_frechet`` needs the rows of the published methods and of the calibrations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from image_exps.distances.own_flow import FlowFrechet
from image_exps.distances.reference import Reference
from image_exps.problems.endpoint_cache import block_size, cached_endpoints
from image_exps.problems.endpoints import Endpoints
from image_exps.problems.specification import sampling_problem
from image_exps.samplers.arms import arm
from image_exps.search.few_steps import once, rounded, write
from image_exps.search.few_steps_controls import calibration_of
from image_exps.search.few_steps_plan import (
    BASELINE,
    BESIDE,
    CONTROLLED,
    EXACT,
    FRECHET,
    PLAN,
    RESULTS,
    SEEDS,
    Cell,
    file_of,
)
from image_exps.search.few_steps_problems import problem_of
from lml.samplers import sample
from theory_checks.command_line.plain_errors import plain_errors

__all__ = ["measure", "rows_of"]

_SAMPLES, _DRAWS = 1024, 2048


def rows_of(ends: Mapping[str, Tensor], exact: Endpoints, draws: Tensor) -> pd.DataFrame:
    """Return the rows of arms, each by where it ends, (n, ...), against draws (m, ...) of the flow from other noises.

    Columns: arm, frechet, influence, an array of n numbers.
    """
    shape, nothing = tuple(draws.shape[1:]), torch.empty(0, draws[0].numel())
    distance = FlowFrechet(Reference("own flow", shape, real=nothing), exact, draws)
    rows = []
    for name, end in ends.items():
        statistic = distance.prepare(end)
        whole = torch.ones(len(end), dtype=torch.float64)
        value = statistic(whole)
        influence = np.array([statistic(row) - value for row in whole + torch.eye(len(end), dtype=torch.float64)])
        rows.append({"arm": name, "frechet": value, "influence": rounded(influence)})
    return pd.DataFrame(rows)


@torch.no_grad()
def measure(cell: Cell, folder: Path, cache: Path, samples: int = _SAMPLES, draws: int = _DRAWS) -> pd.DataFrame:
    """Return the rows of a cell whose distances to the flow were measured.

    Args:
        cell: of a network.
        folder: where the rows of its parts are.
        cache: where ends of the exact flow are kept.
        samples: of each arm.
        draws: of the exact flow.
    """
    on = problem_of(cell.problem, cell.schedule)
    published = pd.read_parquet(file_of(folder, cell, "published"))
    baselines = published[published["kind"] == "baseline"].set_index("arm")["errors"].map(np.mean)
    best = str(baselines.idxmin())
    solver = calibration_of(pd.read_parquet(file_of(folder, cell, "calibrate")), BESIDE).solver
    x = on.start("frechet", samples)
    plan = arm(best).build(cell.evaluations, x[0].numel(), seed=0, count=samples, schedule=on.schedule, times=on.times)
    exact = _flow(cell, "frechet", samples, cache)
    ends = {
        EXACT: exact.exact,
        BASELINE: sample(plan.sampler, on.model, x, plan.levels, plan.correction),
        BESIDE: solver.sample(on.model, x),
    }
    rows = rows_of(ends, exact, _flow(cell, "draws", draws, cache).exact)
    rows.insert(1, "method", [EXACT, best, solver.method])
    for i, value in enumerate(cell.key):
        rows.insert(i, ("problem", "schedule", "evaluations")[i], value)
    return rows


def _flow(cell: Cell, seed: str, count: int, cache: Path) -> Endpoints:
    """Return where the exact flow goes from the noises of a seed of the plan."""
    made = sampling_problem(cell.problem, "network")
    blocks = range(-(-count // block_size(cell.problem)))
    parts = [cached_endpoints(made, SEEDS[seed], block, cache) for block in blocks]
    found = Endpoints(*(torch.cat(column)[:count] for column in zip(*parts, strict=True)))
    spread = float(found.exact.double().std(0).square().mean().sqrt())
    click.echo(f"{cell.problem}, {seed}: the flow's ends are off by at most {found.refinement.mean() / spread:.1e}")
    return found


@click.command()
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@click.option("--cache", required=True, type=click.Path(path_type=Path), help="Where ends of the flow are kept.")
@plain_errors
def main(folder: Path, cache: Path) -> None:
    """Measure the Frechet distances that are not there yet, of the cells that were measured."""
    torch.set_num_threads(1)
    for cell in PLAN:
        if cell.problem not in FRECHET or cell.evaluations not in CONTROLLED:
            continue
        if not all(file_of(folder, cell, part).exists() for part in ("published", "calibrate")):
            click.echo(f"{' '.join(map(str, cell))}: its distances to the flow are not measured yet")
            continue
        file = file_of(folder, cell, "frechet")
        with once(file) as missing:
            if missing:
                frame = measure(cell, folder, cache)
                write(frame, file, "influence")
                click.echo(f"{' '.join(map(str, cell))}\n{frame[['arm', 'method', 'frechet']].to_string(index=False)}")


if __name__ == "__main__":
    main()
