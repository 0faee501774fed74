"""Sweeps: the missing cells of a grid, computed by processes of this machine or by a Dask cluster, and kept one by one.

Neither the number of workers nor where they run changes a figure: a cell is a pure function of its parameters, and
runs on one thread. Costly cells come first, those of one target and model together, so that a worker builds each once.
A worker ends with the run that started it, even if that is killed.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import BrokenProcessPool

from image_exps.distances import FLOW_DISTANCES
from image_exps.networks.placement import on_device
from image_exps.pipelines.devices import check_device
from image_exps.problems.specification import check_pictures, check_weights
from image_exps.sweeps.cell import flows_of, prepare, run_cell
from image_exps.sweeps.grid import Cell, Grid
from image_exps.sweeps.store import Store, source, versions
from lml.arguments import check_integer
from theory_checks.command_line.plain_errors import PlainError, sentence_of
from theory_checks.command_line.progress_line import ProgressLine
from toy.outside import found

__all__ = ["Done", "Pool", "in_order", "revision", "run_sweep"]

# Seconds to wait for a cluster.
_CONNECT = 15

# A cell's work besides its evaluations, in evaluations: distances and their resamples.
_OVERHEAD = 20


class Done(NamedTuple):
    """What a run of a sweep came to.

    Attributes:
        results: the file with the rows of all finished cells.
        computed: how many cells this run computed.
        kept: how many were there before.
        failed: what went wrong, by cell; these are tried again by the next run.
        damaged: cells that were computed again because their file was not as it was written, with what was wrong.
    """

    results: Path
    computed: int
    kept: int
    failed: dict[Cell, str]
    damaged: dict[Cell, str]


def in_order(cells: Sequence[Cell]) -> list[Cell]:
    """Return cells by target and model, the costlier of these first, and within each the costlier cells first."""
    whole: dict[tuple[str, str], int] = defaultdict(int)
    for cell in cells:
        whole[cell.problem] += _cost(cell)
    return sorted(cells, key=lambda c: (-whole[c.problem], c.problem, -_cost(c), c.seed, c.arm))


def _cost(cell: Cell) -> int:
    return cell.count * (cell.evaluations + _OVERHEAD)


def run_sweep(
    grid: Grid,
    out: Path,
    *,
    workers: int = 1,
    scheduler: str | None = None,
    cache: Path = Path("out/cache/flow-ends"),
    device: str = "cpu",
    progress: ProgressLine | None = None,
) -> Done:
    """Compute the cells of a grid that a folder does not have yet, and write the union of their rows.

    Args:
        grid: what is computed.
        out: the results folder, empty or of this grid and version.
        workers: processes of this machine.
        scheduler: address of a Dask scheduler, whose workers compute instead.
        cache: folder for endpoints of the exact flow, shared by all sweeps.
        device: where networks are evaluated; on a GPU figures differ from those of a CPU by rounding.
        progress: shows what is done, with the time left.

    Raises:
        ValueError: for a folder of another grid or version or one that another run writes, no worker, pictures that are
            not on this machine, a cluster that cannot be reached or that has other versions.
        PlainError: if a worker was ended from outside.
    """
    check_integer(workers, "workers")
    check_device(device)
    store = Store(out, grid)
    with store.open():
        missing = in_order(store.missing())
        for cell in missing:
            check_weights(*cell.problem)
            if set(cell.distances) - set(FLOW_DISTANCES):
                check_pictures(*cell.problem)
        failed: dict[Cell, str] = {}
        if missing:
            stamp = {**versions(), "revision": revision(), "source": source()}
            pool = partial(_on_cluster, scheduler) if scheduler else partial(_on_processes, workers)
            shown = progress or ProgressLine(grid.name, quiet=True)
            failed = _compute(missing, store, stamp, pool, cache.absolute(), device, shown)
        results = store.compact() if len(failed) < len(grid.cells) else out / "results.parquet"
    return Done(results, len(missing) - len(failed), len(grid.cells) - len(missing), failed, store.damaged)


Pool = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[tuple[int, Any]]]


def _compute(
    cells: Sequence[Cell],
    store: Store,
    stamp: dict[str, Any],
    pool: Pool,
    cache: Path,
    device: str,
    progress: ProgressLine,
) -> dict[Cell, str]:
    failed: dict[Cell, str] = {}
    references = {block: None for cell in cells for block in flows_of(cell)}
    if references:
        with progress.part("endpoints of the exact flow", "blocks of samples"):
            for done, _ in enumerate(pool(partial(_prepare, folder=cache, device=device), list(references)), 1):
                progress(done, len(references))
    whole = sum(map(_cost, cells))
    with progress.part(progress.label, "cells"):
        spent = 0
        for done, (index, (rows, error)) in enumerate(
            pool(partial(_work, folder=cache, device=device, stamp=stamp), cells), 1
        ):
            cell = cells[index]
            if error:
                failed[cell] = error
                progress.say(f"failed: {cell}: {error.strip().splitlines()[-1]}")
            else:
                store.add(cell, rows)
            spent += _cost(cell)
            progress(done, len(cells), share=spent / whole)
    return failed


def _prepare(reference: tuple[str, str, int, int], *, folder: Path, device: str) -> None:
    """Compute endpoints; what goes wrong, the cells that need them will say."""
    with suppress(Exception), on_device(device):
        prepare(*reference, folder)


def _work(cell: Cell, *, folder: Path, device: str, stamp: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
    """Return the rows of a cell, or what went wrong: a sentence, or the traceback of a fault of the code."""
    started = time.perf_counter()
    try:
        with on_device(device):
            rows = run_cell(cell, folder)
    except Exception as error:
        sentence = None if os.environ.get("LML_TRACEBACK") else sentence_of(error)
        return [], traceback.format_exc() if sentence is None else sentence
    return [{**row, **stamp, "key": cell.key, "seconds": time.perf_counter() - started} for row in rows], ""


def _numbered(function: Callable[[Any], Any], index: int, item: Any) -> tuple[int, Any]:
    return index, function(item)


def _on_processes(workers: int, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield indices and results as they are ready.

    Raises:
        PlainError: if a worker was ended from outside.
    """
    task = delayed(partial(_with_parent, os.getpid(), function))
    with parallel_config(backend="loky", n_jobs=workers, inner_max_num_threads=1):
        run = Parallel(return_as="generator_unordered", batch_size=1)
        try:
            yield from run(task(i, item) for i, item in enumerate(items))
        except BrokenProcessPool as error:
            raise PlainError(
                "a worker was ended from outside, perhaps because the memory is too small: run the same command again, "
                "with fewer --workers; what is finished is kept"
            ) from error


def _with_parent(parent: int, function: Callable[[Any], Any], index: int, item: Any) -> tuple[int, Any]:
    if os.getpid() != parent:
        _end_with(parent)
    return _numbered(function, index, item)


@cache
def _end_with(parent: int) -> None:
    """End this process as soon as its parent has ended: nobody waits for what it computes."""

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _on_cluster(address: str, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Yield indices and results as they are ready, from the workers of a Dask scheduler."""
    try:
        from distributed import Client, as_completed
    except ImportError as error:
        raise ValueError("scheduler needs the extra 'cluster': pip install 'lml-toolkit[cluster]'") from error
    try:
        client = Client(address, timeout=_CONNECT, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise ValueError(
            f"scheduler must be the address of a running Dask scheduler, got {address!r}: {error}"
        ) from error
    with client:
        mine = versions()
        for worker, theirs in client.run(versions).items():
            if theirs != mine:
                raise ValueError(f"scheduler must have workers with {mine}, {worker} has {theirs}")
        # Impure: the scheduler shall compute what it is asked, not what it remembers.
        futures = client.map(partial(_numbered, function), range(len(items)), items, pure=False)
        for future in as_completed(futures, loop=client.loop):  # type: ignore[no-untyped-call]
            yield future.result()
            future.release()


def revision() -> str:
    """Return the commit of the source, with a plus if files differ from it; empty where there is none."""
    here = Path(__file__).parents[1]
    program = found("git")
    if program is None:
        return ""
    git = partial(subprocess.run, cwd=here, capture_output=True, text=True, check=True)
    try:
        commit = git([program, "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        changed = git(
            [program, "status", "--porcelain", "--untracked-files=no", "--", "../lml", "../toy", "."]
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed else "")
