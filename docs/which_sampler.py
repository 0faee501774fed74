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
# Up to so many evaluations, and above.
_FEW = 8
_WORDS = ("no", "one", "two", "three", "four", "five", "six")


def calibrated_line() -> str:
    """Return what a calibration on the network itself is worth, over all networks on which it was measured."""
    name = next(iter(CALIBRATED))
    found = {cell: arms for cell, arms in measured(read()).items() if cell.problem in NETWORKS and name in arms}
    networks = {cell.problem for cell in found}
    others = sum(problem.startswith(_OTHERS) for problem in networks)
    few, many = ({c: a for c, a in found.items() if (c.evaluations <= _FEW) is small} for small in (True, False))
    said = []
    for some in (few, many):
        counts = [cell.evaluations for cell in some]
        ours, theirs = (summary(arms[arm] for arms in some.values()).mean for arm in (name, CHOSEN[name]))
        said.append((f"{min(counts)} to {max(counts)} evaluations", f"{ours:.2f}", f"{theirs:.2f}"))
    worst = max(found, key=lambda cell: found[cell][name].mean)
    first, then = said
    return (
        f"**Your own network, once**: `lml calibrate --model FOLDER -n {CONTROLLED[1]}` fits a solver to "
        f"{CALIBRATED[name]} of its trajectories, and says what to expect. On {_WORDS[len(networks)]} networks, "
        f"{_WORDS[others]} of them trained by others, in {first[0]} it ended at {first[1]} times the best method of "
        f"each, which nobody knows beforehand; the method that is best on these trajectories at {first[2]}. In "
        f"{then[0]} it gains little, {then[1]} and {then[2]}. On `{worst.problem}`, which has rare hard samples, it "
        f"ended at up to {found[worst][name].mean:.2f}."
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
