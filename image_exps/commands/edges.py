"""Draw the edges of a picture, white on black, as the ControlNet of sd15-canny reads them."""

from __future__ import annotations

from pathlib import Path

import click

from image_exps.commands._options import plain_errors
from image_exps.images.edges import HIGH, LOW, edges_of
from image_exps.images.files import check_png, write_png
from theory_checks.command_line.outputs import check_output_file

_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="edges",
    epilog="""\b
Example:
  python -m image_exps edges photo.jpg --out edges.png
  python -m image_exps sample -m sd15-canny --model-dir models/sd15 --controlnet-dir models/sd-controlnet-canny \\
      --control edges.png -p "the mona lisa" --out out/edges
""",
)
@click.argument("picture", type=_FILE)
@click.option("--low", type=float, default=LOW, show_default=True, help="Gradient that a line may fall to.")
@click.option("--high", type=float, default=HIGH, show_default=True, help="Gradient that a line must have somewhere.")
@click.option("--out", "-o", type=_FILE, required=True, help="PNG file; replaced if there.")
@plain_errors
def command(picture: Path, low: float, high: float, out: Path) -> None:
    """Draw the edges of PICTURE, white on black, as the ControlNet of sd15-canny reads them.

    It needs OpenCV: pip install opencv-python-headless. Maps of depth and of poses, for sd15-depth and sd15-pose, are
    made by networks of their own, and are given to sample ready-made.
    """
    check_png(out)
    check_output_file(out)
    found = edges_of(picture, low, high)
    write_png(found, out)
    click.echo(f"{found.width} x {found.height} in {out}", err=True)
