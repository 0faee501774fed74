r"""Which family of models a config belongs to.

diffusers builds any scheduler from any config and takes its own defaults for what the config does not have:
``DDIMScheduler.from_config(FlowMatchEulerDiscreteScheduler().config)`` is a DDIM with betas that nobody chose. A config
that is certain to be of the other family is refused here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["check_betas", "check_family"]

# Prediction types of diffusion models; ``flow_prediction`` belongs to flow matching.
_OF_DIFFUSION = ("epsilon", "sample", "v_prediction")

# Options by which a config that has betas has other levels than they say, with the values at which it has not.
_ELSEWHERE: dict[str, tuple[Any, ...]] = {
    "use_flow_sigmas": (False, None),
    "snr_shift_scale": (1, None),
    "timestep_type": ("discrete", None),
}


def _has_betas(config: Mapping[str, Any]) -> bool:
    return "beta_start" in config or config.get("trained_betas") is not None


def check_family(name: str, config: Mapping[str, Any], *, flow: bool) -> None:
    """Refuse a config that is certain to be of the other family.

    Args:
        name: of the scheduler.
        config: with the options that go before it.
        flow: whether the scheduler is one of flow matching.

    Raises:
        ValueError: for a config of flow matching (a ``shift`` and no betas) to a scheduler of diffusion, unless it has
            ``use_flow_sigmas=True``; for one of diffusion (betas, a prediction type of theirs, and no ``shift``) to a
            scheduler of flow matching.
    """
    betas, shift, sigmas = _has_betas(config), "shift" in config, bool(config.get("use_flow_sigmas"))
    if not flow and shift and not betas and not sigmas:
        raise ValueError(
            f"config must be of a diffusion model for {name}, got one of flow matching (shift={config['shift']!r} and "
            "no betas): use LMLFlowMatchEulerDiscreteScheduler, or a scheduler that takes use_flow_sigmas=True"
        )
    if flow and betas and not shift and not sigmas and config.get("prediction_type") in _OF_DIFFUSION:
        raise ValueError(
            f"config must be of a flow-matching model for {name}, got one of diffusion (beta_start="
            f"{config.get('beta_start')!r}, prediction_type={config['prediction_type']!r}): use LMLDDIMScheduler or "
            "LMLDPMSolverMultistepScheduler"
        )


def check_betas(name: str, config: Mapping[str, Any]) -> None:
    """Refuse a config whose noise levels are not those of betas that it states, for a scheduler that needs them.

    Raises:
        ValueError: for a config that states no betas, or has an option by which its levels are others.
    """
    stated = [key for key in config if not key.startswith("_")]
    if stated and not _has_betas(config):
        raise ValueError(
            f"config must state the betas of a diffusion model (beta_start, beta_end, beta_schedule) for {name}, got "
            f"{', '.join(stated[:6])}"
        )
    for key, allowed in _ELSEWHERE.items():
        if config.get(key) not in allowed:
            raise ValueError(f"{key} must be {allowed[0]!r} for {name}, got {config[key]!r}")
