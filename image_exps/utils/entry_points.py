"""What other installed packages add to a registry of names, through a group of entry points."""

from __future__ import annotations

from collections.abc import Callable, Container
from importlib.metadata import entry_points
from typing import Any

__all__ = ["load_group"]


def load_group(group: str, *, taken: Container[str]) -> dict[str, Callable[..., Any]]:
    """Return the functions of a group of entry points by name.

    Args:
        group: for example ``lml.corrections``.
        taken: names that are in use.

    Raises:
        ValueError: if one cannot be loaded, is no function, or has a name that is taken.
    """
    found: dict[str, Callable[..., Any]] = {}
    # A plug-in that is installed twice, say beside the metadata of its source folder, is one plug-in.
    points = {(point.name, point.value): point for point in entry_points(group=group)}
    for (name, value), point in sorted(points.items()):
        if name in taken or name in found:
            raise ValueError(f"{name!r} of {group} is defined twice, the second time by {value}")
        try:
            function = point.load()
        except Exception as error:
            raise ValueError(f"the plug-in {name!r} of {group} ({value}) cannot be loaded: {error}") from error
        if not callable(function):
            raise ValueError(f"the plug-in {name!r} of {group} must be a function, got {type(function).__name__}")
        found[name] = function
    return found
