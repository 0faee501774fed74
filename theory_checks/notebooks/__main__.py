"""Run the notebooks in place and store their outputs: ``python -m theory_checks.notebooks [NAME ...]``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from theory_checks.command_line.outputs import check_output_file
from theory_checks.command_line.plain_errors import PlainError, plain_errors
from theory_checks.notebooks import NOTEBOOKS


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1)
@plain_errors
def main(names: tuple[str, ...]) -> None:
    """Run the notebooks NAMES, or all of them, and store their outputs in them.

    A notebook of which a cell fails is left as it was, with status 2.
    """
    known = {file.stem: file for file in NOTEBOOKS}
    for name in names:
        if name not in known:
            raise click.BadParameter(f"must be one of {', '.join(known)}, got {name!r}", param_hint="NAMES")
    chosen = tuple(dict.fromkeys(names)) or tuple(known)
    for name in chosen:
        check_output_file(known[name], "notebook")
    from theory_checks.command_line.progress_line import ProgressLine

    with ProgressLine("notebooks", "notebooks") as progress:
        for done, name in enumerate(chosen):
            progress.label = name
            progress(done, len(chosen))
            start = time.perf_counter()
            _run(name, known[name])
            click.echo(f"{name}: {time.perf_counter() - start:.0f} s, {_size(known[name])} kB")


def _run(name: str, file: Path) -> None:
    """Run a notebook and store its outputs.

    Raises:
        PlainError: naming it and what its cell raised, or why there is no kernel.
    """
    from jupyter_client.kernelspec import NoSuchKernel  # Jupyter's libraries, which a wrong name does not wait for
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

    from theory_checks.notebooks.execution import executed, write

    try:
        notebook = executed(file)
    except CellExecutionError as error:
        raise PlainError(f"a cell of {name} raises {error.ename}: {error.evalue}") from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise PlainError(f"a cell of {name} does not come to its end: {str(error).partition(chr(10))[0]}") from error
    except NoSuchKernel as error:
        raise PlainError("Jupyter has no kernel of this Python: pip install ipykernel") from error
    write(notebook, file)


def _size(file: Path) -> int:
    return round(file.stat().st_size / 1000)


if __name__ == "__main__":
    sys.exit(main())
