"""Outputs that are checked before any work: a folder or file that cannot be written is refused at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

__all__ = ["check_output_file", "check_output_folder"]

# Less than this, and nothing of ours fits on a disk.
_LEAST_FREE = 1 << 16


def check_output_folder(folder: Path, option: str = "out") -> None:
    """Refuse a folder that cannot be made or written; nothing is made.

    Args:
        folder: it need not exist.
        option: by which it was given, for the message.

    Raises:
        ValueError: naming the folder, and what is in its way.
    """
    there = _nearest(folder, option)
    if not there.is_dir():
        what = "is a file" if there == folder else f"lies below the file {there}"
        raise ValueError(f"{option} must be a folder that can be made, {folder} {what}: give another one")
    if not os.access(there, os.W_OK | os.X_OK):
        raise ValueError(
            f"{option} must be a folder that you may write, for {folder} you have no permission in {there}: "
            "change that, or give another one"
        )
    if shutil.disk_usage(there).free < _LEAST_FREE:
        raise ValueError(
            f"{option} must be a folder with space, no space is left on the disk of {folder}: free some, or give "
            "another one"
        )


def check_output_file(file: Path, option: str = "out") -> None:
    """Refuse a file that cannot be made or replaced; nothing is made. Arguments and errors as `check_output_folder`."""
    if file.is_dir():
        raise ValueError(f"{option} must be a file, {file} is a folder: give another name")
    check_output_folder(file.parent, option)


def _nearest(path: Path, option: str) -> Path:
    """Return the path, or what is nearest above it and exists."""
    for candidate in (path, *path.parents):
        try:
            if candidate.exists():
                return candidate
        except OSError as error:  # a name that is too long, a folder that may not be looked into
            raise ValueError(f"{option} must be a path that can be used, {path} is not: {error.strerror}") from error
    return Path.cwd()
