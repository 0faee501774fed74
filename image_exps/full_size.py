"""Networks of the paper's models at full size with random weights: a step takes as long as with the trained ones.

The shapes are those of the published configs; ``parameters`` is what they come to, which tests check.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["FULL_SIZE", "FullSize", "full_size", "on_meta", "predictor"]


@dataclass(frozen=True)
class FullSize:
    """A network's shape.

    Attributes:
        name: on the command line.
        cls: its class in diffusers.
        config: what differs from the defaults of that class.
        parameters: their number.
        latent: shape of one sample.
        text: tokens and width of the text embedding that it is conditioned on.
        source: whose shape it is.
    """

    name: str
    cls: str
    config: Mapping[str, Any]
    parameters: int
    latent: tuple[int, int, int]
    text: tuple[int, int]
    source: str


_SDXL = {
    "sample_size": 128,
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "cross_attention_dim": 2048,
    "attention_head_dim": (5, 10, 20),
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}

#: The full-size networks by name.
FULL_SIZE: Mapping[str, FullSize] = MappingProxyType(
    {
        each.name: each
        for each in (
            FullSize(
                "sd15",
                "UNet2DConditionModel",
                {"sample_size": 64, "cross_attention_dim": 768},
                859_520_964,
                (4, 64, 64),
                (77, 768),
                "Stable Diffusion 1.5, 512 x 512",
            ),
            FullSize(
                "sdxl",
                "UNet2DConditionModel",
                _SDXL,
                2_567_463_684,
                (4, 128, 128),
                (77, 2048),
                "Stable Diffusion XL, 1024 x 1024",
            ),
            FullSize(
                "pixart",
                "PixArtTransformer2DModel",
                {"sample_size": 64, "caption_channels": 4096},
                610_856_096,
                (4, 64, 64),
                (120, 4096),
                "PixArt-alpha XL/2, 512 x 512",
            ),
        )
    }
)


def full_size(name: str) -> FullSize:
    """Return the shape of this name.

    Raises:
        ValueError: for another name.
    """
    if name not in FULL_SIZE:
        raise ValueError(f"full_size must be one of {', '.join(FULL_SIZE)}, got {name!r}")
    return FULL_SIZE[name]


def on_meta(shape: FullSize) -> nn.Module:
    """Return the network without memory for its weights: what can be counted, not run."""
    with torch.device("meta"):
        return _class(shape)(**shape.config)  # type: ignore[no-any-return]


def predictor(
    shape: FullSize, device: torch.device, dtype: torch.dtype, *, batch: int = 1, seed: int = 0
) -> Callable[[Tensor, Any], Tensor]:
    """Return the network with random weights as a noise prediction, its condition fixed.

    The weights are allocated where and as they are used: nothing of full size passes through float32 or the host.

    Args:
        shape: of `FULL_SIZE`, or a smaller one of the same classes.
        device: of the network.
        dtype: of the network.
        batch: of the samples that it will be given.
        seed: of weights and condition.
    """
    default = torch.get_default_dtype()
    generator = torch.Generator(device).manual_seed(seed)
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

    def normal(*size: int) -> Tensor:
        return torch.randn((batch, *size), generator=generator, device=device, dtype=dtype)

    conditions: dict[str, Any] = {"encoder_hidden_states": normal(*shape.text)}
    added = shape.config.get("addition_embed_type") == "text_time"
    if added:
        ids = 6 * network.config.addition_time_embed_dim
        pooled = network.config.projection_class_embeddings_input_dim - ids
        conditions["added_cond_kwargs"] = {
            "text_embeds": normal(pooled),
            "time_ids": torch.ones((batch, 6), device=device, dtype=dtype),
        }
    elif shape.cls == "PixArtTransformer2DModel":
        conditions["added_cond_kwargs"] = {"resolution": None, "aspect_ratio": None}

    def predict(x: Tensor, timestep: Any) -> Tensor:
        t = torch.as_tensor(timestep, device=x.device).expand(len(x))
        output: Tensor = network(x, timestep=t, return_dict=False, **conditions)[0]
        return output.narrow(1, 0, x.shape[1])  # the other channels are a variance, which samplers do not use

    return predict


def _class(shape: FullSize) -> Any:
    import diffusers

    return getattr(diffusers, shape.cls)
