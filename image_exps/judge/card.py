"""The verdict on one screen of a terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from rich.text import Text

from image_exps.judge.sentences import TITLES, sentences
from image_exps.judge.verdict import Verdict

__all__ = ["card", "table_of_ratios"]

_WIDTH, _LABEL = 100, 14
_ORDER = ("right", "good", "robust", "behaviour", "cost", "same")


def card(verdict: Verdict, width: int = _WIDTH) -> Text:
    """Return the card: a head, a paragraph a question, and a table of ratios to the best baseline.

    Args:
        verdict: what was found.
        width: of the screen, at least 60; lines are at most 100 wide.
    """
    width = max(60, min(width, _WIDTH))
    content, made, text = verdict.content, sentences(verdict), Text()
    seconds = sum(content["seconds"].values())
    text.append(f"{content['what']}", style="bold")
    text.append(f"  {content['kind']}; {content['profile']}, seed {content['seed']}, {seconds:.0f} s\n", style="dim")
    for part in _ORDER:
        if part not in made:
            continue
        lines = textwrap.wrap(made[part], width - _LABEL) or [""]
        text.append(f"{TITLES[part]:<{_LABEL}}", style=_style(verdict, part))
        text.append(f"\n{' ' * _LABEL}".join(lines) + "\n")
        if part == "good":
            for line in table_of_ratios(verdict):
                text.append(f"{' ' * _LABEL}{line}\n", style="dim")
    for note in content["notes"]:
        text.append(f"{'Note':<{_LABEL}}" + f"\n{' ' * _LABEL}".join(textwrap.wrap(note, width - _LABEL)) + "\n")
    return text


def _style(verdict: Verdict, part: str) -> str:
    """Return the colour of a title: green for a yes, red for a no, yellow where it is open."""
    if verdict.error(part):
        return "bold yellow"
    found = verdict.part(part)
    answers: dict[str, Any] = {
        "right": found.get("consistent") if not found.get("symptoms") else False,
        "behaviour": not found.get("failures") if found else None,
        "same": found.get("same"),
    }
    if part not in answers:
        return "bold"
    return {True: "bold green", False: "bold red", None: "bold yellow"}[answers[part]]


def table_of_ratios(verdict: Verdict) -> list[str]:
    """Return the lines of the table: a target a line, and an evaluation a column."""
    cells = verdict.part("good").get("cells", [])
    numbers = sorted({cell["evaluations"] for cell in cells})
    targets = list(dict.fromkeys(cell["target"] for cell in cells))
    if not numbers:
        return []
    lines = [f"{'over the best, evaluations':<27}" + "".join(f"{n:>8}" for n in numbers)]
    for target in targets:
        row = {cell["evaluations"]: cell for cell in cells if cell["target"] == target}
        shown = (row.get(n, {}).get("best_ratio") for n in numbers)
        lines.append(f"{target:<27}" + "".join(f"{'-' if r is None else f'{r:.2f}':>8}" for r in shown))
    return lines
