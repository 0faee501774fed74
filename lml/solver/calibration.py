r"""A solver for one network, chosen and fitted on a few accurate trajectories of it.

1. Accurate trajectories from ``samples`` noises (`lml.solver.trajectories`).
2. All methods of `lml.solver.choice` on a quarter of them, the better ones and `for_schedule`'s choice on all.
3. Levels and rows fitted to the ends of the trajectories (`lml.solver.fitting`), from the best published method, along
   a path of ridges, in two halves: each trajectory is judged by the fit to the other half, on levels as they will be
   used (the nearest entries for a network of integer timesteps).
4. The fit, unless the simplest of the others that is within the noise of their best (`lml.solver.selection`) is surely
   better where the fit was held out; it is then made once more on all trajectories. So the doubt is for the fit: where
   it is judged it knows half of the trajectories, while the others were chosen on the very ones. On targets and small
   networks that are for tuning alone this rule was better than to ask that the fit be surely better, in the mean and in
   the number of cases that are worse than the best published method. A solver that diverges on a trajectory is no
   candidate.

5. What is chosen, unless it is the published method that is best on all of the trajectories, is compared with that on
   four times as many fresh noises, with cheaper references (`lml.solver.fresh`). If it is no nearer in the mean there
   the published method is taken. Errors are heavy-tailed: that a fit is nearer on most trajectories can be paid for on
   the rare hard ones, of which a few trajectories may have none.

What to expect is the ratio of the two mean distances on these noises; it is one where the published method is taken.

Solvers compute in float64; the network is asked in the type that it is used in. Every stage is kept as it is made: a
calibration that is interrupted goes on where it was, and ends with the same answer.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lml.arguments import check_integer
from lml.samplers import Level, NoiseModel
from lml.solver.choice import BASELINES, TRIED, chosen, for_schedule, key_of
from lml.solver.fitting import Fit, Problem, fit, fit_cost
from lml.solver.fresh import ROUNDS, fresh_cost, fresh_errors
from lml.solver.methods import Method, method
from lml.solver.path import end
from lml.solver.progress import Progress, duration
from lml.solver.schedule import Schedule, spaced
from lml.solver.selection import Candidate, Interval, best_score, confirm, decide, difficulties, halves, scores
from lml.solver.solver import FITTED, LEAST_EVALUATIONS, MOST_EVALUATIONS, Solver, Validation, of_method
from lml.solver.stages import Stages
from lml.solver.storage import cache_file, from_dict, read_json, to_dict, write_atomically
from lml.solver.trajectories import Checked, Reference, distances, reference, reference_cost

__all__ = ["LEAST_SAMPLES", "VERSION", "Calibration", "calibrate", "cost", "fingerprint"]

#: Fewer trajectories than these cannot be held out from a fit.
LEAST_SAMPLES = 8

#: Of the procedure: what was kept by another one is made again.
VERSION = 6

_LOG = logging.getLogger(__name__)

# Evaluations of each sample that tell a network from another.
_ASKED = 2

_FOLDS = 2
_KEPT_ARMS = 12
_FIT_NAME = "levels and rows"

# The accurate trajectories' own error, as a share of the solver's, from which on it is said.
_DOUBTFUL = 0.3

# Beside the tensors of a stage.
_COUNT = "evaluations"


@dataclass(frozen=True)
class Calibration:
    """What was found for a network.

    Attributes:
        solver: chosen; its ``validation`` says what to expect.
        baseline: the published method that is best on the trajectories, by name.
        candidates: what was chosen from, by name, with the score of each relative to the best.
        spent: evaluations of one sample, in all runs if it was interrupted, but for the stages that were cut short.
        advice: a sentence about what could be doubtful; empty if nothing is.
    """

    solver: Solver
    baseline: str
    candidates: dict[str, float]
    spent: int
    advice: str = ""

    def __str__(self) -> str:
        lines = [f"Chosen      {self.solver.method} in {self.solver.evaluations} evaluations"]
        if self.solver.validation is not None:
            lines.append(f"To expect   {self.solver.validation}")
        lines.append(f"Spent       {self.spent} evaluations of one sample")
        return "\n".join([*lines, f"Note        {self.advice}"] if self.advice else lines)

    def paste(self, path: str) -> str:
        """Return the lines of Python that use the solver, once it is saved to this file."""
        return (
            "from lml.schedulers import LMLSolverScheduler\n"
            "from lml.solver import load\n"
            f"pipe.scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config, solver=load({path!r}))"
        )


def cost(evaluations: int, samples: int = 16) -> int:
    """Return about how many evaluations of one sample `calibrate` takes if a fit is chosen; it grows as their square.

    Up to a third less if none is chosen; more where a step of a fit needs a second try, which is seldom.
    """
    if samples < LEAST_SAMPLES:
        return _ASKED * samples
    return _ASKED * samples + sum(_stage_costs(evaluations, samples).values())


def _stage_costs(n: int, samples: int) -> dict[str, int]:
    """Return what the stages cost, in their order."""
    folds = {f"fold-{k}": samples * (fit_cost(n) + n) for k in range(_FOLDS)}
    methods = n * (len(TRIED) * screened(samples) + (_KEPT_ARMS + 1) * samples)
    last = {"fit": samples * fit_cost(n), "check": fresh_cost(n, samples)}
    return {"ends": reference_cost(samples), "methods": methods, **folds, **last}


def calibrate(
    noise_model: NoiseModel,
    schedule: Schedule,
    evaluations: int,
    samples: int = 16,
    *,
    shape: Sequence[int],
    seed: int = 0,
    batch: int = 64,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[str], None] | None = None,
    kept: bool = True,
) -> Calibration:
    """Return the solver for a network at a number of evaluations.

    Args:
        noise_model: the noise prediction ``eps(x, level)``, as of `lml.samplers`; with whatever guidance it is used.
        schedule: its noise levels. A network of integer timesteps is asked between them too, by the fits.
        evaluations: from 3 to 50.
        samples: accurate trajectories; with fewer than 8 nothing can be judged, and `for_schedule`'s choice is
            returned, which is said.
        shape: of one sample.
        seed: of the noises.
        batch: samples that are evaluated at once. A network that knows its samples by their place, as of prompts, needs
            ``batch`` to be no smaller than ``samples``. It changes the answer by the rounding of the network alone.
        dtype: of the samples that the network is asked for, which are on the CPU.
        progress: is called with lines of text, the cost first, then the time that it will take.
        kept: whether the answer, and the stages before it, are read and kept in the folder of `lml.solver.storage`, by
            the network's answers to two questions.

    Raises:
        ValueError: for an argument that does not fit; for a network that returns another shape or numbers that are not
            finite; where all published methods diverge.
    """
    check_integer(evaluations, "evaluations", least=LEAST_EVALUATIONS, below=MOST_EVALUATIONS + 1)
    check_integer(samples, "samples")
    check_integer(batch, "batch")
    check_integer(seed, "seed", least=0)
    if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape must be positive integers, got {tuple(shape)}")
    schedule.levels(evaluations, "time")
    notify = progress or (lambda line: None)
    model = Checked(noise_model, batch, dtype)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((samples, *shape), dtype=torch.float64, generator=generator)
    fresh = torch.randn((ROUNDS, samples, *shape), dtype=torch.float64, generator=generator)
    digest = fingerprint(model, schedule, noise)
    if samples < LEAST_SAMPLES:
        advice = (
            f"{samples} trajectories are too few to judge by, at least {LEAST_SAMPLES} are needed: this is the choice "
            "for the schedule, without a look at the network"
        )
        _LOG.warning("%s", advice)
        found = for_schedule(schedule, evaluations, progress=progress)
        return Calibration(found, found.method, {found.method: 1.0}, model.count, advice)
    text = f"{VERSION} {digest} {key_of(schedule)} {schedule.integer} {evaluations} {samples} {seed} {dtype}"
    place = cache_file(f"calibration-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json") if kept else None
    if place is not None and place.exists():
        try:
            values = read_json(place)
            return Calibration(**{**values, "solver": from_dict(values["solver"])})
        except (KeyError, TypeError, ValueError):
            pass  # damaged: it is made again
    costs, total, each = _stage_costs(evaluations, samples), cost(evaluations, samples), model.seconds
    notify(f"cost: about {total} evaluations of one sample, {total - costs['fit']} if no fit is chosen")
    notify(f"time: about {duration(total * each)}, at {each:.2g} s for each")
    stages = Stages(None if place is None else place.with_suffix(""))
    progress_lines = Progress(model, costs, each, notify)
    made = _Procedure(model, schedule, evaluations, (noise, fresh), stages, progress_lines).run(digest)
    if place is not None:
        try:
            write_atomically(place, json.dumps({**vars(made), "solver": to_dict(made.solver)}) + "\n")
        except OSError as error:
            _LOG.warning("%s cannot be written: %s", place, error)
        else:
            stages.clear()
    return made


def fingerprint(model: NoiseModel, schedule: Schedule, noise: Tensor) -> str:
    """Return a digest of a network's answers, to three digits, at two levels.

    Every noise is asked for: networks may differ in the prompts of later ones alone.
    """
    digest = hashlib.sha256(repr(tuple(noise.shape[1:])).encode())
    for share in torch.linspace(0.3, 0.7, _ASKED, dtype=torch.float64).tolist():
        first, last = schedule.range
        level = schedule.level(first + share * (last - first))
        e = model(noise * (level.alpha**2 + level.sigma**2) ** 0.5, level).flatten(1)
        values = torch.stack([e.mean(1), e.std(1, correction=0), e[:, 0]]).flatten().tolist()
        digest.update(repr([f"{v:.3g}" for v in values]).encode())
    return digest.hexdigest()[:16]


def screened(samples: int) -> int:
    """Return on how many trajectories every method is tried."""
    return max(4, samples // 4)


def shortlist(first: Sequence[Candidate], own: str) -> list[str]:
    """Return the methods that are worth a look on all trajectories.

    Args:
        first: every method, on some trajectories; those that diverged are left out.
        own: of the choice for the schedule, which is in the list.
    """
    first = [each for each in first if bool(torch.isfinite(each.errors).all())]
    names = [own]
    if first:
        found = scores(first, difficulties(first))
        order = [first[i].name for i in sorted(range(len(first)), key=lambda i: float(found[i]))]
        plain = {each.name for each in BASELINES}
        names += [*order[:_KEPT_ARMS], *[name for name in order if name in plain][:1]]
    return list(dict.fromkeys(names))


def start_of(arms: Sequence[Candidate], seen: Tensor) -> Method:
    """Return the published method that is best on some trajectories: a fit to them begins with it."""
    return method(best_score([each._replace(errors=each.errors[seen]) for each in arms if not each.rank]).name)


class _Procedure:
    """The stages of a calibration, with what they share."""

    def __init__(
        self,
        model: Checked,
        schedule: Schedule,
        n: int,
        noises: tuple[Tensor, Tensor],
        stages: Stages,
        progress: Progress,
    ) -> None:
        self.model, self.schedule, self.n, self.stages = model, schedule, n, stages
        self.noise, self.fresh = noises
        self.progress, self.spent = progress, model.count
        self.flow: Reference

    def run(self, digest: str) -> Calibration:
        x = self.schedule.levels(self.n, "time")[0].sigma * self.noise
        made = self._stage("ends", self._ends)
        self.flow = Reference(x, made["ends"], made["refinement"])
        errors = self._stage("methods", self._methods)
        arms = [Candidate(name, int(method(name).strength > 0), each) for name, each in errors.items()
                if bool(torch.isfinite(each).all())]  # fmt: skip
        if not any(each.rank == 0 for each in arms):
            raise ValueError("noise_model must be one on which a published method ends in finite numbers, got none")
        fitted = self._fitted(arms)
        off, advice = float(self.flow.refinement.mean()), []
        best, baseline = decide(arms, fitted, off)
        error = float(best.errors.mean())
        if off > _DOUBTFUL * error:
            advice.append(f"the accurate trajectories are themselves off by {off:.2g}, where the error is {error:.2g}")
        solver, count, on, expected = self._solver(best, arms), len(self.noise), "trajectories", None
        if best is not baseline:
            count, on = ROUNDS * count, "fresh noises"
            expected = confirm(*self._checked(solver, baseline.name))
        if expected is None:
            solver, expected = self._solver(baseline, arms), Interval(1.0, 1.0, 1.0)
        elif expected.high > 1:
            advice.insert(0, f"it is not sure that this is nearer: take {2 * len(self.noise)} samples")
        judged = Validation(f"{count} {on}", count, *expected, baseline.name)
        solver = replace(solver, validation=judged, model=digest)
        candidates = arms if fitted is None else [*arms, fitted]
        found = scores(candidates, difficulties(candidates))
        least = max(float(found.min()), torch.finfo(torch.float64).tiny)
        table = {each.name: float(value) / least for each, value in zip(candidates, found, strict=True)}
        self.progress.notify(f"100%  chosen: {solver.method}")
        return Calibration(solver, baseline.name, table, self.spent, "; ".join(advice))

    def _stage(self, name: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return what a stage made, which is kept with the evaluations that it took."""
        self.progress.enter(name)
        before = self.model.count

        def counted() -> dict[str, Tensor]:
            return {**make(), _COUNT: torch.tensor([self.model.count - before])}

        found = self.stages.get(name, counted)
        self.spent += int(found.pop(_COUNT))
        return found

    def _ends(self) -> dict[str, Tensor]:
        made = reference(self.model, self.schedule, self.noise, self.progress)
        return {"ends": made.ends, "refinement": made.refinement}

    def _errors(self, solver: Solver, count: int | None = None) -> Tensor:
        """Return the distances of the first samples from the flow's end, (B,), not finite where a solver diverges."""
        return distances(end(solver, self.model.unchecked, self.flow.x[:count]), self.flow.ends[:count])

    def _methods(self) -> dict[str, Tensor]:
        """Return the errors of the published methods and LML that are worth a look, on all trajectories."""
        few = screened(len(self.noise))
        first = []
        for i, each in enumerate(TRIED):
            if i % 8 == 0:
                self.progress(f"published methods: {i} of {len(TRIED)}, on {few} trajectories")
            errors = self._errors(of_method(each, self.schedule, self.n), few)
            first.append(Candidate(each.name, int(each.strength > 0), errors))
        names = shortlist(first, chosen(self.schedule, self.n, progress=self.progress).method)
        self.progress(f"the better {len(names)} methods, on {len(self.noise)} trajectories")
        return {name: self._errors(of_method(name, self.schedule, self.n)) for name in names}

    def _fit(self, what: str, arms: Sequence[Candidate], seen: Tensor) -> Fit:
        """Return the fit to some trajectories, from the published method that is best on them."""
        start = start_of(arms, seen)
        problem = Problem(self.model.unchecked, self.flow.x, self.flow.ends, seen.double())
        levels = spaced(self.schedule, self.n, start.spacing)
        return fit(
            [problem], start.base, self.schedule, levels, progress=lambda line: self.progress(f"{what}: {line}")
        )[-1]

    def _fitted(self, arms: Sequence[Candidate]) -> Candidate | None:
        """Return the fitted candidate, each trajectory judged by the fit to the others; none if it diverges on one."""
        errors = torch.zeros(len(self.noise), dtype=torch.float64)
        for k, held in enumerate(halves(len(self.noise))):

            def made(k: int = k, held: Tensor = held) -> dict[str, Tensor]:
                found = self._fit(f"fit to half {k + 1} of {_FOLDS}", arms, ~held)
                return {"errors": self._errors(found.solver(self.schedule))}

            errors[held] = self._stage(f"fold-{k}", made)["errors"][held]
        return Candidate(_FIT_NAME, 2, errors) if bool(torch.isfinite(errors).all()) else None

    def _checked(self, solver: Solver, baseline: str) -> tuple[Tensor, Tensor]:
        """Return the errors of a solver and of the published method on fresh noises."""

        def made() -> dict[str, Tensor]:
            count, both = len(self.fresh.flatten(0, 1)), (solver, of_method(baseline, self.schedule, self.n))
            ours, theirs = fresh_errors(
                self.model.unchecked, self.schedule, self.fresh, both,
                lambda line: self.progress(f"comparison with {baseline} on {count} fresh noises: {line}"),
            )  # fmt: skip
            return {"ours": ours, "theirs": theirs}

        found = self._stage("check", made)
        return found["ours"], found["theirs"]

    def _solver(self, best: Candidate, arms: Sequence[Candidate]) -> Solver:
        """Return the solver of a candidate; a fitted one is fitted on all trajectories."""
        if best.rank < 2:
            return of_method(best.name, self.schedule, self.n)
        seen = torch.ones(len(self.noise), dtype=torch.bool)

        def made() -> dict[str, Tensor]:
            solver = self._fit("fit to all", arms, seen).solver(self.schedule)
            rows = torch.tensor([(*row, *(0.0,) * (self.n - len(row))) for row in solver.weights], dtype=torch.float64)
            return {"levels": torch.tensor(solver.levels, dtype=torch.float64), "rows": rows}

        found = self._stage("fit", made)
        levels = tuple(Level(*level) for level in found["levels"].tolist())
        rows = tuple(tuple(row[:i]) for i, row in enumerate(found["rows"].tolist()))
        return Solver(FITTED, levels, rows, (0.0,) * self.n)
