"""Run claims one after the other, record each as it finishes, and go on where an interrupted run stopped."""

from __future__ import annotations

import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from theory_checks import progress, records
from theory_checks.ledger import Claim, Finding, Settings, Verdict
from theory_checks.records import Record

__all__ = ["run", "run_one"]

Listener = Callable[[Claim, str, float], None]


def run_one(claim: Claim, settings: Settings) -> Record:
    """Check one claim. A check that raises makes a record that is OPEN and carries the traceback."""
    start = time.perf_counter()
    error = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # an overflow or a NaN in NumPy is never part of a proof
            finding = claim.check(settings)
    except Exception:
        error = traceback.format_exc()
        finding = Finding(Verdict.OPEN, (), reading="the check did not finish")
    return Record(claim, finding, time.perf_counter() - start, error)


def run(
    claims: Sequence[Claim],
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    listener: Listener | None = None,
) -> Iterator[Record]:
    """Yield the record of each claim as it finishes; it is on disk below ``out/claims`` by then.

    Args:
        claims: what to check, in this order.
        settings: profile and seed.
        out: folder of the results.
        resume: take finished records from ``out`` if nothing that they depend on has changed.
        listener: told ``(claim, label, fraction)`` as a check proceeds.
    """
    folder = out / "claims"
    for claim in claims:
        record = records.load(claim, settings, folder) if resume else None
        if record is None:

            def tell(label: str, fraction: float, claim: Claim = claim) -> None:
                if listener is not None:
                    listener(claim, label, fraction)

            tell("", 0.0)
            with progress.listen(tell):
                record = run_one(claim, settings)
            records.save(record, settings, folder)
        yield record
