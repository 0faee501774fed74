"""Families of claims: what a package publishes, and how the ledger finds it.

A family names its claims, the modules that hold the faults which must turn them red, and the modules that hold their
symbolic proofs. An installed package adds a family by one entry point of the group ``lml.claims``::

    [project.entry-points."lml.claims"]
    mine = "my_package.claims:FAMILY"
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

from theory_checks.command_line.plugin_import import check_import
from theory_checks.ledger.claim import Claim

__all__ = ["GROUP", "Family", "find_claims", "find_families", "modules_of", "select"]

#: The entry-point group in which packages publish their families of claims.
GROUP = "lml.claims"


@dataclass(frozen=True)
class Family:
    """Claims about one subject, with the modules of their faults and proofs.

    Modules are given by their full names and are imported when they are needed, so that claims can be listed at once.

    Attributes:
        name: of the subject, one word.
        claims: with ids that no other family uses.
        faults: modules that hold faults made by `theory_checks.ledger.faults.fault`, and may hold ``REDUCED``.
        proofs: modules that hold ``PROOFS``, a tuple of `theory_checks.ledger.proofs.Proof`.
        title: the subject in a few words, above its claims in the report; by default the name.
    """

    name: str
    claims: tuple[Claim, ...]
    faults: tuple[str, ...] = ()
    proofs: tuple[str, ...] = ()
    title: str = ""

    def __post_init__(self) -> None:
        for attribute, kind in (("claims", Claim), ("faults", str), ("proofs", str)):
            values = getattr(self, attribute)
            if isinstance(values, (str, Claim)) or not isinstance(values, Iterable):
                raise ValueError(f"{attribute} of the family {self.name!r} must be a tuple, got {values!r}")
            object.__setattr__(self, attribute, tuple(values))
            for value in getattr(self, attribute):
                if not isinstance(value, kind):
                    what = "claims" if kind is Claim else "names of modules"
                    raise ValueError(f"{attribute} of the family {self.name!r} must be {what}, got {value!r}")

    def claim(self, claim_id: str) -> Claim:
        """Return the claim with this id.

        Raises:
            ValueError: if the family has no such claim.
        """
        return select(list(self.claims), (claim_id,))[0]


def find_families() -> list[Family]:
    """Return the families of every installed package, in the order of their first claims.

    Raises:
        ValueError: if a plug-in cannot be loaded, exports anything but a family, or two claims share an id.
    """
    # A plug-in that is installed twice, say beside the metadata of its source folder, is one plug-in.
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    families = [_load(point) for _, point in sorted(points.items())]
    ids: set[str] = set()
    for (name, _), family in zip(sorted(points), families, strict=True):
        for claim in family.claims:
            if claim.id in ids:
                raise ValueError(f"claim {claim.id} is defined twice, the second time by the plug-in {name!r}")
            ids.add(claim.id)
    return sorted(families, key=lambda family: min((_order(c.id) for c in family.claims), default=_order("Z0")))


def find_claims() -> list[Claim]:
    """Return the claims of every installed package, in the order of the paper's sections and of their numbers.

    Raises:
        ValueError: if a plug-in is broken; see `find_families`.
    """
    return sorted((claim for family in find_families() for claim in family.claims), key=lambda claim: _order(claim.id))


def select(claims: list[Claim], ids: tuple[str, ...]) -> list[Claim]:
    """Return the claims with these ids, in upper or lower case, or all of them if none is given.

    Raises:
        ValueError: for an id that no claim has.
    """
    known = {claim.id.casefold() for claim in claims}
    for wanted in ids:
        if wanted.casefold() not in known:
            raise ValueError(f"claim must be one of {', '.join(c.id for c in claims)}, got {wanted!r}")
    chosen = {wanted.casefold() for wanted in ids}
    return [claim for claim in claims if not chosen or claim.id.casefold() in chosen]


def modules_of(family: Family, kind: str) -> list[ModuleType]:
    """Import the modules of a family's ``faults`` or ``proofs``.

    Raises:
        ValueError: if one cannot be imported.
    """
    found = []
    for name in getattr(family, kind):
        try:
            check_import(name)
            found.append(import_module(name))
        except (Exception, SystemExit) as error:
            raise ValueError(
                f"{kind} of the family {family.name!r}: {name} cannot be imported: {_reason(error)}"
            ) from error
    return found


def _load(point: EntryPoint) -> Family:
    where = f"the plug-in {point.name!r} ({point.value})"
    try:
        check_import(point.module)
        family = point.load()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{where} cannot be loaded: {_reason(error)}") from error
    if not isinstance(family, Family):
        raise ValueError(f"{where} must export a theory_checks.Family, got {type(family).__name__}")
    return family


def _reason(error: BaseException) -> str:
    """Return an error in one line: an exit at import has no message of its own."""
    if isinstance(error, SystemExit):
        return f"it ends the interpreter when it is imported (exit status {error.code!r})"
    return str(error) or type(error).__name__


def _order(claim_id: str) -> tuple[int, str, int, str]:
    family, number, suffix = re.fullmatch(r"([A-Za-z]+)([0-9]+)([a-z]?)", claim_id).groups()  # type: ignore[union-attr]
    sections = list("KHSCADLQT")
    return (sections.index(family) if family in sections else len(sections), family, int(number), suffix)
