r"""A few-step solver as a scheduler: ``pipe.scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config)``.

It has the noise levels that the config describes (`lml.schedulers.noise_tables`), and on them the solver that it is
given: one that was calibrated on the network (`lml.solver.calibrate`), a published method by name
(`lml.solver.methods`), or, by default, the choice of `lml.solver.for_schedule`.

A step is that of `lml.solver.solver` in the scale of the family. With ``x0`` and ``e`` of the network's output and the
direction ``u`` of the solver it is ``x' = alpha' x0 + sigma' e + (sigma' - alpha' sigma/alpha)(u - e)``: nothing is
divided by a small ``alpha`` at the first step, where ``u = e``.

**Where it ends.** The trajectory ends at the last level of the table (timestep 0; 1/1000 of a flow). With
``final_sigmas_type="zero"``, the default, what is handed out is the picture ``x0 - (sigma/alpha)(u - e)`` that the last
direction makes, as other schedulers do; with ``"sigma_min"`` the sample at the last level. It costs no evaluation.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, SchedulerMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.schedulers.scheduling_ddim import DDIMSchedulerOutput
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from torch import Tensor

from lml.arguments import check_choice, check_integer, shown
from lml.correction import Memory
from lml.samplers import Level
from lml.schedulers.generations import Generations
from lml.schedulers.mechanism import refusing_unknown
from lml.schedulers.noise_tables import (
    BETAS,
    check_prediction,
    family_of,
    given_levels,
    picture_and_noise,
    table_of,
)
from lml.solver import Schedule, Solver, method, of_levels, of_method
from lml.solver.choice import chosen, for_schedule
from lml.solver.solver import LEAST_EVALUATIONS, MOST_EVALUATIONS
from lml.solver.storage import from_dict, to_dict

__all__ = ["LMLSolverScheduler"]

_LOG = logging.getLogger(__name__)

_EXCHANGE = threading.Lock()

# How far the levels of a solver may be from those of the table, in log(alpha/sigma): betas are kept in float32.
_SAME_LEVEL = 1e-3


class LMLSolverScheduler(SchedulerMixin, ConfigMixin):
    r"""A few-step solver on the noise levels of any config; 3 to 50 evaluations, one a step.

    It works where `diffusers.DDIMScheduler` or `diffusers.FlowMatchEulerDiscreteScheduler` does, with image-to-image
    and timesteps or sigmas of the user's, for which the rows of the method are solved anew. It keeps no count of steps:
    one scheduler serves generations that take turns (`lml.schedulers.generations`).

    Args:
        num_train_timesteps, beta_start, beta_end, beta_schedule, trained_betas, rescale_betas_zero_snr: as of
            `diffusers.DDIMScheduler`.
        prediction_type: ``epsilon``, ``v_prediction``, ``sample``; ``flow_prediction`` of a flow.
        final_sigmas_type: ``zero`` or ``sigma_min``, see above.
        family: of `lml.schedulers.noise_tables`; `from_config` finds it.
        shift, use_dynamic_shifting, base_shift, max_shift: of a flow, as of
            `diffusers.FlowMatchEulerDiscreteScheduler`.
        base_image_seq_len, max_image_seq_len, shift_terminal, time_shift_type: the same.
        use_flow_sigmas: whether the levels are those of a flow; pipelines that would hand in sigmas of their own then
            leave the levels to the scheduler.
        sigma_min, sigma_max, sigma_data: of EDM.
        solver: what `lml.solver.Solver` is as values of JSON, or the name of a published method; ``None`` for the
            choice of `lml.solver.for_schedule`.

    Raises:
        ValueError: at construction, for options that do not fit; from ``set_timesteps``, for numbers of evaluations
            other than 3 to 50 or than the solver's, for timesteps that do not fall, for a solver of another range;
            from ``step``, before ``set_timesteps`` or for a timestep that is not on the schedule.
    """

    # Where a saved pipeline looks for it, and where it finds the SchedulerMixin that diffusers asks for.
    __module__ = "lml.schedulers"

    order = 1
    config: Any
    alphas_cumprod: Tensor

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        num_train_timesteps: int = 1000,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        beta_schedule: str = "linear",
        trained_betas: list[float] | None = None,
        prediction_type: str = "epsilon",
        rescale_betas_zero_snr: bool = False,
        final_sigmas_type: str = "zero",
        family: str = "betas",
        shift: float = 1.0,
        use_dynamic_shifting: bool = False,
        base_shift: float = 0.5,
        max_shift: float = 1.15,
        base_image_seq_len: int = 256,
        max_image_seq_len: int = 4096,
        shift_terminal: float | None = None,
        time_shift_type: str = "exponential",
        use_flow_sigmas: bool = False,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        sigma_data: float | None = None,
        solver: dict[str, Any] | str | None = None,
    ) -> None:
        if isinstance(solver, Solver):
            self.register_to_config(solver=to_dict(solver))
        check_integer(num_train_timesteps, "num_train_timesteps", least=2)
        check_choice(final_sigmas_type, "final_sigmas_type", ("zero", "sigma_min"))
        check_prediction(family_of(type(self).__name__, {"family": family}), prediction_type)
        self._given()
        self._table = table_of(self.config, 0.0 if use_dynamic_shifting else None)
        if family == "betas":
            stock: Any = DDIMScheduler
            made = stock(**{name: self.config[name] for name in BETAS})
            self.betas, self.alphas, self.alphas_cumprod = made.betas, made.alphas, made.alphas_cumprod
        self.init_noise_sigma = (
            1.0 if family != "edm" else float((self._table.level(self._table.range[0]).sigma ** 2 + 1) ** 0.5)
        )
        self.num_inference_steps: int | None = None
        self.timesteps = torch.tensor(self._table.times)
        self._levels: tuple[Level, ...] = ()
        self._schedule: tuple[float, ...] = ()
        self._begin_index: int | None = None
        self._lml_past = Generations()

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Return a scheduler of a config, as diffusers does; ``kwargs`` go before it, ``solver`` may be a `Solver`.

        Raises:
            ValueError: for a config whose levels are not known here, beside what the constructor refuses.
        """
        if isinstance(kwargs.get("solver"), Solver):
            kwargs["solver"] = to_dict(kwargs["solver"])
        if isinstance(config, Mapping):
            stated = {**config, **kwargs}
            family = family_of(cls.__name__, stated)
            found: dict[str, Any] = {"family": family}
            if family == "flow":
                found |= {"prediction_type": "flow_prediction", "use_flow_sigmas": True}
                if stated.get("flow_shift") is not None:
                    found["shift"] = stated["flow_shift"]
            # diffusers takes a value that is the default of the class it comes from for no value.
            names = (*BETAS, "prediction_type", "sigma_min", "sigma_max", "sigma_data", "shift")
            known = {name: stated[name] for name in names if name in stated}
            kwargs = {**known, **found, **kwargs}
        made: Any = super()
        return made.from_config(config, return_unused_kwargs, **kwargs)

    @classmethod
    def _get_compatibles(cls) -> list[type]:
        import diffusers

        names = (*(each.name for each in KarrasDiffusionSchedulers), "EDMEulerScheduler", "DDPMScheduler")
        return [cls, FlowMatchEulerDiscreteScheduler, *(getattr(diffusers, name) for name in names)]

    def __len__(self) -> int:
        return int(self.config.num_train_timesteps)

    @property
    def begin_index(self) -> int | None:
        """The place at which the generation begins, if a pipeline has said so."""
        return self._begin_index

    def set_begin_index(self, begin_index: int = 0) -> None:
        """Take note of the place at which the generation begins, before its first step."""
        self._begin_index = begin_index

    @property
    def table(self) -> Schedule:
        """The noise levels of the config; of a flow with a shift by size, those of the last ``set_timesteps``."""
        return self._table

    @property
    def solver(self) -> Solver:
        """The solver of the timesteps that are set.

        Raises:
            ValueError: before ``set_timesteps``.
        """
        if self.num_inference_steps is None:
            raise ValueError("timesteps must be set before a step, got none: call set_timesteps first")
        return self._solver

    @refusing_unknown
    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Set the levels of the solver, or levels that are given.

        Args:
            num_inference_steps: evaluations of the network, from 3 to 50.
            device: of ``timesteps``.
            timesteps: where the network is to be asked, falling; the trajectory ends at the end of the table.
            sigmas: instead, of a flow, before its shift; of others ``sigma/alpha``. A last one of zero is left out.
            mu: the shift of a flow whose shift depends on the size of the picture.

        Raises:
            ValueError: for arguments that do not fit, naming them.
        """
        table = table_of(self.config, mu)
        if timesteps is None and sigmas is None:
            n = check_integer(num_inference_steps, "num_inference_steps", least=LEAST_EVALUATIONS,
                              below=MOST_EVALUATIONS + 1)  # fmt: skip
            solver = self._wanted(table, n)
        else:
            levels = given_levels(table, self.config, timesteps, sigmas, mu)
            n = len(levels) - 1
            if num_inference_steps is not None and num_inference_steps != n:
                raise ValueError(
                    f"num_inference_steps must be {n}, the number of those given, got {num_inference_steps}"
                )
            check_integer(n, "timesteps, their number,", least=LEAST_EVALUATIONS, below=MOST_EVALUATIONS + 1)
            solver = self._on(levels, table, n)
        self._table, self._solver, self._levels = table, solver, solver.levels
        self.num_inference_steps, self._begin_index = n, None
        times = torch.tensor([level.time for level in solver.levels[:-1]], dtype=torch.float32)
        self._schedule = tuple(times.tolist())
        self.timesteps = (times.long() if table.integer else times).to(device)
        self.sigmas = torch.tensor([level.sigma / level.alpha for level in solver.levels[:-1]] + [0.0])
        if table.kind == "flow":
            self.sigmas = torch.tensor([level.sigma for level in solver.levels[:-1]] + [0.0])
        with _EXCHANGE:
            self._lml_past = self._lml_past.begun()

    def _given(self) -> Solver | None:
        """Return the solver of the config, if it has one as values.

        Raises:
            ValueError: for one that is damaged, or a name of no method.
        """
        found = self.config.solver
        if found is None:
            return None
        if isinstance(found, str):
            method(found)
            return None
        return from_dict(found)

    def _wanted(self, table: Schedule, n: int) -> Solver:
        found = self._given()
        if found is None:
            named = self.config.solver
            return for_schedule(table, n, progress=_LOG.info) if named is None else of_method(named, table, n)
        if found.evaluations != n:
            raise ValueError(
                f"num_inference_steps must be {found.evaluations}, for which the solver was made, got {n}; without "
                "solver=... there is one for any number"
            )
        ends = [f"{end:.3f}" for end in (*found.range, *table.range)]
        if max(abs(a - b) for a, b in zip(found.range, table.range, strict=True)) > _SAME_LEVEL:
            raise ValueError(
                f"solver must be of this model's log(alpha/sigma), from {ends[2]} to {ends[3]}, got one from {ends[0]} "
                f"to {ends[1]}: calibrate one for this model, or leave it out"
            )
        own = table.at_half_log_snr([level.half_log_snr for level in found.levels])
        moved = max(abs(a.half_log_snr - b.half_log_snr) for a, b in zip(own, found.levels, strict=True))
        if moved > _SAME_LEVEL:
            raise ValueError(
                f"solver must have levels of this model's timesteps, got one that is {moved:.2g} away in "
                "log(alpha/sigma): calibrate one on a schedule of these timesteps"
            )
        return Solver(found.method, own, found.weights, found.restored, found.turn, found.validation, found.model)

    def _on(self, levels: Sequence[Level], table: Schedule, n: int) -> Solver:
        """Return a method on levels that are given: the named one, or the choice for the schedule."""
        named = (
            self.config.solver if isinstance(self.config.solver, str) else chosen(table, n, progress=_LOG.info).method
        )
        return of_levels(method(named), levels)

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        """Return what the network is to see; EDM divides by ``sqrt(sigma^2 + sigma_data^2)``."""
        if self.config.family != "edm":
            return sample
        level = self._levels[self._place(timestep)]
        return sample / float((level.sigma**2 + self.config.sigma_data**2) ** 0.5)

    @refusing_unknown
    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Take a step of the solver.

        Args:
            model_output: of the network, shape (B, ...); of a learned variance the first channels count.
            timestep: one of ``timesteps``.
            sample: at that level, shape (B, ...).
            generator: some pipelines hand one in; nothing is drawn.
            return_dict: whether the result is an object, or a tuple.

        Raises:
            ValueError: before ``set_timesteps``, or for a timestep that is not on the schedule.
        """
        place, n = self._place(timestep), self.solver.evaluations
        now, after = self._levels[place], self._levels[place + 1]
        m = self._without_variance(model_output, sample)
        exact = torch.promote_types(torch.promote_types(m.dtype, sample.dtype), torch.float32)
        x0, e = picture_and_noise(self.config, now, m.to(exact), sample.to(exact))
        past = self._lml_past.past(sample, n - place, tuple(range(n, 0, -1)))
        history = past.memory.history[:place] if _fits(past.memory.history, e) else ()
        u = _tail(self._solver, place - len(history)).rows.at(e, history, len(history))
        moved = u - e
        x0 = x0 - (now.sigma / now.alpha) * moved
        if place == n - 1 and (self.config.final_sigmas_type == "zero" or after.sigma == 0):
            made = x0
        else:
            made = after.alpha * x0 + after.sigma * u
        made = made.to(sample.dtype)
        # A copy: a network may reuse the memory of its output, which is the noise itself where it predicts that.
        kept = (e.detach().clone(), *history)
        # A noise that no later row weighs is kept as an empty tensor: their number says where the generation began.
        depth = max(self.solver.rows.depth, 1)
        memory = Memory(tuple(p if j < depth else p.new_empty(len(e)) for j, p in enumerate(kept)))
        with _EXCHANGE:
            self._lml_past = self._lml_past.after(past, sample, made, memory, n - place, finished=place == n - 1)
        return self._result(made, x0.to(sample.dtype), return_dict=return_dict)

    @staticmethod
    def _result(made: Tensor, picture: Tensor, *, return_dict: bool) -> Any:
        return DDIMSchedulerOutput(made, picture) if return_dict else (made, picture)

    @staticmethod
    def _without_variance(m: Tensor, sample: Tensor) -> Tensor:
        """Return an output without the channels of a learned variance."""
        learned = m.shape != sample.shape and m.ndim == sample.ndim and m.shape[1] == 2 * sample.shape[1]
        return m[:, : sample.shape[1]] if learned else m

    def _place(self, timestep: Any) -> int:
        if self.num_inference_steps is None:
            raise ValueError("timesteps must be set before a step, got none: call set_timesteps first")
        try:
            return self._schedule.index(float(timestep))
        except (TypeError, ValueError, RuntimeError):
            known = ", ".join(f"{t:g}" for t in self._schedule)
            raise ValueError(f"timestep must be one of {known}, got {shown(timestep)}") from None

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return ``alpha x0 + sigma noise`` at a timestep for each sample, (B,), or one for all."""
        levels = [self._level(t) for t in torch.as_tensor(timesteps).flatten().tolist()]
        shape = (-1, *[1] * (original_samples.ndim - 1))
        alpha, sigma = (original_samples.new_tensor([level[k] for level in levels]).reshape(shape) for k in (0, 1))
        return alpha * original_samples + sigma * noise

    def scale_noise(self, sample: Tensor, timestep: Tensor, noise: Tensor) -> Tensor:
        """Return the same, by the name that pipelines of flow matching use."""
        return self.add_noise(sample, noise, timestep)

    def _level(self, time: float) -> Level:
        if time in self._schedule:
            return self._levels[self._schedule.index(time)]
        return self._table.at(time)


@lru_cache(maxsize=64)
def _tail(solver: Solver, begin: int) -> Solver:
    return solver.tail(begin)


def _fits(history: Sequence[Tensor], e: Tensor) -> bool:
    """Whether remembered noises are like this one; those that are empty stand for noises that have no weight."""
    like = (len(e), e.dtype, e.device)
    return all((len(p), p.dtype, p.device) == like and (p.ndim == 1 or p.shape == e.shape) for p in history)
