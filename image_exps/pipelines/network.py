"""One door to networks: by name those that ship and those of galaxies, by folder any unconditional pipeline."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from image_exps.networks import NETWORKS, network_model
from image_exps.networks import galaxies as galaxy
from image_exps.pipelines.component_files import check_component, read_object
from image_exps.pipelines.components import load_component
from lml.samplers import Level, NoiseModel
from toy.levels import Spacing, noise_levels
from toy.schedule import NoiseSchedule, noise_schedule
from toy.tabulated import Tabulated

__all__ = ["Network", "network"]


@dataclass(frozen=True)
class Network:
    """A network, ready for the pure samplers.

    Attributes:
        name: or folder, as it was asked for.
        noise_model: the noise prediction ``eps(x, level)``.
        shape: of one sample.
        schedule: that it was trained on.
        times: the first and the last time of a trajectory, within [0, 1] of the schedule.
    """

    name: str
    noise_model: NoiseModel
    shape: tuple[int, ...]
    schedule: NoiseSchedule
    times: tuple[float, float]

    def levels(self, evaluations: int, spacing: Spacing = "log-snr") -> list[Level]:
        """Return the ``evaluations + 1`` levels of a trajectory of as many steps; see `toy.noise_levels`.

        Raises:
            ValueError: for fewer than one step, or a spacing that does not exist.
        """
        return noise_levels(self.schedule, evaluations, spacing=spacing, times=self.times)


def network(name: str | Path) -> Network:
    """Return a network by name, or out of the folder of an unconditional pipeline of diffusers.

    Args:
        name: one of `image_exps.networks.NETWORKS` or `image_exps.networks.galaxies.GALAXIES`, or a folder that
            ``DiffusionPipeline.save_pretrained`` wrote; of a latent pipeline the samples are latents.

    Raises:
        ValueError: for a name that is not known, absent weights, or a pipeline that needs prompts, saying what to do.
    """
    if name in NETWORKS:
        made = network_model(str(name))
        config = made.net.config
        shape = (config["in_channels"], config["sample_size"], config["sample_size"])
        return Network(str(name), made, shape, noise_schedule("vp-linear"), (1.0, 1e-3))
    if name in galaxy.GALAXIES:
        size = galaxy.GALAXIES[str(name)].size
        return Network(str(name), galaxy.galaxy_model(str(name)), (1, size, size), galaxy.SCHEDULE, galaxy.TIMES)
    folder = Path(name)
    if not (folder / "model_index.json").is_file():
        known = ", ".join((*NETWORKS, *galaxy.GALAXIES))
        raise ValueError(f"name must be one of {known}, or the folder of a pipeline, got {str(name)!r}")
    return _of_folder(folder)


@dataclass(frozen=True, eq=False)
class _PipelineModel:
    """The network of a pipeline as a noise model, at the timestep whose log-SNR its table has."""

    net: Any
    schedule: Tabulated
    prediction: str
    batch: int = 64

    @torch.no_grad()
    def __call__(self, x: Tensor, level: Level) -> Tensor:
        scale = (level.alpha**2 + level.sigma**2) ** 0.5
        weight = next(self.net.parameters())
        timestep = self.schedule.timestep(2 * level.half_log_snr).to(weight)
        z = (x / scale).to(weight)
        output = torch.cat([self.net(part, timestep).sample for part in z.split(self.batch)]) if len(z) else z
        alpha, sigma = level.alpha / scale, level.sigma / scale
        output, z = output.to(x), z.to(x)
        noise: Tensor = output
        if self.prediction == "v_prediction":  # v = alpha eps - sigma y
            noise = alpha * output + sigma * z
        if self.prediction == "sample":  # x = alpha y + sigma eps
            noise = (z - alpha * output) / sigma
        return noise


_UNCONDITIONAL = ("DDPMPipeline", "DDIMPipeline", "LDMPipeline")
_PREDICTIONS = ("epsilon", "v_prediction", "sample")


def _of_folder(folder: Path) -> Network:
    index = read_object(folder / "model_index.json")
    kind = index.get("_class_name")
    if kind not in _UNCONDITIONAL:
        raise ValueError(
            f"{folder} holds a {kind}; a noise model needs no prompt: one of {', '.join(_UNCONDITIONAL)}. Pictures of "
            "pipelines with prompts are compared by the command compare"
        )
    from diffusers import UNet2DModel

    check_component(folder / "unet", folder)
    check_component(folder / "scheduler", folder)
    net = load_component(folder / "unet", UNet2DModel, torch.float32).eval()
    schedule, prediction = _schedule_of(folder / "scheduler" / "scheduler_config.json")
    size = net.config.sample_size
    height, width = (size, size) if isinstance(size, int) else size
    shape = (net.config.in_channels, height, width)
    model = _PipelineModel(net.requires_grad_(False), schedule, prediction)
    return Network(str(folder), model, shape, schedule, (1.0, 0.0))


def _schedule_of(path: Path) -> tuple[Tabulated, str]:
    """Return the noise table and the prediction type of a scheduler's configuration."""
    from diffusers import DDPMScheduler

    scheduler: Any = DDPMScheduler
    config = read_object(path)
    prediction = config.get("prediction_type", "epsilon")
    if prediction not in _PREDICTIONS:
        raise ValueError(f"{path}: prediction_type must be one of {', '.join(_PREDICTIONS)}, got {prediction!r}")
    if config.get("rescale_betas_zero_snr"):
        raise ValueError(f"{path}: rescale_betas_zero_snr leaves a first level without a finite log-SNR; not supported")
    return Tabulated(scheduler.from_config(config).betas.double()), prediction
