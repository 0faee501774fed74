"""A line with what is done, pictures a second and the time that is left."""

from __future__ import annotations

import datetime
import sys
import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

from image_exps.utils.processes import Process

__all__ = ["Bar", "format_progress"]

# From this width on there is room for a bar beside the text, which is what must not be cut.
_WIDE = 110


def format_progress(label: str, done: int, total: int, seconds: float, width: int | None = None) -> str:
    """Return the text of the line: what is done after so many seconds, how fast, and the time left at that pace.

    Where it is longer than ``width`` the label is shortened.
    """
    rate = done / max(seconds, 1e-9)
    left = datetime.timedelta(seconds=round((total - done) / rate)) if done else "?"
    rest = f": {done} of {total} pictures, {rate:.3g}/s, {left} left"
    if width is not None and len(label) + len(rest) > width:
        label = f"{label[: max(0, width - len(rest) - 1)]}…"
    return label + rest


class Bar:
    """A progress line on standard error; of several processes, the first shows its own share.

    Args:
        label: in front of it.
        process: this one.
    """

    def __init__(self, label: str, process: Process) -> None:
        self._label = label if process.world == 1 else f"{label}, process 1 of {process.world}"
        console = Console(stderr=True, quiet=process.rank > 0 or not sys.stderr.isatty())
        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
        if console.width >= _WIDE:
            columns.append(BarColumn(bar_width=None))
        self._width = console.width if console.width < _WIDE else None
        self._bar = Progress(*columns, console=console, transient=True)
        self._task = self._bar.add_task(self._label, total=None)

    def __enter__(self) -> Bar:
        self._began = time.perf_counter()
        self._bar.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        text = format_progress(self._label, done, total, time.perf_counter() - self._began, self._width)
        self._bar.update(self._task, description=text, completed=done, total=total)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()
