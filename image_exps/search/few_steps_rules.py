"""Rules by which `calibrate` could choose among its candidates; each sees errors on the trajectories alone.

The candidates are the published methods and LML that were kept (ranks 0 and 1), and the fits (rank 2), the one of the
smallest ridge last. The others see that fit; a fit that diverged on a trajectory is no candidate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from lml.solver.fitting import RIDGES
from lml.solver.selection import Candidate, best_score, decide, difficulties, pick, scores

__all__ = ["RULES", "SHIPS", "best_published", "ships"]


def ships(candidates: Sequence[Candidate], refinement: float) -> Candidate:
    """Return the last fit unless the simplest of the others is surely better: the rule of `lml.solver.calibration`.

    It is what that compares with the published method on fresh noises.

    Args:
        candidates: the fit of the smallest ridge last.
        refinement: the error of the trajectories.
    """
    *arms, last = _with_last_fit(candidates)
    return (decide(arms, last, refinement) if last.rank == 2 else decide([*arms, last], None, refinement)).best


def best_published(candidates: Sequence[Candidate]) -> Candidate:
    """Return the published method of the best score."""
    return pick([each for each in candidates if each.rank == 0])


def _arms(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [each for each in candidates if each.rank < 2]


def _fits(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [each for each in candidates if each.rank == 2 and bool(torch.isfinite(each.errors).all())]


def _with_last_fit(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [*_arms(candidates), *[each for each in _fits(candidates) if each is candidates[-1]]]


def _fit_of(ridge: float) -> Callable[[Sequence[Candidate]], Candidate]:
    def rule(candidates: Sequence[Candidate]) -> Candidate:
        name = f"ridge {ridge:g}"
        found = [each for each in _fits(candidates) if each.name.endswith(name)]
        return found[0] if found else pick(_arms(candidates))

    return rule


def _fit_of_best_score(candidates: Sequence[Candidate]) -> Candidate:
    fits, among = _fits(candidates), [*_arms(candidates), *_fits(candidates)]
    found = scores(among, difficulties(among)).tolist()[-len(fits) :]
    return fits[found.index(min(found))] if fits else pick(_arms(candidates))


#: The rule that ships.
SHIPS = "the fit unless another is surely better (ships)"

#: The other rules by name. Those of a fit take the simplest other candidate within the noise where there is none.
RULES: dict[str, Callable[[Sequence[Candidate]], Candidate]] = {
    "the published method of the best score": best_published,
    "the simplest within the noise of the best": lambda candidates: pick(_with_last_fit(candidates)),
    "the best score": lambda candidates: best_score(_with_last_fit(candidates)),
    **{f"the fit always, ridge {ridge:g}": _fit_of(ridge) for ridge in RIDGES},
    "the fit always, at the ridge of the best score": _fit_of_best_score,
}
