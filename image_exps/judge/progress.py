"""A line on standard error with the question that is being asked, and the time that is left."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from image_exps.judge.run import SECONDS

__all__ = ["Line"]


class Line:
    """A listener of `image_exps.judge.run.judge`; silent where standard error is no terminal.

    Args:
        parts: the questions.
        profile: for the time that each takes.
    """

    def __init__(self, parts: Sequence[str], profile: str) -> None:
        self._weights = {part: SECONDS[profile][part] for part in parts}
        self._done: dict[str, float] = {}
        console = Console(stderr=True, quiet=not sys.stderr.isatty())
        columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=30))
        self._progress = Progress(*columns, console=console, transient=True)
        self._task = self._progress.add_task("", total=1.0)

    def __enter__(self) -> Line:
        self._began = time.monotonic()
        self._progress.start()
        return self

    def __call__(self, part: str, share: float) -> None:
        self._done[part] = share
        total = sum(self._weights.values())
        done = sum(self._weights.get(name, 0.0) * s for name, s in self._done.items()) / total
        spent = time.monotonic() - self._began
        # What the weights say, until there is something of one's own to go by.
        left = spent / done * (1 - done) if done > 0.05 else total * (1 - done)
        self._progress.update(self._task, completed=done, description=f"{part}, about {left:.0f} s left")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
