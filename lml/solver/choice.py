r"""A solver for a schedule, without the network in question: the published method that is best in the worst case.

Candidates are methods of `lml.solver.methods` at all spacings, and LML of a few strengths on three of them. Targets are
the exact ones of `lml.solver.ensemble` and the small networks of `lml.solver.networks`. On every target k the distance
of a candidate to the end of the exact flow is divided by that of the baseline that is best *there*, an oracle; of the
mean and the root mean square over samples the larger counts. A candidate's loss is the power mean
``(mean_k min(ratio_k, 3)^4)^(1/4)``, in which the worse targets count most. It is bounded, since an oracle can be right
by luck: of seven losses this one chose best for targets that were left out.

LML may take the place of the best baseline only if it passes a validation: for every target it is chosen again on the
others alone, as the baseline is, and must not be more than 5 % further from the flow than that baseline on any of them.
Two kinds are not among the candidates (docs/explanation/solver.md): levels and rows that are fitted to these targets
together, which gained on most targets that were left out and lost more than 5 % on some, and UniPC in the noise
prediction, for what it did on networks.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lml.arguments import check_integer
from lml.samplers import SAMPLERS, NoiseModel, sample
from lml.solver.ensemble import ENSEMBLE, ensemble_model
from lml.solver.methods import METHODS, STRENGTHS, Method, method
from lml.solver.networks import SMALL_NETWORKS, small_model
from lml.solver.path import end
from lml.solver.schedule import SPACINGS, Schedule
from lml.solver.solver import LEAST_EVALUATIONS, MOST_EVALUATIONS, Solver, of_method
from lml.solver.storage import cache_file, read_json, write_atomically
from lml.solver.trajectories import distances

__all__ = [
    "ALLOWED",
    "BASELINES",
    "CANDIDATES",
    "EVALUATIONS",
    "MARGIN",
    "TARGETS",
    "TRIED",
    "VERSION",
    "Choice",
    "Errors",
    "choose",
    "chosen",
    "for_schedule",
    "key_of",
    "schedule_errors",
]

#: The published methods at the published spacings.
BASELINES: tuple[Method, ...] = tuple(Method(base, spacing) for base in METHODS for spacing in SPACINGS)

#: The baselines that may be chosen.
ALLOWED: tuple[Method, ...] = tuple(each for each in BASELINES if not each.base.endswith("-noise"))

#: What is chosen from. LML goes on a first-order method, and on two that extrapolate by themselves.
CANDIDATES: tuple[Method, ...] = ALLOWED + tuple(
    Method(base, spacing, strength)
    for base, order in (("ddim", 1), ("dpm-solver++-2m", 2), ("unipc-2", 2))
    for spacing in SPACINGS
    for strength in STRENGTHS[order]
)

#: All of them: what is measured here, and what a calibration chooses from.
TRIED: tuple[Method, ...] = tuple(dict.fromkeys((*BASELINES, *CANDIDATES)))

#: How much further from the flow than the best baseline LML may be on a target that it was not chosen on.
MARGIN = 1.05

#: Of the choice: raised where anything changes that it depends on.
VERSION = 4
#: Numbers of evaluations for which a choice is made.
EVALUATIONS: tuple[int, ...] = (4, 5, 6, 8, 10, 20)

#: The exact targets, then the networks.
TARGETS: tuple[str, ...] = (*ENSEMBLE, *SMALL_NETWORKS)

_HERE = Path(__file__).parent
_POWER, _MOST = 4, 3.0
_SAMPLES = 24
# Of a network, which costs more: fewer where a trajectory is long.
_NETWORK_SAMPLES, _NETWORK_EVALUATIONS, _LEAST_SAMPLES = 8, 80, 4
_REFERENCE, _REFERENCE_STEPS = "dpm-solver++-3m", 100

#: Mean and root mean square distance of every candidate on a target.
Errors = Mapping[str, tuple[float, float]]


class Choice(NamedTuple):
    """What was chosen: a method by name, and the best baseline with it.

    Attributes:
        method: chosen.
        baseline: the best of the baselines by the same loss.
        worst: the largest distance of ``method`` by that of the baseline that is best on the target.
        held_out: the largest ratio, over targets, of what was chosen without that target to the baseline chosen so.
    """

    method: str
    baseline: str
    worst: float
    held_out: float


def for_schedule(
    schedule: Schedule, evaluations: int, *, progress: Callable[[str], None] | None = None, kept: bool = True
) -> Solver:
    """Return a solver for the noise levels of a network, which is not needed.

    It is a published method at a published spacing, with LML where that passes its validation; see above. What ships
    is looked up; for other noise levels it takes some ten seconds of a core the first time, and is kept.

    Args:
        schedule: the noise levels.
        evaluations: of the network, from 3 to 50.
        progress: is called with a line of text for each target.
        kept: whether what is computed is read and kept in the folder of `lml.solver.storage`.

    Raises:
        ValueError: for another number of evaluations, or more than the schedule has levels.
    """
    check_integer(evaluations, "evaluations", least=LEAST_EVALUATIONS, below=MOST_EVALUATIONS + 1)
    schedule.levels(evaluations, "time")
    return of_method(chosen(schedule, evaluations, progress=progress, kept=kept).method, schedule, evaluations)


def chosen(
    schedule: Schedule, evaluations: int, *, progress: Callable[[str], None] | None = None, kept: bool = True
) -> Choice:
    """Return the choice behind `for_schedule`: that of the nearest of `EVALUATIONS`, by ratio.

    It is a method by name, which takes any number of evaluations.
    """
    evaluations = min(EVALUATIONS, key=lambda n: abs(math.log(evaluations / n)))
    key = key_of(schedule)
    shipped = _shipped().get(key, {}).get("choices", {}).get(str(evaluations))
    if shipped is not None and kept:
        return Choice(*shipped)
    place = cache_file(f"choice-{VERSION}-{key}-{evaluations}.json") if kept else None
    if place is not None and place.exists():
        try:
            found = Choice(*read_json(place))
            method(found.method)
        except (TypeError, ValueError):
            pass  # damaged: it is made again
        else:
            return found
    made = choose(schedule_errors(schedule, evaluations, progress))
    if place is not None:
        write_atomically(place, json.dumps(list(made)) + "\n")
    return made


def key_of(schedule: Schedule) -> str:
    """Return a digest of what a choice depends on: ``lambda`` along the table, to three digits, and the kind."""
    count = len(schedule.times)
    places = [round(i * (count - 1) / 32) for i in range(33)]
    text = f"{schedule.kind} {[round(schedule.half_log_snr[p], 3) + 0.0 for p in places]}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@cache
def _shipped() -> dict[str, Any]:
    table: dict[str, Any] = read_json(_HERE / "choices.json")
    return table["schedules"] if table["version"] == VERSION else {}


def schedule_errors(
    schedule: Schedule, evaluations: int, progress: Callable[[str], None] | None = None
) -> Mapping[str, Errors]:
    """Return the distances of every candidate to the end of the exact flow, by target."""
    # Continuous levels: half a step of a table of training timesteps does not move the choice.
    found: dict[str, Errors] = {}
    continuous = schedule.continuous
    solvers = [of_method(each, continuous, evaluations) for each in TRIED]
    few = max(_LEAST_SAMPLES, min(_NETWORK_SAMPLES, _NETWORK_EVALUATIONS // evaluations))
    for i, name in enumerate(TARGETS):
        if progress is not None:
            progress(f"{evaluations} evaluations: target {i + 1} of {len(TARGETS)}, {name}")
        model, x, exact = _flow(name, continuous)
        if name in SMALL_NETWORKS:
            x, exact = x[:few], exact[:few]
        found[name] = {each.method: _mean_and_square(distances(end(each, model, x), exact)) for each in solvers}
    return found


@lru_cache(maxsize=64)
def _flow(name: str, schedule: Schedule) -> tuple[NoiseModel, Tensor, Tensor]:
    """Return a target's noise model, samples at the first level, and where its flow takes them."""
    generator = torch.Generator().manual_seed(2000 + TARGETS.index(name))
    if name in SMALL_NETWORKS:
        model: NoiseModel = small_model(name)
        shape, count, dtype = SMALL_NETWORKS[name].shape, _NETWORK_SAMPLES, torch.float32
    else:
        model, dim = ensemble_model(name)
        shape, count, dtype = (dim,), _SAMPLES, torch.float64
    fine = schedule.levels(_REFERENCE_STEPS, "log-snr")
    x = fine[0].sigma * torch.randn((count, *shape), dtype=dtype, generator=generator)
    return model, x, sample(SAMPLERS[_REFERENCE], model, x, fine)


def _mean_and_square(errors: Tensor) -> tuple[float, float]:
    return float(errors.mean()), float(errors.square().mean().sqrt())


def choose(errors: Mapping[str, Errors]) -> Choice:
    """Return the choice on some targets, with its validation target by target."""
    best, baseline = _best(errors, CANDIDATES), _best(errors, ALLOWED)
    ratios = []
    for left in errors:
        others = {name: each for name, each in errors.items() if name != left}
        ours, theirs = (errors[left][_best(others, some)] for some in (CANDIDATES, ALLOWED))
        ratios.append(max(a / b for a, b in zip(ours, theirs, strict=True)))
    held_out = max(ratios)
    if held_out > MARGIN:
        best, held_out = baseline, 1.0
    return Choice(best, baseline, max(_ratios(errors, best)), held_out)


def _best(errors: Mapping[str, Errors], among: Sequence[Method]) -> str:
    def loss(name: str) -> float:
        ratios = _ratios(errors, name)
        return float((sum(min(r, _MOST) ** _POWER for r in ratios) / len(ratios)) ** (1 / _POWER))

    return min((each.name for each in among), key=loss)


def _ratios(errors: Mapping[str, Errors], name: str) -> list[float]:
    """Return, target by target, the larger of the two distances by that of the baseline that is best there."""
    found = []
    for on in errors.values():
        best = [min(on[each.name][k] for each in BASELINES) for k in (0, 1)]
        found.append(max(on[name][k] / best[k] for k in (0, 1)))
    return found
