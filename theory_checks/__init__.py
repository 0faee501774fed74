"""The ledger: every claim of the paper, decided by checks that could have failed.

What is imported from here is public and stable; it is loaded when it is first asked for, and needs nothing heavy. A
plug-in's claims are made of these: a `Family` of `Claim`, whose check returns a `Finding` with a `Verdict`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lml._lazy import lazy

if TYPE_CHECKING:
    from theory_checks.ledger.claim import Claim, Finding, Measured, Settings, Verdict, agreement
    from theory_checks.ledger.family import Family, find_claims, find_families
    from theory_checks.ledger.faults import Fault, fault, find_faults, injected
    from theory_checks.ledger.progress import track

__all__ = [
    "Claim",
    "Family",
    "Fault",
    "Finding",
    "Measured",
    "Settings",
    "Verdict",
    "agreement",
    "check",
    "fault",
    "find_claims",
    "find_families",
    "find_faults",
    "injected",
    "track",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "theory_checks.ledger.claim": ("Claim", "Finding", "Measured", "Settings", "Verdict", "agreement"),
            "theory_checks.ledger.family": ("Family", "find_claims", "find_families"),
            "theory_checks.ledger.faults": ("Fault", "fault", "find_faults", "injected"),
            "theory_checks.ledger.progress": ("track",),
        },
    )


def check(claim_id: str, settings: Settings | None = None) -> Finding:
    """Check one claim and return what was found.

    Args:
        claim_id: of the claim, as ``find_claims()`` lists them, for example ``"S1"``.
        settings: how much is checked and from which seed; the quick profile with seed 0 by default.

    Raises:
        ValueError: for an id that no claim has; for a plug-in that is broken.
    """
    from theory_checks.ledger import claim, family

    (chosen,) = family.select(family.find_claims(), (claim_id,))
    return chosen.load_check()(settings or claim.Settings())
