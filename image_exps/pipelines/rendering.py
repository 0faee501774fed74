"""Pictures from any of the pipelines, a generator a picture: what is drawn for one depends on its seed alone."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from image_exps.networks.guided import guided
from image_exps.pipelines.models import UNCONDITIONAL

__all__ = ["Renderer", "to_bytes"]


@dataclass(frozen=True)
class Renderer:
    """A pipeline with everything that is the same for all of its pictures.

    Args:
        pipe: with the scheduler that is to be used.
        kind: class of the pipeline.
        steps: ``num_inference_steps``.
        guidance: scale of classifier-free guidance, for a model that has it.
        size: height and width in pixels; ``None`` is the model's own.
        negative_prompt: for a pipeline that takes one.
        classes: names of the classes of a class-conditional network, in their order.

    Raises:
        ValueError: for a setting that the pipeline does not have.
    """

    pipe: Any
    kind: str
    steps: int
    guidance: float | None = None
    size: int | None = None
    negative_prompt: str | None = None
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind in UNCONDITIONAL:
            for name in ("size", "negative_prompt"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} cannot be chosen for a {self.kind}, got {getattr(self, name)!r}")
            if self.guidance is not None and not self._null:
                raise ValueError(f"guidance needs a model with prompts or classes, got {self.guidance}")
        elif self.negative_prompt is not None and self.kind == "FluxPipeline":
            raise ValueError(f"negative_prompt cannot be chosen for a {self.kind}, got {self.negative_prompt!r}")

    @property
    def prompted(self) -> bool:
        """Whether every picture needs a prompt."""
        return self.kind not in UNCONDITIONAL

    @property
    def _null(self) -> int | None:
        """The label that stands for none, which is the last; ``None`` for a network without classes."""
        count = self.pipe.unet.config.get("num_class_embeds")
        return None if count is None else int(count) - 1

    def check_prompts(self, prompts: Sequence[str]) -> None:
        """Refuse prompts for a model that takes none, their absence for one that needs them, and unknown classes.

        Raises:
            ValueError: saying which.
        """
        if self.prompted:
            if not prompts:
                raise ValueError(f"prompts are needed by a {self.kind}, got none")
        elif prompts and self._null is None:
            raise ValueError(f"prompts mean nothing to an unconditional {self.kind}, got {prompts[0]!r}")
        else:
            self._labels(prompts)

    @torch.no_grad()
    def render(
        self, seeds: Sequence[int], prompts: Sequence[str] = (), controls: Sequence[Any] = ()
    ) -> np.ndarray[Any, Any]:
        """Return the pictures of these seeds, float32 in [0, 1], shape (B, height, width, channels).

        Args:
            seeds: one a picture: ``torch.Generator().manual_seed(seed)``, on the CPU for every device.
            prompts: one a picture, or none; the name of a class for a class-conditional network.
            controls: one picture for each, for a ControlNet.
        """
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        if not self.prompted:
            return self._unconditional(generators, self._labels(prompts))
        call = {**self.arguments(prompts), "generator": generators, "num_inference_steps": self.steps}
        if controls:
            call["image"] = list(controls)
        return np.asarray(self.pipe(**call, output_type="np").images, dtype=np.float32)

    def arguments(self, prompts: Sequence[str]) -> dict[str, Any]:
        """Return what a pipeline with prompts is called with, besides noise, steps and controls."""
        call: dict[str, Any] = {"prompt": list(prompts)}
        if self.guidance is not None:
            call["guidance_scale"] = self.guidance
        if self.size is not None:
            call |= {"height": self.size, "width": self.size}
        if self.negative_prompt is not None:
            call["negative_prompt"] = [self.negative_prompt] * len(prompts)
        # Bins of sizes are for sizes that were not asked for; cleaning captions needs packages of its own.
        optional = {"use_resolution_binning": False, "clean_caption": False}
        known = inspect.signature(self.pipe.__call__).parameters
        return call | {name: value for name, value in optional.items() if name in known}

    def _labels(self, prompts: Sequence[str]) -> list[int] | None:
        null = self._null
        if null is None or not prompts:
            return None
        numbers = {name: i for i, name in enumerate(self.classes)} | {str(i): i for i in range(null)}
        for prompt in prompts:
            if prompt not in numbers:
                known = ", ".join(self.classes) or f"the numbers 0 to {null - 1}"
                raise ValueError(f"prompts of this network are classes: one of {known}, got {prompt!r}")
        return [numbers[prompt] for prompt in prompts]

    def _unconditional(self, generators: list[torch.Generator], labels: list[int] | None) -> np.ndarray[Any, Any]:
        """DDPM and latent DDPM: the loop of their pipelines, for any scheduler, dtype, class and guidance."""
        unet, scheduler = self.pipe.unet, self.pipe.scheduler
        device, dtype = unet.device, unet.dtype
        size = unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        shape = (len(generators), unet.config.in_channels, height, width)
        scheduler.set_timesteps(self.steps, device=device)
        x = randn_tensor(shape, generator=generators, device=device, dtype=dtype) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            noise = self._noise(scheduler.scale_model_input(x, t), t, labels)
            x = scheduler.step(noise, t, x).prev_sample
        return self.decode(x)

    @torch.no_grad()
    def decode(self, x: Tensor) -> np.ndarray[Any, Any]:
        """Return the pictures of samples or latents of a pipeline without prompts, as `render` does."""
        if self.kind == "LDMPipeline":
            vq = self.pipe.vqvae
            x = vq.decode(x.to(vq.dtype) / vq.config.scaling_factor).sample
        pictures: np.ndarray[Any, Any] = (x.float() / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).cpu().numpy()
        return pictures

    def _noise(self, x: Tensor, t: Tensor, labels: list[int] | None) -> Tensor:
        """Return the network's output, guided towards the classes if there are any."""
        unet, null = self.pipe.unet, self._null
        if null is None:
            return unet(x, t).sample  # type: ignore[no-any-return]
        numbers = None if labels is None else torch.tensor(labels, device=x.device)
        return guided(unet, x, t, numbers, null, 1.0 if self.guidance is None else self.guidance)


def to_bytes(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.uint8]] | None:
    """Return a picture in bytes as diffusers rounds it, or ``None`` if any of its numbers is not finite."""
    if not np.isfinite(picture).all():
        return None
    return (picture * 255).round().astype(np.uint8)
