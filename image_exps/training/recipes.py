"""What is trained: pictures, their classes, and the network for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from diffusers import UNet2DModel

from image_exps.networks.files import UNet
from lml.arguments import check_choice
from toy import Pictures, dataset
from toy.fashion_mnist import fashion_mnist

__all__ = ["PREDICTIONS", "RECIPES", "Prediction", "Recipe", "recipe", "small_unet", "start"]

Prediction = Literal["epsilon", "v_prediction"]

#: What a network may return, by the names of diffusers: the noise ``z``, or the velocity ``a_t z - s_t y``.
PREDICTIONS: tuple[str, ...] = get_args(Prediction)


@dataclass(frozen=True)
class Recipe:
    """A network and what it learns.

    Attributes:
        name: of the network.
        pictures: loads the training pictures.
        channels: of the UNet, from full resolution down; each further one halves the sides.
        conditional: whether the network is given the label of a picture.
        batch: pictures a step.
        learning_rate: at its peak.
        null_rate: how often a label is withheld, for classifier-free guidance.
        decay: of the moving average of the weights.
        prediction: what the network is trained to return, one of `PREDICTIONS`.
    """

    name: str
    pictures: Callable[[], Pictures]
    channels: tuple[int, ...]
    conditional: bool = False
    batch: int = 32
    learning_rate: float = 1e-3
    null_rate: float = 0.1
    decay: float = 0.998
    prediction: Prediction = "v_prediction"

    def classes(self, pictures: Pictures) -> tuple[str, ...]:
        """Return the classes that the network is given, in the order of their numbers; none if unconditional."""
        return tuple(sorted(set(pictures.labels))) if self.conditional else ()


def small_unet(size: int, in_channels: int, channels: tuple[int, ...], classes: int = 0) -> UNet:
    """Return a UNet with one residual block a resolution and attention at the lowest alone.

    Args:
        size: side of the pictures, divisible by ``2^(len(channels) - 1)``.
        in_channels: of the pictures.
        channels: from full resolution down, each divisible by 8.
        classes: how many labels it is given; a further one, the last, stands for none. 0: it is given none.
    """
    kind: Any = UNet2DModel
    return kind(**_config(size, in_channels, channels, classes))


def _config(size: int, in_channels: int, channels: tuple[int, ...], classes: int) -> Mapping[str, Any]:
    plain = len(channels) - 1
    return {
        "sample_size": size,
        "in_channels": in_channels,
        "out_channels": in_channels,
        "block_out_channels": channels,
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 16,
        "down_block_types": ("DownBlock2D",) * plain + ("AttnDownBlock2D",),
        "up_block_types": ("AttnUpBlock2D",) + ("UpBlock2D",) * plain,
        "num_class_embeds": classes + 1 if classes else None,
    }


#: The recipes of the shipped networks.
RECIPES: dict[str, Recipe] = {
    made.name: made
    for made in (
        Recipe("fashion-mnist", fashion_mnist, (16, 32, 96)),
        Recipe("emoji", lambda: dataset("emoji"), (16, 32, 96), conditional=True),
    )
}


def recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises:
        ValueError: for a name that is not in `RECIPES`.
    """
    check_choice(name, "recipe", RECIPES)
    return RECIPES[name]


def start(made: Recipe, pictures: Pictures, seed: int) -> UNet:
    """Return the untrained network of a recipe, its weights drawn from ``seed``."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        _, in_channels, size, _ = pictures.images.shape
        return small_unet(size, in_channels, made.channels, len(made.classes(pictures)))
