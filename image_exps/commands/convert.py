"""Convert a model's weights from pickles to safetensors, the only form that the other commands load."""

from __future__ import annotations

from pathlib import Path

import click

from image_exps.commands._options import plain_errors


@click.command(
    name="convert",
    epilog="""\b
Example:
  hf download CompVis/ldm-celebahq-256 --local-dir models/ldm-celebahq-256
  python -m image_exps convert models/ldm-celebahq-256
""",
)
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@plain_errors
def command(folder: Path) -> None:
    """Convert a model's weights from pickles (.bin) to safetensors, the only form that the other commands load.

    Pickles are read as weights alone, so that no code of theirs runs, and are left where they are.
    """
    from image_exps.pipelines.conversion import convert_folder
    from theory_checks.command_line.progress_line import ProgressLine

    with ProgressLine(f"converting {folder}"):
        written = convert_folder(folder)
    for path in written:
        click.echo(path)
