"""Weights of a pickle: tensors by name, and nothing of it is run."""

from __future__ import annotations

import pickle
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["read_tensors"]


def read_tensors(path: Path, consequence: str = "") -> dict[str, Tensor]:
    """Return the tensors of a pickle by name, on the CPU.

    It is read by torch's loader for weights alone, which builds tensors and containers of them and runs nothing else;
    what it does not know it refuses.

    Args:
        path: of the file.
        consequence: what follows where it holds none, for the message.

    Raises:
        ValueError: for a file that cannot be read, or holds something else.
    """
    try:
        held = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(f"{path} cannot be read{consequence}: {error}") from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise ValueError(f"{path} holds something else than weights{consequence}: {said}") from error
    if not isinstance(held, dict) or not all(isinstance(value, Tensor) for value in held.values()):
        raise ValueError(f"{path} must hold a dictionary of tensors, got {type(held).__name__}{consequence}")
    return held
