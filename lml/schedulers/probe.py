r"""A pipeline of diffusers as a noise model of the samplers: prompts, guidance and all.

The pipeline is called for one step from the sample as its latents, with a scheduler that takes down what the step is
handed: the output of the network after guidance. So whatever the pipeline does around its network is in the noise.

Calibration in three lines::

    scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config)
    model = pipeline_noise_model(pipe, prompt="a red fox", guidance_scale=5.0)
    found = calibrate(model, scheduler.table, 8, shape=(4, 64, 64))

Every evaluation runs the text encoders again, unless the call has embeddings in place of prompts.
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lml.samplers import Level, NoiseModel
from lml.schedulers.noise_tables import picture_and_noise
from lml.schedulers.solver import LMLSolverScheduler

__all__ = ["pipeline_noise_model"]


class _Probe(LMLSolverScheduler):
    """A scheduler of one timestep, which takes down the noise and hands the sample back."""

    level: Level
    noise: Tensor

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: str | torch.device | None = None,
        timesteps: Sequence[int] | None = None,
        sigmas: Sequence[float] | None = None,
        mu: float | None = None,
    ) -> None:
        """Set the one timestep, whatever is asked for."""
        t = self.level.time
        dtype = torch.int64 if self.table.integer and t == int(t) else torch.float32
        self.timesteps = torch.tensor([t], dtype=dtype, device=device)
        self._levels, self._schedule, self.num_inference_steps = (self.level,), tuple(self.timesteps.tolist()), 1

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: torch.Generator | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Take down the noise in the output."""
        m = self._without_variance(model_output, sample)
        exact = torch.promote_types(torch.promote_types(m.dtype, sample.dtype), torch.float32)
        _, self.noise = picture_and_noise(self.config, self.level, m.to(exact), sample.to(exact))
        return self._result(sample, sample, return_dict=return_dict)


def pipeline_noise_model(pipe: Any, **call: Any) -> NoiseModel:
    """Return the noise prediction of a pipeline, ``eps(x, level)`` for latents ``x``, shape (B, ...).

    Args:
        pipe: whose call takes ``latents``.
        **call: its other arguments. A prompt that is a text serves all samples. Of a list each serves one sample, the
            first ones where there are fewer samples: a calibration is then to have ``batch`` no smaller than
            ``samples``.

    Raises:
        ValueError: for arguments that the model sets itself; when called, for more samples than prompts.
    """
    for name in ("latents", "num_inference_steps", "output_type", "num_images_per_prompt"):
        if name in call:
            raise ValueError(f"{name} must not be given: it is set for every evaluation, got {call[name]!r}")
    probe = _Probe.from_config(pipe.scheduler.config, solver=None)
    probe.init_noise_sigma = 1.0  # latents are handed in at their level

    @torch.no_grad()
    def noise(x: Tensor, level: Level) -> Tensor:
        given = dict(call)
        if isinstance(given.get("prompt"), str):
            given["num_images_per_prompt"] = len(x)
        for name, value in call.items():
            if isinstance(value, list):
                if len(value) < len(x):
                    raise ValueError(f"{name} must be at least {len(x)}, one for each sample, got {len(value)}")
                given[name] = value[: len(x)]
        probe.level = level
        own, bar = pipe.scheduler, getattr(pipe, "_progress_bar_config", None)
        try:
            pipe.scheduler = probe
            pipe.set_progress_bar_config(disable=True)
            pipe(latents=x.to(pipe.dtype), num_inference_steps=1, output_type="latent", **given)
        finally:
            pipe.scheduler, pipe._progress_bar_config = own, bar or {}
        found: Tensor = probe.noise
        return found.to(x)

    return noise
