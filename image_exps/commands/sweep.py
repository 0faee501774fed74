"""Compute a grid of targets, samplers, corrections and budgets; a stopped run goes on where it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from image_exps.commands._options import at_least, cache_option, plain_errors
from image_exps.sweeps.grid import find_grid, load_grid
from theory_checks.command_line.outputs import check_output_folder


@click.command(name="sweep")
@click.argument("grid")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=None,
    show_default="out/sweep-NAME",
    help="Results folder: empty, or with a part of this grid.",
)
@click.option(
    "--workers",
    type=at_least(1, "workers"),
    default=os.cpu_count() or 1,
    show_default="a process a core",
    help="Processes of this machine, each on one thread.",
)
@click.option("--device", default="cpu", show_default=True, help="Where networks are evaluated: cpu, cuda, mps.")
@click.option("--scheduler", metavar="ADDRESS", help="Compute on a Dask cluster, e.g. tcp://10.0.0.1:8786.")
@cache_option
@click.option("--list", "list_only", is_flag=True, help="List the cells and exit.")
@plain_errors
def command(
    grid: str, out: Path | None, workers: int, device: str, scheduler: str | None, cache: Path, list_only: bool
) -> None:
    """Compute the cells of GRID, a TOML file or one that comes with the package: quick, table1, ...

    \b
    A cell is a target, a model, an arm (sampler and correction), a number of evaluations and a seed:
      python -m image_exps sweep quick
      python -m image_exps table out/sweep-quick/results.parquet

    A finished cell is a file. A run that was stopped, in whatever way, is continued by the same command, with any
    number of workers, to the same figures. The exit status is 1 if cells failed: these are tried again.
    """  # noqa: D301
    path = find_grid(grid)
    if out is not None:
        check_output_folder(out)
    check_output_folder(cache, "cache")
    chosen = load_grid(path)
    if list_only:
        for cell in chosen.cells:
            click.echo(f"{cell.key}  {cell}")
        return
    out = out or Path("out") / f"sweep-{chosen.name}"
    check_output_folder(out)

    from image_exps.sweeps.run import run_sweep
    from image_exps.sweeps.store import read_results
    from theory_checks.command_line.progress_line import ProgressLine

    try:
        with ProgressLine(chosen.name, "cells") as progress:
            done = run_sweep(
                chosen, out, workers=workers, scheduler=scheduler, cache=cache, device=device, progress=progress
            )
    except KeyboardInterrupt:
        click.echo(f"Interrupted: what is finished is kept in {out}; the same command goes on.", err=True)
        sys.exit(130)
    for cell, reason in done.damaged.items():
        click.echo(f"{cell.key} ({cell}) {reason}: it was computed again.")
    click.echo(f"{done.computed} cells computed, {done.kept} kept, {len(done.failed)} failed.")
    click.echo(f"Results: {done.results}")
    if done.results.is_file() and (states := read_results(done.results)["source"].nunique()) > 1:
        click.echo(f"The rows come from {states} states of the source, see the column 'source'.")
    for error in dict.fromkeys(done.failed.values()):
        click.echo(error)
    sys.exit(1 if done.failed else 0)


if __name__ == "__main__":
    command()
