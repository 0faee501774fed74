"""What installed packages add by entry points: found by name without an import, and loaded one by one."""

from __future__ import annotations

from collections.abc import Callable, Container
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from theory_checks.command_line.plugin_import import check_import

__all__ = ["load_functions", "load_plugin", "plugins"]


def plugins(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, in the order of their names; none of them is imported.

    Raises:
        ValueError: if two of one name are not the same.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        # A package that is installed twice, say beside the metadata of its source folder, is one package.
        first = found.setdefault(point.name, point)
        if first.value != point.value:
            raise ValueError(f"{group}: {point.name!r} is defined twice, by {first.value} and {point.value}")
    return found


def load_plugin(point: EntryPoint) -> Any:
    """Return what an entry point names.

    Raises:
        ValueError: naming it, if it cannot be loaded.
    """
    try:
        check_import(point.module)
        return point.load()
    except (Exception, SystemExit) as error:  # code of another package may raise anything
        reason = str(error) if isinstance(error, Exception) else f"it exits when it is imported, {error.code!r}"
        raise ValueError(f"{point.group}: {point.name!r} ({point.value}) cannot be loaded: {reason}") from error


def load_functions(group: str, *, taken: Container[str]) -> dict[str, Callable[..., Any]]:
    """Return the functions that a group of entry points adds to a registry, by name.

    Args:
        group: for example ``lml.corrections``.
        taken: names that the registry has.

    Raises:
        ValueError: if one cannot be loaded, is no function, or has a name that is taken.
    """
    found = {}
    for name, point in plugins(group).items():
        if name in taken:
            raise ValueError(f"{group}: {name!r} is defined twice, the second time by {point.value}")
        function = load_plugin(point)
        if not callable(function):
            raise ValueError(f"{group}: {name!r} ({point.value}) must be a function, got {type(function).__name__}")
        found[name] = function
    return found
