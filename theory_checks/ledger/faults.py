"""Injected faults: wrong formulas that a developer could write, each of which must turn a check red.

A check that no fault can turn red is no check. The modules that a `theory_checks.ledger.family.Family` names as its
faults hold functions made with `fault`, and may hold ``REDUCED``: a check by claim id, on fewer targets, that is quick
and still sees every fault.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from theory_checks.ledger.claim import Finding, Settings
from theory_checks.ledger.family import find_families, modules_of

__all__ = ["Check", "Fault", "Replacement", "fault", "find_faults", "find_reduced", "injected"]

Replacement = Callable[[Any], Any]
Check = Callable[[Settings], Finding]


@dataclass(frozen=True)
class Fault:
    """One wrong formula.

    Attributes:
        name: of the fault, as a Python name.
        description: what a developer did wrong.
        target: ``"module:qualified.attribute"``, where the attribute is looked up when it is used: a name that another
            module imported is patched in that module.
        replacement: given the right attribute, returns the wrong one.
        kills: ids of the claims whose checks must notice.
    """

    name: str
    description: str
    target: str
    replacement: Replacement
    kills: tuple[str, ...]

    def __post_init__(self) -> None:
        module, colon, attribute = self.target.partition(":")
        if not (module and colon and attribute):
            raise ValueError(f"target must be 'module:attribute', got {self.target!r}")
        if not self.kills:
            raise ValueError(f"kills must name at least one claim, the fault {self.name} names none")


def fault(target: str, *kills: str) -> Callable[[Replacement], Fault]:
    """Make a fault of a function from the right attribute to the wrong one: its name and docstring describe it."""
    return lambda replacement: Fault(
        replacement.__name__, inspect.getdoc(replacement) or "", target, replacement, kills
    )


@contextmanager
def injected(faulty: Fault) -> Iterator[None]:
    """Put the fault in place inside a block, and the right formula back behind it.

    Raises:
        ValueError: if the target does not exist where the fault says, so that a renamed function does not go unnoticed.
    """
    module, _, path = faulty.target.partition(":")
    *outer, name = path.split(".")
    owner: Any = import_module(module)
    for step in outer:
        owner = getattr(owner, step)
    if name not in vars(owner):
        raise ValueError(f"target of the fault {faulty.name} must exist: {module} defines no {path}")
    original = vars(owner)[name]
    setattr(owner, name, faulty.replacement(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def find_faults() -> list[Fault]:
    """Return the faults of every family, in the order of the families and of their definition.

    Raises:
        ValueError: if a plug-in is broken, or a module of faults cannot be imported.
    """
    return [value for module in _modules() for value in vars(module).values() if isinstance(value, Fault)]


def find_reduced() -> dict[str, Check]:
    """Return the reduced checks of every family by claim id.

    Raises:
        ValueError: as `find_faults`.
    """
    checks: dict[str, Check] = {}
    for module in _modules():
        checks.update(getattr(module, "REDUCED", {}))
    return checks


def _modules() -> list[ModuleType]:
    return [module for family in find_families() for module in modules_of(family, "faults")]
