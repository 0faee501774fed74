"""What is done, the pace and the time left: one line on a terminal, else a line every 15 seconds."""

from __future__ import annotations

import datetime
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TextColumn

__all__ = ["EVERY", "ProgressLine", "format_progress"]

#: Seconds between two lines where the output is no terminal.
EVERY = 15.0

# From this width on there is room for a bar beside the text, which is what must not be cut.
_WIDE = 110


def format_progress(
    label: str, done: int, total: int, seconds: float, unit: str = "", share: float = 0.0, width: int | None = None
) -> str:
    """Return the text of the line: what is done after so many seconds, the pace, and the time left at that pace.

    Where it is longer than ``width`` the label is shortened.

    Args:
        label: in front.
        done: how many, of ``total``.
        total: 0 if it is not known, or the parts are not counted: then the share is shown.
        seconds: since the beginning.
        unit: what is counted.
        share: of the work, where the parts are not alike; 0 takes ``done / total``.
        width: of the line, if it has one.
    """
    share = share or (done / total if total else 0.0)
    left = _time(seconds * (1 - share) / share) if share > 0 else "?"
    if not total:
        rest = f": {share:.0%}, {left} left" if share > 0 else f": {_time(seconds)} so far"
    else:
        rate = done / max(seconds, 1e-9)
        pace = f"{rate:.3g}/s" if rate >= 0.1 or not done else f"{60 * rate:.2g}/min"
        rest = f": {done} of {total} {unit}".rstrip() + f", {pace}, {left} left"
    if width is not None and len(label) + len(rest) > width:
        label = f"{label[: max(0, width - len(rest) - 3)]}..."
    return label + rest


def _time(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


class ProgressLine:
    """A progress line on standard error, called with what is done and the total.

    Args:
        label: in front of it.
        unit: what is counted.
        quiet: show nothing, as all but the first of several processes do.
        every: seconds between two lines where standard error is no terminal.
    """

    def __init__(self, label: str, unit: str = "", *, quiet: bool = False, every: float = EVERY) -> None:
        self.label = label
        self._unit, self._quiet, self._every = unit, quiet, every
        self._done, self._total, self._share = 0, 0, 0.0
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar: Progress | None = None
        self._width: int | None = None
        self._ended = threading.Event()
        self._began = time.monotonic()

    def __enter__(self) -> ProgressLine:
        self._began = time.monotonic()
        if self._quiet:
            return self
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
            self._width = self._console.width
            if self._width >= _WIDE:
                self._width = None
                columns.append(BarColumn(bar_width=None))
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._task = self._bar.add_task(self._text(), total=None)
            self._bar.start()
        else:
            self._thread = threading.Thread(target=self._print_now_and_then, daemon=True)
            self._thread.start()
        return self

    def __call__(self, done: int, total: int, share: float = 0.0) -> None:
        """Say what is done; ``share`` is of the work, where the parts are not alike."""
        self._done, self._total, self._share = done, total, share
        if self._bar is not None:
            completed = share or (done / total if total else 0.0)
            self._bar.update(self._task, description=self._text(), completed=completed, total=1.0)

    @contextmanager
    def part(self, label: str, unit: str = "") -> Iterator[None]:
        """Count a part of the work by itself, under its own label, from its beginning."""
        before = self.label, self._unit
        self.label, self._unit = label, unit
        self._began = time.monotonic()
        self(0, 0)
        try:
            yield
        finally:
            self.label, self._unit = before

    def say(self, text: str) -> None:
        """Print a line of its own above the progress."""
        if not self._quiet:
            self._console.print(text, markup=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.stop()

    def _text(self) -> str:
        seconds = time.monotonic() - self._began
        return format_progress(self.label, self._done, self._total, seconds, self._unit, self._share, self._width)

    def _print_now_and_then(self) -> None:
        while not self._ended.wait(self._every):
            print(self._text(), file=sys.stderr, flush=True)  # noqa: T201
