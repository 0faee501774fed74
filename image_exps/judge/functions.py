r"""Functions and samplers of this project as something that can be judged.

- k-diffusion and the web interfaces: ``f(model, x, sigmas, extra_args=None, callback=None, disable=None)``. The sample
  is variance exploding, ``x = y + sigma z``; ``model(x, sigma)`` returns the data prediction, ``sigma`` a tensor (B,).
  The two of their functions that space their levels themselves take ``(model, x, sigma_min, sigma_max, ...)``.
- ``f(noise_model, x, levels) -> x``, with ``noise_model(x, level)`` and levels of `lml.samplers.Level`.
- samplers of `lml.samplers`, alone or by the grammar ``base@spacing/correction``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

import toy
from image_exps.judge.double import double_precision
from image_exps.judge.judged import Call, CannotRunError, Grid, Judged, Predictor, Request, Start, Trajectory
from image_exps.judge.noise import noise_sampler
from image_exps.judge.quiet import quiet
from image_exps.problems.targets import SCHEDULE, TIMES, level_of
from image_exps.samplers.arms import Arm
from lml.samplers import SAMPLERS, Level, Sampler, sample

__all__ = ["grid_levels", "judged_arm", "judged_function", "judged_sampler"]


def grid_levels(steps: int, grid: Grid, spacing: str, *, final_zero: bool) -> list[Level]:
    """Return the variance-preserving levels of a grid, for samplers that leave them to whoever calls them."""
    if grid.name == "smooth":
        half_log_snrs = grid.log_snrs(torch.linspace(0, 1, steps + 1, dtype=torch.float64)) / 2
        return [level_of(float(half)) for half in half_log_snrs]
    if final_zero and steps == 1:  # one jump to the data
        return [toy.noise_levels(SCHEDULE, 1, times=TIMES)[0], Level(1.0, 0.0)]
    chosen: Any = grid.spacing or spacing
    return toy.noise_levels(SCHEDULE, steps, spacing=chosen, times=TIMES, final_zero=final_zero)


def _ratio(level: Level) -> float:
    return level.sigma / level.alpha


def _error(error: Exception) -> CannotRunError:
    lines = str(error).strip().splitlines()
    return CannotRunError(f"it raises {type(error).__name__}" + (f": {lines[0][:200]}" if lines else ""))


def _checked(x: object, began: torch.Size, name: str) -> Tensor:
    """Return what a function returned.

    Raises:
        CannotRunError: for anything but a tensor of the shape that it began with.
    """
    if not isinstance(x, Tensor):
        raise CannotRunError(f"{name} returns {type(x).__name__}, not a tensor")
    if x.shape != began:
        raise CannotRunError(f"{name} returns shape {tuple(x.shape)} of a sample of shape {tuple(began)}")
    return x


def _began(start: Start, level: Level, scale: float, dtype: torch.dtype) -> Tensor:
    return start.to(dtype) * scale if isinstance(start, Tensor) else start(level).to(dtype)


def judged_function(function: Callable[..., Any], options: Mapping[str, Any], name: str) -> Judged:
    """Return a function as something to judge; its parameters say which convention it has.

    Raises:
        CannotRunError: for a function of another convention, or that needs other arguments.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError) as error:
        raise CannotRunError(f"{name} has no signature that can be read") from error
    names = list(parameters)
    needed = [n for n, p in parameters.items() if p.default is p.empty
              and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and n not in options]  # fmt: skip
    if len(names) >= 3 and names[2] == "levels":
        kind, base = "function of levels", needed[:3]
        run: Any = _PlainRunner(function, options)
    elif "sigma_min" in names[2:4] and "sigma_max" in names[2:4]:
        kind, base = "k-diffusion function", ["sigma_min", "sigma_max", "n", *needed[:2]]
        run = _OwnLevelsRunner(function, options, counted="n" in names)
    elif len(names) >= 3 and (names[2] == "sigmas" or "extra_args" in names):
        kind, base = "k-diffusion function", needed[:3]
        run = _KDiffusionRunner(function, options)
    else:
        raise CannotRunError(
            f"{name} must have the signature (model, x, sigmas, extra_args=None, callback=None, disable=None) of "
            f"k-diffusion, or (noise_model, x, levels); it has ({', '.join(names)})"
        )
    others = [n for n in needed if n not in base]
    if others:
        shown = ", ".join(f'"{each}": ...' for each in others)
        raise CannotRunError(f"{name} needs arguments: give them behind its name, {{{shown}}}")
    unknown = [n for n in options if n not in names]
    if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        raise CannotRunError(f"{name} has no argument {', '.join(unknown)}; it has {', '.join(names)}")
    claimed = getattr(function, "order", None)

    def rebuild(**changes: Any) -> Judged:
        return judged_function(function, {**options, **changes}, name)

    free = not isinstance(run, _OwnLevelsRunner)
    order = float(claimed) if isinstance(claimed, int) else None
    return Judged(name, kind, run, order, free_levels=free, rebuild=rebuild, origin=function)


class _Recorder:
    """A network in the convention of k-diffusion: ``model(x, sigma)``, data from a variance-exploding sample."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor, self.calls = predictor, list[Call]()

    def __call__(self, x: Tensor, sigma: Tensor | float, **extra: Any) -> Tensor:
        sigmas = torch.as_tensor(sigma, dtype=torch.float64).flatten()
        if len(sigmas) > 1 and bool((sigmas != sigmas[0]).any()):
            raise CannotRunError("it asks its network at several noise levels of one batch")
        level = Level(1.0, float(sigmas[0]))
        if not level.sigma > 0:
            raise CannotRunError(f"it asks its network at sigma = {level.sigma:g}, where nothing is left to predict")
        if isinstance(x, Tensor):
            self.calls.append(Call(x.detach().clone(), level))
        return self.predictor.data(x, level)


class _KDiffusionRunner:
    """The runner of ``f(model, x, sigmas, ...)``."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any]) -> None:
        self._function, self._options = function, dict(options)
        self._accepted = set(inspect.signature(function).parameters)

    def __call__(self, asked: Request) -> Trajectory:
        # Theirs come from a table of the model, and end with zero; Karras spacing is what the interfaces recommend.
        chosen = asked.levels or grid_levels(asked.steps, asked.grid, "karras", final_zero=True)
        sigmas = torch.tensor([_ratio(level) for level in chosen], dtype=torch.float64).to(asked.dtype)
        first = Level(1.0, float(sigmas[0]))
        x = _began(asked.start, first, first.sigma, asked.dtype)
        model = _Recorder(asked.predictor)
        silent: dict[str, Any] = {"disable": True} if "disable" in self._accepted else {}
        if "noise_sampler" in self._accepted and noise_sampler() is not None:
            silent["noise_sampler"] = noise_sampler()
        with (
            quiet(),
            torch.random.fork_rng(devices=[]),
            double_precision() if asked.dtype == torch.float64 else nullcontext(),
        ):
            torch.manual_seed(asked.seed)  # they draw from the global generator
            try:
                end = self._run(model, x, sigmas, {**silent, **self._options})
            except CannotRunError:
                raise
            except Exception as error:
                raise _error(error) from error
        name = getattr(self._function, "__name__", "it")
        return Trajectory(tuple(model.calls), _checked(end, x.shape, name))

    def _run(self, model: _Recorder, x: Tensor, sigmas: Tensor, options: dict[str, Any]) -> Any:
        return self._function(model, x, sigmas, **options)


class _OwnLevelsRunner(_KDiffusionRunner):
    """The runner of ``f(model, x, sigma_min, sigma_max, [n], ...)``, which spaces its levels itself."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any], *, counted: bool) -> None:
        super().__init__(function, options)
        self._counted = counted

    def _run(self, model: _Recorder, x: Tensor, sigmas: Tensor, options: dict[str, Any]) -> Any:
        steps = {"n": len(sigmas) - 1} if self._counted else {}
        low = float(sigmas[sigmas > 0][-1])
        return self._function(model, x, sigma_min=low, sigma_max=float(sigmas[0]), **steps, **options)


class _PlainRunner:
    """The runner of ``f(noise_model, x, levels)``."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, Any], spacing: str = "log-snr") -> None:
        self._function, self._options, self._spacing = function, dict(options), spacing

    def __call__(self, asked: Request) -> Trajectory:
        chosen = list(asked.levels or grid_levels(asked.steps, asked.grid, self._spacing, final_zero=False))
        x, calls = _began(asked.start, chosen[0], 1.0, asked.dtype), list[Call]()

        def noise(x: Tensor, level: Level) -> Tensor:
            if not isinstance(level, tuple) or len(level) < 2 or not level[1] > 0:
                raise CannotRunError(f"it asks its network at {level!r}, which is no level with noise")
            at = Level(float(level[0]), float(level[1]))
            if isinstance(x, Tensor):
                calls.append(Call(x.detach().clone(), at))
            return asked.predictor.noise(x, at)

        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(asked.seed)
            try:
                end = self._function(noise, x, chosen, **self._options)
            except CannotRunError:
                raise
            except Exception as error:
                raise _error(error) from error
        return Trajectory(tuple(calls), _checked(end, x.shape, getattr(self._function, "__name__", "it")))


def judged_sampler(made: Sampler, name: str = "", spacing: str = "log-snr") -> Judged:
    """Return a sampler of `lml.samplers`, or one that was made like them, as something to judge."""

    def function(noise_model: Any, x: Tensor, levels: Sequence[Level]) -> Tensor:
        return sample(made, noise_model, x, levels)

    run = _PlainRunner(function, {}, spacing)
    return Judged(
        name or made.name,
        "sampler of lml.samplers",
        run,
        float(made.order),
        free_levels=True,
        evaluations=made.evaluations,
        origin=made,
    )


def judged_arm(arm: Arm) -> Judged:
    """Return a base with its spacing and its correction as something to judge; its order is its base's without one."""
    # Steps of a singlestep method are counted in evaluations, as diffusers does; how many levels there are follows.
    free = arm.base in SAMPLERS
    plan = arm.build(_spent(arm, 12), 2, seed=0, count=1)

    def run(asked: Request) -> Trajectory:
        if asked.levels is not None and not free:
            raise CannotRunError(f"{arm.name} takes steps of several orders, and chooses their levels itself")
        count = asked.steps if free else len(arm.build(asked.steps, 2, seed=0, count=1).levels) - 1
        chosen = list(asked.levels or grid_levels(count, asked.grid, arm.spacing, final_zero=False))
        x, calls = _began(asked.start, chosen[0], 1.0, asked.dtype), list[Call]()
        built = arm.build(_spent(arm, asked.steps), math.prod(x.shape[1:]), seed=asked.seed, count=len(x))

        def noise(x: Tensor, level: Level) -> Tensor:
            calls.append(Call(x.detach().clone(), level))
            return asked.predictor.noise(x, level)

        end = sample(built.sampler, noise, x, chosen, built.correction)
        return Trajectory(tuple(calls), end)

    # Steps of a singlestep method have the orders that its budget leaves: the whole claims none.
    order = float(plan.sampler.order) if arm.correction == "none" and free else None
    return Judged(arm.name, "sampler of lml.samplers", run, order, free_levels=free,
                  evaluations=plan.sampler.evaluations if free else None, origin=arm)  # fmt: skip


def _spent(arm: Arm, steps: int) -> int:
    """Return the evaluations of a number of steps of an arm."""
    made = SAMPLERS.get(arm.base)
    return made.evaluations(steps) if made is not None else steps
