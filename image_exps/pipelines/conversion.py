"""Weights from pickles to safetensors, once, for publishers that have nothing else.

After that the pickles, of which nothing is run, are not needed.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from image_exps.pipelines.component_files import read_object
from image_exps.pipelines.pickled_weights import read_tensors
from theory_checks.command_line.outputs import check_output_file
from toy.atomic import atomic

__all__ = ["convert_folder"]

# As diffusers and transformers name them, and what they name the same weights as safetensors; shards are numbered.
_NAMES = {"diffusion_pytorch_model": "diffusion_pytorch_model", "pytorch_model": "model"}
_FILE = re.compile(r"(diffusion_pytorch_model|pytorch_model)(?:-(\d{5})-of-(\d{5}))?\.bin")

_NOT_CONVERTED = ", and is not converted"


def convert_folder(folder: Path) -> list[Path]:
    """Write the weights of each component of a pipeline's folder as safetensors; return the files written.

    A component that has safetensors is left alone, and so are all pickles. The files appear together, once all of them
    are whole: if anything fails, none does.

    Args:
        folder: in the layout of diffusers, or one component of it.

    Raises:
        ValueError: naming the file, if there is nothing to convert, a shard is missing, a pickle holds something else
            than dense tensors, safetensors has no form for one, or there is no room on the disk.
    """
    if not folder.is_dir():
        raise ValueError(f"folder must be that of a model, {folder} is {'a file' if folder.exists() else 'not there'}")
    found: dict[Path, list[Path]] = {}
    pickles: list[Path] = []
    for part in (folder, *sorted(path for path in folder.iterdir() if path.is_dir())):
        files = sorted(part.iterdir())
        pickles += [file for file in files if file.suffix == ".bin"]
        shards = [file for file in files if _FILE.fullmatch(file.name)]
        if shards and not any(file.suffix == ".safetensors" for file in files):
            _check_complete(part, shards)
            found[part] = shards
    if not found:
        there = f"; it has {', '.join(str(file.relative_to(folder)) for file in pickles[:3])}" if pickles else ""
        raise ValueError(
            f"{folder} has no weights to convert: diffusion_pytorch_model.bin or pytorch_model.bin, without "
            f".safetensors beside it{there}"
        )
    written = {part: part / f"{_NAMES[_parts(shards[0])[0]]}.safetensors" for part, shards in found.items()}
    for path in written.values():
        check_output_file(path, "folder")
    with ExitStack() as together:
        for part, path in written.items():
            _write(_tensors(part, found[part]), path, together.enter_context(atomic(path)))
    return list(written.values())


def _parts(file: Path) -> tuple[str, str | None, str | None]:
    """Return stem, number and count of a file of weights; a file that is no shard has no numbers."""
    match = _FILE.fullmatch(file.name)
    assert match is not None
    return match[1], match[2], match[3]


def _check_complete(part: Path, shards: list[Path]) -> None:
    """Refuse files that are not the whole of one set of weights."""
    stems, numbers, counts = (set(each) for each in zip(*map(_parts, shards), strict=True))
    if len(stems) > 1 or len(counts) > 1:
        names = ", ".join(file.name for file in shards)
        raise ValueError(f"{part} must hold one set of weights, it has {names}: take away what is not the model's")
    stem, count = stems.pop(), counts.pop()
    if count is not None:
        for number in range(1, int(count) + 1):
            if f"{number:05d}" not in numbers:
                raise ValueError(f"{part / f'{stem}-{number:05d}-of-{count}.bin'} is missing: fetch the model again")
    for name in sorted(set(_index(part, stem).values()) - {file.name for file in shards}):
        raise ValueError(f"{part / name} is missing, its index names it: fetch the model again")


def _index(part: Path, stem: str) -> dict[str, str]:
    """Return in which file each tensor should be; nothing for weights without an index."""
    path = part / f"{stem}.bin.index.json"
    if not path.exists():
        return {}
    found = read_object(path).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise ValueError(f"{path} must say in which file each tensor is (weight_map)")
    return found


def _tensors(part: Path, shards: list[Path]) -> dict[str, Any]:
    """Return the tensors of all shards, each by itself: what shared memory is loaded as before."""
    tensors: dict[str, Any] = {}
    for shard in shards:
        held = read_tensors(shard, _NOT_CONVERTED)
        twice = sorted(tensors.keys() & held.keys())
        if twice:
            raise ValueError(f"{shard} holds {twice[0]!r}, which another shard holds too{_NOT_CONVERTED}")
        for name, file in _index(part, _parts(shard)[0]).items():
            if file == shard.name and name not in held:
                raise ValueError(f"{shard} lacks the tensor {name!r}, its index has it there{_NOT_CONVERTED}")
        tensors |= held
    if not tensors:
        raise ValueError(f"{shards[0]} holds no tensor{_NOT_CONVERTED}")
    return tensors


def _write(tensors: Mapping[str, Any], path: Path, partial: Path) -> None:
    """Write tensors to a file in place of ``path``, and read its header back."""
    import torch
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file

    for name, value in tensors.items():
        if not _has_form(value.dtype):
            dtype = str(value.dtype).removeprefix("torch.")
            raise ValueError(f"{path} cannot be written: safetensors has no form for {name!r}, which is of {dtype}")
    size, free = sum(value.numel() * value.element_size() for value in tensors.values()), shutil.disk_usage(path.parent)
    if size > free.free:
        raise ValueError(
            f"{path} cannot be written: it takes {size / 1e9:.3g} GB, and {free.free / 1e9:.3g} GB of the disk are free"
        )
    try:
        apart = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
        save_file(apart, partial, metadata={"format": "pt"})
        with safe_open(partial, framework="pt"):  # its header and length are read back
            pass
    except (OSError, SafetensorError, UnicodeEncodeError) as error:
        raise ValueError(f"{path} cannot be written: {error}") from error


def _has_form(dtype: Any) -> bool:
    """Return whether safetensors has a form for numbers of this dtype."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load, save

    try:
        return bool(load(save({"x": torch.empty(0, dtype=dtype)}))["x"].dtype == dtype)
    except (KeyError, SafetensorError, RuntimeError):
        return False
