"""Is it robust? Errors of the score, guidance, 1 to 50 evaluations, other predictions and spacings, half precision."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import torch
from torch import Tensor

from image_exps.judge.functions import judged_sampler
from image_exps.judge.good import Problem, ends_of, problem_of, steps_for
from image_exps.judge.judged import CannotRunError, Grid, Judged, Predictor
from image_exps.judge.predictors import Budget, ExactPredictor, Limited, NoisePredictor
from image_exps.problems.endpoints import rms
from image_exps.problems.score_errors import KINDS, Imperfect, Kind
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import TAU
from lml.samplers import SAMPLERS, Level
from toy import ClassifierFreeGuidance, ClassMixture, dataset, noise_model, smoothed_classes

__all__ = ["GUIDANCE", "Figure", "Robust", "judge_robust"]

#: Guidance scales, and evaluations from few to many.
GUIDANCE = (1.0, 2.0, 4.0, 8.0, 16.0)
NUMBERS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50)

_TARGET, _SAMPLES, _EVALUATIONS, _SEED = "random-16d", 128, 10, 72
_ERROR = 0.1
# Digits of guided classes, and samples.
_DIGITS, _GUIDED = 300, 32
# A sample that is this many times as far out as the guided flow takes it has left; what errs does so by factors.
_BROKEN = 3.0


@dataclass(frozen=True)
class Figure:
    """One figure with what it was measured at.

    Attributes:
        at: the condition: a kind of error, a scale, a number, a spacing, a dtype.
        value: mean distance to the end of the exact flow, or what the group says; NaN where it could not run.
        other: the same of DDIM, where there is one.
        text: a remark, or why it could not run.
    """

    at: str
    value: float
    other: float = math.nan
    text: str = ""


@dataclass(frozen=True)
class Robust:
    """What a sampler withstands.

    Attributes:
        errors: of the score, by kind: distance, and that of DDIM on equal terms.
        guidance: size of the samples over that of the guided flow, by scale.
        numbers: distance by number of evaluations.
        predictions: difference from the prediction of noise, by type.
        spacings: distance by spacing.
        precision: distance from the float64 run, relative, by dtype.
        breaks: the least guidance at which it breaks; infinite if it does at none.
        worsens: the first pair of numbers of evaluations of which the larger is worse, empty if there is none.
    """

    errors: tuple[Figure, ...]
    guidance: tuple[Figure, ...]
    numbers: tuple[Figure, ...]
    predictions: tuple[Figure, ...]
    spacings: tuple[Figure, ...]
    precision: tuple[Figure, ...]
    breaks: float
    worsens: str


def judge_robust(judged: Judged, *, progress: Callable[[float], None] = lambda share: None) -> Robust:
    """Return what a sampler withstands, on a 16-dimensional mixture in ten evaluations unless it says otherwise."""
    problem = problem_of(_TARGET, _SAMPLES, _SEED)
    found: dict[str, tuple[Figure, ...]] = {}
    for i, (name, group) in enumerate(_GROUPS.items()):
        progress(i / len(_GROUPS))
        found[name] = group(judged, problem)
    broken = [float(f.at) for f in found["guidance"] if not f.value <= _BROKEN]
    return Robust(**found, breaks=min(broken, default=math.inf), worsens=_worsens(found["numbers"]))


def _distance(judged: Judged, problem: Problem, steps: int, grid: Grid, predictor: Predictor | None = None) -> float:
    run, exact = ends_of(judged, problem, steps, grid, predictor=predictor)
    return float(rms(run.end.double() - exact).mean())


def _try(at: str, measure: Callable[[], tuple[float, float]]) -> Figure:
    try:
        return Figure(at, *measure())
    except CannotRunError as error:
        return Figure(at, math.nan, text=str(error))


_DDIM = judged_sampler(SAMPLERS["ddim"])
_OWN = Grid("model")
_TIME = Grid("model", "time")


def _errors(judged: Judged, problem: Problem) -> tuple[Figure, ...]:
    exact = ExactPredictor(problem.made.distribution)

    def spoiled(kind: Kind) -> NoisePredictor:
        model = Imperfect(noise_model(problem.made.distribution), kind, _ERROR, _SEED, problem.made.shape)
        return NoisePredictor(model, exact)

    def measure(kind: str) -> tuple[float, float]:
        steps = steps_for(judged, _EVALUATIONS, _OWN)
        chosen: Kind = kind  # type: ignore[assignment]
        return (
            _distance(judged, problem, steps, _OWN, spoiled(chosen)),
            _distance(_DDIM, problem, _EVALUATIONS, _TIME, spoiled(chosen)),
        )

    def plain() -> tuple[float, float]:
        steps = steps_for(judged, _EVALUATIONS, _OWN)
        return _distance(judged, problem, steps, _OWN), _distance(_DDIM, problem, _EVALUATIONS, _TIME)

    return (_try("none", plain), *(_try(f"{kind} {_ERROR:.0%}", partial(measure, kind)) for kind in KINDS))


@lru_cache(maxsize=1)
def _classes() -> ClassMixture:
    """Return the first digits of the data set, smoothed, in ten classes with borders as sharp as real ones."""
    pictures = dataset("digits")
    few = replace(pictures, images=pictures.images[:_DIGITS], labels=pictures.labels[:_DIGITS])
    return smoothed_classes(few, TAU)


class _Guided:
    """Guided predictions of two classes."""

    def __init__(self, classes: ClassMixture, labels: Tensor, scale: float) -> None:
        self._model, self._classes = ClassifierFreeGuidance(classes, labels, scale), classes

    def noise(self, x: Tensor, level: Level) -> Tensor:
        return self._model(x.double(), level).to(x.dtype)

    def data(self, x: Tensor, level: Level) -> Tensor:
        if level.alpha == 0:
            return self._classes.whole.mean().to(x).expand_as(x)
        return (x - level.sigma * self.noise(x, level)) / level.alpha


def _guidance(judged: Judged, problem: Problem) -> tuple[Figure, ...]:
    """Sizes are root mean squares over all samples, and the flow is that of 200 steps of second order."""
    del problem
    classes = _classes()
    noise = starting_noise(_SEED, 0, _GUIDED, (classes.dim,))
    labels = torch.arange(_GUIDED) % len(classes.classes)
    fine = judged_sampler(SAMPLERS["dpm-solver++-2m"])

    def size(who: Judged, steps: int, grid: Grid, scale: float) -> float:
        limited = Limited(_Guided(classes, labels, scale), noise.shape, Budget(40 * steps + 400))
        end = who.run(limited, noise, steps, grid=grid).end.double()
        return float(end.square().mean().sqrt())

    def measure(scale: float) -> tuple[float, float]:
        exact = size(fine, 200, Grid("model", "log-snr"), scale)
        steps = steps_for(judged, _EVALUATIONS, _OWN)
        own = size(judged, steps, _OWN, scale) / exact
        return (own if math.isfinite(own) else math.inf), size(_DDIM, _EVALUATIONS, _TIME, scale) / exact

    figures = [_try(f"{scale:g}", partial(measure, scale)) for scale in GUIDANCE]
    # A run that is not finite has broken.
    return tuple(Figure(f.at, math.inf, f.other, f.text) if "not finite" in f.text else f for f in figures)


def _numbers(judged: Judged, problem: Problem) -> tuple[Figure, ...]:
    def measure(n: int) -> tuple[float, float]:
        steps = steps_for(judged, n, _OWN)
        return _distance(judged, problem, steps, _OWN), _distance(_DDIM, problem, n, _TIME)

    return tuple(_try(str(n), partial(measure, n)) for n in NUMBERS)


def _worsens(numbers: Sequence[Figure]) -> str:
    """Return the first two numbers of evaluations of which the larger has a distance larger by a twentieth."""
    known = [f for f in numbers if math.isfinite(f.value)]
    for before, after in itertools.pairwise(known):
        if after.value > 1.05 * before.value:
            return f"{after.at} evaluations are worse than {before.at}: {after.value:.3g} against {before.value:.3g}"
    return ""


def _predictions(judged: Judged, problem: Problem) -> tuple[Figure, ...]:
    if judged.kind != "diffusers scheduler" or judged.rebuild is None:
        return ()
    config = getattr(judged.origin, "config", {})
    if "prediction_type" not in config or config.get("use_flow_sigmas"):
        return ()
    rebuild, ends = judged.rebuild, dict[str, Tensor]()
    figures = []
    for kind in ("epsilon", "sample", "v_prediction"):
        try:
            ends[kind] = ends_of(rebuild(prediction_type=kind), problem, _EVALUATIONS, _OWN)[0].end.double()
        except CannotRunError as error:
            figures.append(Figure(kind, math.nan, text=str(error)))
            continue
        apart = (ends[kind] - next(iter(ends.values()))).abs().max() / ends[kind].abs().max()
        figures.append(Figure(kind, float(apart)))
    return tuple(figures)


def _spacings(judged: Judged, problem: Problem) -> tuple[Figure, ...]:
    free = ("time", "log-snr", "karras")
    names = free if judged.free_levels else ("leading", "linspace", "trailing", "karras", "exponential", "beta")

    def measure(name: str) -> tuple[float, float]:
        grid = Grid("model", name)
        return _distance(judged, problem, steps_for(judged, _EVALUATIONS, grid), grid), math.nan

    found = [_try(name, partial(measure, name)) for name in names]
    return tuple(f for f in found if not f.text.startswith("it cannot space"))


def _precision(judged: Judged, problem: Problem) -> tuple[Figure, ...]:
    try:
        exact = ends_of(judged, problem, steps_for(judged, _EVALUATIONS, _OWN), _OWN)[0].end.double()
    except CannotRunError as error:
        return (Figure("float64", math.nan, text=str(error)),)
    figures = []
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        name = str(dtype).removeprefix("torch.")
        try:
            steps = steps_for(judged, _EVALUATIONS, _OWN)
            end = ends_of(judged, problem, steps, _OWN, dtype=dtype)[0].end.double()
            figures.append(Figure(name, float((end - exact).square().mean().sqrt() / exact.square().mean().sqrt())))
        except CannotRunError as error:
            figures.append(Figure(name, math.nan, text=str(error)))
    return tuple(figures)


_GROUPS: dict[str, Callable[[Judged, Problem], tuple[Figure, ...]]] = {
    "errors": _errors,
    "guidance": _guidance,
    "numbers": _numbers,
    "predictions": _predictions,
    "spacings": _spacings,
    "precision": _precision,
}
