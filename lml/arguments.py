"""Argument checks shared by the public functions: every message names the argument, the value and what is allowed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor


def check_mixing(mixing: float, name: str = "mixing") -> float:
    """Return ``mixing`` as a float if it lies in [0, 1)."""
    if isinstance(mixing, Tensor) or not isinstance(mixing, (int, float)):
        raise ValueError(f"{name} must be a Python number in [0, 1), got {type(mixing).__name__}")
    if not 0 <= mixing < 1:
        raise ValueError(f"{name} must lie in [0, 1), got {mixing}")
    return float(mixing)


def check_positive(value: float, name: str) -> float:
    """Return ``value`` as a float if it is finite and positive."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite positive number, got {value!r}")
    return float(value)


def check_floating(tensor: Tensor, name: str) -> None:
    """Refuse anything that is not a real floating-point tensor with a batch dimension."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must have a real floating-point dtype, got {tensor.dtype}")
    if tensor.ndim == 0:
        raise ValueError(f"{name} must have a batch dimension first, got a tensor of shape ()")


def check_like(tensor: Tensor, reference: Tensor, name: str, reference_name: str) -> None:
    """Refuse ``tensor`` unless its shape, dtype and device are those of ``reference``."""
    check_floating(tensor, name)
    for what in ("shape", "dtype", "device"):
        got, wanted = getattr(tensor, what), getattr(reference, what)
        if got != wanted:
            raise ValueError(f"{name} must have the {what} of {reference_name}, {_show(wanted)}, got {_show(got)}")


def check_damping(damping: float | Tensor, batch: Sequence[int], device: torch.device) -> None:
    """Refuse a damping that is not positive, or neither one number nor one per sample.

    The values of a tensor are read only where reading them is free, that is on the CPU and outside of a trace: on an
    accelerator it would make the host wait. There a damping that is not positive is clamped by the kernel's floor.
    """
    if not isinstance(damping, Tensor):
        check_positive(damping, "damping")
        return
    if damping.shape not in (torch.Size(()), torch.Size(batch)):
        raise ValueError(
            f"damping must be one number or one per sample, of shape {tuple(batch)}, got shape {tuple(damping.shape)}"
        )
    if not damping.is_floating_point():
        raise ValueError(f"damping must have a real floating-point dtype, got {damping.dtype}")
    if damping.ndim and damping.device != device:
        raise ValueError(f"damping must be on the device of noise, {device}, got {damping.device}")
    readable = damping.device.type == "cpu" and not torch.compiler.is_compiling()
    if readable and not bool((torch.isfinite(damping) & (damping > 0)).all()):
        raise ValueError(f"damping must be finite and positive, got {damping.tolist()}")


def _show(value: object) -> str:
    return str(tuple(value)) if isinstance(value, torch.Size) else str(value)
