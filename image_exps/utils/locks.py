"""A lock on an open file, by which processes that share it keep out of each other's way; the system frees it."""

from __future__ import annotations

from typing import IO, Any

__all__ = ["lock"]


def lock(file: IO[Any], *, wait: bool = True) -> bool:
    """Take the lock of a file until it is closed; return whether it is ours, or the system has no such locks.

    Args:
        file: open.
        wait: for another process that holds it; otherwise ``False`` is returned.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
