"""The figures of docs/explanation/solver.md, from the rows: ``python -m image_exps.search.few_steps_report``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import pandas as pd

from image_exps.search.few_steps_figures import (
    Frechet,
    Ratio,
    cells,
    doubled,
    frechets,
    measured,
    on_networks,
    oracle,
    relative_on_networks,
    summary,
)
from image_exps.search.few_steps_plan import (
    BESIDE,
    CALIBRATED,
    CHOSEN,
    CONTROLLED,
    CONTROLS,
    FRECHET,
    LML_ARMS,
    NETWORKS,
    OURS,
    PLAN,
    RESULTS,
    SCHEDULES,
    TARGETS,
    Cell,
    Part,
    arms_of,
    read,
    read_frechet,
)
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["BEGIN", "END", "PAGE", "block", "on_networks", "relative_on_networks", "with_block"]

#: The page, and the marks between which the figures stand.
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "solver.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

# What a column of a table is called where its arm has a longer name.
_SHORT = {
    **{arm: arm.replace(" trajectories", "") for arm in OURS},
    **{arm: arm.replace(" trajectories", "").replace("baseline chosen on", "chosen,") for arm in CHOSEN.values()},
}

_GROUPS = {"networks": tuple(NETWORKS), "exact targets": TARGETS}

_Found = Mapping[Cell, dict[str, Ratio]]


def block(rows: pd.DataFrame, frechet: pd.DataFrame) -> str:
    """Return the figures as Markdown.

    Args:
        rows: of `image_exps.search.few_steps_plan.read`.
        frechet: of `image_exps.search.few_steps_plan.read_frechet`.
    """
    found = measured(rows)
    parts = [
        *_summaries(found),
        *_doubled(doubled(rows)),
        *_frechet(frechets(frechet)),
        *_controls(found),
        *_fixed(rows),
        *_cells(rows, found),
        *_missing(found, frechets(frechet)),
    ]
    return "\n".join(parts).strip()


def _summaries(found: _Found) -> list[str]:
    """Return the geometric means over networks and over targets by number of evaluations."""
    lines, arms = [], _shown(found, (*OURS, *CHOSEN.values()))
    for what, names in _GROUPS.items():
        some = {cell: by_arm for cell, by_arm in found.items() if cell.problem in names and set(OURS) & set(by_arm)}
        if not some:
            continue
        table = []
        for n in (*sorted({cell.evaluations for cell in some}), None):
            chosen = [by_arm for cell, by_arm in some.items() if n in (None, cell.evaluations)]
            table.append(["all" if n is None else str(n), *(_summed(chosen, arm) for arm in arms)])
        lines += _section(
            f"Over {what}",
            "Geometric mean over cells of the mean distance by the oracle's; that of the root mean square distance; in "
            "brackets the largest ratio of the mean, of how many cells.",
            ["evaluations", *(_SHORT[arm] for arm in arms)],
            table,
        )
        lines += [_above(some), ""]
    return lines


def _shown(found: _Found, arms: Iterable[str]) -> list[str]:
    """Return arms without those of calibrations on more trajectories that were measured nowhere."""
    there = {arm for by_arm in found.values() for arm in by_arm}
    more = {arm for name in CALIBRATED if name != BESIDE for arm in (name, CHOSEN[name])}
    return [arm for arm in arms if arm in there or arm not in more]


def _above(some: _Found) -> str:
    """Say in how many cells our solvers are further than the oracle."""
    said = []
    for arm in OURS:
        found = [by_arm[arm] for by_arm in some.values() if arm in by_arm]
        if found:
            above, sure = sum(each.mean > 1 for each in found), sum(each.low > 1 for each in found)
            said.append(f"{arm}: {above} of {len(found)}, with the whole interval {sure}")
    return f"Cells whose ratio is above one: {'; '.join(said)}."


def _doubled(found: _Found) -> list[str]:
    """Return what is reached of the best baseline in twice the evaluations."""
    lines, arms = [], _shown(found, OURS)
    table = [
        [f"`{cell.problem}`", f"{cell.evaluations} / {2 * cell.evaluations}"] + [_cell(by_arm, arm) for arm in arms]
        for cell, by_arm in _sorted(found) if cell.problem in NETWORKS
    ]  # fmt: skip
    if table:
        lines += _section(
            "Against twice the evaluations",
            "The ratio of n evaluations to the oracle of 2 n, with its 90 % interval; the root mean square. At one or "
            "less the best baseline needs twice the evaluations.",
            ["network", "n / 2 n", *(_SHORT[arm] for arm in arms)],
            table,
        )
    for what, names in _GROUPS.items():
        some = [by_arm for cell, by_arm in found.items() if cell.problem in names]
        said = []
        for arm in OURS:
            chosen = [by_arm[arm] for by_arm in some if arm in by_arm]
            if chosen:
                reached = sum(each.mean <= 1 for each in chosen)
                said.append(f"{arm} {_summed(some, arm)}, at one or less in {reached}")
        if said:
            lines += [f"Against the oracle of twice the evaluations on {what}: {'; '.join(said)}.", ""]
    return lines


def _frechet(found: Mapping[Cell, Frechet]) -> list[str]:
    if not found:
        return []
    table = [
        [f"`{cell.problem}`", str(cell.evaluations), f"`{each.name}` {each.baseline:.3g}", f"{each.ours:.3g}",
         f"{each.ours - each.baseline:+.2g} [{each.low:+.2g}, {each.high:+.2g}]", f"{each.exact:.3g}"]
        for cell, each in _sorted(found)
    ]  # fmt: skip
    return _section(
        "Frechet distance to draws of the network's own flow",
        "Within the 16 leading principal components of 2048 independent draws of the exact flow, of 1024 samples. The "
        "last column is that of the exact flow's ends from the same noises: to be below it is not to be better. The "
        "interval, 90 %, is that of the difference.",
        ["network", "evaluations", "best baseline", f"{_SHORT[BESIDE]}", "difference", "exact flow"],
        table,
    )


def _controls(found: _Found) -> list[str]:
    arms = (BESIDE, CHOSEN[BESIDE], *CONTROLS)
    groups = {
        what: [by_arm for cell, by_arm in found.items() if cell.problem in names and set(arms) <= set(by_arm)]
        for what, names in _GROUPS.items()
    }
    groups = {what: chosen for what, chosen in groups.items() if chosen}
    if not groups:
        return []
    return _section(
        "Controls",
        f"In {', '.join(map(str, sorted(CONTROLLED)))} evaluations, fitted to other trajectories than the calibration: "
        "geometric means over the same cells, as above.",
        ["solver", *groups],
        [[arm, *(_summed(chosen, arm) for chosen in groups.values())] for arm in arms],
    )


def _fixed(rows: pd.DataFrame) -> list[str]:
    """Return a table of the baselines that are nearest on the networks, whatever the number of evaluations."""
    found = on_networks(rows)
    if not found:
        return []
    first = next(iter(found.values()))
    count = int(first["networks"].iloc[0])
    return _section(
        "One method for all networks",
        f"Chosen after the fact: the geometric mean over {count} networks of its distance by the oracle's, and the "
        "largest, for the five baselines that are nearest, and DDIM.",
        ["method", *(f"{n}" for n in found)],
        [
            [f"`{arm}`", *(f"{table.at[arm, 'mean']:.2f} ({table.at[arm, 'largest']:.2f})" for table in found.values())]
            for arm in dict.fromkeys([*first.index[:5], "ddim@time"])
        ],
    )


def _cells(rows: pd.DataFrame, found: _Found) -> list[str]:
    """Return the tables of all cells, one a problem."""
    best = {cell: oracle(part) for cell, part in cells(rows)}
    arms = _shown(found, (*OURS, CHOSEN[BESIDE]))
    lines: list[str] = []
    for problem in (*NETWORKS, *TARGETS):
        some = {cell: by_arm for cell, by_arm in found.items() if cell.problem == problem}
        if not some:
            continue
        table = []
        for cell, by_arm in _sorted(some):
            name, distance = best[cell]
            lml = min((by_arm[arm].mean for arm in LML_ARMS if arm in by_arm), default=None)
            table.append(
                [cell.schedule, str(cell.evaluations), f"`{name}` {distance:.3g}"]
                + [_cell(by_arm, arm) for arm in arms]
                + ["-" if lml is None else f"{lml:.2f}"]
            )
        lines += _section(
            f"`{problem}`, {next(iter(some)).samples} samples", "",
            ["schedule", "n", "oracle", *(_SHORT[arm] for arm in arms), "LML on DDIM"], table,
        )  # fmt: skip
    return lines


def _missing(found: _Found, distances: Mapping[Cell, Frechet]) -> list[str]:
    """Say which cells of the plan were not measured."""
    lines = []
    wanted = [cell for cell in PLAN if cell.problem in FRECHET and cell.evaluations in CONTROLLED]
    of_parts: dict[str, Part] = {
        "`for_schedule`": "for_schedule",
        f"`calibrate` on {CALIBRATED[BESIDE]} trajectories": "calibrate",
        f"`calibrate` on {max(CALIBRATED.values())} trajectories": "calibrate_more",
        "the controls": "controls",
    }
    for what, absent in (
        ("the published methods", [cell for cell in PLAN if cell not in found]),
        *(
            (what, [cell for cell in PLAN if not set(arms_of(cell, part)) <= set(found.get(cell, {}))])
            for what, part in of_parts.items()
        ),
        ("Frechet distances", [cell for cell in wanted if cell not in distances]),
    ):
        if absent:
            lines += [f"Of the plan these cells were not measured with {what}: {_listed(absent)}.", ""]
    return lines


def _listed(absent: Sequence[Cell]) -> str:
    """Return cells in words: problems, with their schedules and numbers of evaluations."""
    numbers: dict[tuple[str, str], list[int]] = {}
    for cell in absent:
        numbers.setdefault((cell.problem, cell.schedule), []).append(cell.evaluations)
    schedules: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for (problem, schedule), some in numbers.items():
        schedules.setdefault((problem, tuple(sorted(some))), []).append(schedule)
    return "; ".join(
        f"`{problem}`" + f" ({', '.join(names)})" * (problem in TARGETS and len(names) < len(SCHEDULES))
        + f" in {', '.join(map(str, some))}" for (problem, some), names in schedules.items()
    )  # fmt: skip


def _sorted(found: Mapping[Cell, Any]) -> list[tuple[Cell, Any]]:
    order = (*NETWORKS, *TARGETS)
    return sorted(
        found.items(), key=lambda item: (order.index(item[0].problem), SCHEDULES.index(item[0].schedule), item[0][2])
    )


def _section(title: str, text: str, head: Sequence[str], table: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"### {title}", "", *([text, ""] if text else [])]
    return [*lines, f"| {' | '.join(head)} |", f"| {' | '.join('---' for _ in head)} |",
            *(f"| {' | '.join(row)} |" for row in table), ""]  # fmt: skip


def _cell(by_arm: dict[str, Ratio], arm: str) -> str:
    """Return a ratio with its interval, and that of the root mean square; a dash where it was not measured."""
    if arm not in by_arm:
        return "-"
    ratio = by_arm[arm]
    return f"{ratio.mean:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]; {ratio.square:.2f}"


def _summed(some: Iterable[dict[str, Ratio]], arm: str) -> str:
    """Return the summary of an arm over the cells in which it was measured."""
    chosen = [by_arm[arm] for by_arm in some if arm in by_arm]
    if not chosen:
        return "-"
    found = summary(chosen)
    return f"{found.mean:.2f}; {found.square:.2f} ({found.largest:.2f} of {found.cells})"


def with_block(page: str, text: str, begin: str = BEGIN, end: str = END) -> str:
    """Return a page with these figures between its marks.

    Raises:
        ValueError: for a page without the marks.
    """
    head, first, rest = page.partition(begin)
    _, last, tail = rest.partition(end)
    if not first or not last:
        raise ValueError(f"the page must have the marks {begin} and {end}")
    return f"{head}{begin}\n\n{text}\n\n{end}{tail}"


@click.command()
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(folder: Path) -> None:
    """Write the figures into the page."""
    text = with_block(PAGE.read_text(encoding="utf-8"), block(read(folder), read_frechet(folder)))
    with atomic(PAGE) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
