"""Files that are there whole or not at all, whatever interrupts the writing."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["atomic"]


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a path to write to, which replaces ``path`` only once everything is on disk."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")  # of this writer alone
    try:
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
