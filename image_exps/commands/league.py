"""The league of samplers: which scheduler for how many steps, from the rows that ship or from a run of one's own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from image_exps.commands import _options as shared

__all__ = ["command"]

_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.command(
    name="league",
    epilog="""\b
Examples:
  python -m image_exps league                          five lines, and the page out/league/league.html
  python -m image_exps league --measure --match UniPC  measure these entries again, into out/league
  python -m image_exps league --rows out/league --markdown league.md
""",
)
@click.option("--rows", "source", type=_FOLDER, help="Folder of the rows.", show_default="those of the package")
@click.option("--out", type=_FOLDER, default=Path("out/league"), show_default=True,
              help="Folder for league.html, and of answers and rows that are measured.")  # fmt: skip
@click.option("--measure", "again", is_flag=True,
              help="Measure every entry, some ten minutes of one core; goes on where it was stopped.")  # fmt: skip
@click.option("--match", default="", help="With --measure: entries whose name holds this text.")
@click.option("--markdown", type=click.Path(dir_okay=False, path_type=Path), help="Write the page of the docs here.")
@shared.plain_errors
def command(source: Path | None, out: Path, again: bool, match: str, markdown: Path | None) -> None:
    """Say which scheduler to take for how many steps, and write the table of every sampler as a page.

    The page is drawn from rows: those that ship with the package, or those of a folder.
    """
    from image_exps.league.answer import five_lines
    from image_exps.league.page import documentation, page
    from image_exps.league.rows import FOLDER, read_rows
    from image_exps.league.verdicts import read_verdicts
    from toy.atomic import atomic

    if match and not again:
        raise ValueError("match: of what? it chooses entries for --measure")
    if again and source is not None:
        raise ValueError("rows: they are measured with --measure, and read without it")
    if again:
        _measure(out, match)
        source = out
    rows = read_rows(source or FOLDER)
    verdicts = read_verdicts(source if source is not None and not match else FOLDER)
    out.mkdir(parents=True, exist_ok=True)
    with atomic(out / "league.html") as path:
        path.write_text(page(rows, verdicts), encoding="utf-8")
    if markdown is not None:
        with atomic(markdown) as path:
            path.write_text(documentation(rows, verdicts), encoding="utf-8")
    for line in five_lines(rows):
        click.echo(line.replace("**", "").replace("`", ""))
    click.echo(f"Page: {out / 'league.html'}")


def _measure(out: Path, match: str) -> None:
    """Measure the entries, and write their rows."""
    from image_exps.league.entries import ENTRIES
    from image_exps.league.measure import measure
    from image_exps.league.rows import gather, write_rows
    from image_exps.league.verdicts import measure_verdicts

    entries = [entry for entry in ENTRIES if match in entry.what]
    if not entries:
        raise ValueError(f"match must be part of an entry's name, as in {ENTRIES[0].what}; none holds {match!r}")
    answers, began = {}, time.monotonic()
    try:
        for i, entry in enumerate(entries):
            answers[f"{entry.what} {entry.same_as}"] = measure(entry, out / "answers")
            spent = time.monotonic() - began
            left = spent / (i + 1) * (len(entries) - i - 1)
            click.echo(f"{i + 1} of {len(entries)}  {entry.label}, about {left / 60:.0f} min left", err=True)
    except KeyboardInterrupt:
        click.echo(f"Interrupted after {len(answers)} of {len(entries)} entries: the same command goes on.", err=True)
        sys.exit(130)
    write_rows(gather(answers), out)
    if not match:
        measure_verdicts(out)


if __name__ == "__main__":
    command()
