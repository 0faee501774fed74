"""A line with what is done, pictures a second and the time that is left."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from tqdm import tqdm

from image_exps.processes import Process

__all__ = ["Bar"]


class Bar:
    """A progress line on standard error; of several processes, the first shows its own share.

    Args:
        label: in front of it.
        process: this one.
    """

    def __init__(self, label: str, process: Process) -> None:
        self._label = label if process.world == 1 else f"{label}, process 1 of {process.world}"
        self._hidden = process.rank > 0 or not sys.stderr.isatty()
        self._bar: Any = None

    def __enter__(self) -> Bar:
        return self

    def __call__(self, done: int, total: int) -> None:
        if self._bar is None:
            self._bar = tqdm(total=total, desc=self._label, unit="picture", disable=self._hidden, smoothing=0.05)
        self._bar.update(done - self._bar.n)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
