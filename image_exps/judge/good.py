r"""Is it good? How near a sampler comes to the end of the exact flow in few evaluations, beside the best ones.

From one noise the flow of an exact score has one end, and the distance to it, ``r_i = |x_i - x_i^*|/d^{1/2}``, is a
number of each sample: its mean weighs samples alike, its root mean square those that end far away. The Frechet distance
beside them does not mind a sample that ends elsewhere on the same law.

Baselines get the same evaluations and, each, the spacing that is best for it; which one that is was chosen on other
targets than those that are reported. Differences are of the same noises, and tested in one family (Holm). Two controls:
the flow's own ends, whose Frechet distance is that of a perfect sampler of as many noises; and, for what a sampler adds
to DDIM on its own levels, a change of the same size in a random direction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

import toy
from image_exps.distances import FrechetDistance
from image_exps.judge.functions import judged_arm
from image_exps.judge.judged import CannotRunError, Grid, Judged, Predictor, Trajectory
from image_exps.judge.levels import Levels, own_levels
from image_exps.judge.predictors import Budget, ExactPredictor, Limited
from image_exps.judge.right import flow_end
from image_exps.problems.endpoints import flow_endpoints, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import TARGETS, Target, final_level, target
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_SPACINGS, BASELINES
from lml.samplers import DDIM, Level, sample
from theory_checks.ledger.comparisons import LEVEL, compare, holm

__all__ = [
    "CHOSEN_ON",
    "EVALUATIONS",
    "Arm",
    "Good",
    "Problem",
    "comparison_level",
    "ends_of",
    "judge_good",
    "problem_of",
    "steps_for",
]

#: Evaluations of the network, quick and full.
EVALUATIONS = {"quick": (5, 8, 10, 20), "full": (5, 6, 8, 10, 15, 20, 30)}

#: Reported targets, quick and full, and those on which spacings are chosen.
REPORTED = {"quick": ("ring-2d", "random-16d"), "full": ("ring-2d", "random-16d", "digits")}
CHOSEN_ON = ("cross-2d", "random-16d-tuning")

#: Samples, quick and full.
SAMPLES = {"quick": 256, "full": 1024}

_NO_FLIP = 1.5 / 5000
# Other noises than those of the targets on which spacings are chosen.
_SEED = 71


@dataclass(frozen=True)
class Problem:
    """A target with noises and the ends of the flow from them.

    Attributes:
        made: the target.
        noise: (n, d).
        exact: the flow's ends at the last level of `image_exps.problems.targets`, (n, d).
        refinement: mean error of these ends, from above.
    """

    made: Target
    noise: Tensor
    exact: Tensor
    refinement: float
    _at: dict[tuple[float, float], Tensor] = field(default_factory=dict, compare=False, repr=False)

    def exact_at(self, end: Level) -> Tensor:
        """Return the flow's ends at another last level."""
        key = end.alpha, end.sigma
        if key not in self._at:
            self._at[key] = flow_end(self.made.distribution, self.exact, final_level(), end)
        return self._at[key]


@lru_cache(maxsize=8)
def problem_of(name: str, count: int, seed: int) -> Problem:
    """Return a target by name with ``count`` noises."""
    made = target(name) if name in TARGETS else None
    if made is None:
        raise ValueError(f"target must be one of {', '.join(TARGETS)}, got {name!r}")
    noise = starting_noise(seed, 0, count, (made.dim,))
    ends = flow_endpoints(toy.noise_model(made.distribution), noise)
    return Problem(made, noise, ends.exact, float(ends.refinement.mean()))


def steps_for(judged: Judged, evaluations: int, grid: Grid) -> int:
    """Return the number of steps that costs so many evaluations.

    Raises:
        CannotRunError: if there is none.
    """
    for steps in range(evaluations, 0, -1):
        try:
            spent = len(own_levels(judged, steps, grid).asked)
        except CannotRunError:
            continue
        if spent == evaluations:
            return steps
        if spent < evaluations:
            break
    raise CannotRunError(f"it cannot spend {evaluations} evaluations")


def ends_of(
    judged: Judged,
    problem: Problem,
    steps: int,
    grid: Grid,
    *,
    predictor: Predictor | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Trajectory, Tensor]:
    """Return a run from the noises, as a pipeline starts, and the flow's ends at the level where it ends, (n, d).

    Raises:
        CannotRunError: as `Judged.run`, and for an end that is not finite.
    """
    exact = predictor or ExactPredictor(problem.made.distribution)
    limited = Limited(exact, problem.noise.shape, Budget(40 * steps + 400))
    run = judged.run(limited, problem.noise, steps, grid=grid, dtype=dtype)
    if not bool(torch.isfinite(run.end).all()):
        raise CannotRunError(f"its end is not finite in {steps} steps")
    return run, problem.exact_at(comparison_level(own_levels(judged, steps, grid)))


def comparison_level(levels: Levels) -> Level:
    """Return the level to compare at: without noise where it ends so, else that of the data in its coordinates."""
    a, b = levels.end
    if levels.jump or not a > 0:
        return Level(1.0, 0.0)
    last = final_level()
    ratio = abs(b) / a
    # What draws shows no level of its own: the noise of a point is in its sample.
    return Level(a, abs(b)) if ratio < 2 * last.sigma / last.alpha else last


@dataclass(frozen=True)
class Arm:
    """One sampler at one number of evaluations on one target.

    Attributes:
        name: of it, with its spacing.
        mean: mean distance to the flow's end.
        pooled: root mean square distance.
        frechet: Frechet distance.
        ratio, low, high: of the judged sampler's mean to this one's, with its 95 % interval; NaN for itself.
        p: that the judged one is nearer, or further where ratio is above one; adjusted in the family.
    """

    name: str
    mean: float
    pooled: float
    frechet: float
    ratio: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    @property
    def verdict(self) -> str:
        """Whether the judged sampler is nearer or further than this one, or not told apart."""
        if not self.p <= LEVEL:
            return "level"
        return "nearer" if self.ratio < 1 else "further"


@dataclass(frozen=True)
class Good:
    """A sampler beside the baselines at one number of evaluations on one target.

    Attributes:
        target: by name.
        evaluations: of the network.
        own: the judged sampler.
        baselines: each at its best spacing, nearest first.
        flow: Frechet distance of the flow's own ends.
        control: mean distance of DDIM's ends, changed by as much as the sampler does in random directions; NaN if none.
        reason: why there is nothing, empty if there is.
    """

    target: str
    evaluations: int
    own: Arm | None
    baselines: tuple[Arm, ...]
    flow: float
    control: float = math.nan
    reason: str = ""


@lru_cache(maxsize=64)
def _best_spacing(name: str, evaluations: int, count: int) -> str:
    """Return the spacing at which a baseline is nearest, in the geometric mean over the targets for choices."""
    judged = judged_arm(arm(name))
    scores: dict[str, float] = {}
    for spacing in BASELINE_SPACINGS:
        grid = Grid("model", spacing)
        try:
            steps = steps_for(judged, evaluations, grid)
            logs = []
            for each in CHOSEN_ON:
                problem = problem_of(each, count, 0)
                run, exact = ends_of(judged, problem, steps, grid)
                logs.append(math.log(float(rms(run.end - exact).mean())))
            scores[spacing] = sum(logs)
        except CannotRunError:
            continue
    if not scores:
        raise CannotRunError(f"{name} cannot spend {evaluations} evaluations")
    return min(scores, key=lambda spacing: scores[spacing])


@lru_cache(maxsize=256)
def _baseline(name: str, target_name: str, evaluations: int, count: int, seed: int) -> tuple[str, Tensor, Tensor]:
    """Return the name with the spacing, the distances (n,) and the ends of a baseline."""
    spacing = _best_spacing(name, evaluations, min(count, 256))
    judged, grid = judged_arm(arm(name)), Grid("model", spacing)
    problem = problem_of(target_name, count, seed)
    run, exact = ends_of(judged, problem, steps_for(judged, evaluations, grid), grid)
    return f"{name}@{spacing}", rms(run.end - exact), run.end


def judge_good(
    judged: Judged,
    profile: str = "quick",
    *,
    seed: int = _SEED,
    evaluations: Sequence[int] | None = None,
    spacing: str | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> tuple[Good, ...]:
    """Return how near a sampler comes, on each target at each number of evaluations.

    Args:
        judged: what is judged, at its own spacing unless ``spacing`` says another.
        profile: "quick" or "full".
        seed: of the noises.
        evaluations: of the network; those of the profile by default.
        spacing: of its levels.
        progress: told the share that is done.
    """
    numbers = tuple(evaluations or EVALUATIONS[profile])
    cells = [(name, n) for name in REPORTED[profile] for n in numbers]
    found = []
    for i, (name, n) in enumerate(cells):
        progress(i / len(cells))
        found.append(_cell(judged, name, n, SAMPLES[profile], seed, Grid("model", spacing)))
    return _adjusted(found)


def _cell(judged: Judged, name: str, evaluations: int, count: int, seed: int, grid: Grid) -> Good:
    problem = problem_of(name, count, seed)
    frechet = FrechetDistance(problem.made)
    flow = frechet(problem.exact)
    rows: list[tuple[str, Tensor, Tensor]] = []
    for base in BASELINES:
        try:
            rows.append(_baseline(base, name, evaluations, count, seed))
        except CannotRunError:
            continue
    try:
        steps = steps_for(judged, evaluations, grid)
        run, exact = ends_of(judged, problem, steps, grid)
    except CannotRunError as error:
        arms = [Arm(label, float(r.mean()), _pooled(r), frechet(x)) for label, r, x in rows]
        return Good(name, evaluations, None, tuple(sorted(arms, key=lambda a: a.mean)), flow, reason=str(error))
    own_r = rms(run.end.double() - exact)
    own = Arm(judged.name, float(own_r.mean()), _pooled(own_r), frechet(run.end.double()))
    generator = np.random.default_rng(seed)
    arms = []
    for label, r, x in rows:
        low, high = _ratio_interval(own_r, r, generator)
        ratio = float(own_r.mean() / r.mean())
        gain = (r - own_r).numpy() if ratio < 1 else (own_r - r).numpy()
        test = compare(gain, generator)
        # Two sides are looked at. Where no flip of signs does as much, flips can say no less, and Student's t is left.
        one_sided = test.student if test.flips <= _NO_FLIP else max(test.student, test.flips)
        p = min(1.0, 2 * one_sided) if float(np.abs(gain).max()) > 1e-12 else 1.0
        arms.append(Arm(label, float(r.mean()), _pooled(r), frechet(x), ratio, low, high, p))
    control = _control(judged, problem, run, exact, own_r, generator)
    return Good(name, evaluations, own, tuple(sorted(arms, key=lambda a: a.mean)), flow, control)


def _pooled(r: Tensor) -> float:
    return float(r.square().mean().sqrt())


def _ratio_interval(own: Tensor, other: Tensor, generator: np.random.Generator) -> tuple[float, float]:
    """Return the bootstrap interval of the ratio of two means over the same samples."""
    rows = generator.integers(0, len(own), (500, len(own)))
    a, b = own.numpy()[rows].mean(1), other.numpy()[rows].mean(1)
    low, high = np.quantile(a / b, (0.025, 0.975))
    return float(low), float(high)


def _control(
    judged: Judged, problem: Problem, run: Trajectory, exact: Tensor, own: Tensor, generator: np.random.Generator
) -> float:
    """Return the mean distance of DDIM on the same levels, changed by as much as the sampler does, anywhere."""
    told = [call.level for call in run.calls]
    levels = [told[0]]
    for level in told[1:]:
        if level.half_log_snr > levels[-1].half_log_snr + 1e-9:
            levels.append(level)
    if levels[0].alpha <= 0 or len(levels) < 2:
        return math.nan
    predictor = ExactPredictor(problem.made.distribution)
    last = Level(levels[-1].alpha, 0.0) if levels[-1].alpha == 1 else Level(1.0, 0.0)
    start = problem.noise * (levels[0].sigma if levels[0].alpha == 1 else 1.0)
    ends = sample(DDIM, predictor.noise, start, [*levels, last])
    size = (run.end.double() - ends).norm(dim=1, keepdim=True)
    anywhere = torch.from_numpy(generator.standard_normal(ends.shape))
    changed = ends + size * anywhere / anywhere.norm(dim=1, keepdim=True)
    return float(rms(changed - problem.exact_at(Level(1.0, 0.0))).mean())


def _adjusted(found: Sequence[Good]) -> tuple[Good, ...]:
    """Return the cells with p-values adjusted over all their comparisons."""
    flat = [arm.p for cell in found if cell.own for arm in cell.baselines]
    adjusted = iter(holm(flat))
    made = []
    for cell in found:
        if cell.own is None:
            made.append(cell)
            continue
        made.append(replace(cell, baselines=tuple(replace(arm, p=next(adjusted)) for arm in cell.baselines)))
    return tuple(made)
