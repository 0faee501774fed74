r"""On what the choices behind `lml.solver` were tuned: candidates of `calibrate`, joint fits, and the steps of a fit.

For every problem of `image_exps.search.few_steps_tuning_problems`, number of evaluations and seed the candidates of
`lml.solver.calibration` are made from 16 trajectories: the published methods and LML that it keeps, and the fit at each
ridge. Their errors on these trajectories, of a fit where they were held out, are what a rule of choice sees; their
errors on 96 fresh noises say what its choice is worth. The joint fit is `image_exps.search.few_steps_joint`; how
many steps a fit takes in many evaluations is `image_exps.search.few_steps_efforts`.

``python -m image_exps.search.few_steps_tuning`` adds the rows of what is missing, and takes up where it stopped;
``python -m image_exps.search.few_steps_tuning_report`` compares the rules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import pandas as pd
import torch
from torch import Tensor

from image_exps.search.few_steps import rounded, write
from image_exps.search.few_steps_efforts import EVALUATIONS, efforts
from image_exps.search.few_steps_joint import PLAN as JOINT
from image_exps.search.few_steps_joint import Run, joint
from image_exps.search.few_steps_tuning_problems import (
    GROUPS,
    RESULTS,
    SEEDS,
    TRAJECTORIES,
    fresh,
    fresh_baselines,
    oracle,
    problem_of,
    trajectories,
)
from lml.samplers import NoiseModel
from lml.solver import Schedule, of_method
from lml.solver.calibration import screened, shortlist, start_of
from lml.solver.choice import TRIED, chosen
from lml.solver.fitting import RIDGES, Fit, Problem, fit
from lml.solver.path import end
from lml.solver.schedule import spaced
from lml.solver.selection import Candidate, halves
from lml.solver.trajectories import Checked, Reference, distances
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["PLAN", "Cell", "fit_name", "main", "measure", "read", "read_efforts", "read_joint"]


class Cell(NamedTuple):
    """A problem, a number of evaluations, and the seed of its trajectories."""

    problem: str
    evaluations: int
    seed: int


#: Cells in the order in which they are measured. A second seed of the networks in 8 evaluations takes too long.
PLAN: tuple[Cell, ...] = tuple(
    Cell(name, n, seed)
    for n in (5, 8) for names in reversed(GROUPS.values()) for seed in SEEDS for name in names
    if (n, seed) != (8, 2) or name in GROUPS["exact targets"]
)  # fmt: skip


def fit_name(ridge: float) -> str:
    """Return the name of the fit at a ridge."""
    return f"fit, ridge {ridge:g}"


@torch.no_grad()
def measure(cell: Cell, count: int = TRAJECTORIES) -> pd.DataFrame:
    """Return the rows of a cell, one a candidate; see `read` for the columns.

    Args:
        cell: of the plan.
        count: of trajectories.
    """
    on, n = problem_of(cell.problem), cell.evaluations
    flow, model = trajectories(cell.problem, cell.seed, count), Checked(on.model, dtype=on.dtype).unchecked
    arms = _methods(model, on.levels, n, flow)
    half, other = halves(count)
    fits = [_fits(model, on.levels, n, flow, arms, seen) for seen in (other, half, half | other)]
    x, ends = fresh(cell.problem)
    solvers = {each.name: of_method(each.name, on.levels, n) for each in arms}
    candidates = list(arms)
    for first, second, full in zip(*fits, strict=True):
        name = fit_name(full.ridge)
        candidates.append(Candidate(name, 2, torch.where(half, first.errors[0], second.errors[0])))
        solvers[name] = full.solver(on.levels)
    baselines = fresh_baselines(cell.problem, n)
    best = oracle(map(_kept, baselines.values()))
    rows = []
    for each in candidates:
        errors = baselines.get(each.name)
        if errors is None:
            errors = distances(end(solvers[each.name], on.model, x), ends)
        rows.append(
            {**cell._asdict(), "candidate": each.name, "rank": each.rank, "seen": _kept(each.errors),
             "fresh": _kept(errors), "oracle_mean": best[0], "oracle_square": best[1],
             "refinement": float(flow.refinement.mean())}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _methods(model: NoiseModel, schedule: Schedule, n: int, flow: Reference) -> list[Candidate]:
    """Return the methods that `calibrate` keeps, with their errors on the trajectories."""
    found = {
        each.name: Candidate(
            each.name,
            int(each.strength > 0),
            distances(end(of_method(each, schedule, n), model, flow.x), flow.ends),
        )
        for each in TRIED
    }
    few = screened(len(flow.x))
    names = shortlist([each._replace(errors=each.errors[:few]) for each in found.values()], chosen(schedule, n).method)
    return [found[name] for name in names if bool(torch.isfinite(found[name].errors).all())]


def _fits(
    model: NoiseModel, schedule: Schedule, n: int, flow: Reference, arms: Sequence[Candidate], seen: Tensor
) -> list[Fit]:
    """Return the fits to some trajectories at every ridge, from the published method that is best on them."""
    start = start_of(arms, seen)
    problem = Problem(model, flow.x, flow.ends, seen.double())
    return fit([problem], start.base, schedule, spaced(schedule, n, start.spacing), ridges=RIDGES)


def _kept(errors: Tensor) -> Any:
    return rounded(errors.nan_to_num(torch.inf).numpy())


def read(folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of all cells that were measured; without a row if none was.

    A row is a candidate. Columns: problem, evaluations, seed, candidate, rank (as of `lml.solver.selection`), seen (the
    errors on the trajectories, of a fit where they were held out), fresh (on fresh noises), oracle_mean and
    oracle_square (the smallest mean and root mean square on the fresh noises of all published methods, each chosen
    after the fact), refinement (the mean by which the ends of the trajectories move with half as many steps).
    """
    file = _file(folder, "rules")
    columns = [*Cell._fields, "candidate", "rank", "seen", "fresh", "oracle_mean", "oracle_square", "refinement"]
    return pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=columns)


def read_joint(folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of the joint fit; see `image_exps.search.few_steps_joint.joint` for the columns."""
    file = _file(folder, "joint")
    return pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=[*Run._fields, "problem", "ridge"])


def read_efforts(folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of the efforts; see `image_exps.search.few_steps_efforts.efforts` for the columns."""
    file = _file(folder, "efforts")
    return pd.read_parquet(file) if file.exists() else pd.DataFrame(columns=["problem", "effort"])


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.parquet"


def _add(file: Path, frame: pd.DataFrame) -> None:
    """Add rows to a file, which is written anew, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    before = [pd.read_parquet(file)] if file.exists() else []
    made = pd.concat([*before, frame], ignore_index=True)
    if "fresh" in made:
        write(made, file, "fresh")
    else:
        with atomic(file) as part:
            made.to_parquet(part, index=False, compression="zstd")


@click.command()
@click.option("--evaluations", "numbers", multiple=True, type=int, help="These numbers alone.")
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(numbers: Sequence[int], folder: Path) -> None:
    """Measure what is not there yet: the candidates of all cells, then the joint fits, then the efforts."""
    check_output_folder(folder, "folder")
    torch.set_num_threads(1)
    there = set(read(folder)[list(Cell._fields)].itertuples(index=False, name=None))
    fits = set(read_joint(folder)[list(Run._fields)].itertuples(index=False, name=None))
    tried = set(read_efforts(folder)["problem"])
    left: list[tuple[str, str, int, Callable[[], pd.DataFrame]]] = [
        *(
            ("rules", " ".join(map(str, cell)), cell.evaluations, partial(measure, cell))
            for cell in PLAN if cell not in there
        ),
        *(
            ("joint", f"joint fit without {run.fold}, {run.evaluations}, power {run.power:g}", run.evaluations,
             partial(joint, run))
            for run in JOINT if run not in fits
        ),
        *(
            ("efforts", f"efforts, {name}", EVALUATIONS, partial(efforts, name))
            for names in GROUPS.values() for name in names if name not in tried
        ),
    ]  # fmt: skip
    for file, what, evaluations, make in left:
        if not numbers or evaluations in numbers:
            began = time.perf_counter()
            _add(_file(folder, file), make())
            click.echo(f"{what}, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
