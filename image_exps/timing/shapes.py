"""Shapes of the paper's networks at full size, from their published configs, for `image_exps.timing.networks`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from lml.arguments import check_choice

__all__ = ["FULL_SIZE", "FullSize", "full_size"]


@dataclass(frozen=True)
class FullSize:
    """A network's shape.

    Attributes:
        name: on the command line.
        cls: its class in diffusers.
        config: what differs from the defaults of that class.
        parameters: how many the config comes to, which a test counts.
        latent: shape of one sample.
        tokens: of the text embedding that it is conditioned on; its width is in the config.
        source: whose shape it is.
    """

    name: str
    cls: str
    config: Mapping[str, Any]
    parameters: int
    latent: tuple[int, int, int]
    tokens: int
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
                77,
                "Stable Diffusion 1.5, 512 x 512",
            ),
            FullSize(
                "sdxl",
                "UNet2DConditionModel",
                _SDXL,
                2_567_463_684,
                (4, 128, 128),
                77,
                "Stable Diffusion XL, 1024 x 1024",
            ),
            FullSize(
                "pixart",
                "PixArtTransformer2DModel",
                {"sample_size": 64, "caption_channels": 4096},
                610_856_096,
                (4, 64, 64),
                120,
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
    check_choice(name, "full_size", FULL_SIZE)
    return FULL_SIZE[name]
