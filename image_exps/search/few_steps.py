r"""What `lml.solver` is worth: its solvers against every baseline at every spacing, on networks and targets.

The plan is `PLAN`, frozen before the run: cells in their order, and seeds that nothing was chosen on. Every cell holds
the distance of every sample to the end of the flow, for all of `image_exps.samplers.baselines`, `for_schedule`,
`calibrate` on 16 trajectories, and its controls on 16 others: levels alone (with the rows of the best baseline), rows
alone (at its levels), rows fitted to shuffled trajectories, and the baseline that is best on calibrate's trajectories.

``python -m image_exps.search.few_steps`` writes a Parquet file a cell as it goes, and takes up where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import pandas as pd
import torch
from torch import Tensor

import toy
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import SCHEDULE, TIMES, target
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS
from lml.samplers import SAMPLERS, NoiseModel, sample
from lml.solver import Schedule, Solver, for_schedule, method, of_method, published_rows
from lml.solver.calibration import calibrate
from lml.solver.fitting import Fit, Problem, fit_levels, fit_rows
from lml.solver.solver import FITTED
from lml.solver.trajectories import Trajectories, trajectories
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic
from toy.schedule import NoiseSchedule

__all__ = ["AFTERWARDS", "CONTROLS", "OURS", "PLAN", "RESULTS", "SEEDS", "Cell", "measure", "problem_of", "read"]

#: Where the rows are.
RESULTS = Path(__file__).parent.parent / "results" / "solver"

#: Seeds of the noises that calibrations, their controls, and all figures are from.
SEEDS = {"calibration": 31, "controls": 32, "figures": 33}


class Cell(NamedTuple):
    """A problem by name, a number of evaluations, and how many samples its figures are of."""

    problem: str
    evaluations: int
    samples: int


_EXACT = tuple(Cell(name, n, 96) for n in (8, 5, 10) for name in ("digits", "random-16d", "ring-2d"))
#: Cells in the order in which they are measured.
PLAN: tuple[Cell, ...] = (
    Cell("galaxy-hsc-32", 8, 32),
    Cell("galaxy-ztf-32", 8, 32),
    *_EXACT,
    Cell("galaxy-hsc-32", 5, 32),
    Cell("galaxy-ztf-32", 5, 32),
    Cell("galaxy-hsc-32", 10, 32),
    Cell("galaxy-ztf-32", 10, 32),
    Cell("fashion-mnist", 8, 32),
    Cell("fashion-mnist", 5, 32),
    Cell("fashion-mnist", 10, 32),
    *(Cell(name, n, 32) for n in (8, 5, 10) for name in ("galaxy-hsc-64", "galaxy-ztf-64")),
)

#: Cells that were measured after `for_schedule` had been changed for what it did in the others: its judge are these.
AFTERWARDS: tuple[Cell, ...] = tuple(cell for cell in PLAN if cell.problem.endswith(("mnist", "-64")))

#: What is measured beside the baselines.
OURS = ("for_schedule", "calibrate")
CONTROLS = ("levels alone", "rows alone", "rows from shuffled trajectories", "baseline chosen on the same trajectories")

_SAMPLES = 16
_TRIALS = 20
_REFERENCE_STEPS = 120


class Measured(NamedTuple):
    """A network or a target: its noise prediction, the shape of a sample, the schedule and the ends of its times."""

    model: NoiseModel
    shape: tuple[int, ...]
    schedule: NoiseSchedule
    times: tuple[float, float]
    dtype: torch.dtype


def problem_of(name: str) -> Measured:
    """Return a network that ships or that is installed, or an exact target.

    Raises:
        ValueError: for a name of neither.
    """
    from image_exps.networks import NETWORKS
    from image_exps.networks.galaxies import GALAXIES
    from image_exps.pipelines.network import network

    if name in NETWORKS or name in GALAXIES:
        found = network(name)
        return Measured(found.noise_model, found.shape, found.schedule, found.times, torch.float32)
    at = target(name)
    return Measured(at.model(), (at.dim,), SCHEDULE, TIMES, at.dtype)


@torch.no_grad()
def measure(cell: Cell) -> pd.DataFrame:
    """Return the rows of a cell: problem, evaluations, kind, arm, sample, error, detail."""
    on, n = problem_of(cell.problem), cell.evaluations
    levels = Schedule.sampled(on.schedule, on.times)
    x = _noise("figures", cell.samples, on)
    fine = toy.noise_levels(on.schedule, _REFERENCE_STEPS, times=on.times)
    exact = sample(SAMPLERS["dpm-solver++-3m"], on.model, x, fine)

    rows: list[dict[str, Any]] = []

    def add(kind: str, name: str, ends: Tensor, detail: str = "") -> None:
        errors = (ends - exact).flatten(1).double().square().mean(1).sqrt().tolist()
        rows.extend(
            {"problem": cell.problem, "evaluations": n, "kind": kind, "arm": name, "sample": i, "error": error,
             "detail": detail} for i, error in enumerate(errors)
        )  # fmt: skip

    for name in BASELINE_ARMS:
        dim = x[0].numel()
        plan = arm(name).build(n, dim, seed=0, count=len(x), schedule=on.schedule, times=on.times)
        add("baseline", name, sample(plan.sampler, on.model, x, plan.levels, plan.correction))
    fixed = for_schedule(levels, n)
    add("ours", "for_schedule", fixed.sample(on.model, x), fixed.method)
    found = calibrate(
        on.model, levels, n, _SAMPLES, shape=on.shape, seed=SEEDS["calibration"], dtype=on.dtype, kept=False
    )
    expected = f"{found.solver.method}: {found.solver.validation}"
    add("ours", "calibrate", found.solver.sample(on.model, x), expected)
    best = of_method(found.baseline, levels, n)
    add("control", CONTROLS[3], best.sample(on.model, x), best.method)
    flow = trajectories(on.model, levels, _noise("controls", _SAMPLES, on))
    for name, fit in _controls(on.model, flow, levels, found.baseline, n).items():
        solver = Solver(FITTED, tuple(flow.levels[p] for p in fit.places), fit.weights, (0.0,) * n)
        add("control", name, solver.sample(on.model, x))
    return pd.DataFrame(rows)


def _controls(model: NoiseModel, flow: Trajectories, levels: Schedule, baseline: str, n: int) -> dict[str, Fit]:
    prior = method(baseline)
    grid = [level.half_log_snr for level in flow.levels]
    start = [
        min(range(len(grid)), key=lambda p, at=level.half_log_snr: abs(grid[p] - at))  # type: ignore[misc]
        for level in levels.levels(n, prior.spacing)
    ]
    start = [max(p, i) for i, p in enumerate(start)]
    count = flow.states.shape[1]
    problem = Problem(model, flow, torch.ones(count, dtype=torch.float64), lambda at: published_rows(prior.base, at))
    # The flow of another sample: what is left is what any data would teach.
    shuffled = problem.__class__(
        model, flow._replace(states=torch.cat((flow.states[:1], flow.states[1:].roll(1, 1)))), problem.weights,
        problem.prior,
    )  # fmt: skip
    return {
        CONTROLS[0]: fit_levels(problem, [start], _TRIALS, fitted=False),
        CONTROLS[1]: fit_rows(problem, start),
        CONTROLS[2]: fit_rows(shuffled, start),
    }


def _noise(seed: str, count: int, on: Measured) -> Tensor:
    return starting_noise(SEEDS[seed], 0, count, on.shape).to(on.dtype)


def read(folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of all cells that were measured, in the order of the plan."""
    files = [folder / _file(cell) for cell in PLAN]
    return pd.concat([pd.read_parquet(file) for file in files if file.exists()], ignore_index=True)


def _file(cell: Cell) -> str:
    return f"{cell.problem}-{cell.evaluations}.parquet"


@click.command()
@click.option("--problem", "only", multiple=True, help="These problems alone.")
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(only: Sequence[str], folder: Path) -> None:
    """Measure the cells of the plan that are not there yet."""
    check_output_folder(folder, "folder")
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for cell in PLAN:
        if (only and cell.problem not in only) or (folder / _file(cell)).exists():
            continue
        frame = measure(cell)
        with atomic(folder / _file(cell)) as part:
            frame.to_parquet(part, index=False)
        means = frame.groupby(["kind", "arm"])["error"].mean()
        click.echo(f"{cell}\n{(means / means['baseline'].min()).sort_values().head(12).round(3).to_string()}")


if __name__ == "__main__":
    main()
