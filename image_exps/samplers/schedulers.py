"""Samplers by name, as diffusers schedulers: the five baselines of the paper, two more bases, LML on each, and tuned.

``ddim`` is the base and ``lml-ddim`` the same base with LML before it; ``tuned`` is the learned setting. A budget is
counted in *evaluations of the network*, which is what a picture costs; how many "inference steps" of diffusers that is
differs from base to base, and is checked against the schedule that the scheduler then makes.

These are for pipelines, `image_exps.commands`. The comparisons on exact targets have the pure samplers of
`lml.samplers` instead, by the names of `image_exps.samplers.arms`, and choose their levels themselves.

Nothing here imports torch or diffusers before a scheduler is asked for.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from image_exps.pipelines.models import Model

__all__ = [
    "LML_OPTIONS",
    "SAMPLERS",
    "SCHEDULER_BASES",
    "TIMESTEP_SPACINGS",
    "TUNED",
    "Sampler",
    "SchedulerBase",
    "make_scheduler",
    "paper_options",
    "scheduler_base",
]

#: What can be set of LML on the command line: the options of `lml.schedulers.LMLSchedulerMixin`.
LML_OPTIONS: tuple[str, ...] = ("damping", "mixing", "damping_mode", "rank", "variant", "start", "stop")

#: How diffusers places timesteps; a model's own config says which, or the scheduler's class, unless it is given.
TIMESTEP_SPACINGS: tuple[str, ...] = ("leading", "linspace", "trailing")

_SPACING = "timestep_spacing"

_PREFIX = "lml-"


def _same(evaluations: int) -> int:
    return evaluations


@dataclass(frozen=True)
class SchedulerBase:
    """A base solver.

    Attributes:
        scheduler: its class in diffusers.
        about: what it is, in a line.
        config: what is set besides the model's own config.
        steps: diffusers' inference steps for a number of evaluations; the result is checked.
        spends: whether it can spend a number of evaluations.
        budget: which ones it can, in words.
        spaced: whether it lets one choose where its timesteps lie.
        flow: its class for models that predict a flow, ``None`` if it has none.
    """

    scheduler: str
    about: str
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    steps: Callable[[int], int] = _same
    spends: Callable[[int], bool] = lambda evaluations: evaluations >= 1
    budget: str = "any number"
    spaced: bool = True
    flow: str | None = None


#: The bases by name. The paper keeps the order of all three DPM-Solvers at 3 (Supp. B.1).
SCHEDULER_BASES: Mapping[str, SchedulerBase] = MappingProxyType(
    {
        "ddim": SchedulerBase("DDIMScheduler", "DDIM, first order, deterministic"),
        "pndm": SchedulerBase(
            "PNDMScheduler",
            "PNDM, pseudo linear multistep: no Runge-Kutta start, one evaluation more than steps",
            {"skip_prk_steps": True},
            steps=lambda evaluations: evaluations - 1,
            spends=lambda evaluations: evaluations >= 3,
            budget="3 or more",
        ),
        "dpm-solver-3": SchedulerBase(
            "DPMSolverSinglestepScheduler",
            "DPM-Solver of third order, single-step as published: 3 + 3 + ... + the rest",
            {
                "algorithm_type": "dpmsolver",
                "solver_order": 3,
                "lower_order_final": True,
                "final_sigmas_type": "sigma_min",
            },
            spends=lambda evaluations: evaluations >= 3,
            budget="3 or more",
            spaced=False,
        ),
        "dpm-solver-3m": SchedulerBase(
            "DPMSolverMultistepScheduler",
            "DPM-Solver of third order, multistep: what the paper's published code runs",
            {"algorithm_type": "dpmsolver", "solver_order": 3, "final_sigmas_type": "sigma_min"},
        ),
        "dpm-solver++": SchedulerBase(
            "DPMSolverMultistepScheduler",
            "DPM-Solver++ of third order, multistep",
            {"algorithm_type": "dpmsolver++", "solver_order": 3},
        ),
        "unipc": SchedulerBase(
            "UniPCMultistepScheduler", "UniPC of second order, as in diffusers", {"solver_order": 2}
        ),
        "euler": SchedulerBase("EulerDiscreteScheduler", "Euler", flow="FlowMatchEulerDiscreteScheduler"),
        "heun": SchedulerBase(
            "HeunDiscreteScheduler",
            "Heun: two evaluations a step, one in the last",
            steps=lambda evaluations: (evaluations + 1) // 2,
            spends=lambda evaluations: evaluations >= 1 and evaluations % 2 == 1,
            budget="odd numbers",
            flow="FlowMatchHeunDiscreteScheduler",
        ),
    }
)

#: The learned setting of `lml.tuned`: DDIM with levels and weights of its own, for models with linear betas. LML is not
#: put before it. It was learned without clipping, with which it ends further from the flow.
TUNED = SchedulerBase(
    "LMLTunedDDIMScheduler",
    "DDIM with learned levels and weights, for linear betas",
    {"clip_sample": False},
    spends=lambda evaluations: evaluations in (5, 6, 8, 10),
    budget="5, 6, 8 or 10",
    spaced=False,
)

#: Every sampler: the bases, then LML on each, then the learned setting.
SAMPLERS: tuple[str, ...] = (*SCHEDULER_BASES, *(_PREFIX + name for name in SCHEDULER_BASES), "tuned")


def scheduler_base(name: str) -> SchedulerBase:
    """Return the base solver of a sampler of this name, one of `SAMPLERS`."""
    return TUNED if name == "tuned" else SCHEDULER_BASES[name.removeprefix(_PREFIX)]


@dataclass(frozen=True)
class Sampler:
    """A sampler with its settings.

    Args:
        name: one of `SAMPLERS`.
        evaluations: of the network, a picture.
        options: of LML, from `LML_OPTIONS`; what is absent is the default of the scheduler's class.
        spacing: one of `TIMESTEP_SPACINGS`; ``None`` leaves it as the model's config has it, or the scheduler's class
            where that says nothing.

    Raises:
        ValueError: for an unknown name, a budget that it cannot spend, or an option that it does not have.
    """

    name: str
    evaluations: int
    options: Mapping[str, Any] = field(default_factory=dict)
    spacing: str | None = None

    def __post_init__(self) -> None:
        if self.name not in SAMPLERS:
            raise ValueError(f"sampler must be one of {', '.join(SAMPLERS)}, got {self.name!r}")
        base = self.base
        steps = base.steps(self.evaluations)
        if not base.spends(self.evaluations):
            raise ValueError(f"evaluations must be {base.budget} with {self.name}, got {self.evaluations}")
        if steps > 1000:
            raise ValueError(f"evaluations must be at most 1000, got {self.evaluations}")
        for option in self.options:
            if option not in LML_OPTIONS:
                raise ValueError(f"options must be among {', '.join(LML_OPTIONS)}, got {option!r}")
        if self.options and not self.lml:
            given, instead = ", ".join(self.options), "ddim" if self.base is TUNED else self.name
            raise ValueError(f"{given}: only of LML; use {_PREFIX}{instead}, or leave out, got sampler {self.name}")
        if self.spacing is not None and self.spacing not in TIMESTEP_SPACINGS:
            raise ValueError(f"spacing must be one of {', '.join(TIMESTEP_SPACINGS)}, got {self.spacing!r}")
        if self.spacing is not None and not base.spaced:
            raise ValueError(f"spacing cannot be chosen with {self.name}, got {self.spacing!r}")

    @property
    def lml(self) -> bool:
        """Whether LML stands before the base."""
        return self.name.startswith(_PREFIX)

    @property
    def base(self) -> SchedulerBase:
        """The base solver."""
        return scheduler_base(self.name)

    @property
    def steps(self) -> int:
        """The ``num_inference_steps`` of diffusers."""
        return self.base.steps(self.evaluations)


def paper_options(known: Model, evaluations: int, mixing: float | None) -> dict[str, Any]:
    """Return the paper's absolute ``lambda`` for a model and a budget, with a ``kappa`` that has to be given.

    Raises:
        ValueError: if the paper gives no ``lambda`` there, or ``mixing`` is missing, whose value the paper's text lost.
    """
    if evaluations not in known.damping:
        numbers = ", ".join(str(n) for n in known.damping) or "none"
        raise ValueError(
            f"damping 'paper': the paper gives no lambda for {known.name} at {evaluations} evaluations "
            f"(it has {numbers}); give a number"
        )
    if mixing is None:
        raise ValueError("damping 'paper' needs mixing, whose value is not in the paper's text that we have; got none")
    return {"damping": known.damping[evaluations], "damping_mode": "absolute", "mixing": mixing}


def make_scheduler(sampler: Sampler, own: Any, *, latent: bool, pipeline: str = "") -> Any:
    """Return the scheduler of a sampler, with the noise schedule of a model.

    Args:
        sampler: with its settings.
        own: the scheduler that the model came with.
        latent: whether the model works on latents. Where its config says nothing of clipping, latents must not be
            clipped to [-1, 1], as the default of some schedulers would.
        pipeline: class of the pipeline, to refuse what it cannot drive.

    Raises:
        ValueError: for a base that the model cannot use, or that is not for its range of noise levels, an option out of
            range, or a schedule whose evaluations are not those asked for.
    """
    import diffusers

    import lml.schedulers as ours

    flow = "FlowMatch" in type(own).__name__
    base = sampler.base
    name = base.flow if flow else base.scheduler
    if name is None:
        of_flows = [n for n, each in SCHEDULER_BASES.items() if each.flow]
        usable = ", ".join([*of_flows, *(_PREFIX + n for n in of_flows)])
        raise ValueError(f"sampler must be one of {usable} for a model that predicts a flow, got {sampler.name!r}")
    if pipeline == "FluxPipeline" and name != "FlowMatchEulerDiscreteScheduler":
        raise ValueError(f"sampler must be euler or lml-euler: {pipeline} sets noise levels, got {sampler.name!r}")
    if flow and sampler.spacing is not None:
        raise ValueError(f"spacing cannot be chosen for a model that predicts a flow, got {sampler.spacing!r}")
    settings: dict[str, Any] = {"clip_sample": False} if latent else {}
    settings |= {key: value for key, value in own.config.items() if not key.startswith("_")}
    if _SPACING in own.config.get("_use_default_values", ()):
        del settings[_SPACING]  # the model's files say nothing of it: `from_config` leaves it to the class, too
    if not flow:
        settings |= base.config
    if sampler.spacing is not None:
        settings[_SPACING] = sampler.spacing
    if base is TUNED:
        cls: Any = ours.LMLTunedDDIMScheduler
    else:
        cls = ours.SCHEDULERS[name] if sampler.lml else getattr(diffusers, name)
    accepted = cls._get_init_keys(cls) - set(LML_OPTIONS)
    settings = {key: value for key, value in settings.items() if key in accepted}
    if base is TUNED:
        try:
            cls(**settings)
        except ValueError as error:
            raise ValueError(f"sampler tuned is not for this model, lml-dpm-solver-3m is: {error}") from error
    with warnings.catch_warnings():
        # The paper's base is kept in diffusers, and is deprecated there.
        warnings.filterwarnings("ignore", message=".*algorithm_types.*is deprecated", category=FutureWarning)
        _check_budget(sampler, cls(**settings, **sampler.options))
        return cls(**settings, **sampler.options)


def _check_budget(sampler: Sampler, scheduler: Any) -> None:
    """Refuse a schedule whose length is not the budget, or that ends at a level that is not finite."""
    shifting = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(sampler.steps, **shifting)
    found = len(scheduler.timesteps)
    if found != sampler.evaluations:
        raise ValueError(
            f"evaluations must be {sampler.base.budget} with {sampler.name}, "
            f"got {sampler.evaluations}, for which it makes {found}"
        )
    if not all(math.isfinite(float(t)) for t in scheduler.timesteps):
        raise ValueError(f"evaluations {sampler.evaluations} give {sampler.name} a schedule that is not finite")
