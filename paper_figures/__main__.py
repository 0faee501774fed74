"""``python -m paper_figures``: draw the figures."""

from __future__ import annotations

import os
import sys
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from paper_figures.names import NAMES, check_name, title_of
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors, sentence_of
from theory_checks.command_line.readable import readable_output

if TYPE_CHECKING:
    from theory_checks.ledger.claim import Settings


@click.command(context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]})
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--list", "list_only", is_flag=True, help="List the figures, a line each, and exit.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/figures"),
    show_default=True,
    help="Folder for NAME.pdf, NAME.png, NAME-phone.png, NAME.txt (caption) and NAME-methods.txt; data in 'data'.",
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
@plain_errors
def main(names: tuple[str, ...], list_only: bool, out: Path, recompute: bool, profile: str, seed: int) -> None:
    """Draw the figures with these names, or all of them.

    Each figure becomes a PDF for print, a PNG for the screen and one for a phone, whose panels are stacked, a caption
    that says what is seen, and a text on how it was made: samples, intervals, and the command. The data are computed
    once: as long as the code that they rest on stays as it is, another run only draws, in seconds.

    A figure whose networks, results or pictures are not on this machine is left out, and the reason said.

    The exit status is 0 if every figure was drawn that can be, 1 if one failed, or was named and is left out, 2 for a
    bad argument.

    \b
    Examples:
      python -m paper_figures --list
      python -m paper_figures geometry
      python -m paper_figures quality samples --out /tmp/figures
    """  # noqa: D301
    try:
        for name in names:
            check_name(name)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="NAME") from error
    if list_only:
        for name in NAMES:
            if name in (names or NAMES):
                click.echo(f"{name:<16} {title_of(name)}")
        return
    check_output_folder(out)

    from theory_checks.ledger.claim import Settings

    settings = Settings(profile=profile, seed=seed)  # type: ignore[arg-type]
    left_out, failed = [], []
    wanted = names or NAMES
    for number, name in enumerate(wanted, 1):
        try:
            drawn, said = _draw(name, f"{name} ({number} of {len(wanted)})", settings, out, recompute=recompute)
            left_out += [] if drawn else [name]
        except Exception as error:  # the other figures are still wanted
            failed.append(name)
            sentence = None if os.environ.get("LML_TRACEBACK") else sentence_of(error)
            said = f"not drawn: {sentence}" if sentence else f"not drawn\n{traceback.format_exc()}"
        click.echo(f"{name:<16} {said}")
    if left_out:
        click.echo(f"Left out: {', '.join(left_out)}")
    if failed:
        click.echo(f"Not drawn: {', '.join(failed)}")
    sys.exit(1 if failed or (names and left_out) else 0)


def _draw(name: str, label: str, settings: Settings, out: Path, *, recompute: bool) -> tuple[bool, str]:
    """Draw a figure, or leave it out where something is missing; return whether it was drawn, and a line on it."""
    from paper_figures.cache import data_of
    from paper_figures.figure import find
    from paper_figures.render import render
    from theory_checks.command_line.progress_line import ProgressLine
    from theory_checks.ledger.progress import listen

    start = time.perf_counter()
    figure = find(name)
    if missing := figure.missing():
        return False, f"left out: {missing}"
    with ProgressLine(label) as line:

        def tell(part: str, done: float) -> None:
            line.label = f"{label}: {part}" if part else label
            line(0, 0, share=done)

        with listen(tell):
            data, kept = data_of(figure, settings, out / "data", recompute=recompute)
    files = render(figure, data, settings, out)
    source = "data kept from before" if kept else "data computed"
    return True, f"{time.perf_counter() - start:6.1f} s  {files.png}  ({source})"


if __name__ == "__main__":
    readable_output()  # of the help too
    main()
