"""What was tried on the tuning problems, on the page on solvers: rules of choice, joint fits, steps of a fit.

``python -m image_exps.search.few_steps_tuning_report`` writes the tables from the rows of
`image_exps.search.few_steps_tuning` between the marks of docs/explanation/solver.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd
import torch

from image_exps.search.few_steps_efforts import EVALUATIONS
from image_exps.search.few_steps_joint import PLAN as JOINT
from image_exps.search.few_steps_joint import Run
from image_exps.search.few_steps_report import PAGE, with_block
from image_exps.search.few_steps_rules import RULES, SHIPS, best_published, ships
from image_exps.search.few_steps_tuning import PLAN, Cell, read, read_efforts, read_joint
from image_exps.search.few_steps_tuning_problems import GROUPS, RESULTS, mean_and_square
from image_exps.utils.markup import markdown_table
from lml.solver.choice import MARGIN
from lml.solver.selection import Candidate, confirm
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["BEGIN", "END", "Worth", "block", "main", "summary", "worths"]

#: The marks between which the tables stand.
BEGIN, END = "<!-- tuning: begin -->", "<!-- tuning: end -->"

_RESAMPLES = 2000
# Of the comparison on fresh noises: half of them, the other half judges.
_TURNS = 2


class Worth(NamedTuple):
    """What a rule chose in a cell is worth on fresh noises: its mean, and root mean square, by those of the oracle."""

    mean: float
    square: float


def worths(rows: pd.DataFrame) -> dict[str, dict[Cell, Worth]]:
    """Return what every rule is worth in every cell that was measured, by rule."""
    found: dict[str, dict[Cell, Worth]] = {name: {} for name in (*RULES, SHIPS)}
    for key, part in rows.groupby(list(Cell._fields), sort=False):
        candidates = _candidates(part)
        of_name, first = part.set_index("candidate")["fresh"], part.iloc[0]
        chosen = {name: rule(candidates) for name, rule in RULES.items()}
        chosen[SHIPS] = ships(candidates, first["refinement"])
        for name, candidate in chosen.items():
            mean, square = mean_and_square(of_name[candidate.name])
            found[name][Cell(*key)] = Worth(mean / first["oracle_mean"], square / first["oracle_square"])
    return found


def summary(values: Sequence[float]) -> str:
    """Return the geometric mean of ratios, and the largest in brackets."""
    return f"{_geometric(values):.2f} ({max(values):.2f})"


def block(rows: pd.DataFrame, joint: pd.DataFrame, efforts: pd.DataFrame) -> str:
    """Return the tables as Markdown.

    Args:
        rows: of `image_exps.search.few_steps_tuning.read`.
        joint: of `image_exps.search.few_steps_tuning.read_joint`.
        efforts: of `image_exps.search.few_steps_tuning.read_efforts`.
    """
    found = worths(rows)
    lines: list[str] = []
    for group, names in GROUPS.items():
        chosen = {rule: {c: w for c, w in by.items() if c.problem in names} for rule, by in found.items()}
        cells = list(chosen[SHIPS])
        if cells:
            lines += [
                f"### Rules of choice on {group}",
                "",
                _measured(cells),
                "",
                _rules(chosen),
                "",
                _best(chosen),
                "",
                _confirmed(rows[rows["problem"].isin(names)]),
                "",
            ]
    lines += _joint(joint) if len(joint) else []
    lines += _efforts(efforts) if len(efforts) else []
    absent = [cell for cell in PLAN if cell not in found[SHIPS]]
    if absent:
        by_run: dict[str, list[str]] = {}
        for cell in absent:
            by_run.setdefault(f"in {cell.evaluations} evaluations with seed {cell.seed}", []).append(
                f"`{cell.problem}`"
            )
        said = "; ".join(f"{run} {', '.join(names)}" for run, names in by_run.items())
        lines += [f"Of the plan these cells were not measured: {said}.", ""]
    done = set(joint[list(Run._fields)].itertuples(index=False, name=None))
    left = [f"{run.fold} in {run.evaluations} at p = {run.power:g}" for run in JOINT if run not in done]
    if left:
        lines += [f"Of the joint fits these were not made: without {', '.join(left)}.", ""]
    untried = [f"`{name}`" for names in GROUPS.values() for name in names if name not in set(efforts["problem"])]
    if untried:
        lines += [f"Efforts were not tried on {', '.join(untried)}.", ""]
    return "\n".join(lines).strip()


def _measured(cells: Sequence[Cell]) -> str:
    counts = {(c.evaluations, c.seed): 0 for c in sorted(cells, key=lambda c: (c.evaluations, c.seed))}
    for c in cells:
        counts[c.evaluations, c.seed] += 1
    said = ", ".join(f"{count} in {n} evaluations with seed {seed}" for (n, seed), count in counts.items())
    return f"{len(cells)} cells: {said}."


def _rules(chosen: dict[str, dict[Cell, Worth]]) -> str:
    head = ["rule", "mean", "above 1", "root mean square", "above 1", "mean by that of what ships"]
    table = []
    for rule, by_cell in chosen.items():
        means, squares = ([getattr(w, k) for w in by_cell.values()] for k in Worth._fields)
        low, high = _interval(by_cell, chosen[SHIPS])
        ratio = _geometric(means) / _geometric([w.mean for w in chosen[SHIPS].values()])
        apart = "1" if rule == SHIPS else f"{ratio:.2f} [{low:.2f}, {high:.2f}]"
        table.append([rule, summary(means), _above(means), summary(squares), _above(squares), apart])
    return markdown_table(head, table)


def _best(chosen: dict[str, dict[Cell, Worth]]) -> str:
    """Say which rules are the best by each figure, and which are better than what ships with the whole interval."""
    said = []
    for what, of, k in (
        ("mean", _geometric, "mean"),
        ("largest mean", max, "mean"),
        ("root mean square", _geometric, "square"),
        ("largest root mean square", max, "square"),
    ):
        by_rule = {rule: of([getattr(w, k) for w in by.values()]) for rule, by in chosen.items()}
        best = [rule for rule, value in by_rule.items() if value == min(by_rule.values())]
        said.append(f"{what}: {'what ships' if SHIPS in best else ' or '.join(best)}")
    surely = [rule for rule, by in chosen.items() if _interval(by, chosen[SHIPS])[1] < 1]
    return (
        f"The smallest {'; '.join(said)}. Nearer than what ships in the mean, with the whole interval: "
        f"{'; '.join(surely) if surely else 'none'}."
    )


def _confirmed(rows: pd.DataFrame) -> str:
    """Say what it changes to compare what ships with the published method on some of the fresh noises."""
    plain: list[float] = []
    compared: list[float] = []
    changed = 0
    for _, part in rows.groupby(list(Cell._fields), sort=False):
        candidates, of_name = _candidates(part), part.set_index("candidate")["fresh"].map(np.asarray)
        ours, theirs = ships(candidates, part["refinement"].iloc[0]).name, best_published(candidates).name
        count = len(of_name[ours])
        for k in range(_TURNS):
            judged = np.arange(count) * _TURNS // count == k
            a, b = (torch.tensor(of_name[name][~judged], dtype=torch.float64) for name in (ours, theirs))
            kept = ours if ours == theirs or confirm(a, b) is not None else theirs
            changed += kept != ours
            least = mean_and_square(of_name[theirs][judged])[0]
            for found, name in ((plain, ours), (compared, kept)):
                found.append(mean_and_square(of_name[name][judged])[0] / least)
    return (
        "What ships is then compared with the published method of the best score on other noises. On half of the fresh "
        f"noises, and judged on the other half, in two turns, it gives way in {changed} of {len(plain)}: its mean by "
        f"that of the method is {summary(compared)}, without the comparison {summary(plain)}."
    )


def _candidates(part: pd.DataFrame) -> list[Candidate]:
    """Return the candidates of a cell, with what a rule sees of them."""
    return [
        Candidate(name, int(rank), torch.tensor(seen, dtype=torch.float64))
        for name, rank, seen in zip(part["candidate"], part["rank"], part["seen"], strict=True)
    ]


def _joint(joint: pd.DataFrame) -> list[str]:
    """Return the table of the fit to all problems but those of a kind."""
    begun = ", ".join(f"`{name}`" for name in joint["begun"].drop_duplicates())
    table = []
    for (n, power, ridge), part in joint.groupby(["evaluations", "power", "ridge"], sort=False):
        line = [f"{n}", f"p = {power:g}", f"{ridge:g}"]
        for names in GROUPS.values():
            some = part[part["problem"].isin(names)]
            for k in Worth._fields:
                ratios = list(some[k] / some[f"begun_{k}"])
                line.append(f"{summary(ratios)}, {sum(r > MARGIN for r in ratios)} of {len(ratios)}")
        table.append(line)
    count = joint["fold"].nunique()
    what = [f"{group}, {k}" for group in GROUPS for k in ("mean", "root mean square")]
    return [
        "### One fit to all problems but those of a kind",
        "",
        f"{count} kinds left out in turn: the ratio, on what was left out, to the published method "
        f"that the fit began with, {begun}: geometric mean (largest), and how many are above {MARGIN:g}.",
        "",
        markdown_table(["evaluations", "loss", "ridge", *what], table, names=3),
        "",
    ]


def _efforts(efforts: pd.DataFrame) -> list[str]:
    """Return the table of what more steps of a fit are worth."""
    table = []
    for name, part in efforts.groupby("effort", sort=False):
        line = [str(name), str(int(part["cost"].iloc[0]))]
        for names in GROUPS.values():
            some = part[part["problem"].isin(names)]
            line += [summary(list(some[k] / some[f"oracle_{k}"])) if len(some) else "-" for k in Worth._fields]
        table.append(line)
    what = [f"{group}, {k}" for group in GROUPS for k in ("mean", "root mean square")]
    return [
        "### Steps of a fit in many evaluations",
        "",
        f"In {EVALUATIONS} evaluations, {efforts['problem'].nunique()} problems, a fit to 16 trajectories from the "
        "published method that is best on them: its distance on fresh noises by the oracle's, geometric mean "
        "(largest), and the evaluations of each sample that it takes.",
        "",
        markdown_table(["steps", "cost", *what], table),
        "",
    ]


def _interval(ours: dict[Cell, Worth], theirs: dict[Cell, Worth]) -> tuple[float, float]:
    """Return the 90 % interval of the geometric mean of ``ours/theirs``, resampling problems."""
    names = sorted({cell.problem for cell in ours})
    apart = [[math.log(ours[c].mean / theirs[c].mean) for c in ours if c.problem == name] for name in names]
    sums, counts = np.array([sum(each) for each in apart]), np.array([len(each) for each in apart])
    drawn = np.random.default_rng(0).integers(len(names), size=(_RESAMPLES, len(names)))
    low, high = np.exp(np.quantile(sums[drawn].sum(1) / counts[drawn].sum(1), (0.05, 0.95)))
    return float(low), float(high)


def _geometric(values: Iterable[float]) -> float:
    return math.exp(float(np.mean(np.log(list(values)))))


def _above(values: Sequence[float]) -> str:
    return f"{sum(value > 1 for value in values)} of {len(values)}"


@click.command()
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(folder: Path) -> None:
    """Write the tables into the page."""
    text = block(read(folder), read_joint(folder), read_efforts(folder))
    page = with_block(PAGE.read_text(encoding="utf-8"), text, BEGIN, END)
    with atomic(PAGE) as part:
        part.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
