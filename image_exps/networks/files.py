"""The folders of exported networks: where they are, whether they are whole, and what is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch

__all__ = [
    "CLASSES",
    "EMBEDDING",
    "NETWORKS",
    "SCHEDULER",
    "SUMS",
    "Loaded",
    "UNet",
    "check",
    "class_names",
    "load_network",
    "network_folder",
    "pipeline_class",
]

#: A network of diffusers, whose classes have no types that mypy could check.
UNet = Any

#: The shipped networks by name.
NETWORKS: tuple[str, ...] = ("fashion-mnist", "emoji")

#: Inside a folder: the checksums of its data, and what only the class-conditional network has.
SUMS, CLASSES, EMBEDDING = "SHA256SUMS", "classes.json", "class_embedding.safetensors"
#: Where the pipeline keeps its noise levels, and what the network returns.
SCHEDULER = "scheduler/scheduler_config.json"


def network_folder(name: str) -> Path:
    """Return the folder of a network, which ``DDPMPipeline.from_pretrained`` reads.

    Raises:
        ValueError: for a name that is not in `NETWORKS`, or a file that is absent or not the one that was exported.
    """
    if name not in NETWORKS:
        raise ValueError(f"network must be one of {', '.join(NETWORKS)}, got {name!r}")
    folder = Path(__file__).parent / name
    check(folder)
    return folder


def check(folder: Path) -> None:
    """Compare the files of an exported network with its checksums.

    Raises:
        ValueError: for one that is absent or altered.
    """
    if not (folder / SUMS).is_file():
        raise ValueError(f"{str(folder)!r} holds no {SUMS}: it is not an exported network, reinstall the package")
    for line in (folder / SUMS).read_text().splitlines():
        expected, name = line.split()
        if not (folder / name).is_file():
            raise ValueError(f"{folder / name} is absent: reinstall the package")
        actual = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if actual != expected:
            raise ValueError(f"{folder / name} has the checksum {actual}, expected {expected}: reinstall the package")


def class_names(name: str) -> tuple[str, ...]:
    """Return the classes that a network can be told, in the order of their numbers; none if it knows none.

    Raises:
        ValueError: as `network_folder`.
    """
    return _classes(network_folder(name))


def _classes(folder: Path) -> tuple[str, ...]:
    path = folder / CLASSES
    return tuple(json.loads(path.read_text())) if path.is_file() else ()


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
    import diffusers
    from safetensors.torch import load_file

    options = {"torch_dtype": dtype, "use_safetensors": True, "low_cpu_mem_usage": False, "local_files_only": True}
    classes = _classes(folder)
    kind: Any = diffusers.UNet2DModel
    if classes:
        from image_exps.networks.class_unet import ClassUNet

        kind = ClassUNet
    net: UNet = kind.from_pretrained(folder / "unet", **options)
    if classes:
        net.with_classes(load_file(folder / EMBEDDING)["weight"].to(dtype))
    prediction = json.loads((folder / SCHEDULER).read_text())["prediction_type"]
    return Loaded(net.eval().requires_grad_(False), classes, prediction)


def pipeline_class(name: str) -> Any:
    """Return the pipeline for the folder of a network: the stock one, or one whose network takes classes.

    Raises:
        ValueError: as `network_folder`.
    """
    from diffusers import DDPMPipeline

    if not class_names(name):
        return DDPMPipeline
    from image_exps.networks.class_unet import ClassPipeline

    return ClassPipeline
