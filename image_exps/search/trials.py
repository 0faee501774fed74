"""What was tried, in order, on tuning targets alone; every trial is a row for each of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import toy
from image_exps.problems.targets import target
from image_exps.search.learning import Case, Learned, Variant, arm_error, baseline_error, case, fit, score
from toy import DataMixture, ExactTarget

__all__ = [
    "EVALUATIONS",
    "FINALISTS",
    "FROZEN",
    "PLAIN",
    "RESULTS",
    "TUNING",
    "VARIANTS",
    "Bench",
    "bench",
    "learned_trials",
    "leave_one_out",
    "plain_trials",
    "rows",
]

#: Evaluations for which settings are learned.
EVALUATIONS = (5, 6, 8, 10)

#: Tuning targets; none of them is reported.
TUNING = ("photo-8", "photo-16", "photo-8-low-rank", "cross-2d", "random-16d-tuning", "random-64d")

# Patches kept of a data set: the cost of a noise prediction is proportional to them.
_PATCHES = 2000

#: Settings as `image_exps.samplers.arms` names them, no number of which is learned on a trajectory.
PLAIN = (
    *(f"{base}@{spacing}/{kind}({strength})"
      for base, strengths in (("ddim", ("mixing=0.0002", "mixing=0.0005", "mixing=0.0007")),
                              ("dpm-solver++-2m", ("mixing=0.00005", "mixing=0.0001", "mixing=0.0002")),
                              ("unipc-2", ("mixing=0.00005", "mixing=0.0001", "mixing=0.0002")))
      for spacing in ("log-snr", "time")
      for kind in ("lml", "extrapolation")
      for strength in strengths),
    *(f"ddim@{spacing}/lml(mixing=0.0005, {more})"
      for spacing in ("log-snr", "time")
      for more in ("rank=2", "rank=3", "damping_mode=adaptive", "stop=0.7", "start=0.3")),
    *(f"unipc-2@time/lml(mixing=0.0001, {more})"
      for more in ("rank=2", "damping_mode=adaptive", "stop=0.7", "start=0.3")),
)  # fmt: skip

#: Learned variants: the spirit of LML (norm restored), the control without it, and the share of the norm learned.
VARIANTS: dict[str, Variant] = {
    "rank 1, norm restored, log-snr": Variant(1.0, "log-snr", 1),
    "rank 2, norm restored, log-snr": Variant(1.0, "log-snr", 2),
    "all noises, norm restored, log-snr": Variant(1.0, "log-snr"),
    "all noises, norm free, log-snr": Variant(0.0, "log-snr"),
    "all noises, norm restored, time": Variant(1.0, "time"),
    "all noises, norm free, time": Variant(0.0, "time"),
    "rank 1, norm restored, levels learned": Variant(1.0, None, 1),
    "rank 2, norm free, levels learned": Variant(0.0, None, 2),
    "all noises, norm restored, levels learned": Variant(1.0),
    "all noises, norm free, levels learned": Variant(0.0),
    "all noises, share of the norm learned, levels learned": Variant(None),
}

#: The variant that was frozen, for its ratios on validation noises.
FROZEN = "all noises, norm free, levels learned"

#: Where the record is kept.
RESULTS = Path(__file__).parent.parent / "results" / "search"

#: The variants that are learned at every number of evaluations; the others at 5 and 8.
FINALISTS = tuple(name for name in VARIANTS if name.startswith("all noises") and "levels learned" in name)


@dataclass(frozen=True)
class Bench:
    """Training and validation noises of every tuning target, with the error of the best baseline on each."""

    training: dict[str, Case]
    validation: dict[str, Case]

    def best(self, evaluations: int, *, validation: bool) -> dict[str, float]:
        """Return the error of the best baseline in its best spacing, target by target."""
        cases = self.validation if validation else self.training
        return {name: min(baseline_error(c, evaluations).values()) for name, c in cases.items()}


@cache
def bench(training: int, validation: int) -> Bench:
    """Return the tuning targets with so many noises."""

    def cases(count: int, seed: int) -> dict[str, Case]:
        return {name: case(_target(name), count=count, seed=seed) for name in TUNING}

    return Bench(cases(training, 101), cases(validation, 202))


def _target(name: str) -> ExactTarget:
    if name == "random-64d":
        return toy.target(name)
    found = target(name)
    if found.reported:
        raise ValueError(f"target must be one for tuning, {name!r} is reported")
    distribution = found.distribution
    if isinstance(distribution, DataMixture) and distribution.count > _PATCHES:
        return DataMixture(distribution.points[:: -(-distribution.count // _PATCHES)], distribution.tau)
    return distribution


def rows(trial: str, evaluations: int, errors: Mapping[str, float], best: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return a row for each target: its error, the best baseline's, and their ratio."""
    return [
        {"trial": trial, "evaluations": evaluations, "target": name, "error": error, "best_baseline": best[name],
         "ratio": error / best[name]}
        for name, error in errors.items()
    ]  # fmt: skip


def plain_trials(on: Bench, evaluations: int) -> Iterator[dict[str, Any]]:
    """Yield the rows of the baselines and of `PLAIN`, on validation noises."""
    best = on.best(evaluations, validation=True)
    for name, at in on.validation.items():
        for base, error in baseline_error(at, evaluations).items():
            yield from rows(base, evaluations, {name: error}, best)
        for base, error in baseline_error(at, 2 * evaluations).items():
            yield from rows(f"{base} in twice the evaluations", evaluations, {name: error}, best)
    for setting in PLAIN:
        errors = {name: arm_error(at, setting, evaluations) for name, at in on.validation.items()}
        yield from rows(setting, evaluations, errors, best)


def learned_trials(
    on: Bench, evaluations: int, name: str, *, iterations: int, shares: tuple[float, ...] = (0.5,)
) -> tuple[Learned, list[dict[str, Any]]]:
    """Learn one of `VARIANTS` from several first grids; return the one of least loss and its rows on validation."""
    best = on.best(evaluations, validation=False)
    fits = [fit(on.training, best, VARIANTS[name], evaluations, iterations=iterations, share=share) for share in shares]
    found = min(fits, key=lambda each: each.loss)
    return found, rows(name, evaluations, score(on.validation, found), on.best(evaluations, validation=True))


def leave_one_out(on: Bench, evaluations: int, name: str, *, iterations: int) -> Iterator[dict[str, Any]]:
    """Yield, for every target, the error of what was learned on the others."""
    best, judged = on.best(evaluations, validation=False), on.best(evaluations, validation=True)
    for left in on.training:
        others = {key: c for key, c in on.training.items() if key != left}
        found = fit(others, best, VARIANTS[name], evaluations, iterations=iterations)
        errors = score({left: on.validation[left]}, found)
        yield from rows(f"{name}; learned on the others", evaluations, errors, judged)
