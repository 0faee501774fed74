"""The scores of single pictures by name, without an import of what computes them."""

from __future__ import annotations

from collections.abc import Iterable

from image_exps.utils.plugins import plugins
from lml.arguments import check_choice

__all__ = ["COLOURFULNESS", "GROUP", "check_score_names", "score_names"]

#: The entry-point group in which packages publish their scores.
GROUP = "lml.scores"

#: The name of ours.
COLOURFULNESS = "colourfulness"


def score_names() -> dict[str, str]:
    """Return where each score comes from, by name: ours, then those of installed packages.

    Raises:
        ValueError: if a name is taken twice.
    """
    found = {COLOURFULNESS: "image_exps.distances.colourfulness"}
    for name, point in plugins(GROUP).items():
        if name in found:
            raise ValueError(f"{GROUP}: {name!r} is defined twice, the second time by {point.value}")
        found[name] = point.value
    return found


def check_score_names(names: Iterable[str]) -> None:
    """Refuse names that no score has.

    Raises:
        ValueError: with the name, listing the scores.
    """
    known = score_names()
    for name in names:
        check_choice(name, "score", known)
