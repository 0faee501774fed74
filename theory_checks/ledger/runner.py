"""Run claims in processes of their own, record each as it finishes, and go on where a run was stopped."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from theory_checks.ledger import records
from theory_checks.ledger.claim import Claim, Settings
from theory_checks.ledger.records import Record
from theory_checks.ledger.worker import Worker

__all__ = ["Listener", "run"]

#: Called with a claim, a label and the fraction of its check that is done.
Listener = Callable[[Claim, str, float], None]


def run(
    claims: Sequence[Claim],
    settings: Settings,
    out: Path,
    *,
    resume: bool = False,
    listener: Listener | None = None,
    again: Callable[[Claim, str], None] | None = None,
    workers: int = 1,
) -> Iterator[Record]:
    """Yield the record of each claim, in their order; it is on disk below ``out/claims`` by then.

    Args:
        claims: what to check.
        settings: profile and seed.
        out: folder of the results.
        resume: take finished records from ``out`` if they are whole and nothing that they depend on has changed.
        listener: called as checks proceed, from threads.
        again: called with a claim whose record in ``out`` does not count, and why.
        workers: processes that check claims at the same time; each has its share of the cores. A check that kills its
            process costs no other claim anything.

    Raises:
        KeyboardInterrupt: if a check is interrupted.
        OSError: naming the file, if a record cannot be written.
    """
    folder = out / "claims"
    kept = {}
    for claim in claims if resume else ():
        kept[claim.id], reason = records.examine(claim, settings, folder)
        if reason and again is not None:
            again(claim, reason)
    missing = [claim for claim in claims if kept.get(claim.id) is None]
    with _Pool(missing, settings, folder, listener, min(workers, len(missing) or 1)) as pool:
        for claim in claims:
            yield kept.get(claim.id) or pool.record(claim)


class _Pool:
    """Threads that each hand claims to a process of their own and write down what it finds."""

    def __init__(
        self, claims: Sequence[Claim], settings: Settings, folder: Path, listener: Listener | None, workers: int
    ) -> None:
        self._settings, self._folder, self._listener = settings, folder, listener
        self._workers = [Worker(settings, _share_of_cores(workers)) for _ in range(workers)]
        self._idle: SimpleQueue[Worker] = SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)
        self._executor = ThreadPoolExecutor(workers)
        self._futures: dict[str, Future[Record]] = {
            claim.id: self._executor.submit(self._check, claim) for claim in claims
        }

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *exception: object) -> None:
        # After an interruption what has not begun is dropped, and what runs is stopped: it is not on disk anyway.
        self._executor.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop(at_once=exception[0] is not None)
        self._executor.shutdown(wait=True)

    def record(self, claim: Claim) -> Record:
        """Return the record of a claim when it is there."""
        return self._futures[claim.id].result()

    def _check(self, claim: Claim) -> Record:
        worker = self._idle.get()
        try:
            with suppress(OSError):  # which `check` meets again, and reports
                worker.start()
            code = records.fingerprint(claim, self._settings)  # of the code before the check reads it
            self._report(claim, "", 0.0)
            record = worker.check(claim, partial(self._report, claim))
            records.save(record, self._settings, self._folder, code)
        finally:
            self._idle.put(worker)
        return record

    def _report(self, claim: Claim, label: str, fraction: float) -> None:
        if self._listener is not None:
            self._listener(claim, label, fraction)


def _share_of_cores(workers: int) -> int:
    """Return how many threads each of so many processes may use: no more than OMP_NUM_THREADS says."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(cores // workers, int(limit) if limit.isdigit() and int(limit) else cores))
