"""Where the networks of a block of code are placed; what is computed around them stays on the CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

__all__ = ["network_device", "on_device"]

_device: ContextVar[str] = ContextVar("device", default="cpu")


def network_device() -> torch.device:
    """Return the device on which networks are placed now, the CPU if nothing else was said."""
    return torch.device(_device.get())


@contextmanager
def on_device(device: str) -> Iterator[None]:
    """Place networks on a device inside a block, with products in full float32: TF32 would round to ten bits."""
    token, precise = _device.set(device), torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        _device.reset(token)
        torch.backends.cudnn.allow_tf32 = precise
