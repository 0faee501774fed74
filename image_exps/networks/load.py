"""Networks out of their folders: by themselves, and as pipelines of diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

from image_exps.networks.files import SCHEDULER, UNet, class_names, classes_in
from image_exps.networks.stored import stored_unet

__all__ = ["Loaded", "load_network", "pipeline_class"]


class Loaded(NamedTuple):
    """A network out of its folder.

    Attributes:
        net: takes ``(x, timestep, labels)``, of which a label is the number of a class; the one after the last class is
            no class, as in the stock folder.
        classes: that it knows, in the order of their numbers.
        prediction: what it returns, by the names of diffusers: ``epsilon`` or ``v_prediction``.
    """

    net: UNet
    classes: tuple[str, ...]
    prediction: str


def load_network(folder: Path, dtype: torch.dtype = torch.float32) -> Loaded:
    """Return the network of an exported folder, ready for labels.

    Args:
        folder: holds ``unet/`` and, of a class-conditional network, its classes.
        dtype: of the weights, stored in float16.
    """
    # Diffusers takes seconds to import: whoever only asks for a folder does not wait for it.
    classes = classes_in(folder)
    if classes:
        from image_exps.networks.class_unet import load_class_unet

        net = load_class_unet(folder, dtype)
    else:
        from diffusers import UNet2DModel

        net = stored_unet(UNet2DModel, folder, dtype)
    prediction = json.loads((folder / SCHEDULER).read_text())["prediction_type"]
    return Loaded(net, classes, prediction)


def pipeline_class(name: str) -> Any:
    """Return the pipeline for the folder of a network: the stock one, or one whose network takes classes.

    Raises:
        ValueError: as `network_folder`.
    """
    if class_names(name):
        from image_exps.networks.class_unet import ClassPipeline

        return ClassPipeline
    from diffusers import DDPMPipeline

    return DDPMPipeline
