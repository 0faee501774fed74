"""One claim, checked in this process: whatever its check does, there is a record of it."""

from __future__ import annotations

import time
import traceback
import warnings

from theory_checks.ledger.claim import Claim, Settings
from theory_checks.ledger.records import Record, normalised, unfinished

__all__ = ["run_one"]


def run_one(claim: Claim, settings: Settings) -> Record:
    """Check one claim here. A check that raises, exits or returns no finding makes a record that is OPEN and says so.

    Raises:
        KeyboardInterrupt: if the check is interrupted.
    """
    start = time.perf_counter()
    try:
        check = claim.load_check()
        start = time.perf_counter()  # to load libraries is not to check
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # an overflow or a NaN in NumPy is never part of a proof
            returned = check(settings)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # an exit, or a test's own outcome, is no Exception
        text = traceback.format_exc()
        if isinstance(error, SystemExit):
            text += f"the check ended the interpreter (exit status {error.code!r}): it must return a Finding"
        return unfinished(claim, text, time.perf_counter() - start)
    seconds = time.perf_counter() - start
    try:
        return Record(claim, normalised(returned), seconds)
    except Exception as error:  # whatever the check returned
        return unfinished(claim, str(error) or type(error).__name__, seconds)
