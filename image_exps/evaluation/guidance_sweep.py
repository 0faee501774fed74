"""The guidance sweep of the paper's Figure 8: prompts against pictures, a curve a sampler, its Pareto front marked.

``sample`` and ``evaluate`` are run for each of `SCALES`; here their results meet.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.figure import Figure

from image_exps.evaluation.results import Result
from theory_checks.ledger.plotting import COLOURS, panels, style

__all__ = ["SCALES", "Point", "draw_pareto", "pareto_front", "sweep_points"]

#: The guidance scales of Figure 8 (Supp. C.1).
SCALES: tuple[float, ...] = (5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0)


class Point(NamedTuple):
    """One sampler at one scale: how near pictures are to prompts (more is better), and to real ones (less is)."""

    sampler: str
    guidance: float
    score: float
    distance: float


def sweep_points(results: Sequence[Result], score: str, distance: str) -> list[Point]:
    """Return the points at which both metrics were measured, by sampler and scale.

    Args:
        results: of one model and one number of evaluations; each metric at most once for each sampler and scale.
        score: name of the metric that grows with quality, e.g. ``CLIP clip-vit-large-patch14``.
        distance: name of the one that falls.

    Raises:
        ValueError: for no such point, results of several models or budgets, or a metric that is there twice.
    """
    kept = [r for r in results if r.metric in (score, distance) and not math.isnan(r.guidance)]
    settings = sorted({f"{r.model}, {r.evaluations} evaluations" for r in kept})
    if len(settings) > 1:
        raise ValueError(f"results must be of one model and budget, got {'; '.join(settings)}")
    found: dict[tuple[str, float], dict[str, float]] = {}
    for r in kept:
        cell = found.setdefault((r.sampler, r.guidance), {})
        if r.metric in cell:
            raise ValueError(f"results must have {r.metric} once for {r.sampler} at guidance {r.guidance:g}, got two")
        cell[r.metric] = r.value
    points = [Point(s, g, c[score], c[distance]) for (s, g), c in sorted(found.items()) if len(c) == 2]
    if not points:
        raise ValueError(f"results must have {score} and {distance} of the same pictures with guidance, got none")
    return points


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other one beats, by rising score: none has a score as high and a distance as low."""
    front: list[Point] = []
    for point in sorted(points, key=lambda p: (-p.score, p.distance)):
        if not front or point.distance < front[-1].distance:
            front.append(point)
    return front[::-1]


def draw_pareto(points: Sequence[Point], score: str, distance: str) -> Figure:
    """Draw a curve a sampler, scales written at its ends, and the front of all."""
    figure, (axis,) = panels(1, width=4.6, height=3.4)
    colours = [COLOURS[name] for name in ("control", "other", "literal", "corrected", "bound", "target")]
    base = 0
    with style():
        for sampler in sorted({p.sampler for p in points}):
            curve = sorted((p for p in points if p.sampler == sampler), key=lambda p: p.guidance)
            plain = not sampler.partition("/")[2].startswith("lml")
            colour = colours[base % len(colours)] if plain else COLOURS["lml"]
            base += plain
            places = [p.score for p in curve], [p.distance for p in curve]
            axis.plot(*places, "o-", ms=4, color=colour, label=_plain(sampler))
            for p in {curve[0], curve[-1]}:
                axis.annotate(f"{p.guidance:g}", (p.score, p.distance), textcoords="offset points", xytext=(4, 4))
        front = pareto_front(points)
        axis.plot([p.score for p in front], [p.distance for p in front], "s", ms=9, mfc="none",
                  color=COLOURS["limit"], label="Pareto front")  # fmt: skip
        axis.set(xlabel=f"{_plain(score)} (more is better)", ylabel=f"{_plain(distance)} (less is better)")
        axis.legend()
    return figure


def _plain(text: str) -> str:
    """Return a name for matplotlib, to which dollars are formulas and an underscore in front hides from the legend."""
    return (f" {text}" if text.startswith("_") else text).replace("$", r"\$")
