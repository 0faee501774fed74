"""The class-conditional network: a stock UNet that takes a class, or none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import DDPMPipeline, UNet2DModel
from safetensors.torch import load_file
from torch import Tensor

from image_exps.networks.files import EMBEDDING, UNet
from image_exps.networks.stored import stored_unet

__all__ = ["ClassPipeline", "ClassUNet", "load_class_unet"]


class ClassUNet(UNet2DModel):
    """A `UNet2DModel` with ``num_class_embeds`` labels, of which the last stands for no class.

    Stock diffusers raises without labels; this one then draws from all classes, so that a plain `DDPMPipeline` runs it.
    """

    def with_classes(self: UNet, weight: Tensor) -> None:
        """Take the embeddings of its labels, shape (labels, width); what is added for none is zero."""
        self.class_embedding = torch.nn.Embedding(len(weight), weight.shape[1], _weight=weight)
        self.register_to_config(num_class_embeds=len(weight))

    def forward(
        self: UNet,
        sample: Tensor,
        timestep: Tensor | float | int,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        if class_labels is None:
            none = self.config["num_class_embeds"] - 1
            class_labels = torch.full((len(sample),), none, device=sample.device)
        return UNet2DModel.forward(self, sample, timestep, class_labels, return_dict)


def load_class_unet(folder: Path, dtype: torch.dtype = torch.float32) -> UNet:
    """Return the class-conditional network of an exported folder, with weights of this dtype."""
    net = stored_unet(ClassUNet, folder, dtype)
    net.with_classes(load_file(folder / EMBEDDING)["weight"].to(dtype))
    return net.eval().requires_grad_(False)


class ClassPipeline(DDPMPipeline):
    """A `DDPMPipeline` whose network takes classes, from a folder that the stock one reads too."""

    @classmethod
    def from_pretrained(cls, folder: str | Path, **options: Any) -> Any:
        """Load the pipeline of an exported network, with the options of diffusers."""
        net = load_class_unet(Path(folder), options.get("torch_dtype") or torch.float32)
        stock: Any = DDPMPipeline
        return stock.from_pretrained(str(folder), unet=net, **options)
