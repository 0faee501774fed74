"""Progress inside a check: silent unless somebody listens, as the runner does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

__all__ = ["Listener", "listen", "track"]

T = TypeVar("T")
Listener = Callable[[str, float], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def track(items: Sequence[T], label: str) -> Iterator[T]:
    """Yield the items; before each call the listener, if there is one, with the label and the fraction that is done."""
    for i, item in enumerate(items):
        listener = _listener.get()
        if listener is not None:
            listener(label, i / len(items))
        yield item


@contextmanager
def listen(listener: Listener) -> Iterator[None]:
    """Hand the progress of every check in this context to ``listener(label, fraction)``."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
