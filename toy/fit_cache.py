"""Tensors on disk that are dear to compute: written whole or not at all, read only if every byte is the one written.

A file is found by the checksum of what it was made from: data, parameters, code. Processes may make the same thing at
once; each writes a file of its own, and the last one to finish gives its name. What is damaged is made again, and said.
The folder of fits is ``LML_CACHE``, else ``XDG_CACHE_HOME/lml-toolkit``, else ``~/.cache/lml-toolkit``; anything in it
may be deleted at any time. With ``LML_OUTSIDE=none`` there is one only if ``LML_CACHE`` names it.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from toy.atomic import atomic
from toy.outside import found

__all__ = ["cache_folder", "cached", "cached_in", "checksum"]

_LOG = logging.getLogger(__name__)


def cache_folder() -> Path | None:
    """Return the folder of the cache, which need not exist; ``None`` where there is no place for one."""
    if chosen := os.environ.get("LML_CACHE"):
        return Path(chosen)
    home = found("cache")
    return None if home is None else Path(home) / "lml-toolkit"


def checksum(*parts: object) -> str:
    """Return the SHA-256 of tensors, by dtype, shape and bytes, and of anything else by its ``repr``."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(part.detach().cpu().contiguous().numpy().tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def cached(name: str, key: str, fit: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return ``fit()``, from the folder of the cache if it is there and whole.

    Args:
        name: what the file's name begins with; characters that a name of a file cannot have become underscores.
        key: checksum of all that the fit depends on.
        fit: makes named tensors.

    Raises:
        ValueError: if safetensors is not installed.
    """
    folder = cache_folder()
    start = re.sub(r"[^\w.() -]", "_", name)[:80]
    return fit() if folder is None else cached_in(folder / f"{start}-{key[:16]}.safetensors", key, fit)


def cached_in(file: Path, key: str, make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """Return ``make()``, from a file if it is there, is of this key and has the checksum that was written.

    Args:
        file: where it is kept; folders above it are made. Where it cannot be written it is not kept, and that is said.
        key: checksum of all that it depends on.
        make: makes named tensors.

    Raises:
        ValueError: if safetensors is not installed.
    """
    try:
        import safetensors
    except ImportError as error:
        raise ValueError("the cache needs safetensors: pip install 'lml-toolkit[images]'") from error
    del safetensors
    kept = _read(file, key)
    if kept is not None:
        return kept
    if file.exists():
        _LOG.warning("%s is damaged, or of something else: it is computed again", file)
    made = make()
    try:
        _write(file, key, made)
    except OSError as error:
        _LOG.warning("%s could not be written (%s): the next run computes it again", file, error.strerror or error)
    return made


def _seal(key: str, tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Return the metadata: one entry, since their order in the file is not fixed, and the same fit is the same file."""
    return {"fit": f"{key} {checksum(*(part for item in sorted(tensors.items()) for part in item))}"}


def _read(file: Path, key: str) -> dict[str, Tensor] | None:
    """Return what a file holds, or None unless it is there, is of this key, and has the checksum that was written."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError):
        return None
    return tensors if metadata == _seal(key, tensors) else None


def _write(file: Path, key: str, tensors: Mapping[str, Tensor]) -> None:
    from safetensors.torch import save

    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic(file) as partial:
        partial.write_bytes(save(dict(tensors), _seal(key, tensors)))
