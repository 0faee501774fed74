r"""A solver for one network, chosen and fitted on a few accurate trajectories of it.

1. Accurate trajectories from ``samples`` noises (`lml.solver.trajectories`).
2. All methods of `lml.solver.choice` on a quarter of them, the better ones and `for_schedule`'s choice on all.
3. Levels and rows fitted to the ends of the trajectories (`lml.solver.fitting`), from the best published method, at a
   path of ridges, in two folds: each trajectory is judged by the fit that has not seen it.
4. The simplest candidate within the noise of the best (`lml.solver.selection`); a fit that is chosen is made once more
   on all trajectories. For a network of integer timesteps its levels are moved to the nearest, and the rows fitted
   again there.

What to expect is measured by choosing again without each fold and judging there: the ratio of the mean distance to
that of the published method that is best on all of the trajectories, which favours that method.

Every stage is kept as it is made: a calibration that is interrupted goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lml.arguments import check_integer
from lml.samplers import NoiseModel
from lml.solver.choice import BASELINES, TRIED, chosen, for_schedule, key_of
from lml.solver.fitting import RIDGES, Fit, Problem, fit, fit_cost
from lml.solver.methods import method
from lml.solver.path import end
from lml.solver.schedule import Schedule, spaced
from lml.solver.selection import Candidate, Interval, bootstrap, difficulties, pick, scores
from lml.solver.solver import FITTED, LEAST_EVALUATIONS, MOST_EVALUATIONS, Solver, Validation, of_method
from lml.solver.stages import Stages
from lml.solver.storage import cache_file, from_dict, read_json, to_dict, write_atomically
from lml.solver.trajectories import Checked, Reference, distances, reference, reference_cost

__all__ = ["LEAST_SAMPLES", "VERSION", "Calibration", "calibrate", "cost", "fingerprint"]

#: Fewer trajectories than these cannot be held out from a fit.
LEAST_SAMPLES = 8

#: Of the procedure: what was kept by another one is made again.
VERSION = 2

_LOG = logging.getLogger(__name__)

# Evaluations of each sample that tell a network from another.
_ASKED = 2

_FOLDS = 2
_KEPT_ARMS = 12


@dataclass(frozen=True)
class Calibration:
    """What was found for a network.

    Attributes:
        solver: chosen; its ``validation`` says what to expect.
        baseline: the published method that is best on the trajectories, by name.
        candidates: what was chosen from, by name, with the score of each relative to the best.
        spent: evaluations of one sample.
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
    """Return about how many evaluations of one sample `calibrate` takes, the fit on all trajectories included."""
    arms = evaluations * (len(TRIED) * _screened(samples) + (_KEPT_ARMS + 1) * samples)
    return (_ASKED + _FOLDS * fit_cost(evaluations) + fit_cost(evaluations)) * samples + reference_cost(samples) + arms


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
        schedule: its noise levels.
        evaluations: from 3 to 50.
        samples: accurate trajectories; with fewer than 8 nothing can be judged, and `for_schedule`'s choice is
            returned, which is said.
        shape: of one sample.
        seed: of the noises.
        batch: samples that are evaluated at once. A network that knows its samples by their place, as of prompts, needs
            ``batch`` to be no smaller than ``samples``.
        dtype: of the samples.
        progress: is called with lines of text, the cost first, then the time that it will take.
        kept: whether the answer, and the stages before it, are read and kept in the folder of `lml.solver.storage`, by
            the network's answers to two questions.

    Raises:
        ValueError: for an argument that does not fit; for a network that returns another shape or numbers that are not
            finite.
    """
    check_integer(evaluations, "evaluations", least=LEAST_EVALUATIONS, below=MOST_EVALUATIONS + 1)
    check_integer(samples, "samples")
    check_integer(batch, "batch")
    check_integer(seed, "seed", least=0)
    if not shape or not all(isinstance(n, int) and n > 0 for n in shape):
        raise ValueError(f"shape must be positive integers, got {tuple(shape)}")
    schedule.levels(evaluations, "time")
    tell = progress or (lambda line: None)
    model = Checked(noise_model, batch)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((samples, *shape), dtype=torch.float64, generator=generator).to(dtype)
    digest = fingerprint(model, schedule, noise)
    if samples < LEAST_SAMPLES:
        advice = (
            f"{samples} trajectories are too few to judge by, at least {LEAST_SAMPLES} are needed: this is the choice "
            "for the schedule, without a look at the network"
        )
        _LOG.warning("%s", advice)
        found = for_schedule(schedule, evaluations, progress=progress)
        return Calibration(found, found.method, {found.method: 1.0}, model.count, advice)
    text = f"{VERSION} {digest} {key_of(schedule)} {evaluations} {samples} {seed} {dtype}"
    place = cache_file(f"calibration-{hashlib.sha256(text.encode()).hexdigest()[:16]}.json") if kept else None
    if place is not None and place.exists():
        try:
            values = read_json(place)
            return Calibration(**{**values, "solver": from_dict(values["solver"])})
        except (KeyError, TypeError, ValueError):
            pass  # damaged: it is made again
    total, each = cost(evaluations, samples), model.seconds / samples
    tell(f"cost: about {total} evaluations of one sample")
    tell(f"time: about {total * each / 60:.2g} min, at {each:.2g} s for each")
    stages = Stages(None if place is None else place.with_suffix(""))
    made = _Procedure(model, schedule, evaluations, noise, stages, _Progress(model, total, tell)).run(digest)
    if place is not None:
        write_atomically(place, json.dumps({**vars(made), "solver": to_dict(made.solver)}) + "\n")
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


def _screened(samples: int) -> int:
    return max(4, samples // 4)


class _Progress:
    """Lines of progress, with the share of the cost and the time that is left."""

    def __init__(self, model: Checked, total: int, tell: Callable[[str], None]) -> None:
        self.model, self.total, self.tell = model, total, tell
        self.began, self.before = time.monotonic(), model.count

    def __call__(self, line: str) -> None:
        done = self.model.count - self.before
        share = min(done / self.total, 1.0)
        left = (time.monotonic() - self.began) * (1 / share - 1) if done else None
        self.tell(f"{share:4.0%}  {line}" + ("" if left is None else f", at most {left / 60:.1f} min left"))


class _Procedure:
    """The steps of a calibration, with what they share."""

    def __init__(
        self, model: Checked, schedule: Schedule, n: int, noise: Tensor, stages: Stages, tell: Callable[[str], None]
    ) -> None:
        self.model, self.schedule, self.n, self.noise, self.stages, self.tell = model, schedule, n, noise, stages, tell
        self.flow: Reference

    def run(self, digest: str) -> Calibration:
        x = self.schedule.levels(self.n, "time")[0].sigma * self.noise
        made = self.stages.get("ends", self._ends)
        self.flow = Reference(x, made["ends"], made["refinement"])
        arms = [Candidate(name, int(method(name).strength > 0), errors)
                for name, errors in self.stages.get("methods", self._methods).items()]  # fmt: skip
        folds = [torch.arange(len(self.noise)) % _FOLDS == k for k in range(_FOLDS)]
        fitted = self._fitted(arms, folds)
        candidates = [*arms, *fitted]
        best, baseline = pick(candidates), pick([each for each in arms if not each.rank])
        self.tell(f"chosen: {best.name}; the best published method: {baseline.name}")
        ratio, agreed = self._expected(candidates, folds, baseline)
        judged = Validation(
            f"{len(self.noise)} trajectories, each held out", len(self.noise), ratio.ratio, ratio.low, ratio.high,
            baseline.name,
        )  # fmt: skip
        advice = "" if agreed else (
            f"the folds disagree about what is best: take {2 * len(self.noise)} samples to be surer"
        )  # fmt: skip
        floor = float(self.flow.refinement.mean() / best.errors.mean())
        if floor > 0.3:
            advice = f"{advice}; " * bool(advice) + f"the reference is itself off by {floor:.0%} of the error"
        solver = self._solver(best, arms)
        found = scores(candidates, difficulties(candidates))
        table = {each.name: float(value / found.min()) for each, value in zip(candidates, found, strict=True)}
        return Calibration(
            replace(solver, validation=judged, model=digest), baseline.name, table, self.model.count, advice
        )

    def _ends(self) -> dict[str, Tensor]:
        made = reference(self.model, self.schedule, self.noise, self.tell)
        return {"ends": made.ends, "refinement": made.refinement}

    def _errors(self, name: str, count: int | None = None) -> Tensor:
        """Return the distances of the first samples from the flow's end by a published method, (B,)."""
        made = end(of_method(name, self.schedule, self.n), self.model, self.flow.x[:count])
        return distances(made, self.flow.ends[:count])

    def _methods(self) -> dict[str, Tensor]:
        """Return the errors of the published methods and LML that are worth a look, on all trajectories."""
        few = _screened(len(self.noise))
        first = []
        for i, each in enumerate(TRIED):
            if i % 8 == 0:
                self.tell(f"published methods: {i} of {len(TRIED)}, on {few} trajectories")
            first.append(Candidate(each.name, int(each.strength > 0), self._errors(each.name, few)))
        found = scores(first, difficulties(first))
        order = sorted(range(len(first)), key=lambda i: float(found[i]))
        names = [first[i].name for i in order[:_KEPT_ARMS]]
        plain = {each.name for each in BASELINES}
        names += [next(first[i].name for i in order if first[i].name in plain), chosen(self.schedule, self.n).method]
        self.tell(f"the better {_KEPT_ARMS} on {len(self.noise)} trajectories")
        return {name: self._errors(name) for name in dict.fromkeys(names)}

    def _fits(self, arms: Sequence[Candidate], seen: Tensor, ridges: Sequence[float]) -> list[Fit]:
        """Return the fits to some trajectories, from the published method that is best on them."""
        plain = [Candidate(each.name, 0, each.errors[seen]) for each in arms if not each.rank]
        start = method(plain[int(scores(plain, difficulties(plain)).argmin())].name)
        problem = Problem(self.model.unchecked, self.flow.x, self.flow.ends, seen.double())
        return fit([problem], start.base, self.schedule, spaced(self.schedule, self.n, start.spacing), ridges=ridges)

    def _fitted(self, arms: Sequence[Candidate], folds: Sequence[Tensor]) -> list[Candidate]:
        """Return the fitted candidates, each trajectory judged by the fit of the other folds."""
        errors = torch.zeros(len(RIDGES), len(self.noise), dtype=torch.float64)

        def made(seen: Tensor) -> dict[str, Tensor]:
            return {"errors": torch.stack([each.errors[0] for each in self._fits(arms, seen, RIDGES)])}

        for k, held in enumerate(folds):
            self.tell(f"fits: fold {k + 1} of {len(folds)}")
            found = self.stages.get(f"fold-{k}", lambda seen=~held: made(seen))["errors"]  # type: ignore[misc]
            # A solver that diverges on a trajectory is no candidate, not an error.
            errors[:, held] = found[:, held].nan_to_num(nan=torch.inf)
        return [Candidate(f"levels and rows, ridge {ridge:g}", 2, e) for ridge, e in zip(RIDGES, errors, strict=True)
                if bool(torch.isfinite(e).all())]  # fmt: skip

    def _solver(self, best: Candidate, arms: Sequence[Candidate]) -> Solver:
        """Return the solver of a candidate; a fitted one is fitted on all trajectories."""
        if best.rank < 2:
            return of_method(best.name, self.schedule, self.n)
        self.tell("the fit that was chosen, on all trajectories")
        ridges = [ridge for ridge in RIDGES if ridge >= float(best.name.rpartition(" ")[2])]
        seen = torch.ones(len(self.noise), dtype=torch.bool)
        found = self._fits(arms, seen, ridges)[-1]
        if not self.schedule.integer:
            return found.solver(self.schedule)
        at = [level.half_log_snr for level in self.schedule.at_half_log_snr(found.half_log_snr)]
        problem = Problem(self.model.unchecked, self.flow.x, self.flow.ends, seen.double())
        again = fit([problem], found.base, self.schedule, at, ridges=[found.ridge], offsets=found.offsets, levels=False)
        return again[-1].solver(self.schedule)

    def _expected(
        self, candidates: Sequence[Candidate], folds: Sequence[Tensor], baseline: Candidate
    ) -> tuple[Interval, bool]:
        """Return the ratio that choosing without a fold has there, with its interval, and whether the folds agree."""
        ours = torch.zeros(len(self.noise), dtype=torch.float64)
        by_name, fitted = {each.name: each.errors for each in candidates}, set()
        for held in folds:
            best = pick([each._replace(errors=each.errors[~held]) for each in candidates])
            ours[held] = by_name[best.name][held]
            fitted.add(best.rank >= 2)
        return bootstrap(ours, baseline.errors), len(fitted) == 1
