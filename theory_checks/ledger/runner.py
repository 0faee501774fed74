"""Run claims, one by one or in several processes, record each as it finishes, and go on where a run was stopped."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing.queues import SimpleQueue
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits

from theory_checks.ledger import progress, records
from theory_checks.ledger.claim import Claim, Finding, Settings, Verdict
from theory_checks.ledger.records import Record

__all__ = ["Listener", "run", "run_one"]

Listener = Callable[[Claim, str, float], None]


def run_one(claim: Claim, settings: Settings) -> Record:
    """Check one claim. A check that raises makes a record that is OPEN and carries the traceback."""
    start = time.perf_counter()
    error = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)  # an overflow or a NaN in NumPy is never part of a proof
            finding = claim.load_check()(settings)
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
    workers: int = 1,
) -> Iterator[Record]:
    """Yield the record of each claim, in their order; it is on disk below ``out/claims`` by then.

    Args:
        claims: what to check.
        settings: profile and seed.
        out: folder of the results.
        resume: take finished records from ``out`` if nothing that they depend on has changed.
        listener: told ``(claim, label, fraction)`` as a check proceeds, from a thread of its own if there are workers.
        workers: processes that check claims at the same time; each has its share of the cores.
    """
    folder = out / "claims"
    known = {claim.id: records.load(claim, settings, folder) if resume else None for claim in claims}
    missing = [claim for claim in claims if known[claim.id] is None]

    def tell(claim: Claim, label: str, fraction: float) -> None:
        if listener is not None:
            listener(claim, label, fraction)

    if workers > 1 and len(missing) > 1:
        with _Pool(missing, settings, folder, tell, min(workers, len(missing))) as pool:
            for claim in claims:
                yield known[claim.id] or pool.record(claim)
        return
    for claim in claims:
        record = known[claim.id]
        if record is None:
            tell(claim, "", 0.0)
            record = _check_and_save(claim, settings, folder, partial(tell, claim))
        yield record


def _check_and_save(claim: Claim, settings: Settings, folder: Path, tell: Callable[[str, float], None]) -> Record:
    with progress.listen(tell):
        record = run_one(claim, settings)
    records.save(record, settings, folder)
    return record


class _Pool:
    """Processes that check claims, with a thread that hears of their progress."""

    def __init__(self, claims: Sequence[Claim], settings: Settings, folder: Path, tell: Listener, workers: int) -> None:
        # A new interpreter for each worker: PyTorch's threads do not survive a fork.
        context = multiprocessing.get_context("spawn")
        self._queue: SimpleQueue[tuple[str, str, float] | None] = context.SimpleQueue()
        threads = max(1, (os.cpu_count() or 1) // workers)
        self._executor = ProcessPoolExecutor(
            workers, mp_context=context, initializer=_start_worker, initargs=(self._queue, threads, os.getpid())
        )
        self._futures: dict[str, Future[Record]] = {
            claim.id: self._executor.submit(_check_in_worker, claim, settings, folder) for claim in claims
        }
        by_id = {claim.id: claim for claim in claims}

        def listen() -> None:
            while (report := self._queue.get()) is not None:
                tell(by_id[report[0]], *report[1:])

        self._ear = threading.Thread(target=listen, daemon=True)

    def __enter__(self) -> _Pool:
        self._ear.start()
        return self

    def __exit__(self, *exception: object) -> None:
        # After an interruption what has not begun is dropped, and what runs is stopped: it is not on disk anyway.
        processes = list((self._executor._processes or {}).values())
        self._executor.shutdown(wait=exception[0] is None, cancel_futures=True)
        if exception[0] is not None:
            for process in processes:
                process.terminate()
        self._queue.put(None)
        self._ear.join()

    def record(self, claim: Claim) -> Record:
        """Return the record of a claim when it is there."""
        return self._futures[claim.id].result()


_tell_parent: Callable[[tuple[str, str, float]], None] = print  # replaced where a worker starts


def _start_worker(queue: SimpleQueue[tuple[str, str, float] | None], threads: int, parent: int) -> None:
    global _tell_parent
    _tell_parent = queue.put
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is the parent's to handle
    torch.set_num_threads(threads)
    threadpool_limits(threads)

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)  # the run was killed: nobody waits for this check

    threading.Thread(target=follow, daemon=True).start()


def _check_in_worker(claim: Claim, settings: Settings, folder: Path) -> Record:
    _tell_parent((claim.id, "", 0.0))
    return _check_and_save(claim, settings, folder, lambda label, fraction: _tell_parent((claim.id, label, fraction)))
