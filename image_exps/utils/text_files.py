"""Text and JSON files of users: read whole, or refused in one sentence that names the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["plain_name", "read_json", "read_text"]


def plain_name(name: object, suffix: str = "") -> bool:
    """Return whether a value is the name of a file within its folder: no path, no control character, nothing hidden.

    Args:
        name: from a file, so of any type.
        suffix: in which the name must end.
    """
    if not isinstance(name, str) or not name.isprintable() or not name.endswith(suffix):
        return False
    return bool(name.removesuffix(suffix)) and not name.startswith(".") and not set(name) & set("/\\:")


def read_text(path: Path) -> str:
    """Return a text file in UTF-8, without the byte-order mark that some editors put first.

    Raises:
        ValueError: naming the file, if it cannot be read or is no such text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:  # not UTF-8, or a path that no file can have
        raise ValueError(f"{path} cannot be read as UTF-8 text: {error}") from error


def read_json(path: Path) -> Any:
    """Return what a JSON file in UTF-8 holds.

    Raises:
        ValueError: naming the file, if it cannot be read, is no JSON, or is nested too deeply to be parsed.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{path} cannot be read as JSON: it is nested too deeply") from error
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from error
