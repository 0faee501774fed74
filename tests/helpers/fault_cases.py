"""The faults that must turn a claim's check red, as cases of a test."""

from theory_checks.ledger.faults import Fault, find_faults

_FORMULAS_OF_C6 = ("eigenfunction_residual", "barta_excess")


def is_symbolic(fault: Fault) -> bool:
    """Whether a fault is in a formula that computer algebra proves; `test_proofs` injects all of those."""
    module, _, name = fault.target.partition(":")
    return module.rpartition(".")[2].startswith("proofs") or name in _FORMULAS_OF_C6


def faults_of(claim: str) -> list[Fault]:
    """Return the faults that the check of a claim must see, those of its symbolic proofs left out."""
    return [fault for fault in find_faults() if claim in fault.kills and not is_symbolic(fault)]


def kills(*claims: str) -> list[tuple[Fault, str]]:
    """Return every fault with each of these claims that it concerns, those of symbolic proofs left out."""
    return [(fault, claim) for claim in claims for fault in faults_of(claim)]
