"""LML for diffusers: every scheduler here is the one of its name in diffusers, with LML before it, but for one.

``pipe.scheduler = LMLDPMSolverMultistepScheduler.from_config(pipe.scheduler.config)``

The options are those of `LMLSchedulerMixin`. The default strength ``eta0 = mixing/damping`` is the class's, whatever
its ``solver_order``: that of `lml.strength.default_mixing`.

`LMLTunedDDIMScheduler` is another thing: DDIM in 5, 6, 8 or 10 evaluations with learned levels and weights, for models
with linear betas. It has none of these options, and is no entry of `SCHEDULERS`.

A saved pipeline is loaded again after ``import lml.schedulers``. `diffusers.DDIMPipeline` makes a DDIM of whatever it
is constructed or loaded with, with a warning at most: give it its scheduler afterwards, or take
`diffusers.DDPMPipeline`, which has the same loop and leaves its scheduler alone.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from typing import Any

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
from lml.schedulers.tuned import LMLTunedDDIMScheduler
from lml.schedulers.update import ddim_direction, dpm_increment
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
    "LMLTunedDDIMScheduler",
    "LMLUniPCMultistepScheduler",
    "SchedulerMixin",
]


_HIGHER_ORDER = default_mixing(2)


class LMLDDIMScheduler(LMLSchedulerMixin, DDIMScheduler, noise=table, update=ddim_direction):
    """DDIM with LML; at ``eta > 0`` the drift is corrected, not what is drawn."""

    def _restarts(self, timestep: Any) -> bool:
        return self._lml_timestep is not None and timestep >= self._lml_timestep


class LMLPNDMScheduler(LMLSchedulerMixin, PNDMScheduler, noise=table, mixing=_HIGHER_ORDER):
    """PNDM with LML, before the Runge-Kutta evaluations too."""


class LMLDPMSolverMultistepScheduler(
    LMLSchedulerMixin, DPMSolverMultistepScheduler, noise=preserving, update=dpm_increment, mixing=_HIGHER_ORDER
):
    """Multistep DPM-Solver and DPM-Solver++ with LML; of the ``sde-`` algorithms the drift is corrected."""


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


class LMLFlowMatchEulerDiscreteScheduler(LMLSchedulerMixin, FlowMatchEulerDiscreteScheduler, noise=flow):
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
