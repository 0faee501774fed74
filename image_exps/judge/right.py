r"""Is it right? Whether a sampler tends to the exact flow, and how fast.

The sampler runs on exact targets from exact samples of its own first level, in more and more steps. Its end is compared
with the end of the exact probability flow from the same samples: at the level where it really ends, as a point of data
shows. A last step into ``sigma = 0`` never shrinks: of a sampler that ends so the reference is the flow to the last
level with noise, and from there the one step that most solvers take, to the data prediction. A sampler that
extrapolates into ``sigma = 0`` is compared before that step.

Levels are equal in log-SNR from -3 to 1, where the flow of every target turns most; a scheduler gets there by a table
of betas of its own. The limit is shown by refinement, the order by `image_exps.judge.order`, on two targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

import toy
from image_exps.judge.judged import SMOOTH, CannotRunError, Grid, Judged, Trajectory
from image_exps.judge.levels import Levels, NoLevelError, end_level, level_symptoms, own_levels
from image_exps.judge.order import Order, fit_order
from image_exps.judge.predictors import Budget, ExactPredictor, Limited
from image_exps.judge.tableau import history_symptoms, read_tableau
from lml.samplers import Level
from toy import ExactTarget

__all__ = [
    "COUNTS",
    "TARGETS",
    "Convergence",
    "Right",
    "chance",
    "converge",
    "exact_start",
    "flow_end",
    "judge_right",
    "problem",
    "right_answer",
]

#: Numbers of steps, quick and full: halved steps, and multiples of three for singlestep methods of third order.
COUNTS = {"quick": (24, 48, 96, 192, 384), "full": (12, 24, 48, 96, 192, 384, 768)}

#: Targets with a smooth exact score.
TARGETS = ("cross-2d", "random-8d")

_SAMPLES = 24
# The least noise that the flow is followed to; of sigma = 0 it differs by the square of this.
_LEAST = 1e-9


@dataclass(frozen=True)
class Convergence:
    """A sampler on one target in more and more steps.

    Attributes:
        target: by name.
        counts: of steps.
        steps: mean steps in half-log-SNR.
        errors: root mean squares over the dimensions, medians over the samples, one a count.
        evaluations: of the network, one a count.
        order: the observed order.
        floor: size of what rounding does.
        exact: whether everything was in float64.
    """

    target: str
    counts: tuple[int, ...]
    steps: tuple[float, ...]
    errors: tuple[float, ...]
    evaluations: tuple[int, ...]
    order: Order
    floor: float
    exact: bool

    @property
    def limit(self) -> float:
        """The share of the first error that is left at the last count: 0 in the limit if it is consistent."""
        return self.errors[-1] / max(self.errors[0], 1e-300)

    @property
    def consistent(self) -> bool | None:
        """Whether errors vanish with the step; ``None`` where the steps do not say.

        They do if errors have reached rounding, or fall at least as the root of the step to the last; they do not if
        the last halving left nine tenths of them.
        """
        if self.errors[-1] <= 30 * self.floor:
            return True
        falls = self.order.local[-2:]
        if min(falls) >= 0.5:
            return True
        return False if max(falls) < 0.15 else None


def exact_start(target: ExactTarget, count: int, seed: int) -> Callable[[Level], Tensor]:
    """Return exact samples (count, d) as a function of the level: ``alpha y + sigma z``, the same ``y, z`` for all."""
    generator = torch.Generator().manual_seed(seed)
    y = target.sample(count, generator=generator)
    z = torch.randn(y.shape, dtype=torch.float64, generator=generator)
    return lambda level: level.alpha * y + level.sigma * z


def flow_end(target: ExactTarget, x: Tensor, first: Level, end: Level) -> Tensor:
    """Return where the exact flow ends from ``x`` at ``first``; without signal or noise its limit."""
    first = first if first.alpha > 0 else Level(_LEAST * first.sigma, first.sigma)
    if end.sigma == 0:
        end = Level(end.alpha, _LEAST * end.alpha)
    if abs(first.half_log_snr - end.half_log_snr) < 1e-12:
        return x * (math.hypot(end.alpha, end.sigma) / math.hypot(first.alpha, first.sigma))
    return toy.probability_flow(target, x, first, end)


def end_errors(target: ExactTarget, run: Trajectory, levels: Levels, *, plain_jump: bool = True) -> Tensor:
    """Return how far the end of a run is from what it tends to, (B, d).

    Args:
        target: the data.
        run: from exact samples.
        levels: where the run was.
        plain_jump: whether a last step into ``sigma = 0`` is the data prediction; else what is compared is before it.

    Raises:
        CannotRunError: for an end that is no level.
    """
    first, x = run.calls[0].level, run.calls[0].x.double()
    end = end_level(levels)
    if not levels.jump:
        return run.end.double() - flow_end(target, x, first, end)
    if not plain_jump:
        last_x, last = run.calls[-1]
        return last_x.double() - flow_end(target, x, first, last)
    last = max((call.level for call in run.calls), key=lambda level: level.half_log_snr)
    return run.end.double() - end.alpha * ExactPredictor(target).data(flow_end(target, x, first, last), last)


@lru_cache(maxsize=8)
def problem(name: str) -> ExactTarget:
    """Return the target of this name in `toy.ZOO`, the same for all who ask."""
    return toy.target(name)


def run_on(
    judged: Judged, target: ExactTarget, steps: int, *, count: int, seed: int, deadline: float = math.inf,
    grid: Grid = SMOOTH,
) -> Trajectory:  # fmt: skip
    """Return a run from exact samples of the first level.

    Raises:
        CannotRunError: as `Judged.run`, or for an end that is not finite.
    """
    shape = torch.Size((count, target.dim))
    predictor = Limited(ExactPredictor(target), shape, Budget(40 * steps + 400, deadline))
    run = judged.run(predictor, exact_start(target, count, seed), steps, grid=grid, seed=seed)
    if not bool(torch.isfinite(run.end).all()):
        raise CannotRunError(f"its end is not finite in {steps} steps")
    return run


def converge(
    judged: Judged,
    target: str,
    counts: Sequence[int] = COUNTS["quick"],
    *,
    seed: int = 0,
    samples: int = _SAMPLES,
    plain_jump: bool = True,
    deadline: float = math.inf,
    progress: Callable[[float], None] = lambda share: None,
) -> Convergence:
    """Return the errors of a deterministic sampler in more and more steps, and their order.

    Raises:
        CannotRunError: as `Judged.run`; or for levels that do not become finer with the number of steps.
    """
    distribution, errors, steps, evaluations, exact, size = problem(target), list[Tensor](), [], [], True, 0.0
    for i, n in enumerate(counts):
        progress(i / len(counts))
        levels = own_levels(judged, n)
        run = run_on(judged, distribution, n, count=samples, seed=seed, deadline=deadline)
        steps.append(_mean_step(levels))
        errors.append(end_errors(distribution, run, levels, plain_jump=plain_jump) / math.sqrt(distribution.dim))
        evaluations.append(len(run.calls))
        exact = exact and run.end.dtype == torch.float64
        size = max(size, float(run.end.double().norm(dim=1).median()) / math.sqrt(distribution.dim))
    if len({round(h, 12) for h in steps}) < len(steps):
        raise CannotRunError(
            f"its levels do not become finer with the number of steps ({evaluations[0]} evaluations for {counts[0]} "
            f"steps, {evaluations[-1]} for {counts[-1]}): it chooses its steps itself, and has no order in them"
        )
    # A run of n steps leaves some n roundings; the reference is good to 1e-11.
    eps = torch.finfo(torch.float64 if exact else torch.float32).eps
    floor = max(counts) * eps * size + 1e-11
    medians = tuple(float(e.norm(dim=1).median()) for e in errors)
    fitted = fit_order(errors, steps, floor, seed)
    return Convergence(target, tuple(counts), tuple(steps), medians, tuple(evaluations), fitted, floor, exact)


def _mean_step(levels: Levels) -> float:
    """Return the mean step in half-log-SNR between the levels that a run has, those in the middle of steps included."""
    told = [level.half_log_snr for level in levels.asked] + ([] if levels.jump else [end_level(levels).half_log_snr])
    # Levels that differ by rounding alone are one.
    distinct = sorted({round(t, 9) for t in told if math.isfinite(t)})
    return (distinct[-1] - distinct[0]) / max(1, len(distinct) - 1)


def chance(judged: Judged, steps: int = 12, grid: Grid = SMOOTH) -> bool:
    """Return whether a sampler draws: whether two seeds end at different samples.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    target = problem(TARGETS[0])
    shape = torch.Size((4, target.dim))
    start = exact_start(target, 4, 0)
    budget = Budget(40 * steps + 400)
    ends = [
        judged.run(Limited(ExactPredictor(target), shape, budget), start, steps, grid=grid, seed=seed).end
        for seed in (0, 1)
    ]
    if not all(bool(torch.isfinite(end).all()) for end in ends):  # NaN equals nothing, and is no chance
        raise CannotRunError(f"its end is not finite in {steps} steps")
    return not torch.equal(*ends)


@dataclass(frozen=True)
class Right:
    """Whether a deterministic sampler is right.

    Attributes:
        on: its convergence on each target.
        symptoms: what is wrong, by name.
        ends: where it ends, ``(a, b)`` of ``x = a y + b z``, on the levels of orders.
        form: "data" or "noise", what it integrates; empty if it is not linear.
        history: how many evaluations of before a step uses; -1 if it is not linear.
    """

    on: tuple[Convergence, ...]
    symptoms: tuple[str, ...]
    ends: tuple[float, float]
    form: str
    history: int

    @property
    def consistent(self) -> bool | None:
        """Whether it tends to the exact flow on every target; ``None`` where some target does not say."""
        found = [each.consistent for each in self.on] or [False]
        return False if False in found else None if None in found else True

    @property
    def order(self) -> Order:
        """The order on the target where it is lowest, with an interval that holds those of all targets."""
        if not self.on:
            return Order(math.nan, math.nan, math.nan, 0, 0, (), "it ends at no noise level")
        fitted = [each.order for each in self.on if not each.order.reason]
        if len(fitted) < len(self.on):
            return next(each.order for each in self.on if each.order.reason)
        worst = min(fitted, key=lambda order: order.value)
        return worst._replace(low=min(o.low for o in fitted), high=max(o.high for o in fitted))


def right_answer(found: Right) -> dict[str, Any]:
    """Return what the judge keeps of a deterministic sampler."""
    order = found.order
    return {
        "draws": False,
        "consistent": found.consistent,
        "order": {**order._asdict(), "integer": order.integer},
        "on": found.on,
        "symptoms": found.symptoms,
        "ends": found.ends,
        "form": found.form,
        "history": found.history,
        "exact": all(each.exact for each in found.on),
    }


def judge_right(
    judged: Judged,
    counts: Sequence[int] = COUNTS["quick"],
    *,
    targets: Sequence[str] = TARGETS,
    seed: int = 0,
    seconds: float = math.inf,
    progress: Callable[[float], None] = lambda share: None,
) -> Right:
    """Return whether a deterministic sampler is right, with what is wrong by name.

    Args:
        judged: what is judged.
        counts: numbers of steps, rising.
        targets: names in `toy.ZOO`.
        seed: of the samples.
        seconds: after which it is stopped.
        progress: called with the share that is done.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    deadline = time.monotonic() + seconds
    levels = own_levels(judged, 12)
    symptoms = level_symptoms(levels)
    tableau = read_tableau(judged, 12)
    if tableau is not None:
        symptoms += history_symptoms(tableau, judged.claimed_order)
    form, history = (tableau.form, tableau.history) if tableau else ("", -1)
    plain_jump = tableau is None or tableau.used(len(tableau.linear) - 1) == (len(tableau.linear) - 1,)
    on: list[Convergence] = []
    for i, name in enumerate(targets):

        def part(share: float, done: int = i) -> None:
            progress((done + share) / len(targets))

        try:
            made = converge(judged, name, counts, seed=seed, plain_jump=plain_jump, deadline=deadline, progress=part)
        except NoLevelError as error:
            return Right((), (*symptoms, str(error)), levels.end, form, history)
        on.append(made)
    found = Right(tuple(on), tuple(symptoms), levels.end, form, history)
    return replace(found, symptoms=(*symptoms, *_order_symptom(found, judged.claimed_order)))


def _order_symptom(found: Right, claimed: float | None) -> list[str]:
    order = found.order
    if claimed is None or order.reason or found.consistent is False:
        return []
    if order.high < claimed:
        return [f"order lower than claimed: {order.value:.2f} [{order.low:.2f}, {order.high:.2f}], not {claimed:g}"]
    return []
