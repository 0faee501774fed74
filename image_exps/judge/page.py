"""The verdict as one self-contained page, in the look of the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import jinja2

from image_exps.judge.card import table_of_ratios
from image_exps.judge.pictures import pictures
from image_exps.judge.sentences import TITLES, sentences
from image_exps.judge.verdict import Verdict
from theory_checks.ledger.plotting import to_svg

__all__ = ["page"]

_CAPTIONS = {
    "convergence": "Medians over samples of the distance to the end of the exact flow, in more and more steps. Dotted: "
    "lines of whole orders. Grey: the rounding of the run.",
    "law": "Distances of the ends to the exact law. Dotted: the largest that as many exact samples have, at an error "
    "of 1 % for all of them together.",
    "quality": "Mean distance to the flow's end in few evaluations. Dashed: the best baseline at each number.",
    "seconds": "The same against the time of the network and of the steps; baselines' steps cost DDIM's.",
    "numbers": "From 1 to 50 evaluations: does more ever hurt?",
    "guidance": "Ten guided classes of digits, exact scores, 10 evaluations: root mean square of the samples over that "
    "of the guided flow's.",
}
_OF = {"right": ("convergence", "law"), "good": ("quality", "seconds"), "robust": ("numbers", "guidance")}
_ORDER = ("right", "good", "robust", "behaviour", "cost", "same")


def page(verdict: Verdict) -> str:
    """Return the page as HTML; pictures and data are embedded."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = {name: to_svg(figure) for name, figure in pictures(verdict).items()}
    made = sentences(verdict)
    parts = [
        {
            "name": part,
            "title": TITLES[part],
            "sentence": made[part],
            "badge": _badge(verdict, part),
            "pictures": [(drawn[name], _CAPTIONS[name]) for name in _OF.get(part, ()) if name in drawn],
            "found": verdict.part(part),
        }
        for part in _ORDER
        if part in made
    ]
    return environment.get_template("page.html.jinja").render(
        content=verdict.content,
        parts=parts,
        ratios=table_of_ratios(verdict),
        seconds=sum(verdict.content["seconds"].values()),
        data=json.dumps(verdict.content, ensure_ascii=False, indent=1),
    )


def _badge(verdict: Verdict, part: str) -> tuple[str, str]:
    """Return the class and the word of a part's badge; both empty where there is neither a yes nor a no."""
    if verdict.error(part):
        return "open", "not answered"
    found = verdict.part(part)
    if part == "right":
        answer = found["consistent"] if not found["symptoms"] else False
    elif part == "behaviour":
        answer = not found["failures"]
    elif part == "same":
        answer = found["same"]
    else:
        return "", ""
    if part == "right" and found["consistent"] and found["symptoms"]:
        return "fails", "with a symptom"
    return {True: ("holds", "yes"), False: ("fails", "no"), None: ("open", "open")}[answer]
