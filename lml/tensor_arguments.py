"""Check tensors: noises, and a damping for each sample of a batch; a ValueError says what is wrong with which."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lml.arguments import check_positive

__all__ = ["DTYPES", "check_damping", "check_floating", "check_like"]

#: The dtypes in which PyTorch has the arithmetic that is needed here.
DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def check_floating(tensor: Tensor, name: str) -> None:
    """Refuse anything that is not a dense real floating-point tensor with a batch dimension.

    Raises:
        ValueError: naming the argument, its type, dtype, layout or shape, and what is allowed.
    """
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    _check_storage(tensor, name)
    if tensor.ndim == 0:
        raise ValueError(f"{name} must have a batch dimension first, got a tensor of shape ()")


def check_like(tensor: Tensor, reference: Tensor, name: str, reference_name: str) -> None:
    """Refuse ``tensor`` unless its shape, dtype and device are those of ``reference``.

    Raises:
        ValueError: naming both, what differs, and the two values.
    """
    check_floating(tensor, name)
    for what in ("shape", "dtype", "device"):
        got, wanted = getattr(tensor, what), getattr(reference, what)
        if got != wanted:
            raise ValueError(f"{name} must have the {what} of {reference_name}, {_show(wanted)}, got {_show(got)}")


def check_damping(damping: float | Tensor, batch: Sequence[int], device: torch.device) -> float | Tensor:
    """Return a damping that is positive, one number (as a float) or one per sample.

    The values of a tensor are read only where reading them is free, that is on the CPU and outside of a trace or a
    `torch.func.vmap`: on an accelerator it would make the host wait. There a damping that is not positive is clamped by
    the kernel's bound.

    Raises:
        ValueError: naming what is wrong; of values that are not positive, how many there are and the first.
    """
    if not isinstance(damping, Tensor):
        return check_positive(damping, "damping")
    if damping.shape not in (torch.Size(()), torch.Size(batch)):
        raise ValueError(
            f"damping must be one number or one per sample, of shape {tuple(batch)}, got shape {tuple(damping.shape)}"
        )
    _check_storage(damping, "damping")
    if damping.ndim and damping.device != device:
        raise ValueError(f"damping must be on the device of noise, {device}, got {damping.device}")
    if damping.device.type == "cpu" and not torch.compiler.is_compiling():
        bad = ~(torch.isfinite(damping) & (damping > 0))
        try:
            wrong = bool(bad.any())
        except RuntimeError:  # what has no values yet: in a trace, under vmap
            return damping
        if wrong:
            raise ValueError(f"damping must be finite and positive, got {_first(damping, bad)}")
    return damping


def _check_storage(tensor: Tensor, name: str) -> None:
    if tensor.dtype not in DTYPES:
        raise ValueError(f"{name} must have a real floating-point dtype of 16 to 64 bits, got {tensor.dtype}")
    if tensor.layout is not torch.strided:
        raise ValueError(f"{name} must be dense, got a tensor of layout {tensor.layout}")


def _first(damping: Tensor, bad: Tensor) -> str:
    if not damping.ndim:
        return f"{damping.item()}"
    places = bad.nonzero().flatten()
    others = f", and {len(places) - 1} more that are not" if len(places) > 1 else ""
    return f"{damping[places[0]].item()} for sample {int(places[0])} of {len(damping)}{others}"


def _show(value: object) -> str:
    return str(tuple(value)) if isinstance(value, torch.Size) else str(value)
