r"""Claim L4: published multistep methods are rows of weights, and a fit that moves nothing is the method it began with.

Three identities, in float64:

1. For every method of `lml.solver.METHODS`, UniPC with its corrector among them, `Solver.sample` ends where the sampler
   of `lml.samplers` ends. The rows are read off the sampler at unit vectors; here both are asked of an exact score,
   which is not linear.
2. A fit that moves neither levels nor weights has the published rows, bit for bit, and the errors of that sampler.
3. On ``N(0, v I)`` the noise prediction is ``sigma/(alpha^2 v + sigma^2) x``: all noises of a path lie on one line, and
   all that rows can do is one factor. The flow's is ``((alpha'^2 v + sigma'^2)/(alpha^2 v + sigma^2))^(1/2)``. With
   ``y = x/alpha`` the last step is ``y' = y + g (u + eta (e_n - e_{n-1}))``, ``g`` the change of sigma/alpha: one
   sample gives the ``eta`` that reaches the flow's end from every noise.

Rounding. A step of either kind is the exact step of noises that are off by ``_ROUNDINGS u sigma_0/alpha_0`` of their
size: steps in the data prediction lose that factor. What an end changes by is that times its condition: the sum, over
the evaluations, of the change by a small error of one noise, over that error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor

import toy
from image_exps.problems.targets import TIMES
from lml.samplers import Level, NoiseModel, sample, sampler
from lml.solver import METHODS, SPACINGS, Schedule, Solver, of_method
from lml.solver.fitting import Problem, fit
from lml.solver.path import ratio
from lml.solver.schedule import spaced
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.progress import track
from toy.threads import single_thread

__all__ = ["check_rows"]

_TARGET, _SAMPLES, _VARIANCE = "random-16d", 4, 0.25

# Operations on a number in a step, each with a relative error of u, and the small error of a noise.
_ROUNDINGS, _SMALL = 16, 1e-6


def _condition(run: Callable[[NoiseModel], Tensor], model: NoiseModel, steps: int, generator: torch.Generator) -> float:
    """Return how much larger the change of the end is than relative errors of the noises, one evaluation at a time."""
    end, total = run(model), 0.0
    for k in range(steps):
        asked = -1

        def off(x: Tensor, level: Level, k: int = k) -> Tensor:
            nonlocal asked
            asked, e = asked + 1, model(x, level)
            if asked != k:
                return e
            return e + _SMALL * e.abs().max() * torch.randn(e.shape, dtype=e.dtype, generator=generator).sign()

        total += float((run(off) - end).abs().max()) / _SMALL
    return total


def _bound(run: Callable[[NoiseModel], Tensor], model: NoiseModel, made: Solver, generator: torch.Generator) -> float:
    rounding = _ROUNDINGS * 2.0**-53 * ratio(made.levels[0])
    return rounding * _condition(run, model, made.evaluations, generator)


def _gaussian(x: Tensor, level: Level) -> Tensor:
    return level.sigma / (level.alpha**2 * _VARIANCE + level.sigma**2) * x


def _flow(x: Tensor, levels: Sequence[Level]) -> Tensor:
    """Return the end of the flow of ``N(0, v I)``."""
    first, last = (math.hypot(level.alpha * _VARIANCE**0.5, level.sigma) for level in (levels[0], levels[-1]))
    return last / first * x


def _reached(made: Solver) -> Solver:
    """Return a solver with the weight of its last step at which it ends where the flow of ``N(0, v I)`` does."""
    asked: list[Tensor] = []

    def model(x: Tensor, level: Level) -> Tensor:
        asked.append(_gaussian(x, level))
        return asked[-1]

    x = torch.ones(1, 1, dtype=torch.float64)
    short = (_flow(x, made.levels) - made.sample(model, x)) / made.levels[-1].alpha
    gain = ratio(made.levels[-1]) - ratio(made.levels[-2])
    eta = float(short / (gain * (asked[-1] - asked[-2])))
    last = made.weights[-1]
    return replace(made, method="fitted", weights=(*made.weights[:-1], (last[0] + eta, *last[1:])))


def check_rows(
    settings: Settings, *, methods: Sequence[str] = METHODS, evaluations: Sequence[int] | None = None
) -> Finding:
    """L4: published methods are rows; a fit that moves nothing is its method; one weight is exact on a line."""
    evaluations = evaluations or settings.pick((5, 8), (3, 5, 8, 16))
    model, schedule = toy.noise_model(toy.target(_TARGET)), Schedule.sampled(toy.noise_schedule("vp-linear"), TIMES)
    generator = settings.generator()
    x = torch.randn(_SAMPLES, 16, dtype=torch.float64, generator=generator)
    worst, least = MaxError(), math.inf
    with single_thread():
        for base, spacing, n in track(list(product(methods, SPACINGS, evaluations)), "identities"):
            made = of_method(f"{base}@{spacing}", schedule, n)

            def published(model: NoiseModel, base: str = base, levels: Sequence[Level] = made.levels) -> Tensor:
                return sample(sampler(base), model, x, levels)

            end, bound = published(model), _bound(published, model, made, generator)
            worst.update("bound", bound)
            worst.update("rows", float((made.sample(model, x) - end).abs().max()) / bound)
            problem = Problem(model, x, torch.zeros_like(x), torch.ones(len(x), dtype=torch.float64))
            still = fit([problem], base, schedule, spaced(schedule, n, spacing), ridges=(0.1,), levels=False,
                        rows=False)[0]  # fmt: skip
            worst.update("fit", float((still.errors[0] - end.square().mean(1).sqrt()).abs().max()) / bound)
            weights = zip(still.solver(schedule).weights, made.weights, strict=True)
            worst.update("weights", max(abs(a - b) for own, its in weights for a, b in zip(own, its, strict=True)))

            reached, exact = _reached(made), _flow(x, made.levels)
            of_line = _bound(lambda model, made=reached: made.sample(model, x), _gaussian, reached, generator)  # type: ignore[misc]
            worst.update("line", float((reached.sample(_gaussian, x) - exact).abs().max()) / of_line)
            worst.update("bound", of_line)
            least = min(least, float((published(_gaussian) - exact).abs().max()))
    return _finding(worst, least, evaluations)


def _finding(worst: MaxError, least: float, evaluations: Sequence[int]) -> Finding:
    basis = "rounding of the noises times the condition of the end"
    figures = (
        Measured("largest distance of a solver's end from the sampler's, over the bound", worst["rows"], limit=1,
                 basis=basis),
        Measured("the same of errors in a fit that moves nothing", worst["fit"], limit=1, basis=basis),
        Measured("change of the weights by a fit that moves nothing", worst["weights"], limit=0, basis="no rounding"),
        Measured("parallel noises: largest error with one weight solved for, over the bound", worst["line"], limit=1,
                 basis=basis),
    )  # fmt: skip
    return Finding(
        agreement(*figures),
        (*figures, Measured("the bound, largest", worst["bound"]),
         Measured("parallel noises: least error of a published method", least, basis="control: none is exact there")),
        reading=f"{_TARGET} and N(0, {_VARIANCE} I), linear betas, {' and '.join(map(str, evaluations))} evaluations, "
        "every method at every spacing; float64",
        methods=("the sampler's own steps, on an exact score", "the closed form of the flow of N(0, v I)"),
        remark="The third part says what rows can do, not that a fit finds it: Gauss-Newton steps are limited, and "
        "from a method that is far off they may end before. A norm that is restored, as LML's, is no row of weights.",
    )  # fmt: skip
