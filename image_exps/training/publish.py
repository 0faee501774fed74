"""From a finished run to a shipped network: ``python -m image_exps.training.publish NAME --run FOLDER``."""

from __future__ import annotations

from pathlib import Path

import click
import torch

from image_exps.networks import NetworkModel, load_network
from image_exps.training.card import draw_loss, draw_samples, write_card
from image_exps.training.export import export
from image_exps.training.loop import resumed
from image_exps.training.measure import measure
from image_exps.training.recipes import RECIPES, recipe
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.command_line.progress_line import ProgressLine
from toy import Pictures
from toy.fashion_mnist import fashion_mnist

__all__ = ["main"]

_NETWORKS = Path(__file__).parent.parent / "networks"


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(tuple(RECIPES)))
@click.option("--run", "run_folder", type=click.Path(path_type=Path), required=True, help="Folder of the checkpoint.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the network; by default where it is shipped.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the run.")
@click.option("--machine", default="one thread of a CPU, no GPU", show_default=True, help="In words, for the card.")
@click.option("--samples", type=click.IntRange(min=128), default=1000, show_default=True, help="For the card.")
@plain_errors
def main(name: str, run_folder: Path, out: Path | None, seed: int, machine: str, samples: int) -> None:
    """Export the averaged weights of a run, measure them, and write their card."""
    made = recipe(name)
    folder = out or _NETWORKS / name
    check_output_folder(folder)
    torch.set_num_threads(1)
    pictures = made.pictures()
    with ProgressLine(name):
        run = resumed(made, pictures, run_folder, seed)
        export(made, run, made.classes(pictures), folder, machine)
        net, classes, prediction = load_network(folder)
        measured = measure(NetworkModel(net, prediction, classes), _sets(name, pictures), pictures, samples)
    draw_loss(folder)
    draw_samples(folder, pictures, measured.samples)
    write_card(folder, name, measured)
    click.echo(f"{folder}: {measured.losses}, {measured.frechet}, {measured.milliseconds:.2f} ms")


def _sets(name: str, pictures: Pictures) -> dict[str, torch.Tensor]:
    """Return pictures by name on which the loss is measured: an even choice of 2000."""
    sets = {"pictures of the training": pictures.images}
    if name == "fashion-mnist":
        sets["pictures that were not seen"] = fashion_mnist(split="test").images
    return {which: images[:: max(1, len(images) // 2000)] for which, images in sets.items()}


if __name__ == "__main__":
    main()
