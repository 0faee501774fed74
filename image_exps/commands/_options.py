"""What commands share: plain errors, the limits of numbers, device, cache, a table as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from theory_checks.command_line.plain_errors import plain_errors

__all__ = ["MOST", "at_least", "cache_option", "device_or_best", "echo_table", "plain_errors", "shortened"]

#: Of what a command may be asked: more is a mistake, and would fill the memory or never end.
MOST = {
    "batch": 10_000,  # pictures at a time
    "count": 10_000_000,  # pictures of a folder
    "evaluations": 10_000,  # of a network, a sample
    "repetitions": 1_000_000,  # of what is timed
    "samples": 1_000_000,  # of a cell of a sweep, all in memory at once
    "seeds": 10_000,  # how many
    "side": 16_384,  # of a picture, in pixels
    "threads": 1024,
    "workers": 1024,
}


def at_least(least: int, most: str) -> click.IntRange:
    """Return the type of an option: a whole number from ``least`` on, up to that limit of `MOST`."""
    return click.IntRange(least, MOST[most])


#: Where endpoints of the exact flow are kept, which take longest.
cache_option = click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/cache/flow-ends"),
    show_default=True,
    help="Folder for endpoints of the exact flow, shared by sweep and tune.",
)


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


def shortened(items: Sequence[object], most: int = 10) -> str:
    """Return the first of some items, with commas; what is left out is shown by dots."""
    return ", ".join(map(str, items[:most])) + (" ..." if len(items) > most else "")
