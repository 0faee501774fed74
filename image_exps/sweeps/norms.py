r"""Which norm serves LML better in few steps: the paper's, or that of claim A5? A plan, its rows, and what they decide.

``python -m image_exps.sweeps.norms`` writes a row for every problem, base, spacing and number of evaluations of `PLAN`.
The error of a sample is its root mean square distance to where the model's own flow ends from the same noise, so that
two samplers are compared noise by noise: the *gain* is the error with the norm kept minus that with it extrapolated, as
a share of the former's mean. The noises are of a seed on which nothing was chosen, and the plan was written before
they were drawn.

`never_worse` is the rule by which ``norm="extrapolated"`` would become a default: no cell whose interval, at 95 % for
all cells at once, lies below zero.

On DDIM there are three controls beside it, all with the norm that comes out: the extrapolation by one half, and by half
the step ahead over the step behind, measured in sigma/alpha (``h_i/(2 h_{i-1})`` of claim A5) and in log-SNR.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
from torch import Tensor

from image_exps.problems.endpoints import flow_endpoints, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import SamplingProblem, sampling_problem
from image_exps.samplers.arms import arm
from lml.controls import Extrapolation
from lml.correction import LML, Correction
from lml.profile import Profile
from lml.samplers import Level, sample
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.ledger.comparisons import share
from theory_checks.ledger.statistics import mean_interval
from toy.atomic import atomic
from toy.levels import Spacing
from toy.threads import single_thread

__all__ = ["PLAN", "ROWS", "Plan", "Problem", "controls", "measure", "never_worse", "summary", "weights_of_levels"]

#: Where the rows are.
ROWS = Path(__file__).parents[1] / "results/norm/rows.csv"


class Problem(NamedTuple):
    """A target with a model, and how it is measured."""

    target: str
    model: str
    samples: int
    bases: tuple[str, ...]
    reference_steps: int


class Plan(NamedTuple):
    """What is measured."""

    problems: tuple[Problem, ...]
    spacings: tuple[Spacing, ...]
    evaluations: tuple[int, ...]
    seed: int

    @property
    def cells(self) -> int:
        """How many cells there are."""
        return sum(len(each.bases) for each in self.problems) * len(self.spacings) * len(self.evaluations)


_ALL = ("ddim", "dpm-solver-3m", "unipc-3")

#: The plan. A network's samples cost 4 ms an evaluation: fewer of them, and two bases.
PLAN = Plan(
    problems=(
        Problem("digits", "exact", 64, _ALL, 160),
        Problem("digits-low-rank", "exact", 64, _ALL, 160),
        Problem("random-16d", "exact", 256, _ALL, 160),
        Problem("ring-2d", "exact", 256, _ALL, 160),
        Problem("fashion-mnist", "network", 32, ("ddim", "dpm-solver-3m"), 60),
    ),
    spacings=("time", "log-snr", "karras"),
    evaluations=(5, 8, 10, 20),
    seed=5417,
)


def weights_of_levels(path: Sequence[Level], *, log_snr: bool) -> Profile:
    """Return the extrapolation of one past noise by half the step ahead over the step behind, with its norm left free.

    Args:
        path: the levels of the trajectory.
        log_snr: measure steps in log-SNR, not in sigma/alpha.
    """
    place = np.array([-level.half_log_snr if log_snr else level.sigma / level.alpha for level in path])
    steps = np.diff(place)
    rows = [() if i == 0 else (float(steps[i] / steps[i - 1]) / 2, *[0.0] * (i - 1)) for i in range(len(steps))]
    return Profile(tuple(rows), restored=0.0)


def _corrections(base: str, path: Sequence[Level], plain: Correction) -> dict[str, Correction]:
    """Return the corrections of a cell by the name of their column; ``plain`` is LML with the paper's norm."""
    assert isinstance(plain, LML)
    both: dict[str, Correction] = {
        "kept": plain,
        "extrapolated": LML(plain.damping, plain.mixing, norm="extrapolated"),
    }
    if base == "ddim":
        both["free"] = Extrapolation(plain)
        both["free, sigma/alpha"] = weights_of_levels(path, log_snr=False)
        both["free, log-snr"] = weights_of_levels(path, log_snr=True)
    return both


def _errors(made: SamplingProblem, x: Tensor, exact: Tensor, name: str, n: int, seed: int) -> dict[str, np.ndarray]:
    """Return the errors (B,) of every column of a cell."""
    plan = arm(f"{name}/lml").build(n, made.dim, seed=seed, count=len(x))
    corrections = {"base": None, **_corrections(arm(name).base, plan.levels, plan.correction)}
    return {
        column: rms((sample(plan.sampler, made.flow, x, plan.levels, c).double() - exact).flatten(1)).numpy()
        for column, c in corrections.items()
    }


def measure(plan: Plan = PLAN) -> list[dict[str, Any]]:
    """Return the rows of a plan, one a cell."""
    rows = []
    for problem in plan.problems:
        made = sampling_problem(problem.target, problem.model)
        x = starting_noise(plan.seed, 0, problem.samples, made.shape).to(made.dtype)
        ends = flow_endpoints(made.flow, x, problem.reference_steps)
        exact = ends.exact.double()
        for base in problem.bases:
            for spacing in plan.spacings:
                for n in plan.evaluations:
                    errors = _errors(made, x, exact, f"{base}@{spacing}", n, plan.seed)
                    rows.append(_row(problem, base, spacing, n, errors, float(ends.refinement.mean()), plan))
    return rows


def _row(
    problem: Problem, base: str, spacing: str, n: int, errors: dict[str, np.ndarray], refinement: float, plan: Plan
) -> dict[str, Any]:
    gain, kept = errors["kept"] - errors["extrapolated"], float(errors["kept"].mean())
    alone, together = mean_interval(gain), share(gain, kept, plan.cells)
    return {
        "target": problem.target, "model": problem.model, "base": base, "spacing": spacing, "evaluations": n,
        "seed": plan.seed, "count": problem.samples, "gain": together.value,
        "low": alone.low / kept, "high": alone.high / kept,
        "low of all": together.low, "high of all": together.high,
        "nearer": float((gain > 0).mean()), "refinement": refinement,
        **{f"error {column}": float(each.mean()) for column, each in errors.items()},
    }  # fmt: skip


def never_worse(rows: pd.DataFrame) -> bool:
    """Whether no cell is worse with the norm extrapolated, at 95 % for all cells at once."""
    return bool((rows["high of all"] >= 0).all())


def summary(rows: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return a line for each problem and base, for the page on norms.

    Target and model, base, how many cells; in the geometric mean over cells the error with the norm kept over the
    base's, and that with the norm extrapolated over that with it kept, with the largest; and in how many cells it is
    nearer and further, by the interval of that cell alone.
    """
    lines: list[tuple[str, ...]] = []
    for (target, model, base), cells in rows.groupby(["target", "model", "base"], sort=False):
        ratio, of_base = (cells[f"error {a}"] / cells[f"error {b}"] for a, b in _RATIOS)
        what = "network" if model == "network" else "exact score"
        nearer, further = int((cells["low"] > 0).sum()), int((cells["high"] < 0).sum())
        lines.append(
            (f"{target}, {what}", str(base), str(len(cells)), f"{_geometric(of_base):.2f}", f"{_geometric(ratio):.2f}",
             f"{ratio.max():.2f}", str(nearer), str(further))
        )  # fmt: skip
    return lines


_RATIOS = (("extrapolated", "kept"), ("kept", "base"))


def _geometric(ratio: pd.Series) -> float:
    return float(np.exp(np.log(ratio).mean()))


def controls(rows: pd.DataFrame) -> dict[str, float]:
    """Return the geometric mean over the cells of DDIM of each control's error over that with the norm kept."""
    ddim = rows[rows["base"] == "ddim"]
    names = ("extrapolated", "free", "free, sigma/alpha", "free, log-snr")
    return {name: _geometric(ddim[f"error {name}"] / ddim["error kept"]) for name in names}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROWS, show_default=True, help="File for the rows.")
@plain_errors
def main(out: Path) -> None:
    """Measure LML with the norm kept and extrapolated, on the plan of this file; ten minutes of one core."""
    with single_thread():
        frame = pd.DataFrame(measure())
    with atomic(out) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")
    click.echo(f"{len(frame)} rows in {out}; never worse: {never_worse(frame)}")


if __name__ == "__main__":
    main()
