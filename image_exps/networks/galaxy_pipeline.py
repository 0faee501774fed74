"""The galaxy networks as models of diffusers: for `DDPMPipeline` and any scheduler that takes ``trained_betas``."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMPipeline, ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor

from image_exps.networks.galaxies import END_TIME, GALAXIES, SCHEDULE, galaxy_score
from image_exps.networks.mixer import MixerScore

__all__ = ["STEPS", "TRAINED_BETAS", "GalaxyUNet", "galaxy_pipeline"]

#: Timesteps of the table: timestep i is the time ``t = (i + 1)/100``.
STEPS = 1000

#: The table for schedulers of diffusers, ``trained_betas=TRAINED_BETAS``: constant betas ``1 - e^{-0.01}``.
TRAINED_BETAS: list[float] = [float(-torch.expm1(torch.tensor(-END_TIME / STEPS, dtype=torch.float64)))] * STEPS


class GalaxyUNet(ModelMixin, ConfigMixin):
    """A galaxy network with the interface of `diffusers.UNet2DModel`: it predicts the noise.

    Args:
        sample_size: side of its pictures.
        in_channels, out_channels: one.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, sample_size: int, in_channels: int = 1, out_channels: int = 1) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.net = MixerScore(sample_size, END_TIME)

    def forward(self, sample: Tensor, timestep: Tensor | float, return_dict: bool = True) -> Any:
        """Return the noise prediction, (B, 1, H, H), at a timestep, one for all or one a sample."""
        t = (torch.as_tensor(timestep, dtype=torch.float64, device="cpu") + 1) / STEPS
        sigma = SCHEDULE.sigma(t).to(sample)
        score = self.net(sample, (END_TIME * t).to(sample))
        noise = -(sigma if sigma.ndim == 0 else sigma[:, None, None, None]) * score
        return UNet2DOutput(sample=noise) if return_dict else (noise,)


def galaxy_pipeline(name: str) -> Any:
    """Return the pipeline of a galaxy network, with DDIM; any other scheduler comes ``from_config`` of its scheduler.

    Its pictures are not in [-1, 1]: ask for ``output_type="np"`` of a scheduler without clipping at your own risk, the
    pipeline clamps what it shows; `image_exps.network` has the numbers themselves.

    Raises:
        ValueError: as `image_exps.networks.galaxies.galaxy_score`.
    """
    score = galaxy_score(name)
    unet = GalaxyUNet(GALAXIES[name].size)
    unet.net = score
    made: Any = DDIMScheduler
    scheduler = made(num_train_timesteps=STEPS, trained_betas=TRAINED_BETAS, clip_sample=False, set_alpha_to_one=False)
    pipeline: Any = DDPMPipeline
    return pipeline(unet.eval(), scheduler)
