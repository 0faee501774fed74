"""What commands share: how a bad value is told (one message, no traceback), device, cache, a table as text."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = ["cache_option", "device_or_best", "echo_table", "plain_errors"]

F = TypeVar("F", bound=Callable[..., Any])

#: Where endpoints of the exact flow are kept, which take longest.
cache_option = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/cache/flow-ends"),
    show_default=True,
    help="Folder for endpoints of the exact flow, shared by sweep and tune.",
)


def plain_errors(function: F) -> F:
    """Turn a ``ValueError``, which names the argument and what is allowed, into a usage error: exit status 2.

    With ``LML_TRACEBACK=1`` in the environment it is left as it is, to see where it arose.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except ValueError as error:
            if os.environ.get("LML_TRACEBACK"):
                raise
            raise click.UsageError(str(error)) from error

    return wrapped  # type: ignore[return-value]


def device_or_best(device: str | None) -> str:
    """Return the device asked for, if it is there, or the best there is.

    Raises:
        ValueError: for a device that cannot be used here.
    """
    from image_exps.pipelines.devices import best_device, check_device

    if device is None:
        return best_device()
    check_device(device)
    return device


def echo_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equally many cells in columns, the head first."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
