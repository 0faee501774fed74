"""Weights from pickles to safetensors, once, for publishers that have nothing else.

After that the pickles, of which nothing is run, are not needed.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from image_exps.pipelines.pickled_weights import read_tensors
from toy.atomic import atomic

__all__ = ["convert_folder"]

# As diffusers and transformers name them, and what they name the same weights as safetensors; shards are numbered.
_NAMES = {"diffusion_pytorch_model": "diffusion_pytorch_model", "pytorch_model": "model"}
_FILE = re.compile(r"(diffusion_pytorch_model|pytorch_model)(-\d{5}-of-\d{5})?\.bin")


def convert_folder(folder: Path) -> list[Path]:
    """Write the weights of each component of a pipeline's folder as safetensors; return the files written.

    A component that has safetensors is left alone, and so are all pickles.

    Args:
        folder: in the layout of diffusers, or one component of it.

    Raises:
        ValueError: if there is nothing to convert, or a pickle holds something else than tensors.
    """
    if not folder.is_dir():
        raise ValueError(f"folder must be that of a model, {folder} is {'a file' if folder.exists() else 'not there'}")
    parts = [part for part in (folder, *sorted(folder.iterdir())) if part.is_dir()]
    found = []
    for part in parts:
        shards = [file for file in sorted(part.iterdir()) if _FILE.fullmatch(file.name)]
        if shards and not any(part.glob("*.safetensors")):
            found.append(_convert(part, shards))
    if not found:
        raise ValueError(
            f"{folder} has no weights to convert: diffusion_pytorch_model.bin or pytorch_model.bin, without "
            ".safetensors beside it"
        )
    return found


def _convert(part: Path, shards: list[Path]) -> Path:
    from safetensors.torch import save_file

    tensors: dict[str, Any] = {}
    for shard in shards:
        # Tensors that share memory are written apart: what is loaded is the same.
        held = read_tensors(shard, ", and is not converted")
        tensors |= {name: value.contiguous().clone() for name, value in held.items()}
    stem = _NAMES[_FILE.fullmatch(shards[0].name)[1]]  # type: ignore[index]
    path = part / f"{stem}.safetensors"
    with atomic(path) as partial:
        save_file(tensors, partial, metadata={"format": "pt"})
    return path
