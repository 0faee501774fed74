"""Compute a grid of targets, samplers, corrections and budgets; a stopped run goes on where it was."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from image_exps.commands._options import cache_option, plain_errors


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
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="a process a core",
    help="Processes of this machine, each on one thread.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Compute on a Dask cluster, e.g. tcp://10.0.0.1:8786.")
@cache_option
@click.option("--list", "list_only", is_flag=True, help="List the cells and exit.")
@plain_errors
def command(grid: str, out: Path | None, workers: int, scheduler: str | None, cache: Path, list_only: bool) -> None:
    """Compute the cells of GRID, a TOML file or one that comes with the package: quick, table1, ...

    \b
    A cell is a target, a model, an arm (sampler and correction), a number of evaluations and a seed:
      python -m image_exps sweep quick
      python -m image_exps table out/sweep-quick/results.parquet

    A finished cell is a file. A run that was stopped, in whatever way, is continued by the same command, with any
    number of workers, to the same figures. The exit status is 1 if cells failed: these are tried again.
    """  # noqa: D301
    from rich.console import Console

    from image_exps.sweeps.grid import find_grid, load_grid
    from image_exps.sweeps.run import run_sweep
    from image_exps.sweeps.store import read_results

    chosen = load_grid(find_grid(grid))
    if list_only:
        for cell in chosen.cells:
            click.echo(f"{cell.key}  {cell}")
        return
    out = out or Path("out") / f"sweep-{chosen.name}"
    console = Console(highlight=False)
    try:
        done = run_sweep(chosen, out, workers=workers, scheduler=scheduler, cache=cache, console=console)
    except KeyboardInterrupt:
        console.print(f"Interrupted: what is finished is kept in {out}; the same command goes on.", markup=False)
        sys.exit(130)
    console.print(f"{done.computed} cells computed, {done.kept} kept, {len(done.failed)} failed.", markup=False)
    console.print(f"Results: {done.results}", markup=False)
    if done.results.is_file() and (states := read_results(done.results)["source"].nunique()) > 1:
        console.print(f"The rows come from {states} states of the source, see the column 'source'.", markup=False)
    for error in dict.fromkeys(done.failed.values()):
        console.print(error, markup=False)
    sys.exit(1 if done.failed else 0)


if __name__ == "__main__":
    command()
