"""One door to networks: by name those that ship and those of galaxies, by folder any pipeline that can be driven."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from image_exps.networks import NETWORKS, class_names, network_model
from image_exps.networks import galaxies as galaxy
from image_exps.networks.model import NetworkModel
from image_exps.networks.shifted_flow import ShiftedFlow
from image_exps.pipelines.loading import load_pipeline
from image_exps.pipelines.models import UNCONDITIONAL, Model, find_models, model
from image_exps.pipelines.own import INDEX, find_model, flow_matching
from image_exps.pipelines.prompted import PromptedModel, prompted_model
from image_exps.pipelines.rendering import Renderer
from lml.samplers import Level, NoiseModel
from lml.schedulers.families import check_betas
from toy.levels import Spacing, noise_levels
from toy.schedule import NoiseSchedule, noise_schedule
from toy.tabulated import Tabulated

__all__ = ["Network", "network"]

#: First and last sigma of a trajectory of flow matching; at one there is no signal, and no finite log-SNR.
_FLOW_ENDS = (0.999, 0.001)


@dataclass(frozen=True)
class Network:
    """A network, ready for the pure samplers.

    Attributes:
        name: or folder, as it was asked for.
        noise_model: the noise prediction ``eps(x, level)``.
        shape: of one sample.
        schedule: that it was trained on.
        times: the first and the last time of a trajectory, within [0, 1] of the schedule.
        renderer: of the pipeline that it came from, with that pipeline's own scheduler; ``None`` where there is none.
    """

    name: str
    noise_model: NoiseModel
    shape: tuple[int, ...]
    schedule: NoiseSchedule
    times: tuple[float, float]
    renderer: Renderer | None = None

    def levels(self, evaluations: int, spacing: Spacing = "log-snr") -> list[Level]:
        """Return the ``evaluations + 1`` levels of a trajectory of as many steps; see `toy.noise_levels`.

        Raises:
            ValueError: for fewer than one step, or a spacing that does not exist.
        """
        return noise_levels(self.schedule, evaluations, spacing=spacing, times=self.times)

    @property
    def flow(self) -> bool:
        """Whether it predicts the velocity of a flow."""
        return isinstance(self.schedule, ShiftedFlow)

    def start(self, seed: int, count: int) -> Tensor:
        """Return ``count`` starting noises of unit variance, float32, of shape ``(count, *shape)``.

        Noise i is that of ``torch.Generator().manual_seed(seed + i)``, as the pipeline and the command sample draw it.
        """
        if isinstance(self.noise_model, PromptedModel):
            return self.noise_model.start(range(seed, seed + count))
        generators = [torch.Generator().manual_seed(seed + i) for i in range(count)]
        return torch.stack([torch.randn(self.shape, generator=generator) for generator in generators])

    def pictures(self, ends: Tensor) -> np.ndarray[Any, Any]:
        """Return what final samples look like, float32 in [0, 1], shape (B, height, width, channels).

        Latents are decoded. Fluxes of galaxies have no range of their own: their 0.5 and 99.5 percentiles become 0
        and 1.
        """
        if isinstance(self.noise_model, PromptedModel):
            return self.noise_model.pictures(ends)
        if self.renderer is not None:
            return self.renderer.decode(ends.to(self.renderer.pipe.unet.device))
        low, high = np.quantile(ends.numpy(), (0.005, 0.995))
        shown = (ends - low) / (high - low)
        return shown.clamp(0, 1).permute(0, 2, 3, 1).numpy()  # type: ignore[no-any-return]


def network(
    name: str | Path,
    *,
    prompts: Sequence[str] = (),
    guidance: float | None = None,
    negative_prompt: str | None = None,
    size: int | None = None,
    batch: int | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Network:
    """Return a network by name, or out of the folder of a pipeline of diffusers.

    Args:
        name: one of `image_exps.networks.NETWORKS` or `image_exps.networks.galaxies.GALAXIES`, or a folder that
            ``DiffusionPipeline.save_pretrained`` wrote: of pixels, of latents, or from a prompt to a picture.
        prompts: of a pipeline that takes some, or one class of a network that knows classes; sample i has prompt
            ``i % len(prompts)``.
        guidance: towards them; ``None`` is the pipeline's default.
        negative_prompt: for pipelines that take one.
        size: height and width in pixels, of pipelines with prompts; ``None`` is the pipeline's own.
        batch: samples that are evaluated at once; ``None`` is 4 with prompts, and more without.
        dtype: of the network.
        device: where it runs.

    Raises:
        ValueError: for a name that is not known, absent weights, or what the pipeline does not take.
    """
    if name in galaxy.GALAXIES:
        _refuse(str(name), prompts=prompts, guidance=guidance, negative_prompt=negative_prompt, size=size)
        side = galaxy.GALAXIES[str(name)].size
        return Network(str(name), galaxy.galaxy_model(str(name)), (1, side, side), galaxy.SCHEDULE, galaxy.TIMES)
    if name in NETWORKS:
        return _shipped(str(name), prompts, guidance, batch or 128, dtype, device)
    if not (Path(name) / INDEX).is_file() and not (Path(name).is_dir() or str(name) in find_models()):
        known = ", ".join((*NETWORKS, *galaxy.GALAXIES))
        raise ValueError(f"name must be one of {known}, or the folder of a pipeline, got {str(name)!r}")
    known_model = find_model(name)
    pipe = load_pipeline(known_model, dtype=dtype, device=device).pipe
    return _of_pipeline(str(name), known_model, pipe, tuple(prompts), guidance, negative_prompt, size, batch)


def _refuse(name: str, **given: object) -> None:
    for what, value in given.items():
        if value not in (None, ()):
            raise ValueError(f"{what} mean nothing to {name}, which takes none, got {value!r}")


def _shipped(name: str, prompts: Sequence[str], guidance: float | None, batch: int, dtype: str, device: str) -> Network:
    known = class_names(name)
    if len(prompts) > 1 or (prompts and not known):
        raise ValueError(f"prompts must be {'one class' if known else 'none'} for {name}, got {list(prompts)!r}")
    label = prompts[0] if prompts else None
    made = network_model(
        name, labels=label, guidance=1.0 if guidance is None else guidance, dtype=getattr(torch, dtype), batch=batch
    )
    if device != "cpu":
        made.net.to(device)
    pipe = load_pipeline(model(name)).pipe
    return Network(name, made, made.shape, noise_schedule("vp-linear"), (1.0, 1e-3), Renderer(pipe, "DDPMPipeline", 1))


def _of_pipeline(
    name: str,
    known: Model,
    pipe: Any,
    prompts: tuple[str, ...],
    guidance: float | None,
    negative_prompt: str | None,
    size: int | None,
    batch: int | None,
) -> Network:
    if known.pipeline in UNCONDITIONAL:
        config = pipe.unet.config
        classes = tuple(map(str, range(config.num_class_embeds - 1))) if config.num_class_embeds else ()
        renderer = Renderer(pipe, known.pipeline, 1, guidance, size, negative_prompt, classes)
        renderer.check_prompts(prompts)
    else:
        scale = known.guidance if guidance is None else guidance
        renderer = Renderer(pipe, known.pipeline, 1, scale, size, negative_prompt)
    own = pipe.scheduler.config
    if flow_matching({"_class_name": type(pipe.scheduler).__name__, **own}):
        made = prompted_model(renderer, prompts, "flow_prediction", None, batch or 4)
        schedule: NoiseSchedule = ShiftedFlow(_shift(own, made.asked_of_scheduler))
        first, last = (float(schedule.time(2 * math.log((1 - s) / s))) for s in _FLOW_ENDS)
        return Network(name, made, made.shape, schedule, (first, last), renderer)
    table, prediction = _table_of(known.name, type(pipe.scheduler).__name__, own)
    if known.pipeline not in UNCONDITIONAL:
        made = prompted_model(renderer, prompts, prediction, table, batch or 4)
        return Network(name, made, made.shape, table, (1.0, 0.0), renderer)
    label = prompts if len(prompts) > 1 else prompts[0] if prompts else None
    plain = NetworkModel(
        pipe.unet.eval().requires_grad_(False), prediction, classes, label,
        1.0 if guidance is None else guidance, batch or 64, table,
    )  # fmt: skip
    return Network(name, plain, plain.shape, table, (1.0, 0.0), renderer)


def _shift(config: Any, asked: Callable[[int], dict[str, Any]]) -> float:
    """Return the shift of a flow-matching scheduler; a dynamic one is that of the pipeline's size of pictures."""
    if not config.get("use_dynamic_shifting"):
        return float(config.get("shift") or config.get("flow_shift") or 1.0)
    mu = float(asked(2)["mu"])
    return math.exp(mu) if config.get("time_shift_type", "exponential") == "exponential" else mu


def _table_of(name: str, scheduler: str, config: Any) -> tuple[Tabulated, str]:
    """Return the noise table and the prediction type of a scheduler's configuration."""
    from diffusers import DDPMScheduler

    cls: Any = DDPMScheduler
    check_betas(f"{name} with {scheduler}", config)
    prediction = config.get("prediction_type", "epsilon")
    allowed = ("epsilon", "v_prediction", "sample")
    if prediction not in allowed:
        raise ValueError(f"{name}: prediction_type must be one of {', '.join(allowed)}, got {prediction!r}")
    if config.get("rescale_betas_zero_snr"):
        raise ValueError(f"{name}: rescale_betas_zero_snr leaves a first level without a finite log-SNR; not supported")
    return Tabulated(cls.from_config(config).betas.double()), prediction
