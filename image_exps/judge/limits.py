"""A limit of time for code that may never end: what does not ask its network cannot be stopped from there."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from image_exps.judge.judged import CannotRunError

__all__ = ["time_limit"]


@contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Stop a block after so many seconds, in the main thread of a system that has alarms; elsewhere do nothing.

    Args:
        seconds: positive, of the clock on the wall.
        what: what is stopped, for the sentence.

    Raises:
        CannotRunError: when the time is over.
    """
    usable = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not usable:
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise CannotRunError(f"{what} took longer than {seconds:g} s, and was stopped: does it loop forever?")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
