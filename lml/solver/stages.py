"""What a long computation has made so far, in files of tensors: taken up again after an interruption."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lml.solver.storage import write_atomically

__all__ = ["Stages"]

_LOG = logging.getLogger(__name__)


class Stages:
    """The stages of one computation, each made once.

    A file that is damaged is made again. One that cannot be written is a warning: the computation goes on.

    Args:
        place: beginning of the files' paths; ``None`` keeps nothing.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place

    def get(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return what a stage made, on the CPU, from its file if that is whole, else by making it."""
        file = None if self.place is None else self.place.with_name(f"{self.place.name}.{name}.safetensors")
        found = None if file is None else _read(file)
        if found is None:
            found = {key: value.cpu().contiguous() for key, value in make().items()}
            if file is not None:
                _write(file, found)
        return found

    def clear(self) -> None:
        """Delete the files, and what is left of writing them."""
        if self.place is not None:
            for pattern in (f"{self.place.name}.*.safetensors", f".{self.place.name}.*"):
                for file in self.place.parent.glob(pattern):
                    file.unlink(missing_ok=True)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    made = hashlib.sha256()
    for key in sorted(tensors):
        made.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        made.update(tensors[key].contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def _read(file: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a file; ``None`` if there is none, or it is damaged."""
    try:
        with safe_open(file, "pt") as f:
            found = {key: f.get_tensor(key) for key in list(f.keys())}
            whole = (f.metadata() or {}).get("digest") == _digest(found)
    except (OSError, SafetensorError):
        return None
    return found if whole else None


def _write(file: Path, tensors: dict[str, Tensor]) -> None:
    try:
        write_atomically(file, save(tensors, {"digest": _digest(tensors)}))
    except (OSError, SafetensorError) as error:
        _LOG.warning("%s cannot be written, and will be made again after an interruption: %s", file, error)
