"""Processes that share a folder hold their shares of it, and are of one number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from image_exps.utils.processes import Process
from theory_checks.command_line.run_lock import LOCK
from toy.atomic import remove_leftovers

__all__ = ["only_processes"]

_LOCKED = re.compile(r"\.process-(\d+)-of-(\d+)\.lock")


@contextmanager
def only_processes(folder: Path, process: Process) -> Iterator[None]:
    """Hold a process's share of a folder, which exists: nobody else has the same, or shares it in another number.

    Unfinished files of processes that were killed are removed. The system frees what it holds when a process ends, in
    whatever way.

    Raises:
        ValueError: if another process of this rank, or one of another number of processes, writes there right now.
    """
    mine = folder / f".process-{process.rank}-of-{process.world}.lock"
    held = FileLock(mine)
    # Locks of processes are looked at, taken and removed by one process at a time.
    with FileLock(folder / LOCK):
        others = [(path, found) for path in sorted(folder.iterdir()) if (found := _LOCKED.fullmatch(path.name))]
        for path, found in others:
            if path == mine or int(found[2]) == process.world or not _is_held(path):
                continue
            raise ValueError(
                f"out must be a folder that processes of one number write, {folder} is written right now by process "
                f"{found[1]} of {found[2]}, and this is {process.rank} of {process.world}: wait, or give another one"
            )
        try:
            held.acquire(blocking=False)
        except Timeout:
            raise ValueError(
                f"out must be a folder that no other process {process.rank} of {process.world} writes, {folder} is "
                "written by one right now: wait for it, or give another one"
            ) from None
        remove_leftovers(folder)
    try:
        yield
    finally:
        with FileLock(folder / LOCK):
            mine.unlink(missing_ok=True)
            held.release()


def _is_held(path: Path) -> bool:
    """Return whether a process holds a lock; one that nobody holds is removed."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    with suppress(OSError):
        path.unlink()
    lock.release()
    return False
