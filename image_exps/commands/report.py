"""Gather the results of a folder into one page: the paper's tables with our figures, pictures, the Pareto plot."""

from __future__ import annotations

from pathlib import Path

import click

from image_exps.commands import _options as shared
from theory_checks.command_line.outputs import check_output_file


@click.command(
    name="report",
    epilog="""\b
Examples:
  python -m image_exps report out --out out/report.html
  python -m image_exps report out --out out/report.md
  python -m image_exps report out --table 1 --table 3 --out out/tables.tex
""",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--out",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The page: .html, .md, or .tex for the tables alone.",
    show_default="FOLDER/report.html",
)
@click.option(
    "--table", "numbers", type=click.IntRange(1, 5), multiple=True, help="Of the paper, 1 to 5; can be repeated.",
    show_default="those that a result belongs to",
)  # fmt: skip
@click.option("--pictures", type=click.IntRange(min=0), default=8, show_default=True, help="Shown of each folder.")
@shared.plain_errors
def command(folder: Path, out: Path | None, numbers: tuple[int, ...], pictures: int) -> None:
    """Gather the results below FOLDER (results*.parquet) into one page.

    Figures of the paper stand beside ours where the same model was run; where there is none, a cell is blank.
    """
    path = out or folder / "report.html"
    check_output_file(path)

    from image_exps.evaluation.report import write_report
    from theory_checks.command_line.progress_line import ProgressLine

    with ProgressLine("report"):
        shown = write_report(folder, path, tables=numbers, pictures=pictures)
    click.echo(f"{shown} results in {path}")
