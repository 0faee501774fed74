"""The networks that are timed, as noise predictions: what they receive besides sample and timestep is fixed at random.

A step takes as long with random weights and conditions as with real ones.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from image_exps.timing.shapes import FullSize
from image_exps.timing.timing import Predictor

__all__ = ["conditioned", "on_meta", "predictor"]


def conditioned(network: Any, *, batch: int, tokens: int = 77, seed: int = 0) -> Predictor:
    """Return a denoising network of diffusers as a noise prediction for samples (batch, C, H, W).

    Its condition is fixed: a normal text embedding, SDXL's pooled one and its sizes, PixArt's resolution and aspect
    ratio, the class 0; of these whatever the network's config asks for.

    Args:
        network: of any class that `image_exps.pipelines.models` has but those of flow models, on its device
            and in its dtype.
        batch: how many samples it will be given at once.
        tokens: of the text embedding; 77 is CLIP's number.
        seed: of what is drawn.
    """
    config, device, dtype = network.config, network.device, network.dtype
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*size: int) -> Tensor:
        return torch.randn((batch, *size), generator=generator, device=device, dtype=dtype)

    condition: dict[str, Any] = {}
    captions = config.get("caption_channels")
    width = captions or config.get("cross_attention_dim")
    if width is not None:
        condition["encoder_hidden_states"] = normal(tokens, width)
    if config.get("addition_embed_type") == "text_time":
        numbers = 6 * config.addition_time_embed_dim  # two sizes and a corner, two numbers each
        condition["added_cond_kwargs"] = {
            "text_embeds": normal(config.projection_class_embeddings_input_dim - numbers),
            "time_ids": torch.ones((batch, 6), device=device, dtype=dtype),
        }
    elif captions is not None:
        sized = network.use_additional_conditions  # true of the model for 1024 x 1024
        condition["added_cond_kwargs"] = {
            "resolution": torch.ones((batch, 2), device=device, dtype=dtype) if sized else None,
            "aspect_ratio": torch.ones((batch, 1), device=device, dtype=dtype) if sized else None,
        }
    if config.get("num_class_embeds"):
        condition["class_labels"] = torch.zeros(batch, dtype=torch.long, device=device)

    def predict(x: Tensor, timestep: Any) -> Tensor:
        t = torch.as_tensor(timestep, device=x.device).expand(len(x))
        output: Tensor = network(x, timestep=t, return_dict=False, **condition)[0]
        return output.narrow(1, 0, x.shape[1])  # the other channels are a variance, which samplers do not use

    return predict


def on_meta(shape: FullSize) -> nn.Module:
    """Return the network without memory for its weights: what can be counted, not run."""
    with torch.device("meta"):
        return _class(shape)(**shape.config)  # type: ignore[no-any-return]


def predictor(shape: FullSize, device: torch.device, dtype: torch.dtype, *, batch: int = 1, seed: int = 0) -> Predictor:
    """Return a network with random weights as a noise prediction, its condition fixed; see `conditioned`.

    The weights are allocated where and as they are used: nothing of full size passes through float32 or the host.

    Args:
        shape: of `image_exps.timing.shapes.FULL_SIZE`, or a smaller one of the same classes.
        device: of the network.
        dtype: of the network.
        batch: of the samples that it will be given.
        seed: of weights and condition.
    """
    default = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # the constructors draw from the global generator
        torch.set_default_dtype(dtype)
        try:
            with torch.device(device):
                network: Any = _class(shape)(**shape.config)
        finally:
            torch.set_default_dtype(default)
    # Buffers that the constructor made elsewhere; the method of the base class, as that of diffusers warns of dtypes.
    network = nn.Module.to(network, device=device, dtype=dtype).eval().requires_grad_(False)
    return conditioned(network, batch=batch, tokens=shape.tokens, seed=seed)


def _class(shape: FullSize) -> Any:
    import diffusers

    return getattr(diffusers, shape.cls)
