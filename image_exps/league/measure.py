"""Measure one entry of the league: quality, order twice or law, sameness, cost; each answer is kept when it is found.

A run that was stopped goes on where it was: an answer is taken again while nothing that it depends on has changed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from image_exps.judge import records
from image_exps.judge.cost import judge_cost
from image_exps.judge.judged import CannotRunError, Grid, Judged
from image_exps.judge.law import judge_law, law_answer
from image_exps.judge.limits import time_limit
from image_exps.judge.right import TARGETS, chance, judge_right, right_answer
from image_exps.judge.same import judge_same
from image_exps.judge.tableau import read_tableau
from image_exps.judge.verdict import plain
from image_exps.judge.what import find
from image_exps.league.entries import Entry
from image_exps.league.quality import EVALUATIONS, RESAMPLES, Cell, measure_quality
from image_exps.league.quality import TARGETS as QUALITY_TARGETS
from image_exps.league.second import second_order
from theory_checks.ledger.code_version import code_version
from toy.threads import single_thread

__all__ = ["PARTS", "Answers", "measure"]

#: The questions.
PARTS = ("quality", "right", "second", "same", "cost")

#: What was found, by question.
Answers = dict[str, dict[str, Any]]

_COUNTS, _LAW_COUNTS, _LAW_SAMPLES = (12, 24, 48, 96), (8, 64), 1024
# The longest that a question may take: some twenty times what the slowest entry takes on one core.
_LIMIT = 900.0


def measure(
    entry: Entry,
    out: Path,
    parts: Sequence[str] = PARTS,
    listener: Callable[[str, float], None] = lambda part, share: None,
) -> Answers:
    """Return what was found about an entry, question by question; under "error" stands why there is no answer.

    Args:
        entry: of the league.
        out: folder of the answers; one folder an entry is made in it.
        parts: the questions.
        listener: told the question and the share of it that is done.
    """
    folder = out / "".join(c if c.isalnum() or c in "-+." else "_" for c in f"{entry.what} {entry.same_as}".strip())
    try:
        with time_limit(_LIMIT, "to find it"):
            judged = find(entry.what)
            other = find(entry.same_as) if entry.same_as else None
    except CannotRunError as error:
        return {part: {"error": str(error)} for part in parts}
    found: Answers = {}
    for part in parts:
        if part == "same" and other is None:
            continue
        settings = {"part": part, "spacings": entry.spacings, "code": code_version("image_exps.league.measure")}
        mark = records.fingerprint(judged, [other] if other else [], settings)
        kept = records.load(folder, part, mark)
        if kept is None:
            began = time.monotonic()
            answer = _answer(part, judged, other, entry.spacings, partial(listener, part))
            kept = time.monotonic() - began, answer
            records.save(folder, part, mark, *kept)
        found[part] = kept[1]
        listener(part, 1.0)
    return found


def _answer(
    part: str, judged: Judged, other: Judged | None, spacings: tuple[str, ...], progress: Callable[[float], None]
) -> dict[str, Any]:
    try:
        with single_thread(), time_limit(_LIMIT, f"the question of {part}"):
            if part == "same":
                assert other is not None
                same = judge_same(judged, other)
                return {**plain(same), "same": same.same, "sentence": same.sentence}
            found: dict[str, Any] = plain(_QUESTIONS[part](judged, spacings, progress))
            return found
    except CannotRunError as error:
        return {"error": str(error)}


def _draws(judged: Judged) -> bool:
    return chance(judged, grid=Grid("model"))


def _right(judged: Judged, spacings: tuple[str, ...], progress: Callable[[float], None]) -> dict[str, Any]:
    claimed = judged.claimed_order
    if _draws(judged):
        law = judge_law(judged, _LAW_COUNTS, targets=TARGETS, samples=_LAW_SAMPLES, progress=progress)
        return {"claimed": claimed, **law_answer(law)}
    return {"claimed": claimed, **right_answer(judge_right(judged, _COUNTS, progress=progress))}


def _second(judged: Judged, spacings: tuple[str, ...], progress: Callable[[float], None]) -> dict[str, Any]:
    if chance(judged):
        return {"value": None, "spread": None, "local": [], "reason": "it draws: a path has no order"}
    tableau = read_tableau(judged, 12)
    plain_jump = tableau is None or tableau.used(len(tableau.linear) - 1) == (len(tableau.linear) - 1,)
    value, error, local, reason = second_order(judged, plain_jump=plain_jump)
    return {"value": value, "spread": error, "local": local, "reason": reason}


def _quality(judged: Judged, spacings: tuple[str, ...], progress: Callable[[float], None]) -> dict[str, Any]:
    cells, reasons = measure_quality(judged, spacings, progress)
    return {"cells": [_rounded(cell) for cell in cells], "reasons": reasons,
            "settings": [*EVALUATIONS, *QUALITY_TARGETS, RESAMPLES]}  # fmt: skip


def _rounded(cell: Cell) -> dict[str, Any]:
    """Return a cell with resamples of six digits: they are a spread, and many."""
    short = {name: [float(f"{v:.6g}") for v in np.asarray(getattr(cell, name))] for name in ("means", "frechets")}
    return {**cell._asdict(), **short}


def _cost(judged: Judged, spacings: tuple[str, ...], progress: Callable[[float], None]) -> dict[str, Any]:
    found: dict[str, Any] = plain(judge_cost(judged, progress=progress))
    if not math.isfinite(found["ratio"] or math.nan):
        raise CannotRunError("its cost is not finite")
    return found


_QUESTIONS: dict[str, Callable[[Judged, tuple[str, ...], Callable[[float], None]], dict[str, Any]]] = {
    "right": _right,
    "second": _second,
    "quality": _quality,
    "cost": _cost,
}
