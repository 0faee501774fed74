"""Public names of a package that are imported when they are first asked for: to import the package costs nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["lazy"]


def lazy(package: str, public: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` of a package (PEP 562).

    The same names are imported below ``if TYPE_CHECKING``, for type checkers and editors.

    Args:
        package: its ``__name__``.
        public: the names that it offers, ``"name"`` or ``"name as other"``, by the module that defines them.
    """
    places = {}
    for module, names in public.items():
        for name, _, other in (each.partition(" as ") for each in names):
            places[other or name] = (module, name)

    def get(name: str) -> Any:
        if name not in places:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, defined_as = places[name]
        value = getattr(import_module(module), defined_as)
        setattr(sys.modules[package], name, value)
        return value

    def listed() -> list[str]:
        return sorted({*vars(sys.modules[package]), *places})

    return get, listed
