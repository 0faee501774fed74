"""What a long computation has made so far, in files of tensors: taken up again after an interruption."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["Stages"]


class Stages:
    """The stages of one computation, each made once.

    Args:
        place: beginning of the files' paths; ``None`` keeps nothing.
    """

    def __init__(self, place: Path | None) -> None:
        self.place = place

    def get(self, name: str, make: Callable[[], Mapping[str, Tensor]]) -> dict[str, Tensor]:
        """Return what a stage made, from its file if that is whole, else by making it."""
        if self.place is None:
            return dict(make())
        file = self._file(name)
        found = _read(file)
        if found is None:
            found = {key: value.contiguous() for key, value in make().items()}
            _write(file, found)
        return found

    def clear(self) -> None:
        """Delete the files."""
        if self.place is not None:
            for file in self.place.parent.glob(f"{self.place.name}.*.safetensors"):
                file.unlink(missing_ok=True)

    def _file(self, name: str) -> Path:
        assert self.place is not None
        return self.place.with_name(f"{self.place.name}.{name}.safetensors")


def _digest(tensors: Mapping[str, Tensor]) -> str:
    made = hashlib.sha256()
    for key in sorted(tensors):
        made.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        made.update(tensors[key].cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return made.hexdigest()


def _read(file: Path) -> dict[str, Tensor] | None:
    """Return the tensors of a file; ``None`` if there is none, or it is damaged."""
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as f:
            found = {key: f.get_tensor(key) for key in f.keys()}  # noqa: SIM118: no mapping
            whole = (f.metadata() or {}).get("digest") == _digest(found)
    except (OSError, SafetensorError):
        return None
    return found if whole else None


def _write(file: Path, tensors: dict[str, Tensor]) -> None:
    handle, part = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    os.close(handle)
    try:
        save_file(tensors, part, {"digest": _digest(tensors)})
        os.replace(part, file)
    except BaseException:
        os.unlink(part)
        raise
