"""What a question found, on disk: a file a question, whole or not there, and taken again only where nothing changed."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from image_exps.judge.judged import Judged
from theory_checks.ledger.code_version import code_version
from toy.atomic import atomic

__all__ = ["fingerprint", "load", "save", "versions"]

_LIBRARIES = ("torch", "numpy", "scipy", "diffusers", "k-diffusion", "torchsde")


def versions() -> dict[str, str]:
    """Return the versions that a verdict depends on, of what is installed."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint(judged: Judged, others: list[Judged], settings: dict[str, Any]) -> str:
    """Return a digest of all that an answer depends on: what is judged, settings, versions, our code and theirs."""
    parts = [json.dumps(settings, sort_keys=True, default=str), json.dumps(versions(), sort_keys=True)]
    for each in (judged, *others):
        config = getattr(each.origin, "config", None)
        parts += [each.name, each.kind, repr(sorted((str(k), repr(v)) for k, v in dict(config or {}).items()))]
        parts += [_digest(file) for file in _source(each.origin)]
    parts.append(code_version("image_exps.judge.run"))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _source(thing: object) -> list[Path]:
    """Return the file that a class or a function stands in, if it stands in one."""
    try:
        file = inspect.getsourcefile(thing if inspect.isroutine(thing) or isinstance(thing, type) else type(thing))
    except TypeError:
        return []
    return [Path(file)] if file and Path(file).is_file() else []


def save(folder: Path, name: str, print_of: str, seconds: float, content: dict[str, Any]) -> None:
    """Write what a question found."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    whole = {
        "fingerprint": print_of,
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "seconds": seconds,
        "content": content,
    }
    with atomic(folder / f"{name}.json") as path:
        path.write_text(json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")


def load(folder: Path, name: str, print_of: str) -> tuple[float, dict[str, Any]] | None:
    """Return the seconds and what a question found, ``None`` if the present code would not find just that.

    A file that is damaged, or changed by hand, counts as none.
    """
    try:
        whole = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        content: dict[str, Any] = whole["content"]
        text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
        same = hashlib.sha256(text.encode()).hexdigest() == whole["digest"]
        return (float(whole["seconds"]), content) if same and whole["fingerprint"] == print_of else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
