r"""What `lml.solver` is worth: its solvers against every baseline at every spacing, on networks and targets.

The plan is `image_exps.search.few_steps_plan`, fixed before the run. Every cell holds the distance of every sample to
the end of the flow: of all of `image_exps.samplers.baselines`, of LML on DDIM, of `for_schedule`, of `calibrate` on 16
and on 48 trajectories, of the baseline that each of these found best, and of the controls of
`image_exps.search.few_steps_controls`.

``python -m image_exps.search.few_steps`` writes the parts of each cell as it goes, and takes up where it stopped.
Several processes divide the cells among them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from filelock import FileLock, Timeout
from torch import Tensor

from image_exps.problems.seeds import starting_noise
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.search.few_steps_controls import calibration_of, controls, to_text
from image_exps.search.few_steps_plan import (
    BESIDE,
    CALIBRATED,
    EVALUATIONS,
    FOR_SCHEDULE,
    LML_ARMS,
    PARTS,
    PLAN,
    RESULTS,
    SEEDS,
    TRAJECTORIES,
    Cell,
    Part,
    arms_of,
    file_of,
)
from image_exps.search.few_steps_problems import SCHEDULES, problem_of
from lml.samplers import sample
from lml.solver import Solver, for_schedule, of_method
from lml.solver.calibration import calibrate
from lml.solver.storage import to_dict
from lml.solver.trajectories import distances
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["measure", "once", "rounded", "write"]

# Bits of an error that are kept.
_BITS = 14


class _Rows:
    """The rows of a cell: a sample's error is the root mean square distance to the exact end of its flow."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.on = cell, problem_of(cell.problem, cell.schedule)
        self.x, self.exact = _flow(cell.problem, cell.schedule, cell.samples)
        self.rows: list[dict[str, Any]] = []

    def add(self, kind: str, name: str, ends: Sequence[Tensor], detail: str = "") -> None:
        """Add an arm by where it ends, shape (B, ...); of several runs the errors are averaged."""
        apart = [distances(end, self.exact) for end in ends]
        errors = torch.stack(apart).mean(0).nan_to_num(torch.inf).numpy()
        cell = self.cell
        self.rows.append(
            {"problem": cell.problem, "schedule": cell.schedule, "evaluations": cell.evaluations, "kind": kind,
             "arm": name, "errors": rounded(errors), "detail": detail}
        )  # fmt: skip

    def solver(self, kind: str, name: str, *solvers: Solver, detail: str = "") -> None:
        """Add a solver, with its JSON if there is no other detail, or the mean of several."""
        own = json.dumps(to_dict(solvers[0])) if len(solvers) == 1 else ""
        self.add(kind, name, [solver.sample(self.on.model, self.x) for solver in solvers], detail or own)


def rounded(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return numbers to 14 bits, some four digits, in float32: their file is half as large."""
    mantissas, exponents = np.frexp(values)
    kept: np.ndarray[Any, Any] = np.ldexp(np.round(mantissas * 2**_BITS) / 2**_BITS, exponents)
    return kept.astype(np.float32)


@lru_cache(maxsize=64)
def _flow(problem: str, schedule: str, count: int) -> tuple[Tensor, Tensor]:
    """Return samples at the first level and where their flow ends: the same at every number of evaluations."""
    on = problem_of(problem, schedule)
    x = on.start("figures", count)
    return x, on.ends(x)


@torch.no_grad()
def measure(cell: Cell, part: Part, calibrated: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return the rows of a part of a cell; see `image_exps.search.few_steps_plan.read` for the columns.

    Args:
        cell: of the plan.
        part: of it.
        calibrated: for the controls, the rows of the calibrations.
    """
    rows = _Rows(cell)
    if part == "published":
        _published(rows)
    elif part == "for_schedule":
        rows.solver("ours", FOR_SCHEDULE, for_schedule(rows.on.levels, cell.evaluations))
    elif part == "controls":
        assert calibrated is not None
        _controls(rows, calibrated)
    else:
        _calibrate(rows, *arms_of(cell, part))
    return pd.DataFrame(rows.rows)


def _published(rows: _Rows) -> None:
    on, dim, count = rows.on, rows.x[0].numel(), len(rows.x)
    for kind, names in (("baseline", BASELINE_ARMS), ("lml", LML_ARMS)):
        for name in names:
            plan = arm(name).build(
                rows.cell.evaluations, dim, seed=0, count=count, schedule=on.schedule, times=on.times
            )
            rows.add(kind, name, [sample(plan.sampler, on.model, rows.x, plan.levels, plan.correction)])


def _calibrate(rows: _Rows, name: str, chosen: str) -> None:
    on, levels, n = rows.on, rows.on.levels, rows.cell.evaluations
    found = calibrate(
        on.model, levels, n, CALIBRATED[name], shape=on.shape, seed=SEEDS["calibration"], dtype=on.dtype, kept=False
    )
    rows.solver("ours", name, found.solver, detail=to_text(found))
    rows.solver("chosen", chosen, of_method(found.baseline, levels, n))


def _controls(rows: _Rows, calibrated: pd.DataFrame) -> None:
    on = rows.on
    noise = starting_noise(SEEDS["controls"], 0, TRAJECTORIES, on.shape).to(on.dtype)
    for name, solvers in controls(on.model, on.levels, calibration_of(calibrated, BESIDE), noise):
        rows.solver("control", name, *solvers)


def write(frame: pd.DataFrame, file: Path, column: str) -> None:
    """Write rows, whole or not at all; ``column`` holds arrays of float32, which are packed by their bytes."""
    with atomic(file) as part:
        frame.to_parquet(
            part, index=False, compression="zstd", use_byte_stream_split=[f"{column}.list.element"],
            use_dictionary=[each for each in frame if each != column],
        )  # fmt: skip


@click.command()
@click.option("--problem", "problems", multiple=True, help="These problems alone.")
@click.option("--schedule", "schedules", multiple=True, type=click.Choice(list(SCHEDULES)), help="These alone.")
@click.option("--evaluations", "numbers", multiple=True, type=int, help="These numbers of evaluations alone.")
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="This part of each cell alone.")
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(
    problems: Sequence[str], schedules: Sequence[str], numbers: Sequence[int], parts: Sequence[Part], folder: Path
) -> None:
    """Measure the parts of the cells of the plan that are not there yet."""
    _check(problems, "problem", {cell.problem for cell in PLAN})
    _check(numbers, "evaluations", EVALUATIONS)
    check_output_folder(folder, "folder")
    torch.set_num_threads(1)
    for cell in PLAN:
        if (
            (problems and cell.problem not in problems)
            or (schedules and cell.schedule not in schedules)
            or (numbers and cell.evaluations not in numbers)
        ):
            continue
        for part in parts or PARTS:
            fits = file_of(folder, cell, "calibrate")
            if not arms_of(cell, part) or (part == "controls" and not fits.exists()):
                continue
            with once(file_of(folder, cell, part)) as missing:
                if missing:
                    began = time.perf_counter()
                    frame = measure(cell, part, pd.read_parquet(fits) if part == "controls" else None)
                    write(frame, file_of(folder, cell, part), "errors")
                    means = frame.set_index("arm")["errors"].map(np.mean).nsmallest(6)
                    click.echo(f"{' '.join(map(str, cell))}, {part}, {time.perf_counter() - began:.0f} s")
                    click.echo(means.map("{:.4g}".format).to_string())


@contextmanager
def once(file: Path) -> Iterator[bool]:
    """Yield whether a file is to be made: it is not there, and no other process is at it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    path = file.parent / f".{file.name}.lock"
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield not file.exists()
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def _check(given: Sequence[Any], name: str, allowed: Any) -> None:
    for value in given:
        if value not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(map(str, sorted(allowed)))}, got {value!r}")


if __name__ == "__main__":
    main()
