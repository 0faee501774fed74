"""A line with what is done, pictures a second and the time that is left."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console

from image_exps.processes import Process
from theory_checks.terminal import bar

__all__ = ["Bar"]


class Bar:
    """A progress line on standard error; of several processes, the first shows its own share.

    Args:
        label: in front of it.
        process: this one.
    """

    def __init__(self, label: str, process: Process) -> None:
        self._label = label if process.world == 1 else f"{label}, process 1 of {process.world}"
        self._bar = bar(Console(stderr=True, quiet=process.rank > 0 or not sys.stderr.isatty()))
        self._task = self._bar.add_task(self._label, total=None)

    def __enter__(self) -> Bar:
        self._began = time.perf_counter()
        self._bar.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        rate = done / (time.perf_counter() - self._began)
        label = f"{self._label}: {done} of {total} pictures, {rate:.3g}/s"
        self._bar.update(self._task, description=label, completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
