r"""A scheduler of diffusers as something that can be judged.

A pipeline runs ``out = model(scheduler.scale_model_input(x, t), t); x = scheduler.step(out, t, x).prev_sample`` over
``scheduler.timesteps``. Which noise level a timestep stands for is written in the scheduler's own table, and depends on
its family:

- ``alphas_cumprod[t]`` (DDIM, PNDM, DDPM, LCM, TCD ...);
- ``sigmas[i] = sigma/alpha`` where the sample is variance preserving (DPM-Solver multistep and singlestep, DEIS, UniPC,
  SA-Solver), and the factor of ``scale_model_input``, ``1/(1 + sigma^2)^(1/2)``, where it is variance exploding (Euler,
  Heun, LMS, KDPM2, the ancestral ones);
- ``alpha = 1 - s, sigma = s`` of flow matching;
- ``x = y + sigma z`` with EDM's preconditioning;
- ``alphas[i], betas[i]`` of iPNDM, whose network predicts the velocity.

The network answers exactly at *that* level, which is not always the one of the rounded timestep: what differs is
reported by `image_exps.judge.levels`.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

from image_exps.judge.double import double_precision, to_double
from image_exps.judge.judged import (
    Call,
    CannotRunError,
    Grid,
    Judged,
    Predictor,
    Request,
    Start,
    Trajectory,
)
from image_exps.judge.noise import noise_sampler
from image_exps.judge.quiet import quiet
from image_exps.judge.scheduler_levels import is_flow, of_cumulative, preserving, spacing_options
from lml.samplers import Level

__all__ = ["judged_scheduler", "make_scheduler"]

# Timesteps of the table of orders: so many that the rounding of timesteps to integers is a small part of a step, and
# no more: some schedulers visit each of them, with a cost that grows with the table, as they are made.
_TABLE = 3 << 11


def judged_scheduler(cls: type, options: Mapping[str, Any], name: str) -> Judged:
    """Return a scheduler class with options as something to judge.

    Raises:
        CannotRunError: for a class that is no scheduler, or needs other arguments.
    """
    missing = [part for part in ("set_timesteps", "step") if not callable(getattr(cls, part, None))]
    if missing:
        raise CannotRunError(f"{cls.__name__} is no scheduler of diffusers: it has no {' and no '.join(missing)}")
    scheduler = make_scheduler(cls, options)
    notes = []
    settings = dict(options)
    for key in ("clip_sample", "thresholding"):
        if getattr(scheduler, "config", {}).get(key):
            settings[key] = False
            notes.append(f"{key} is switched off: exact targets are not bounded by 1")
    run = _Runner(cls, settings)
    if hasattr(scheduler, "get_scalings_for_boundary_condition"):
        raise CannotRunError(
            f"{cls.__name__} runs a consistency model, which maps a sample to the flow's end: an exact score is none"
        )
    order = _claimed_order(scheduler)

    def rebuild(**changes: Any) -> Judged:
        return judged_scheduler(cls, {**options, **changes}, name)

    made = make_scheduler(cls, settings)
    return Judged(name, "diffusers scheduler", run, order, notes=tuple(notes), rebuild=rebuild, origin=made,
                  keeper=_Runner(cls, settings, keep=True))  # fmt: skip


def make_scheduler(cls: type, options: Mapping[str, Any]) -> Any:
    """Return ``cls(**options)``.

    Raises:
        CannotRunError: if it needs arguments that are not there, or refuses those that are.
    """
    needed = [
        p.name
        for p in inspect.signature(cls).parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and p.name not in options
    ]
    if needed:
        shown = ", ".join(f'"{each}": ...' for each in needed)
        raise CannotRunError(f"{cls.__name__} needs arguments: give them behind its name, {{{shown}}}")
    try:
        with quiet():
            return cls(**options)
    except Exception as error:
        raise CannotRunError(f"{cls.__name__} cannot be made: {_said(error)}") from error


def _claimed_order(scheduler: Any) -> float | None:
    """Return what a scheduler says of its order: its option ``solver_order``, else the class attribute, 2 for Heun.

    The attribute ``order`` of diffusers counts evaluations a step: 1 says nothing.
    """
    config = getattr(scheduler, "config", {})
    for key in ("solver_order", "predictor_order"):
        if isinstance(config.get(key), int):
            return float(config[key])
    order = getattr(scheduler, "order", 1)
    return float(order) if isinstance(order, int) and order > 1 else None


def _said(error: BaseException) -> str:
    """Return the kind of an error and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}" + (f" ({lines[0][:200]})" if lines else "")


class _Runner:
    """The runner of a scheduler class; ``keep`` uses one scheduler for every run."""

    def __init__(self, cls: type, options: dict[str, Any], *, keep: bool = False) -> None:
        self._cls, self._options = cls, options
        self._accepted = set(inspect.signature(cls).parameters)
        self._made: tuple[object, Any] | None = None
        self._keep = keep

    def __call__(self, asked: Request) -> Trajectory:
        if asked.levels is not None:
            raise CannotRunError("a scheduler chooses its levels itself")
        double = asked.dtype == torch.float64
        with quiet(), double_precision() if double else nullcontext():
            scheduler = self._fresh(self._settings(asked.grid, asked.steps), asked.dtype)
            self._set_timesteps(scheduler, asked.steps, asked.grid)
            if double:
                to_double(scheduler)
            sampler = noise_sampler()
            if sampler is not None and hasattr(scheduler, "noise_sampler"):
                scheduler.noise_sampler = sampler
            loop = _Loop(scheduler, asked.predictor, asked.dtype, torch.Generator().manual_seed(asked.seed))
            return loop.run(asked.start)

    def _fresh(self, settings: dict[str, Any], dtype: torch.dtype) -> Any:
        """Return a scheduler that nobody has used: a copy, since some of them take seconds to be made."""
        key = (dtype, repr(sorted(settings.items(), key=lambda item: item[0])))
        if self._made is None or self._made[0] != key:
            self._made = key, make_scheduler(self._cls, settings)
        return self._made[1] if self._keep else copy.deepcopy(self._made[1])

    def _settings(self, grid: Grid, steps: int) -> dict[str, Any]:
        """Return the options, with the schedule of the grid where the class takes one."""
        settings = dict(self._options)
        if grid.spacing is not None:
            settings |= spacing_options(grid.spacing, self._accepted)
        if grid.name != "smooth":
            return settings
        low, high = grid.log_snr
        if "IPNDM" in self._cls.__name__:
            grid_of = grid.log_snrs(torch.linspace(0, 1, steps + 1, dtype=torch.float64))
            return settings | {"trained_betas": torch.sigmoid(-grid_of).sqrt().tolist()}
        if "trained_betas" in self._accepted:
            squared = torch.sigmoid(grid.log_snrs(torch.linspace(1, 0, _TABLE, dtype=torch.float64)))
            betas = torch.cat((1 - squared[:1], 1 - squared[1:] / squared[:-1]))
            settings |= {"trained_betas": betas.tolist(), "num_train_timesteps": _TABLE}
            if settings.get("rescale_betas_zero_snr"):
                settings["rescale_betas_zero_snr"] = False
        elif {"sigma_min", "sigma_max"} <= self._accepted and "sigma_data" in self._accepted:
            settings |= {"sigma_min": math.exp(-high / 2), "sigma_max": math.exp(-low / 2)}
        return settings

    def _set_timesteps(self, scheduler: Any, steps: int, grid: Grid) -> None:
        extra: dict[str, Any] = {}
        config = getattr(scheduler, "config", {})
        parameters = inspect.signature(scheduler.set_timesteps).parameters
        if config.get("use_dynamic_shifting") and "mu" in parameters:
            extra["mu"] = 1.0
        if "original_inference_steps" in parameters and config.get("original_inference_steps") is not None:
            # Distilled models have 50 levels to choose from; more steps need more of them.
            extra["original_inference_steps"] = max(steps, int(config["original_inference_steps"]))
        try:
            scheduler.set_timesteps(steps, **extra)
        except Exception as error:
            raise CannotRunError(f"set_timesteps({steps}) fails: {_said(error)}") from error
        times = getattr(scheduler, "timesteps", None)
        if times is None or not len(times):
            raise CannotRunError(f"set_timesteps({steps}) leaves no timesteps")
        if len(times) > 1 and float(times[0]) < float(times[-1]) and hasattr(scheduler, "alphas_cumprod"):
            raise CannotRunError(f"{self._cls.__name__} runs from data to noise: it is an inversion, and no sampler")


class _Loop:
    """The loop of a pipeline around one scheduler, with the conventions of its family."""

    def __init__(self, scheduler: Any, predictor: Predictor, dtype: torch.dtype, generator: torch.Generator) -> None:
        self.scheduler, self.predictor, self.dtype, self.generator = scheduler, predictor, dtype, generator
        self.config = getattr(scheduler, "config", {})
        self.kind = self._prediction()
        self.parameters = inspect.signature(scheduler.step).parameters
        self.flow = is_flow(scheduler)
        self.edm = hasattr(scheduler, "precondition_outputs")

    def _prediction(self) -> str:
        if "IPNDM" in type(self.scheduler).__name__:
            return "v_prediction"
        if is_flow(self.scheduler):
            return "flow_prediction"
        return str(self.config.get("prediction_type", "epsilon"))

    def run(self, start: Start) -> Trajectory:
        scheduler, calls, x, old = self.scheduler, [], None, None
        times = list(scheduler.timesteps)
        for i, t in enumerate(times):
            if x is None:
                x = self._begin(start, t)
                began = x.shape
            given = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            level = self._level(i, t, x, given)
            if self.edm:
                out, given = self._preconditioned(x, level), x
            else:
                out = self._answer(given, level)
            calls.append(Call(given.detach().clone(), level))
            x, old = self._step(out, i, times, x, old)
            if not isinstance(x, Tensor) or x.shape != began:
                got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
                raise CannotRunError(f"step returns shape {got} of a sample of shape {tuple(began)}")
        assert x is not None
        return Trajectory(tuple(calls), x)

    def _begin(self, start: Start, t: Any) -> Tensor:
        """Return the first sample: noise times ``init_noise_sigma``, or samples of the first level."""
        if isinstance(start, Tensor):
            scale = float(getattr(self.scheduler, "init_noise_sigma", 1.0))
            return start.to(self.dtype) * scale
        # scale_model_input is a factor: what it makes of one says which.
        probe = torch.ones((1, 2), dtype=self.dtype)
        scaled = self.scheduler.scale_model_input(probe, t) if hasattr(self.scheduler, "scale_model_input") else probe
        level = self._level(0, t, probe, scaled)
        x = start(level).to(self.dtype)
        return x if self.edm else x * (probe / scaled).flatten()[0]

    def _level(self, i: int, t: Any, x: Tensor, given: Tensor) -> Level:
        """Return the level of the network's input at evaluation ``i``."""
        scheduler, time = self.scheduler, float(t)
        if self.flow:
            s = float(scheduler.sigmas[self._index(i)])
            return Level(1 - s, s, time)
        if self.edm:
            return Level(1.0, float(scheduler.sigmas[self._index(i)]), time)
        if "IPNDM" in type(scheduler).__name__:
            return Level(float(scheduler.alphas[i]), float(scheduler.betas[i]), time)
        place = int(x.detach().abs().flatten().argmax())
        factor = float(given.flatten()[place].double() / x.flatten()[place].double())
        if factor != 1 and x.dtype == torch.float64:
            return preserving(math.sqrt(max(1 / factor**2 - 1, 0.0)), time)
        if hasattr(scheduler, "alphas_cumprod"):
            sigmas = getattr(scheduler, "sigmas", None)
            if sigmas is None:
                return of_cumulative(scheduler.alphas_cumprod, time)
            return preserving(self._sigma(i), time)
        raise CannotRunError(
            f"at which noise level {type(scheduler).__name__} asks its network is not known: it has no alphas_cumprod, "
            "no factor in scale_model_input, no preconditioning of EDM, and is not one of flow matching"
        )

    def _sigma(self, i: int) -> float:
        """Return ``sigma/alpha`` of a scheduler of a sigma table; of two-stage ones, which keep two, the one in use."""
        scheduler = self.scheduler
        second = not getattr(scheduler, "state_in_first_order", True)
        for name in ("sigmas_interpol", "mid_point_sigma"):
            between = getattr(scheduler, name, None)
            if second and isinstance(between, Tensor):
                return float(between if between.ndim == 0 else between[self._index(i)])
        return float(scheduler.sigmas[self._index(i)])

    def _index(self, i: int) -> int:
        index = getattr(self.scheduler, "step_index", None)
        return i if index is None else int(index)

    def _answer(self, x: Tensor, level: Level) -> Tensor:
        """Return the network's output at its input, in the form that the scheduler expects."""
        kind, predictor = self.kind, self.predictor
        if kind == "epsilon":
            return predictor.noise(x, level)
        if kind == "sample":
            return predictor.data(x, level)
        if kind in ("v_prediction", "flow_prediction"):
            # One question is one evaluation; at alpha = 0 the noise is x/sigma, and only the data is a question.
            if level.alpha == 0:
                data = predictor.data(x, level)
                noise = x / level.sigma
            else:
                noise = predictor.noise(x, level)
                data = (x - level.sigma * noise) / level.alpha
            return level.alpha * noise - level.sigma * data if kind == "v_prediction" else noise - data
        raise CannotRunError(f"prediction_type {kind!r} is not known")

    def _preconditioned(self, x: Tensor, level: Level) -> Tensor:
        """Return ``F`` with ``D = c_skip x + c_out F``, as the scheduler itself forms ``D``."""
        data = self.predictor.data(x, level)
        skip: Tensor = self.scheduler.precondition_outputs(x, torch.zeros_like(x), level.sigma)
        out: Tensor = self.scheduler.precondition_outputs(torch.zeros_like(x), torch.ones_like(x), level.sigma)
        return (data - skip) / out

    def _step(
        self, out: Tensor, i: int, times: list[Any], x: Tensor, old: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        t = times[i]
        extra: dict[str, Any] = {"generator": self.generator} if "generator" in self.parameters else {}
        if "prev_timestep" in self.parameters:  # as its pipeline does
            extra["prev_timestep"] = times[i + 1] if i + 1 < len(times) else None
        try:
            if "timestep_back" in self.parameters:  # as the pipeline of CogVideoX does
                back = times[i - 1] if i else None
                advanced: tuple[Tensor, Tensor] = self.scheduler.step(out, old, t, back, x, return_dict=False, **extra)
                return advanced
            made = self.scheduler.step(out, t, x, **extra)
        except CannotRunError:
            raise
        except Exception as error:
            raise CannotRunError(f"step fails at timestep {float(t):g}: {_said(error)}") from error
        new = made.prev_sample if hasattr(made, "prev_sample") else made[0]
        return new, None
