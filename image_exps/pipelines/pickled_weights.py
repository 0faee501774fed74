"""Weights of a pickle: tensors by name, and nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

__all__ = ["read_tensors"]


def read_tensors(path: Path, consequence: str = "") -> dict[str, Tensor]:
    """Return the tensors of a pickle by name, on the CPU: dense ones of numbers, as networks have them.

    It is read by torch's loader for weights alone, which builds tensors and containers of them and runs nothing else;
    what it does not know it refuses.

    Args:
        path: of the file.
        consequence: what follows where it holds none, for the message.

    Raises:
        ValueError: naming the file, for one that cannot be read, or holds something else.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be read{consequence}: {error.strerror or error}") from error
    except Exception as error:  # damaged bytes make the loader raise errors of any kind
        said = str(error).partition("\n")[0]
        raise ValueError(f"{path} holds something else than weights{consequence}: {said}") from error
    if not isinstance(held, dict):
        raise ValueError(f"{path} must hold a dictionary of tensors, got {type(held).__name__}{consequence}")
    for name, value in held.items():
        wrong = _wrong(name, value)
        if wrong:
            raise ValueError(f"{path} must hold dense tensors by name, {name!r} is {wrong}{consequence}")
    return held


def _wrong(name: object, value: object) -> str:
    """Return what an entry is instead of a dense tensor with a name; empty for one."""
    if not isinstance(name, str):
        return f"a name of type {type(name).__name__}"
    if not isinstance(value, Tensor):
        return f"of type {type(value).__name__}"
    if value.is_quantized:
        return "quantised"
    if value.layout is not torch.strided or value.is_nested:
        return f"sparse ({str(value.layout).removeprefix('torch.')})"
    return "without numbers (of the meta device)" if value.is_meta else ""
