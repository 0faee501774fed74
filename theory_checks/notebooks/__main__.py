"""Run the notebooks in place and store their outputs: ``python -m theory_checks.notebooks [NAME ...]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.notebooks import NOTEBOOKS


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@plain_errors
def main(names: tuple[str, ...]) -> None:
    """Run the notebooks NAMES, or all of them, and store their outputs in them."""
    known = {file.stem: file for file in NOTEBOOKS}
    for name in names:
        if name not in known:
            raise click.BadParameter(f"must be one of {', '.join(known)}, got {name!r}", param_hint="NAMES")
    from theory_checks.notebooks.execution import executed, write  # which needs Jupyter's libraries

    for name in names or known:
        start = time.perf_counter()
        write(executed(known[name]), known[name])
        click.echo(f"{name}: {time.perf_counter() - start:.0f} s, {_size(known[name])} kB")


def _size(file: Path) -> int:
    return round(file.stat().st_size / 1000)


if __name__ == "__main__":
    sys.exit(main())
