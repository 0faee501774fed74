"""Where networks run: a device that torch knows by name, and that is there."""

from __future__ import annotations

import torch

from toy.outside import found

__all__ = ["best_device", "check_device"]


def best_device() -> str:
    """Return the CUDA GPU if there is one, else the CPU."""
    return found("gpu") or "cpu"


def check_device(device: str) -> None:
    """Refuse a device that cannot be used here.

    Raises:
        ValueError: for a name that is none, or a device that is not there.
    """
    try:
        known = torch.device(device)
    except RuntimeError:
        known = None
    if known is None or known.type not in ("cpu", "cuda", "mps"):
        raise ValueError(f"device must be cpu, cuda, cuda:N or mps, got {device!r}")
    instead = "; use --device cpu"
    if known.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r}: torch {torch.__version__} finds no GPU of Apple here{instead}")
    if known.type == "cuda" and found("gpu") is None:
        raise ValueError(f"device {device!r}: torch {torch.__version__} finds no CUDA GPU here{instead}")
    if known.type == "cuda" and (known.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {device!r}: there are {torch.cuda.device_count()} CUDA GPUs here, counted from 0")
