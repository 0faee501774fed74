"""The folders of exported networks: where they are, whether they are whole, and what is in them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lml.arguments import check_choice

__all__ = [
    "CLASSES",
    "EMBEDDING",
    "NETWORKS",
    "SCHEDULER",
    "SUMS",
    "UNet",
    "check",
    "class_names",
    "classes_in",
    "network_folder",
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
    check_choice(name, "network", NETWORKS)
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
    """Return the classes that a network can be given, in the order of their numbers; none if it knows none.

    Raises:
        ValueError: as `network_folder`.
    """
    return classes_in(network_folder(name))


def classes_in(folder: Path) -> tuple[str, ...]:
    """Return the classes of an exported network, as `class_names`, without a look at its checksums."""
    path = folder / CLASSES
    return tuple(json.loads(path.read_text())) if path.is_file() else ()
