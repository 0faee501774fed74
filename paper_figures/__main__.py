"""``python -m paper_figures``: draw the figures."""

from __future__ import annotations

import sys
import time
import traceback
from pathlib import Path

import click
from rich.console import Console

from paper_figures.cache import data_of
from paper_figures.figure import NAMES, find
from paper_figures.render import render
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import listen


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "list_only", is_flag=True, help="List the figures, a line each, and exit.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/figures"),
    show_default=True,
    help="Folder for NAME.pdf, NAME.png, NAME-phone.png and NAME.txt, the caption; the data in subfolder 'data'.",
)
@click.option("--recompute", is_flag=True, help="Compute the data again, even if nothing that they rest on changed.")
@click.option(
    "--profile",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="quick: all figures in minutes. full: more samples and finer grids, in hours.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of every random number.")
def main(names: tuple[str, ...], list_only: bool, out: Path, recompute: bool, profile: str, seed: int) -> None:
    """Draw the figures with these names, or all of them.

    Each figure becomes a PDF for print, a PNG for the screen and one for a phone, whose panels are stacked, and a
    caption that says what is shown, how many samples it rests on, which intervals are drawn, and the command that makes
    it. The data are computed once: as long as the code that they rest on stays as it is, another run only draws, in
    seconds.

    Figures of trained networks are left out where networks or their results are not there yet.

    The exit status is 0 if every figure was drawn, 1 if one was not, 2 for a bad argument.

    \b
    Examples:
      python -m paper_figures --list
      python -m paper_figures geometry
      python -m paper_figures quality samples --out /tmp/figures
    """  # noqa: D301
    console = Console(highlight=False, soft_wrap=True)
    try:
        figures = [find(name) for name in names or NAMES]
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    if list_only:
        for figure in figures:
            console.print(f"{figure.name:<16} {figure.title}", markup=False)
        return
    settings = Settings(profile=profile, seed=seed)  # type: ignore[arg-type]
    failed = []
    for i, figure in enumerate(figures, 1):
        start = time.perf_counter()
        if missing := figure.missing():
            console.print(f"{figure.name:<16} left out: {missing}", markup=False)
            failed += [figure.name] if names else []
            continue
        try:
            with console.status(f"{figure.name} ({i} of {len(figures)})") as line:

                def tell(label: str, done: float, name: str = figure.name, line: object = line, i: int = i) -> None:
                    line.update(f"{name} ({i} of {len(figures)}): {label}, {done:.0%}")  # type: ignore[attr-defined]

                with listen(tell):
                    data, kept = data_of(figure, settings, out / "data", recompute=recompute)
                files = render(figure, data, settings, out)
        except Exception:  # the other figures are still wanted
            failed.append(figure.name)
            console.print(f"{figure.name:<16} not drawn\n{traceback.format_exc()}", markup=False)
            continue
        took = time.perf_counter() - start
        source = "data kept from before" if kept else "data computed"
        console.print(f"{figure.name:<16} {took:6.1f} s  {files.png}  ({source})", markup=False)
    if failed:
        console.print(f"Not drawn: {', '.join(failed)}", markup=False)
        sys.exit(1)


if __name__ == "__main__":
    main()
