"""LML for diffusers: every scheduler here is the one of its name in diffusers, with LML before it, but for one.

``pipe.scheduler = LMLDPMSolverMultistepScheduler.from_config(pipe.scheduler.config)``

The options are those of `LMLSchedulerMixin`. The default strength ``eta0 = mixing/damping`` is the class's, whatever
its ``solver_order``: that of `lml.strength.default_mixing`.

`LMLSolverScheduler` is a few-step solver on the noise levels of any config, in 3 to 50 evaluations: the choice for
those levels, or one that was calibrated on the network (`lml.solver`). It is no entry of `SCHEDULERS`.

`LMLTunedDDIMScheduler` is a former name of it, which warns. It was DDIM with the levels and weights of `lml.tuned`,
which are not recommended. A folder that was saved with it loads, and is sampled with the levels and weights of
`LMLSolverScheduler`.

A saved pipeline is loaded again after ``import lml.schedulers``. `diffusers.DDIMPipeline` makes a DDIM of whatever it
is constructed or loaded with, with a warning at most: give it its scheduler afterwards, or take
`diffusers.DDPMPipeline`, which has the same loop and leaves its scheduler alone.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

try:
    # SchedulerMixin stands here because a saved pipeline names this module, and diffusers looks for it in there.
    from diffusers import (
        DDIMScheduler,
        DEISMultistepScheduler,
        DPMSolverMultistepScheduler,
        DPMSolverSinglestepScheduler,
        EulerAncestralDiscreteScheduler,
        EulerDiscreteScheduler,
        FlowMatchEulerDiscreteScheduler,
        FlowMatchHeunDiscreteScheduler,
        HeunDiscreteScheduler,
        LMSDiscreteScheduler,
        PNDMScheduler,
        SchedulerMixin,
        UniPCMultistepScheduler,
    )
except ImportError as error:
    raise ImportError("lml.schedulers needs diffusers: pip install 'lml-toolkit[diffusers]'") from error

from lml.schedulers.coefficients import exploding, flow, preserving, table
from lml.schedulers.mechanism import LMLSchedulerMixin
from lml.schedulers.probe import pipeline_noise_model
from lml.schedulers.released import ddim_direction, dpm_increment, turned_increment, velocity
from lml.schedulers.solver import LMLSolverScheduler
from lml.strength import default_mixing

__all__ = [
    "SCHEDULERS",
    "LMLDDIMScheduler",
    "LMLDEISMultistepScheduler",
    "LMLDPMSolverMultistepScheduler",
    "LMLDPMSolverSinglestepScheduler",
    "LMLEulerAncestralDiscreteScheduler",
    "LMLEulerDiscreteScheduler",
    "LMLFlowMatchEulerDiscreteScheduler",
    "LMLFlowMatchHeunDiscreteScheduler",
    "LMLHeunDiscreteScheduler",
    "LMLLMSDiscreteScheduler",
    "LMLPNDMScheduler",
    "LMLSchedulerMixin",
    "LMLSolverScheduler",
    "LMLUniPCMultistepScheduler",
    "SchedulerMixin",
    "pipeline_noise_model",
]


_HIGHER_ORDER = default_mixing(2)

# Levels of DPM-Solver that are not those of its table of training timesteps, the only ones of the published code.
_OTHER_LEVELS = ("karras_sigmas", "exponential_sigmas", "beta_sigmas", "lu_lambdas", "flow_sigmas")


class LMLDDIMScheduler(LMLSchedulerMixin, DDIMScheduler, noise=table, released=ddim_direction, counts=False):
    """DDIM with LML; at ``eta > 0`` the drift is corrected, not what is drawn."""


class LMLPNDMScheduler(LMLSchedulerMixin, PNDMScheduler, noise=table, mixing=_HIGHER_ORDER):
    """PNDM with LML, before the Runge-Kutta evaluations too."""

    counter: int

    def _place(self) -> int | None:
        return self.counter or None


class LMLDPMSolverMultistepScheduler(
    LMLSchedulerMixin, DPMSolverMultistepScheduler, noise=preserving, released=dpm_increment, mixing=_HIGHER_ORDER
):
    """Multistep DPM-Solver and DPM-Solver++ with LML; of the ``sde-`` algorithms the drift is corrected."""

    config: Any
    _lml_turn: Any = None

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        if options["variant"] != "released":
            return
        wanted = {"final_sigmas_type": "sigma_min", "euler_at_final": False}
        wanted |= {f"use_{kind}": False for kind in _OTHER_LEVELS}
        for name, only in wanted.items():
            if self.config[name] != only:
                raise ValueError(f"{name} must be {only!r} with variant='released', got {self.config[name]!r}")
        if self.config.algorithm_type.startswith("sde-"):
            raise ValueError(
                "algorithm_type must be 'dpmsolver' or 'dpmsolver++' with variant='released', which turns nothing "
                f"where the base draws noise, got {self.config.algorithm_type!r}"
            )

    # The base calls these with the outputs of this evaluation and of those before it.

    def dpm_solver_first_order_update(self, *args: Any, **kwargs: Any) -> Tensor:
        base: Any = super()
        return turned_increment(self, base.dpm_solver_first_order_update, *args, **kwargs)

    def multistep_dpm_solver_second_order_update(self, *args: Any, **kwargs: Any) -> Tensor:
        base: Any = super()
        return turned_increment(self, base.multistep_dpm_solver_second_order_update, *args, **kwargs)

    def multistep_dpm_solver_third_order_update(self, *args: Any, **kwargs: Any) -> Tensor:
        base: Any = super()
        return turned_increment(self, base.multistep_dpm_solver_third_order_update, *args, **kwargs)


class LMLDPMSolverSinglestepScheduler(
    LMLSchedulerMixin, DPMSolverSinglestepScheduler, noise=preserving, mixing=_HIGHER_ORDER
):
    """Single-step DPM-Solver and DPM-Solver++ with LML, at the inner evaluations too."""


class LMLDEISMultistepScheduler(LMLSchedulerMixin, DEISMultistepScheduler, noise=preserving, mixing=_HIGHER_ORDER):
    """DEIS with LML."""


class LMLUniPCMultistepScheduler(LMLSchedulerMixin, UniPCMultistepScheduler, noise=preserving, mixing=_HIGHER_ORDER):
    """UniPC with LML."""


class LMLEulerDiscreteScheduler(LMLSchedulerMixin, EulerDiscreteScheduler, noise=exploding):
    """Euler with LML."""


class LMLEulerAncestralDiscreteScheduler(LMLSchedulerMixin, EulerAncestralDiscreteScheduler, noise=exploding):
    """Ancestral Euler with LML on the noise prediction; the noise that is drawn is the base's."""


class LMLHeunDiscreteScheduler(LMLSchedulerMixin, HeunDiscreteScheduler, noise=exploding, mixing=_HIGHER_ORDER):
    """Heun with LML, at both evaluations of a step."""


class LMLLMSDiscreteScheduler(LMLSchedulerMixin, LMSDiscreteScheduler, noise=exploding, mixing=_HIGHER_ORDER):
    """Linear multistep with LML."""


class LMLFlowMatchEulerDiscreteScheduler(
    LMLSchedulerMixin, FlowMatchEulerDiscreteScheduler, noise=flow, released=velocity
):
    """Flow-matching Euler with LML."""


class LMLFlowMatchHeunDiscreteScheduler(
    LMLSchedulerMixin, FlowMatchHeunDiscreteScheduler, noise=flow, mixing=_HIGHER_ORDER
):
    """Flow-matching Heun with LML, at both evaluations of a step."""


#: Every scheduler with the options of LML, by the name of its base.
SCHEDULERS: dict[str, type[LMLSchedulerMixin]] = {
    cls._base.__name__: cls
    for cls in (
        LMLDDIMScheduler,
        LMLPNDMScheduler,
        LMLDPMSolverMultistepScheduler,
        LMLDPMSolverSinglestepScheduler,
        LMLDEISMultistepScheduler,
        LMLUniPCMultistepScheduler,
        LMLEulerDiscreteScheduler,
        LMLEulerAncestralDiscreteScheduler,
        LMLHeunDiscreteScheduler,
        LMLLMSDiscreteScheduler,
        LMLFlowMatchEulerDiscreteScheduler,
        LMLFlowMatchHeunDiscreteScheduler,
    )
}

if TYPE_CHECKING:
    LMLTunedDDIMScheduler = LMLSolverScheduler
else:

    def __getattr__(name: str) -> Any:
        """Return `LMLSolverScheduler` for its former name, with a warning."""
        if name != "LMLTunedDDIMScheduler":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        warnings.warn(
            "LMLTunedDDIMScheduler is now a name of LMLSolverScheduler, whose levels and weights are others. The "
            "learned setting that it stood for is not recommended.",
            FutureWarning,
            stacklevel=2,
        )
        return LMLSolverScheduler
