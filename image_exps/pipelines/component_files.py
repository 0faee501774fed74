"""What a component's folder may hold: plain safetensors files of its own, and no code.

A component is loaded by diffusers or transformers, which follow the names in its JSON files. So every name there that a
loader would open must be a plain name of a file in the folder, and every name of weights must end in ``.safetensors``:
loaders choose by the suffix whether they unpickle. Only names and JSON files are read here, and headers of weights.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from image_exps.pipelines.hub import PICKLES
from image_exps.utils.text_files import plain_name, read_json

__all__ = ["check_component", "check_links", "read_object"]

_SAFE = ".safetensors"
_INDEX = ".index"

# Keys of configurations by which a loader would run code that comes with the weights, or fetch it from the hub.
_CODE = frozenset({"auto_map", "custom_pipeline", "custom_pipelines"})
# The loaders name this file by themselves; published tokenizers hold paths of their authors' machines here.
_IGNORED = frozenset({"special_tokens_map_file"})


def check_component(folder: Path, root: Path) -> None:
    """Refuse the folder of a component that must not be loaded, before a weight is read.

    Args:
        folder: of the component.
        root: of the model, which no link may leave.

    Raises:
        ValueError: naming the file, if it brings code, names a file elsewhere, lacks a file that it names, or has
            weights that are not safetensors.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is {'a file' if folder.exists() else 'missing'}, not the folder of a component")
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise ValueError(f"{folder} cannot be read: {error.strerror or error}") from error
    check_links(folder, names, root)
    # A script at the top, as some publishers leave one, is named by nothing; here it could be found by a loader.
    code = [name for name in names if name.endswith(".py")]
    if code:
        raise ValueError(f"{folder} brings code ({', '.join(code[:3])}), which is never run: remove it to go on")
    if "adapter_config.json" in names:
        raise ValueError(
            f"{folder / 'adapter_config.json'} names weights in another place, which are not loaded: merge the adapter "
            "into the weights"
        )
    for name in names:
        if name.endswith("config.json"):
            _check_config(folder / name)
        elif name.endswith(".json") and _INDEX in name:
            _check_index(folder / name, names)
    if "config.json" in names:  # a tokenizer or a scheduler has none, and no weights
        _check_weights(folder, names)


def check_links(folder: Path, names: list[str], root: Path) -> None:
    """Refuse a folder, or one of these names in it, that is a link out of the model's folder.

    The cache of the hub is made of links: those of one commit lead to files in ``blobs`` beside it, and are followed.

    Raises:
        ValueError: naming the link.
    """
    inside = root.resolve()
    allowed = [inside]
    if inside.parent.name == "snapshots":
        allowed.append(inside.parent.parent / "blobs")
    for path in (folder, *(folder / name for name in names)):
        target = path.resolve()
        if not any(target.is_relative_to(place) for place in allowed):
            raise ValueError(f"{path} is a link out of the model's folder, to {target}: put the file itself there")


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file.

    Raises:
        ValueError: naming the file, if it cannot be read or holds something else.
    """
    found = read_json(path)
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found


def _check_config(path: Path) -> None:
    for key, value in _entries(read_object(path)):
        if value is None:
            continue
        if key in _CODE:
            raise ValueError(f"{path} asks for code of its own ({key}), which is never run")
        if key == "quantization_config":
            raise ValueError(f"{path} is of quantised weights, which are not loaded: take the model in floating point")
        if key == "transformers_weights" and not plain_name(value, _SAFE):
            raise ValueError(f"{path} names weights {value!r}: they must be a {_SAFE} file of its folder")
        if key.endswith("_implementation") and isinstance(value, str) and not value.isidentifier():
            raise ValueError(f"{path} asks for code of the hub ({key}: {value!r}), which is never run")
        if re.search("_files?$", key) and key not in _IGNORED:
            for name in value if isinstance(value, list) else [value]:
                if isinstance(name, str) and not plain_name(name.removeprefix("./")):
                    raise ValueError(f"{path} names a file {name!r} ({key}): it must be in its own folder")


def _entries(value: object) -> Iterator[tuple[str, object]]:
    """Yield the keys of nested objects, with their values."""
    waiting = [value]
    while waiting:
        held = waiting.pop()
        if isinstance(held, dict):
            yield from held.items()
            waiting += held.values()
        elif isinstance(held, list):
            waiting += held


def _check_index(path: Path, names: list[str]) -> None:
    """Check that every shard that an index names is a file of the folder and holds the tensors that it should."""
    shards = read_object(path).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ValueError(f"{path} must say in which file each tensor is (weight_map)")
    if _SAFE not in path.name:
        return  # of pickles, which are not read
    held: dict[str, set[str]] = {}
    for tensor, name in shards.items():
        if not plain_name(name, _SAFE):
            raise ValueError(f"{path} names weights {name!r}: they must be {_SAFE} files of its folder")
        if name not in names:
            raise ValueError(f"{path} names {name}, which is not there: fetch the model again")
        if name not in held:
            held[name] = _tensors(path.with_name(name))
        if tensor not in held[name]:
            raise ValueError(f"{path.with_name(name)} lacks the tensor {tensor}: fetch the model again")


def _check_weights(folder: Path, names: list[str]) -> None:
    weights = [name for name in names if name.endswith(_SAFE)]
    if weights:
        for name in weights:
            _tensors(folder / name)
        return
    pickles = [name for name in names if Path(name).suffix in PICKLES]
    if not pickles:
        raise ValueError(f"{folder} has no weights: they must be .safetensors")
    raise ValueError(
        f"{folder} has only {', '.join(pickles)}: pickles can run code and are refused, weights must be .safetensors. "
        f"Convert them: python -m image_exps convert {folder.parent}"
    )


def _tensors(path: Path) -> set[str]:
    """Return the names of the tensors of a file of weights, from its header, which also gives its length away."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return set(file.keys())
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{path} cannot be read as safetensors ({error}): fetch it again") from error
