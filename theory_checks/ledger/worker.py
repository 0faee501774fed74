"""A process that checks claims one after another, and its parent's end of the line: a check that kills it costs itself.

A new interpreter for each worker: PyTorch's threads do not survive a fork. This module imports nothing heavy.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, NamedTuple

from theory_checks.ledger import progress
from theory_checks.ledger.claim import Claim, Settings

if TYPE_CHECKING:
    from theory_checks.ledger.records import Record

__all__ = ["Worker"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class _Progress(NamedTuple):
    label: str
    fraction: float


class Worker:
    """One process, started when it is first needed, and again after a check that ended it.

    Args:
        settings: profile and seed.
        threads: that it may use.
    """

    def __init__(self, settings: Settings, threads: int) -> None:
        self._settings, self._threads = settings, threads
        self._process: multiprocessing.process.BaseProcess | None = None
        self._line: Connection | None = None
        self._stopped = False

    def check(self, claim: Claim, listener: progress.Listener) -> Record:
        """Check a claim there; the record says so if the process ended before the check did.

        Raises:
            KeyboardInterrupt: if the check was interrupted, or the worker stopped.
        """
        from theory_checks.ledger.records import unfinished

        start = time.perf_counter()
        try:
            self.start()
            assert self._line is not None
            self._line.send(claim)
        except (OSError, EOFError) as error:
            if self._stopped:
                raise KeyboardInterrupt from error
            return unfinished(claim, f"no process could be started for this check: {error}")
        except Exception as error:  # of pickle
            return unfinished(claim, f"this check cannot be sent to another process: {error}")
        try:
            while isinstance(message := self._line.recv(), _Progress):
                listener(message.label, message.fraction)
        except (OSError, EOFError) as error:
            if self._stopped:
                raise KeyboardInterrupt from error
            return unfinished(claim, self._ended(), time.perf_counter() - start)
        if message is None:
            raise KeyboardInterrupt
        if isinstance(message, str):
            return unfinished(claim, message, time.perf_counter() - start)
        record: Record = replace(message, claim=claim)
        return record

    def stop(self, *, at_once: bool) -> None:
        """End the process: after what it is doing, or at once."""
        self._stopped = True
        if self._process is None or self._line is None:
            return
        if at_once:
            self._process.terminate()
        else:
            with suppress(OSError):
                self._line.send(None)
        self._process.join()

    def start(self) -> None:
        """Start the process, unless it runs: it loads its libraries while its parent does something else.

        Raises:
            OSError: if the system starts no process.
            KeyboardInterrupt: after `stop`.
        """
        if self._process is not None and self._process.is_alive():
            return
        if self._stopped:
            raise KeyboardInterrupt
        context = multiprocessing.get_context("spawn")
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._settings, self._threads, os.getpid()))
        self._process.start()
        theirs.close()  # so that the end of the process is the end of the line

    def _ended(self) -> str:
        """Return in words how the process ended."""
        assert self._process is not None
        self._process.join()
        code = self._process.exitcode or 0
        how = f"exit status {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        return f"the process that ran this check ended before the check did ({how})"


def _serve(line: Connection, settings: Settings, threads: int, parent: int) -> None:
    """Check what comes down the line until nothing more does; send progress, then the record.

    In place of a record, ``None`` says that the check was interrupted, and a text why there is none.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interruption is the parent's to handle
    threading.Thread(target=_follow, args=(parent,), daemon=True).start()
    _limit(threads)
    from theory_checks.ledger.single_check import run_one

    def report(label: str, fraction: float) -> None:
        line.send(_Progress(label, fraction))

    while True:
        try:
            claim = line.recv()
        except EOFError:
            return
        except Exception as error:  # of unpickling: the module of a check that is a function
            line.send(f"the process that was to run this check cannot load it: {error}")
            continue
        if claim is None:
            return
        try:
            with progress.listen(report):
                line.send(run_one(claim, settings))
        except KeyboardInterrupt:
            line.send(None)


def _limit(threads: int) -> None:
    """Let libraries, loaded and to come, use so many threads."""
    for name in _THREADS:
        os.environ[name] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    from threadpoolctl import threadpool_limits

    threadpool_limits(threads)


def _follow(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)  # the run was killed: nobody waits for this check
