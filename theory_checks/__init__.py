"""The ledger: every claim of the paper, decided by checks that could have failed.

What a claim of your own needs is here; nothing heavy is imported for it.
"""

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
    "fault",
    "find_claims",
    "find_families",
    "find_faults",
    "injected",
    "track",
]
