"""Files that are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

__all__ = ["atomic", "naming", "remove_leftovers"]

# What the name of an unfinished file ends in.
_UNFINISHED = ".unfinished"


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces ``path`` only once everything is on disk.

    Unfinished files of the same name, which killed writers left, are removed. An `OSError` names ``path``.
    """
    with naming(path):
        for left in path.parent.glob(f".{_literal(path.name)}.*{_UNFINISHED}"):
            _remove_unless_held(left)
        partial = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{_UNFINISHED}")
        with naming(path, instead_of=partial), partial.open("xb") as held:
            _hold(held)
            try:
                yield partial
                with partial.open("rb") as written:
                    os.fsync(written.fileno())
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)


@contextmanager
def naming(path: Path, *, instead_of: Path | None = None) -> Iterator[None]:
    """Let an `OSError` of the body that names no file, or the other one, name ``path``: its reader knows that.

    One of a library, which has a text in place of a number, keeps its text behind the name.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # with a file name of its own it would read "[Errno None] None: path"
            if str(path) not in str(error):
                error.args = (f"{path}: {error}",)
        elif error.filename is None or error.filename == str(instead_of):
            error.filename, error.filename2 = str(path), None
        raise


def remove_leftovers(folder: Path) -> int:
    """Remove the unfinished files below a folder whose writers were killed; return how many.

    A writer holds a lock on its unfinished file while it lives. Where the system has no such locks, none is removed.
    """
    return sum(_remove_unless_held(left) for left in sorted(folder.rglob(f".*{_UNFINISHED}")))


def _remove_unless_held(path: Path) -> bool:
    with suppress(OSError), path.open("rb") as file:
        if _hold(file):
            path.unlink(missing_ok=True)
            return True
    return False


def _hold(file: IO[Any]) -> bool:
    """Lock an open file until it is closed; return whether it is ours.

    Not by the library ``filelock``, which keeps its lock in a file of its own: this lock is on the file that is
    written, so that a leftover is one file, and goes with its writer.
    """
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _literal(name: str) -> str:
    """Return a pattern of `Path.glob` that matches a name alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)
