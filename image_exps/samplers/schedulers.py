"""The scheduler of diffusers that runs a sampler in a pipeline, with the noise schedule of a model.

A budget is counted in *evaluations of the network*, which is what a picture costs; how many "inference steps" of
diffusers that is differs from base to base, and is checked against the schedule that the scheduler then makes.

Nothing here imports torch or diffusers before a scheduler is asked for.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from image_exps.pipelines.own import flow_matching
from image_exps.samplers.pipeline_sampler import LML_OPTIONS, PipelineSampler
from image_exps.samplers.table import ALGORITHMS

__all__ = ["make_scheduler"]

_SPACING = "timestep_spacing"


def make_scheduler(sampler: PipelineSampler, own: Any, *, latent: bool, pipeline: str = "") -> Any:
    """Return the scheduler of a sampler, with the noise schedule of a model.

    Args:
        sampler: with its settings.
        own: the scheduler that the model came with.
        latent: whether the model works on latents. Where its config says nothing of clipping, latents must not be
            clipped to [-1, 1], as the default of some schedulers would.
        pipeline: class of the pipeline, to refuse what it cannot drive.

    Raises:
        ValueError: for a base that the model cannot use, an option out of range, or a schedule whose evaluations are
            not those asked for.
    """
    import diffusers

    import lml.schedulers as ours

    form = sampler.scheduler
    flow = flow_matching({**own.config, "_class_name": type(own).__name__})
    _check_prediction(sampler, flow=flow, pipeline=pipeline)
    settings: dict[str, Any] = {"clip_sample": False} if latent else {}
    settings |= {key: value for key, value in own.config.items() if not key.startswith("_")}
    if _SPACING in own.config.get("_use_default_values", ()):
        del settings[_SPACING]  # the model's files say nothing of it: `from_config` leaves it to the class, too
    settings |= form.options
    if sampler.spacing is not None:
        settings[_SPACING] = sampler.spacing
    cls: Any = ours.SCHEDULERS[form.name] if sampler.correction == "lml" else getattr(diffusers, form.name)
    accepted = cls._get_init_keys(cls) - set(LML_OPTIONS)
    settings = {key: value for key, value in settings.items() if key in accepted}
    with warnings.catch_warnings():
        # The paper's base is kept in diffusers, and is deprecated there.
        warnings.filterwarnings("ignore", message=".*algorithm_types.*is deprecated", category=FutureWarning)
        _check_budget(sampler, cls(**settings, **sampler.options))
        return cls(**settings, **sampler.options)


def _check_prediction(sampler: PipelineSampler, *, flow: bool, pipeline: str) -> None:
    """Refuse a sampler along the noise for a model that predicts a flow, and the reverse."""
    if ALGORITHMS[sampler.base].flow != flow:
        usable = ", ".join(name for name, each in ALGORITHMS.items() if each.scheduler and each.flow == flow)
        what = "a flow" if flow else "no flow"
        raise ValueError(f"base must be one of {usable} for a model that predicts {what}, got {sampler.name!r}")
    if pipeline == "FluxPipeline" and sampler.base != "euler-flow":
        raise ValueError(f"base must be euler-flow: {pipeline} sets noise levels, got {sampler.name!r}")
    if flow and sampler.spacing is not None:
        raise ValueError(f"spacing cannot be chosen for a model that predicts a flow, got {sampler.spacing!r}")


def _check_budget(sampler: PipelineSampler, scheduler: Any) -> None:
    """Refuse a schedule whose length is not the budget, or that ends at a level that is not finite."""
    shifting = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting") else {}
    scheduler.set_timesteps(sampler.steps, **shifting)
    found = len(scheduler.timesteps)
    if found != sampler.evaluations:
        raise ValueError(
            f"evaluations must be {sampler.scheduler.budget} with {sampler.name}, "
            f"got {sampler.evaluations}, for which it makes {found}"
        )
    if not all(math.isfinite(float(t)) for t in scheduler.timesteps):
        raise ValueError(f"evaluations {sampler.evaluations} give {sampler.name} a schedule that is not finite")
