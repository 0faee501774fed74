"""A text-to-image pipeline as a noise model: prompts, guidance and conditions go through the pipeline itself.

The pipeline is called for one inference step, with a scheduler that hands out what the network returned (after
guidance) in place of the next sample. So one call is one evaluation, at any timestep, and whatever the pipeline does to
prompts, guidance, sizes and the layout of its latents is done as ever. The embeddings of the prompts are computed once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from image_exps.networks.levelled import PREDICTIONS, LevelledModel
from image_exps.pipelines.rendering import Renderer
from lml.arguments import check_choice, check_integer
from lml.samplers import Level
from toy.tabulated import Tabulated

__all__ = ["PromptedModel", "prompted_model"]

#: Timesteps of a flow-matching network: 1000 times sigma.
_FLOW_STEPS = 1000

# Of an evaluation whose output is not used.
_SOME = 500.0


class _OneEvaluation:
    """Stands in for a scheduler: one timestep, and a step that hands out what is asked for.

    Args:
        config: of the pipeline's own scheduler, which pipelines read.
        timestep: of the evaluation.
        result: ``(output, sample)`` to what the pipeline takes for its latents.
    """

    order, init_noise_sigma = 1, 1.0

    def __init__(self, config: Any, timestep: float, result: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.config, self._timestep, self._result = config, timestep, result
        self.asked: dict[str, Any] = {}

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        given = {"num_inference_steps": num_inference_steps, "sigmas": sigmas, "mu": mu}
        self.asked = {name: value for name, value in given.items() if value is not None}
        self.timesteps = torch.tensor([self._timestep], dtype=torch.float32, device=device)
        self.sigmas = self.timesteps / _FLOW_STEPS

    def set_begin_index(self, index: int = 0) -> None:
        """Do nothing: there is one step."""

    def scale_model_input(self, sample: Tensor, timestep: Any = None) -> Tensor:
        return sample

    def step(self, output: Tensor, timestep: Any, sample: Tensor, return_dict: bool = True) -> tuple[Tensor, Tensor]:
        # Pipelines take the first, and PixArt the second where it is called for one step.
        result = self._result(output, sample)
        return result, result


@dataclass(frozen=True, eq=False)
class PromptedModel(LevelledModel):
    """A pipeline with prompts as a noise model; see `LevelledModel`.

    Attributes:
        renderer: the pipeline with guidance and sizes.
        prompts: sample i has prompt ``i % len(prompts)``.
        prediction: what the network returns.
        latent: shape of one latent, as the pipeline's loop has it.
        table: of the noise levels that it was trained on; ``None`` for flow matching.
        batch: samples at a time.
        first: place of the first sample, for a part of a set of samples.
    """

    renderer: Renderer
    prompts: tuple[str, ...]
    prediction: str
    latent: tuple[int, ...]
    table: Tabulated | None = None
    batch: int = 4
    first: int = 0

    def __post_init__(self) -> None:
        check_integer(self.batch, "batch")
        check_choice(self.prediction, "prediction", PREDICTIONS)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.latent

    def timestep(self, level: Level) -> float:
        if self.table is None:
            return _FLOW_STEPS * level.sigma / (level.alpha + level.sigma)
        return float(self.table.timestep(2 * level.half_log_snr))

    def output(self, z: Tensor, timestep: float, first: int) -> Tensor:
        found: Tensor = _call(self.renderer, self._prompts(first, len(z)), timestep, lambda m, _: m, latents=z)[0]
        return found

    def start(self, seeds: Sequence[int]) -> Tensor:
        """Return the noises that the pipeline starts from, as it draws them for these seeds, float32, (B, ...)."""
        made: list[Tensor] = []

        def kept(output: Tensor, sample: Tensor) -> Tensor:
            made.append(sample.float().cpu())
            return sample

        for i in range(0, len(seeds), self.batch):
            generators = [torch.Generator().manual_seed(seed) for seed in seeds[i : i + self.batch]]
            _call(self.renderer, self._prompts(i, len(generators)), _SOME, kept, generator=generators)
        return torch.cat(made)

    def pictures(self, ends: Tensor) -> np.ndarray[Any, Any]:
        """Return the pictures of final latents, float32 in [0, 1], shape (B, height, width, channels)."""
        made = []
        for i in range(0, len(ends), self.batch):
            part = ends[i : i + self.batch]
            call = _call(self.renderer, self._prompts(i, len(part)), 0.0, lambda _, x: x, latents=part, kind="np")
            made.append(np.asarray(call[0], dtype=np.float32))
        return np.concatenate(made)

    def asked_of_scheduler(self, steps: int) -> dict[str, Any]:
        """Return what the pipeline gives ``set_timesteps`` for so many inference steps."""
        start = torch.zeros(1, *self.latent)
        return _call(self.renderer, self._prompts(0, 1), 0.0, lambda m, _: m, latents=start, steps=steps)[1]

    def _prompts(self, first: int, count: int) -> list[str]:
        place = self.first + first
        return [self.prompts[i % len(self.prompts)] for i in range(place, place + count)]


@torch.no_grad()
def _call(
    renderer: Renderer,
    prompts: Sequence[str],
    timestep: float,
    result: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int = 1,
    kind: str = "latent",
    latents: Tensor | None = None,
    **given: Any,
) -> tuple[Any, dict[str, Any]]:
    """Call the pipeline for one evaluation; return its images and what it asked of the scheduler."""
    pipe = renderer.pipe
    own = pipe.scheduler
    stand_in = _OneEvaluation(own.config, timestep, result)
    if latents is not None:
        network = getattr(pipe, "transformer", None) or pipe.unet
        given["latents"] = latents.to(network.device, network.dtype)
    pipe.scheduler = stand_in
    try:
        call = {**renderer.arguments(prompts), **given, "num_inference_steps": steps}
        return pipe(**call, output_type=kind).images, stand_in.asked
    finally:
        pipe.scheduler = own


def prompted_model(
    renderer: Renderer, prompts: Sequence[str], prediction: str, table: Tabulated | None, batch: int
) -> PromptedModel:
    """Return a pipeline with prompts as a noise model; one evaluation finds the shape of its latents.

    Raises:
        ValueError: for no prompts, or a network that fails on them.
    """
    renderer.check_prompts(prompts)
    _remember_embeddings(renderer.pipe)
    shapes: list[tuple[int, ...]] = []

    def measured(output: Tensor, sample: Tensor) -> Tensor:
        shapes.append(tuple(sample.shape[1:]))
        return sample

    _call(renderer, prompts[:1], _SOME, measured, generator=[torch.Generator().manual_seed(0)])
    return PromptedModel(renderer, tuple(prompts), prediction, shapes[0], table, batch)


def _remember_embeddings(pipe: Any) -> None:
    """Let a pipeline compute the embeddings of a prompt once: a call for one step would else repeat them."""
    compute, kept = pipe.encode_prompt, {}

    def encode_prompt(*args: Any, **options: Any) -> Any:
        given = (*args, *options.values())
        if any(isinstance(value, Tensor) for value in given):
            return compute(*args, **options)
        key = repr((args, sorted(options.items())))
        if key not in kept:
            kept[key] = compute(*args, **options)
        return kept[key]

    pipe.encode_prompt = encode_prompt
