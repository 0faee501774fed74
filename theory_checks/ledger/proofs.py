"""Symbolic proofs: identities whose two sides differ by exactly zero, in every case that their symbols stand for.

A measurement finds an identity true at the points that were tried; here computer algebra reduces the difference of both
sides to zero. The modules that a `theory_checks.ledger.family.Family` names as its proofs hold ``PROOFS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import TypeAlias, TypeVar, cast

import sympy

from theory_checks.ledger.claim import Finding, Measured, Verdict
from theory_checks.ledger.family import find_families, modules_of

__all__ = ["FIGURE", "METHOD", "Check", "Proof", "Residual", "figure", "find_proofs", "proofs_of", "with_proofs"]

#: The figure of a finding that counts the proofs that fail, and the method's name beside it.
FIGURE = "symbolic identities that do not vanish"
METHOD = "computer algebra: the identities printed below, for every value of their symbols"

Residual: TypeAlias = sympy.Expr | sympy.MatrixBase
Check = TypeVar("Check", bound=Callable[..., Finding])


@dataclass(frozen=True)
class Proof:
    """One identity with its proof.

    Attributes:
        name: what is proven, in a few words, with the dimensions that the proof covers.
        claims: ids of the claims that rest on it.
        statement: the identity in LaTeX.
        prove: returns the difference of both sides, a scalar or a matrix; it must reduce to exactly zero.
    """

    name: str
    claims: tuple[str, ...]
    statement: str
    prove: Callable[[], Residual]

    @property
    def source(self) -> str:
        """Where the proof is written: module and function."""
        return f"{self.prove.__module__}.{self.prove.__qualname__}"

    def holds(self) -> bool:
        """Run the proof: whether every entry of the difference reduces to zero."""
        residual = self.prove()
        entries = list(residual) if isinstance(residual, sympy.MatrixBase) else [residual]
        return all(_vanishes(entry) for entry in entries)


def find_proofs() -> list[Proof]:
    """Return the proofs of every family, in the order of the families and of their definition.

    Raises:
        ValueError: if a plug-in is broken, or a module of proofs cannot be imported.
    """
    return [proof for family in find_families() for module in modules_of(family, "proofs") for proof in module.PROOFS]


def proofs_of(claim_id: str) -> list[Proof]:
    """Return the proofs on which a claim rests; none for a claim that has none."""
    return [proof for proof in find_proofs() if claim_id in proof.claims]


def figure(claim_id: str) -> Measured:
    """Run the proofs of a claim and return how many fail, with their names.

    Raises:
        ValueError: if the claim has no proof: a count of none would look like success.
    """
    proofs = proofs_of(claim_id)
    if not proofs:
        raise ValueError(f"claim_id must be a claim with symbolic proofs, got {claim_id!r}")
    failing = [proof.name for proof in proofs if not proof.holds()]
    basis = f"fails: {'; '.join(failing)}" if failing else f"sympy, proofs: {len(proofs)}"
    return Measured(FIGURE, len(failing), limit=0, basis=basis)


def with_proofs(claim_id: str) -> Callable[[Check], Check]:
    """Decorate a check so that it runs the claim's proofs too: one more method, one more figure, OPEN if one fails."""

    def decorate(check: Check) -> Check:
        @wraps(check)
        def checked(*args: object, **options: object) -> Finding:
            proven, finding = figure(claim_id), check(*args, **options)
            return replace(
                finding,
                verdict=finding.verdict if proven.within else Verdict.OPEN,
                figures=(*finding.figures, proven),
                methods=(*finding.methods, METHOD),
            )

        return cast("Check", checked)

    return decorate


def _vanishes(entry: sympy.Expr) -> bool:
    """Whether the numerator over one common denominator is zero once it is multiplied out."""
    return bool(sympy.expand(sympy.numer(sympy.together(entry))) == 0)
