"""Which sampler for how many steps: two lines from the rows on networks, five from those of the league, in two pages.

python docs/which_sampler.py
"""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from image_exps.league import five_lines
from image_exps.search.few_steps_figures import measured, on_networks, summary
from image_exps.search.few_steps_plan import CALIBRATED, CHOSEN, CONTROLLED, NETWORKS, read

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "docs/how-to/choose-a-sampler.md")
_LINES = re.compile(r"(?<=<!-- which-sampler: begin -->\n).*?(?=<!-- which-sampler: end -->)", re.S)


# Networks that others trained, and numbers as words.
_OTHERS = "galaxy-"
_WORDS = ("no", "one", "two", "three", "four", "five", "six")


def calibrated_line() -> str:
    """Return what a calibration on the network itself is worth, over all networks on which it was measured."""
    name = next(iter(CALIBRATED))
    found = {cell: arms for cell, arms in measured(read()).items() if cell.problem in NETWORKS and name in arms}
    ours, theirs = (summary(arms[arm] for arms in found.values()) for arm in (name, CHOSEN[name]))
    networks = {cell.problem for cell in found}
    others = sum(problem.startswith(_OTHERS) for problem in networks)
    counts = sorted({cell.evaluations for cell in found})
    return (
        f"**Your own network, once**: `lml calibrate --model FOLDER -n {counts[0]}` fits a solver to "
        f"{CALIBRATED[name]} of its trajectories. On {_WORDS[len(networks)]} networks, {_WORDS[others]} of them "
        f"trained by others, in {', '.join(map(str, counts))} evaluations ({len(found)} cells) it ended at "
        f"{ours.mean:.2f} times the best method of each, nowhere above {ours.largest:.2f}; the method that is best on "
        "these trajectories "
        f"ended at {theirs.mean:.2f}."
    )


def on_networks_line() -> str:
    """Return which method is nearest on the networks, chosen after the fact."""
    rows = read()
    rows = rows[rows["evaluations"].isin(CONTROLLED)]
    found = on_networks(rows)
    first = next(iter(found.values()))
    best, count = first.index[0], int(first["networks"].iloc[0])
    names = set(rows[rows["evaluations"].isin(found)]["problem"])
    others = sum(name.startswith(_OTHERS) for name in names)
    whose = f"{_WORDS[others]} of them trained by others" if others < count else "trained by others"
    counts = ", ".join(map(str, found))
    ratios, plain = (
        ", ".join(f"{table.at[arm, 'mean']:.2f}" for table in found.values()) for arm in (best, "ddim@time")
    )
    worst = max(table.at[best, "largest"] for table in found.values())
    return (
        f"**{_WORDS[count].capitalize()} networks, {whose}**: in {counts} evaluations `{best}` is nearest, at {ratios} "
        f"times the best method of each network, nowhere above {worst:.2f}. (DDIM {plain}.)"
    )


def with_lines(page: str) -> str:
    """Return a page with the lines as the rows are now."""
    lines = "".join(
        textwrap.fill(line, 120, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"
        for line in (calibrated_line(), on_networks_line(), *five_lines())
    )
    return _LINES.sub(lambda _: lines, page)


if __name__ == "__main__":
    for path in PAGES:
        path.write_text(with_lines(path.read_text(encoding="utf-8")), encoding="utf-8")
