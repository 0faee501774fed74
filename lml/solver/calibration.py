r"""A solver for one network, chosen and fitted on a few accurate trajectories of it.

1. Accurate trajectories from ``samples`` noises (`lml.solver.trajectories`).
2. All methods of `lml.solver.choice` on a quarter of them, the better ones and `for_schedule`'s choice on all.
3. Levels and rows fitted by variable projection (`lml.solver.fitting`) in folds: each trajectory is judged by a fit
   that has not seen it. Rows alone, at the levels of the best published method, and levels with rows, at two ridges and
   with half of the norm restored.
4. The simplest candidate within the noise of the best (`lml.solver.selection`); a fit that is chosen is made once more
   on all trajectories.

What to expect is measured by choosing again without each fold and judging there: the ratio of the mean distance to
that of the published method that is best on all of the trajectories, which favours that method.
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
from lml.samplers import NoiseModel
from lml.solver.choice import BASELINES, TRIED, chosen, for_schedule, key_of
from lml.solver.fitting import Fit, Problem, fit_levels, fit_rows
from lml.solver.methods import Method, method, published_rows
from lml.solver.path import end
from lml.solver.schedule import SPACINGS, Schedule, spaced
from lml.solver.selection import Candidate, Interval, bootstrap, difficulties, pick, scores
from lml.solver.solver import FITTED, LEAST_EVALUATIONS, MOST_EVALUATIONS, Solver, Validation, of_method
from lml.solver.storage import cache_file, from_dict, read_json, to_dict, write_atomically
from lml.solver.trajectories import Checked, Trajectories, reference_cost, trajectories

__all__ = ["LEAST_SAMPLES", "VERSION", "Calibration", "calibrate", "cost", "fingerprint"]

#: Fewer trajectories than these cannot be held out from a fit.
LEAST_SAMPLES = 8

#: Of the procedure: what was kept by another one is made again.
VERSION = 1

_LOG = logging.getLogger(__name__)

# Evaluations of each sample that tell a network from another.
_ASKED = 2

_FOLDS = 2
_RIDGES = (0.03, 0.3)
_SHARE = 0.5
_TRIALS, _FINAL_TRIALS = 10, 20
_KEPT_ARMS = 12
_ROWS, _BOTH = "rows", "levels and rows"


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
    """Return about how many evaluations of one sample `calibrate` takes.

    It is a bound: a third too high where a fit is chosen, up to a half where none is and the last fit is spared.
    """
    arms = evaluations * (len(TRIED) * _screened(samples) + (_KEPT_ARMS + 1) * samples)
    starts = len(SPACINGS) + 2
    fits = _FOLDS * (starts + _TRIALS + 1 + 3) + starts + _FINAL_TRIALS + 1
    return _ASKED * samples + reference_cost(samples) + arms + evaluations * samples * fits


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
        kept: whether the answer is read and kept in the folder of `lml.solver.storage`, by the network's answers to two
            questions.

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
    made = _Procedure(model, schedule, evaluations, noise, tell).run(digest)
    if place is not None:
        write_atomically(place, json.dumps({**vars(made), "solver": to_dict(made.solver)}) + "\n")
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


class _Procedure:
    """The steps of a calibration, with what they share."""

    def __init__(
        self, model: Checked, schedule: Schedule, evaluations: int, noise: Tensor, tell: Callable[[str], None]
    ) -> None:
        self.model, self.schedule, self.n, self.noise, self.tell = model, schedule, evaluations, noise, tell
        self.flow: Trajectories

    def run(self, digest: str) -> Calibration:
        self.flow = trajectories(self.model, self.schedule, self.noise, self.tell)
        arms = self._arms()
        difficulty = difficulties(arms)
        weights = difficulty.clamp_min(1e-12) ** -0.5
        folds = [torch.arange(len(self.noise)) % _FOLDS == k for k in range(_FOLDS)]
        fitted = self._fitted(arms, weights, folds)
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
        solver = self._solver(best, arms, weights)
        found = scores(candidates, difficulties(candidates))
        table = {each.name: float(value / found.min()) for each, value in zip(candidates, found, strict=True)}
        return Calibration(
            replace(solver, validation=judged, model=digest), baseline.name, table, self.model.count, advice
        )

    def errors(self, solver: Solver, count: int | None = None) -> Tensor:
        """Return the distances of the first samples from the flow's end, (B,)."""
        x = self.flow.levels[0].alpha * self.flow.states[0][:count]
        made = solver.sample(self.model, x) if any(solver.restored) else end(solver, self.model, x)
        exact = self.flow.levels[-1].alpha * self.flow.states[-1][:count]
        return (made - exact).flatten(1).double().square().mean(1).sqrt()

    def _arms(self) -> list[Candidate]:
        """Return the published methods and LML that are worth a look, on all trajectories."""
        few = _screened(len(self.noise))
        first = []
        for i, each in enumerate(TRIED):
            if i % 8 == 0:
                self.tell(f"published methods: {i} of {len(TRIED)}, on {few} trajectories")
            solver = of_method(each, self.schedule, self.n)
            first.append(Candidate(each.name, int(each.strength > 0), self.errors(solver, few)))
        found = scores(first, difficulties(first))
        order = sorted(range(len(first)), key=lambda i: float(found[i]))
        names = [first[i].name for i in order[:_KEPT_ARMS]]
        plain = {each.name for each in BASELINES}
        names += [next(first[i].name for i in order if first[i].name in plain), chosen(self.schedule, self.n).method]
        self.tell(f"the better {_KEPT_ARMS} on {len(self.noise)} trajectories")
        return [
            Candidate(name, int(method(name).strength > 0), self.errors(of_method(name, self.schedule, self.n)))
            for name in dict.fromkeys(names)
        ]

    def _prior(self, arms: Sequence[Candidate], seen: Tensor) -> Method:
        """Return the published method that is best on some trajectories, without LML."""
        plain = [Candidate(each.name, 0, each.errors[seen]) for each in arms if not each.rank]
        found = scores(plain, difficulties(plain))
        return method(plain[int(found.argmin())].name)

    def _problem(self, prior: Method, weights: Tensor, ridge: float) -> Problem:
        return Problem(self.model, self.flow, weights, lambda levels: published_rows(prior.base, levels), ridge)

    def _places(self, spacing: str, other: str | None = None) -> list[int]:
        """Return places on the grid of a spacing, or half-way between two."""
        values = spaced(self.schedule, self.n, spacing)
        if other is not None:
            values = [0.5 * (a + b) for a, b in zip(values, spaced(self.schedule, self.n, other), strict=True)]
        grid = Schedule("preserving", tuple(-float(i) for i in range(len(self.flow.levels))),
                        tuple(level.half_log_snr for level in self.flow.levels), integer=True)  # fmt: skip
        return [round(-level.time) for level in grid.at_half_log_snr(values)]

    def _starts(self) -> list[list[int]]:
        pairs = [("time", None), ("log-snr", None), ("karras", None), ("time", "karras"), ("log-snr", "karras")]
        return [self._places(*pair) for pair in pairs]

    def _fitted(self, arms: Sequence[Candidate], weights: Tensor, folds: Sequence[Tensor]) -> list[Candidate]:
        """Return the fitted candidates, each trajectory judged by the fit of the other folds."""
        names = [_ROWS, *(f"{_BOTH}, ridge {ridge}" for ridge in _RIDGES), f"{_BOTH}, norm {_SHARE}"]
        ranks = [2, 3, 3, 4]
        errors = {name: torch.zeros(len(self.noise), dtype=torch.float64) for name in names}
        for k, held in enumerate(folds):
            self.tell(f"fits: fold {k + 1} of {len(folds)}")
            prior = self._prior(arms, ~held)
            problems = [self._problem(prior, weights * ~held, ridge) for ridge in _RIDGES]
            rows = fit_rows(problems[0], self._places(prior.spacing))
            both = fit_levels(problems[0], self._starts(), _TRIALS)
            other = fit_rows(problems[1], both.places)
            halved = replace(self._of_fit(both), restored=(_SHARE,) * self.n)
            for name, found in zip(names, (rows.errors, both.errors, other.errors, self.errors(halved)), strict=True):
                errors[name][held] = found[held]
        return [Candidate(name, rank, errors[name]) for name, rank in zip(names, ranks, strict=True)]

    def _of_fit(self, fit: Fit) -> Solver:
        levels = tuple(self.flow.levels[place] for place in fit.places)
        return Solver(FITTED, levels, fit.weights, (0.0,) * self.n)

    def _solver(self, best: Candidate, arms: Sequence[Candidate], weights: Tensor) -> Solver:
        """Return the solver of a candidate; a fitted one is fitted on all trajectories."""
        if best.rank < 2:
            return of_method(best.name, self.schedule, self.n)
        self.tell("the fit that was chosen, on all trajectories")
        prior = self._prior(arms, torch.ones(len(self.noise), dtype=torch.bool))
        problem = self._problem(prior, weights, _RIDGES[0])
        if best.name == _ROWS:
            return self._of_fit(fit_rows(problem, self._places(prior.spacing)))
        fit = fit_levels(problem, self._starts(), _FINAL_TRIALS)
        if str(_RIDGES[1]) in best.name:
            fit = fit_rows(self._problem(prior, weights, _RIDGES[1]), fit.places)
        share = _SHARE if "norm" in best.name else 0.0
        return replace(self._of_fit(fit), restored=(share,) * self.n)

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
