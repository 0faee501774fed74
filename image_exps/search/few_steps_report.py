"""The figures of docs/explanation/solver.md, from the rows: ``python -m image_exps.search.few_steps_report``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np
import pandas as pd

from image_exps.search.few_steps import AFTERWARDS, CONTROLS, OURS, PLAN, RESULTS, read
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = [
    "BEGIN",
    "END",
    "PAGE",
    "Ratio",
    "block",
    "on_networks",
    "ratios",
    "relative_on_networks",
    "with_block",
]

#: The page, and the marks between which the figures stand.
PAGE = Path(__file__).parents[2] / "docs" / "explanation" / "solver.md"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"

_RESAMPLES = 2000


class Ratio(NamedTuple):
    """A distance by that of the oracle, with its 90 % interval; and the same of the root mean square."""

    mean: float
    low: float
    high: float
    square: float


def ratios(cell: pd.DataFrame) -> dict[str, Ratio]:
    """Return the ratios of all that is no baseline in a cell, by arm.

    The oracle is the baseline of the smallest mean (root mean square) distance on the very samples; in every resample
    of the bootstrap it is chosen anew.
    """
    errors = cell.pivot_table("error", ["kind", "arm"], "sample")
    base = errors.loc["baseline"].to_numpy()
    drawn = np.random.default_rng(0).integers(base.shape[1], size=(_RESAMPLES, base.shape[1]))
    best = base[:, drawn].mean(2).min(0)
    found = {}
    for name in (*OURS, *CONTROLS):
        kind = "ours" if name in OURS else "control"
        ours = errors.loc[(kind, name)].to_numpy()
        low, high = np.quantile(ours[drawn].mean(1) / best, (0.05, 0.95))
        mean = ours.mean() / base.mean(1).min()
        square = math.sqrt((ours**2).mean() / (base**2).mean(1).min())
        found[name] = Ratio(float(mean), float(low), float(high), square)
    return found


def _cells(rows: pd.DataFrame) -> Iterator[tuple[str, int, pd.DataFrame]]:
    for cell in PLAN:
        part = rows[(rows["problem"] == cell.problem) & (rows["evaluations"] == cell.evaluations)]
        if len(part):
            yield cell.problem, cell.evaluations, part


def block(rows: pd.DataFrame) -> str:
    """Return the figures as Markdown."""
    found = {(name, n): (ratios(part), part) for name, n, part in _cells(rows)}
    missing = [f"`{c.problem}` in {c.evaluations}" for c in PLAN if (c.problem, c.evaluations) not in found]
    lines = ["| cell | oracle | for_schedule | calibrate | levels alone | rows alone | shuffled | baseline chosen |",
             "| --- | --- | --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for (name, n), (by_arm, part) in sorted(found.items(), key=lambda item: (item[0][0], item[0][1])):
        base = part[part["kind"] == "baseline"].groupby("arm")["error"].mean()
        cells = [_shown(by_arm[arm], interval=arm in OURS) for arm in (*OURS, *CONTROLS)]
        lines.append(f"| `{name}`, {n} | `{base.idxmin()}` {base.min():.3g} | {' | '.join(cells)} |")
    lines.append("")
    after = {(cell.problem, cell.evaluations) for cell in AFTERWARDS}
    groups = (
        ("networks, with for_schedule's choice as it was at first", True, False),
        ("networks that were measured after that choice had been changed", True, True),
        ("exact targets", False, False),
    )
    for what, network, late in groups:
        cells_of = {key: by_arm for key, (by_arm, _) in found.items()
                    if _is_network(key[0]) == network and (key in after) == late}  # fmt: skip
        if cells_of:
            lines += [_summary(what, cells_of), ""]
    lines += [_fixed(rows), "", *_fixed_on_networks(rows)]
    if missing:
        lines += ["", f"Of the plan these cells were not measured: {', '.join(missing)}."]
    return "\n".join(lines)


def _is_network(name: str) -> bool:
    return name.startswith("galaxy-") or name == "fashion-mnist"


def _shown(ratio: Ratio, *, interval: bool) -> str:
    ends = f" [{ratio.low:.2f}, {ratio.high:.2f}]" if interval else ""
    return f"{ratio.mean:.2f}{ends}; {ratio.square:.2f}"


def _summary(what: str, cells: dict[tuple[str, int], dict[str, Ratio]]) -> str:
    parts = []
    for arm in (*OURS, *CONTROLS):
        some = [by_arm[arm] for by_arm in cells.values()]
        mean, square = (_geometric([getattr(r, k) for r in some]) for k in ("mean", "square"))
        parts.append(f"{arm} {mean:.2f}; {square:.2f} (largest {max(r.mean for r in some):.2f})")
    return f"Geometric means over {len(cells)} cells of {what}: {', '.join(parts)}."


def _fixed(rows: pd.DataFrame) -> str:
    """Say which single baseline is nearest to the oracle over all cells, and how near."""
    means = {key: part[part["kind"] == "baseline"].groupby("arm")["error"].mean() for key, part in _keyed(rows)}
    relative = pd.concat([each / each.min() for each in means.values()], axis=1)
    over = np.exp(np.log(relative).mean(axis=1))
    return (
        f"The single baseline that is nearest to the oracle over all of these cells, chosen after the fact, is "
        f"`{over.idxmin()}`, at {over.min():.2f} in the geometric mean and {relative.loc[over.idxmin()].max():.2f} in "
        "its worst cell."
    )


def relative_on_networks(rows: pd.DataFrame, evaluations: int) -> pd.DataFrame:
    """Return the mean distances over the oracle's: a row a baseline, a column a network that was measured."""
    columns = {}
    for name, n, part in _cells(rows):
        if n == evaluations and _is_network(name):
            means = part[part["kind"] == "baseline"].groupby("arm")["error"].mean()
            columns[name] = means / means.min()
    return pd.DataFrame(columns)


def on_networks(rows: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Return the baselines on the networks by number of evaluations, the nearest first over all of these numbers.

    Columns: ``mean``, the geometric mean over networks of the ratio to the oracle, and ``largest``.
    """
    relative = {n: relative_on_networks(rows, n) for n in sorted({cell.evaluations for cell in PLAN})}
    found = {n: pd.DataFrame({"mean": np.exp(np.log(table).mean(axis=1)), "largest": table.max(axis=1)})
             for n, table in relative.items()}  # fmt: skip
    order = pd.DataFrame({n: np.log(table["mean"]) for n, table in found.items()}).mean(axis=1).sort_values().index
    return {n: table.loc[order] for n, table in found.items()}


def _fixed_on_networks(rows: pd.DataFrame) -> list[str]:
    """Return a table of the baselines that are nearest on the networks, whatever the number of evaluations."""
    found = on_networks(rows)
    measured = [n for name, n, _ in _cells(rows) if _is_network(name)]
    counts = ", ".join(f"{measured.count(n)} in {n}" for n in found)
    lines = [
        "One method for all networks, chosen after the fact: the geometric mean over networks of its distance by the "
        f"oracle's, and the largest, for the five that are nearest, and DDIM. Networks: {counts}.",
        "",
        f"| method | {' | '.join(f'{n} evaluations' for n in found)} |",
        f"| --- |{' --- |' * len(found)}",
    ]
    for arm in [*next(iter(found.values())).index[:5], "ddim@time"]:
        cells = [f"{table.at[arm, 'mean']:.2f}; {table.at[arm, 'largest']:.2f}" for table in found.values()]
        lines.append(f"| `{arm}` | {' | '.join(cells)} |")
    return lines


def _keyed(rows: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for name, n, part in _cells(rows):
        yield f"{name} {n}", part


def _geometric(values: list[float]) -> float:
    return math.exp(sum(map(math.log, values)) / len(values))


def with_block(page: str, text: str) -> str:
    """Return a page with these figures between its marks.

    Raises:
        ValueError: for a page without the marks.
    """
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page must have the marks {BEGIN} and {END}")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"


@click.command()
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(folder: Path) -> None:
    """Write the figures into the page."""
    text = with_block(PAGE.read_text(encoding="utf-8"), block(read(folder)))
    with atomic(PAGE) as part:
        part.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
