r"""The trained networks that ship with the toolkit, as noise models of the samplers and as diffusers folders.

A folder holds what `diffusers.DDPMPipeline.from_pretrained` reads, and a card. The network that knows classes adds the
embedding ``e_c`` of a class to that of the timestep; its stock folder is the network of no class, ``e_null`` moved into
the bias of the time embedding, and the differences ``e_c - e_null`` lie beside it in ``class_embedding.safetensors``.
So stock diffusers draws from all classes, without labels and without code from here, and `network_model` and
`pipeline_class` put the classes back.

Training: ``python -m image_exps.training``; the export, with its card: ``python -m image_exps.training.publish``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import torch

from image_exps.networks.files import NETWORKS, class_names, network_folder
from image_exps.networks.load import Loaded, load_network, pipeline_class
from image_exps.networks.model import NetworkModel, timestep

__all__ = [
    "NETWORKS",
    "Loaded",
    "NetworkModel",
    "class_names",
    "load_network",
    "network_folder",
    "network_model",
    "pipeline_class",
    "timestep",
]


def network_model(
    name: str,
    *,
    labels: str | Sequence[str] | None = None,
    guidance: float = 1.0,
    dtype: torch.dtype = torch.float32,
    batch: int = 128,
) -> NetworkModel:
    """Return a shipped network as a noise model, for `lml.samplers.sample`.

    Args:
        name: one of `NETWORKS`.
        labels: of a class-conditional network: one class for all, one a sample, or ``None`` for no class.
        guidance: towards the class.
        dtype: in which it computes.
        batch: samples that are evaluated at once.

    Raises:
        ValueError: for an argument that does not fit, naming it, or a damaged file.
    """
    net, classes, prediction = _cached(name, dtype)
    given = labels if labels is None or isinstance(labels, str) else tuple(labels)
    return NetworkModel(net, prediction, classes, given, guidance, batch)


@cache
def _cached(name: str, dtype: torch.dtype) -> Loaded:
    return load_network(network_folder(name), dtype)
