"""Ask all questions of a sampler, one after another, and keep each answer as soon as there is one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from image_exps.judge import records
from image_exps.judge.behaviour import failures, judge_behaviour
from image_exps.judge.cost import judge_cost
from image_exps.judge.good import Good, judge_good
from image_exps.judge.judged import SMOOTH, CannotRunError, Grid, Judged
from image_exps.judge.law import LAW_COUNTS, SAMPLES, judge_law, law_answer
from image_exps.judge.limits import time_limit
from image_exps.judge.right import COUNTS, TARGETS, chance, judge_right, right_answer
from image_exps.judge.robust import judge_robust
from image_exps.judge.same import judge_same
from image_exps.judge.verdict import PARTS, Verdict, plain
from image_exps.judge.what import find
from toy.threads import single_thread

__all__ = ["Listener", "judge"]

#: Called with the name of a question and the share of it that is done.
Listener = Callable[[str, float], None]

# The longest that a question may take, in seconds: many times what it takes on two cores.
_LIMIT = {"quick": 600.0, "full": 3600.0}

#: About how long a question takes on two cores, in seconds, quick and full: for the time that is left.
SECONDS = {
    "quick": {"right": 20.0, "behaviour": 3.0, "same": 3.0, "good": 20.0, "robust": 15.0, "cost": 3.0},
    "full": {"right": 120.0, "behaviour": 3.0, "same": 3.0, "good": 280.0, "robust": 15.0, "cost": 3.0},
}


@dataclass(frozen=True)
class _Asked:
    """What is asked, and how thoroughly."""

    judged: Judged
    other: Judged | None
    profile: str
    seed: int
    evaluations: tuple[int, ...] | None
    spacing: str | None


def judge(
    what: object,
    *,
    profile: str = "quick",
    seed: int = 0,
    claims_order: float | None = None,
    same_as: object = None,
    evaluations: Sequence[int] | None = None,
    spacing: str | None = None,
    parts: Sequence[str] | None = None,
    out: Path | None = None,
    resume: bool = False,
    seconds: float | None = None,
    network_ms: float | None = None,
    listener: Listener = lambda part, share: None,
    **options: Any,
) -> Verdict:
    """Return the verdict on a sampler.

    Args:
        what: a text as of the command line, a scheduler, its class, a function, a sampler; see `image_exps.judge.what`.
        profile: "quick", within 2 minutes on 2 cores, or "full", within 15.
        seed: of all samples.
        claims_order: the order that it is held against; its own claim by default.
        same_as: another sampler that it should be.
        evaluations: of the network, at which its quality is measured; those of the profile by default.
        spacing: of its levels where quality is measured; its own by default.
        parts: the questions; all by default, "same" if there is another sampler.
        out: folder where answers are kept; ``None`` keeps none.
        resume: take answers from ``out`` where nothing that they depend on has changed.
        seconds: the longest that one question may take.
        network_ms: what an evaluation of the network costs, for a picture of quality against seconds.
        listener: called with progress.
        options: of the sampler, besides those that ``what`` has.

    Raises:
        CannotRunError: for what cannot be judged at all, with a sentence.
        ValueError: for a profile or a part that does not exist.
    """
    if profile not in COUNTS:
        raise ValueError(f"profile must be 'quick' or 'full', got {profile!r}")
    asked_parts = tuple(parts if parts is not None else PARTS)
    for part in asked_parts:
        if part not in PARTS:
            raise ValueError(f"parts must be of {', '.join(PARTS)}, got {part!r}")
    limit = seconds or _LIMIT[profile]
    with time_limit(limit, "to find it"):
        judged = find(what, **options)
        other = None if same_as is None else find(same_as)
    if claims_order is not None:
        judged = replace(judged, claimed_order=float(claims_order))
    asked = _Asked(judged, other, profile, seed, tuple(evaluations) if evaluations else None, spacing)
    settings = {"profile": profile, "seed": seed, "evaluations": evaluations, "spacing": spacing,
                "claims_order": judged.claimed_order}  # fmt: skip
    content: dict[str, Any] = {
        "what": judged.name,
        "kind": judged.kind,
        "claimed_order": judged.claimed_order,
        "notes": list(judged.notes),
        "same_as": other.name if other else None,
        **{key: settings[key] for key in ("profile", "seed")},
        "versions": records.versions(),
        "network_ms": network_ms,
        "seconds": {},
        "parts": {},
    }
    draws = False
    for part in asked_parts:
        if part == "same" and other is None:
            continue
        mark = records.fingerprint(judged, [other] if other else [], {"part": part, **settings})
        kept = records.load(out / "parts", part, mark) if resume and out is not None else None
        if kept is None:
            listener(part, 0.0)
            began = time.monotonic()
            found = _answer(part, asked, draws, limit, partial(listener, part))
            kept = time.monotonic() - began, found
            if out is not None:
                records.save(out / "parts", part, mark, *kept)
        content["seconds"][part], content["parts"][part] = round(kept[0], 2), kept[1]
        draws = bool(content["parts"].get("right", {}).get("draws", draws))
        listener(part, 1.0)
    return Verdict(content)


def _answer(part: str, asked: _Asked, draws: bool, limit: float, progress: Callable[[float], None]) -> dict[str, Any]:
    """Return what one question found, or why it could not be answered."""
    try:
        # Samples are small: more threads than one cost more than they save.
        with single_thread(), time_limit(limit, f"the question of {part}"):
            found: dict[str, Any] = plain(_QUESTIONS[part](asked, draws, progress))
            return found
    except CannotRunError as error:
        return {"error": str(error)}


def _right(asked: _Asked, draws: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    judged, profile = asked.judged, asked.profile
    if chance(judged) or chance(judged, grid=Grid("model")):
        if not chance(judged, grid=SMOOTH):
            raise CannotRunError("it draws at some levels and not at others: neither its path nor its law is judged")
        law = judge_law(
            judged, LAW_COUNTS[profile], targets=TARGETS, samples=SAMPLES[profile], seed=asked.seed, progress=progress
        )
        return law_answer(law)
    return right_answer(judge_right(judged, COUNTS[profile], seed=asked.seed, progress=progress))


def _behaviour(asked: _Asked, draws: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    checks = judge_behaviour(asked.judged, draws=draws, progress=progress)
    return {"checks": checks, "failures": [check.name for check in failures(checks)]}


def _same(asked: _Asked, draws: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    assert asked.other is not None
    found = judge_same(asked.judged, asked.other, seed=asked.seed)
    return {**plain(found), "same": found.same, "sentence": found.sentence}


def _good(asked: _Asked, draws: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    cells = judge_good(
        asked.judged,
        asked.profile,
        seed=asked.seed + 71,
        evaluations=asked.evaluations,
        spacing=asked.spacing,
        progress=progress,
    )
    return {"cells": [_cell(cell) for cell in cells]}


def _cell(cell: Good) -> dict[str, Any]:
    best = cell.baselines[0] if cell.baselines else None
    return {
        **plain(cell),
        "baselines": [{**plain(arm), "verdict": arm.verdict} for arm in cell.baselines],
        "best_ratio": best.ratio if best and cell.own else None,
        "best": best.name if best else None,
    }


def _robust(asked: _Asked, draws: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    found: dict[str, Any] = plain(judge_robust(asked.judged, progress=progress))
    return found


def _cost(asked: _Asked, draws: bool, progress: Callable[[float], None]) -> dict[str, Any]:
    found: dict[str, Any] = plain(judge_cost(asked.judged, progress=progress))
    return found


_QUESTIONS: dict[str, Callable[[_Asked, bool, Callable[[float], None]], dict[str, Any]]] = {
    "right": _right,
    "behaviour": _behaviour,
    "same": _same,
    "good": _good,
    "robust": _robust,
    "cost": _cost,
}
