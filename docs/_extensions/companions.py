"""What belongs to a claim: its figures, notebooks, referee's page and code; found by the ids that these name."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

from theory_checks.ledger.claim import Claim
from theory_checks.ledger.family import find_claims

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "out/figures"
NOTEBOOKS = ROOT / "theory_checks/notebooks"
REFEREE = ROOT / "examples/referee"

#: What ends the name of a figure whose panels stand in one column.
PHONE = "-phone"

#: The notebooks that teach the paper, in its order; others follow by name.
READING_ORDER = ("kernel_geometry", "hessian", "stationary_measure", "convergence", "annealing", "precision")

_ID = re.compile(r"\b[A-Z]\d+[a-z]?\b")


def named(text: str) -> set[str]:
    """Return the ids of claims that a text names, also those within ``S1 to S3``."""
    known = [claim.id for claim in find_claims()]
    found = set(_ID.findall(text)) & set(known)
    for first, last in re.findall(r"\b([A-Z]\d+) to ([A-Z]\d+)\b", text):
        if first in known and last in known:
            found |= set(known[known.index(first) : known.index(last) + 1])
    return found


@cache
def figures() -> dict[str, set[str]]:
    """Return the figures that were drawn, by name, with the claims that their captions name."""
    drawn = sorted(path for path in FIGURES.glob("*.png") if not path.stem.endswith(PHONE))
    return {path.stem: named(path.with_suffix(".txt").read_text(encoding="utf-8")) for path in drawn}


@cache
def notebooks() -> dict[str, tuple[str, set[str]]]:
    """Return the notebooks in their reading order, by name: title, and the claims that their texts name."""

    def place(path: Path) -> tuple[int, str]:
        return (READING_ORDER.index(path.stem) if path.stem in READING_ORDER else len(READING_ORDER), path.stem)

    found = {}
    for path in sorted(NOTEBOOKS.glob("*.ipynb"), key=place):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        texts = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]
        title = texts[0].splitlines()[0].lstrip("# ")
        found[path.stem] = (title, named("\n".join(texts)))
    return found


def see_also(claim: Claim) -> str:
    """Return links from a claim to its figures, notebooks, referee's page and code, as a line of Markdown."""
    links = [f"figure [{name.replace('_', ' ')}](#fig-{name})" for name, ids in figures().items() if claim.id in ids]
    links += [
        f"notebook [{title}](../notebooks/{name}.ipynb)"
        for name, (title, ids) in notebooks().items()
        if claim.id in ids
    ]
    if (REFEREE / f"{claim.id}.py").is_file():
        links.append(f"[the referee's page](../../examples/referee/{claim.id}.py), in NumPy alone")
    links.append(f"code {{py:obj}}`{claim.check_name.replace(':', '.')}`")
    return f"See also: {'; '.join(links)}."
