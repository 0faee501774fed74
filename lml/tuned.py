r"""Learned levels and profiles for few steps of DDIM.

`tuned_profile` has the weights, `tuned_fractions` the levels that they belong to, as fractions of the range of
``log(alpha/sigma)`` of a trajectory; the numbers are those of ``tuned.json``. They were learned on exact scores of
photographs and of analytic mixtures, on the linear variance-preserving schedule from time 1 to 1e-3, where
``log(alpha/sigma)`` runs from -5.0 to 4.6 (`image_exps.search`, which repeats it). They say nothing of other ranges.

They are not recommended. What was found of them holds on the targets that they were judged on, and not elsewhere: on a
pretrained network of this range, which was not trained here, plain UniPC beat them by a factor of seven in 5
evaluations.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

from lml.arguments import check_choice, check_integer
from lml.profile import Profile

__all__ = ["TUNED_EVALUATIONS", "tuned_fractions", "tuned_profile"]


@cache
def _table() -> dict[int, dict[str, Any]]:
    table = json.loads((files("lml") / "tuned.json").read_text())
    return {int(steps): entry for steps, entry in sorted(table.items(), key=lambda item: int(item[0]))}


#: The numbers of evaluations for which there is a profile.
TUNED_EVALUATIONS: tuple[int, ...] = tuple(_table())


def tuned_profile(evaluations: int, *, restored: float | None = None) -> Profile:
    """Return the profile of DDIM for so many evaluations, on the levels of `tuned_fractions`.

    Args:
        evaluations: one of `TUNED_EVALUATIONS`.
        restored: instead of the learned shares of the norm; 1 restores it, 0 is the extrapolation alone.

    Raises:
        ValueError: for another number of evaluations.
    """
    entry = _table()[check_choice(evaluations, "evaluations", TUNED_EVALUATIONS)]
    return Profile(
        tuple(tuple(map(float, row)) for row in entry["weights"]),
        tuple(map(float, entry["restored"])) if restored is None else restored,
    )


def tuned_fractions(steps: int) -> tuple[float, ...]:
    """Return ``steps + 1`` fractions of the range of ``log(alpha/sigma)``, from 0 to 1.

    For numbers of steps that no profile is for, the fractions of the nearest that is, the larger of two, are
    interpolated linearly in ``i/steps``: so that solvers that take fewer steps can have the same levels.

    Raises:
        ValueError: unless ``steps`` is a positive integer.
    """
    check_integer(steps, "steps")
    nearest = min(TUNED_EVALUATIONS, key=lambda each: (abs(each - steps), -each))
    knots: list[float] = _table()[nearest]["fractions"]
    if steps == nearest:
        return tuple(knots)
    found = []
    for i in range(steps + 1):
        whole, rest = divmod(i * nearest, steps)
        above = knots[min(whole + 1, nearest)]
        found.append(knots[whole] + (above - knots[whole]) * (rest / steps))
    return tuple(found)
