"""One run at a time in a folder, and nothing left in it of runs that were killed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from toy.atomic import remove_leftovers

__all__ = ["LOCK", "only_run"]

#: The file in a folder on which its lock is; it stays there, empty.
LOCK = ".lock"


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a folder for this run alone, made where it is missing; unfinished files of killed runs are removed.

    The system frees the lock when the process ends, in whatever way.

    Raises:
        ValueError: if another run holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    held = FileLock(folder / LOCK)
    try:
        held.acquire(blocking=False)
    except Timeout:
        raise ValueError(
            f"out must be a folder that no other run writes, {folder} is written by one right now: wait for it, or "
            "give another one"
        ) from None
    try:
        remove_leftovers(folder)
        yield
    finally:
        held.release()
