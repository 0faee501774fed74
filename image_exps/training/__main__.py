"""The command line of the training: ``python -m image_exps.training fashion-mnist --minutes 75 --out FOLDER``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click
import torch

from image_exps.training.loop import Budget, train
from image_exps.training.recipes import PREDICTIONS, RECIPES, Prediction, recipe
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors

__all__ = ["main"]


@click.command(help=__doc__)
@click.argument("name", type=click.Choice(tuple(RECIPES)))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder of the checkpoint.")
@click.option("--minutes", type=float, help="Budget in minutes of training.")
@click.option("--steps", type=int, help="Budget in steps instead: reproducible to the bit.")
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True)
@click.option("--seed", type=click.IntRange(0, 4095), default=0, show_default=True)
@click.option("--resume", is_flag=True, help="Go on from the checkpoint, if there is one.")
@click.option("--begin", type=click.Path(path_type=Path), help="Folder of a run whose weights this one begins with.")
@click.option("--prediction", type=click.Choice(PREDICTIONS), help="What the network returns, instead of the recipe's.")
@click.option("--bfloat16", is_flag=True, help="Multiply in bfloat16.")
@plain_errors
def main(
    name: str,
    out: Path,
    minutes: float | None,
    steps: int | None,
    threads: int,
    seed: int,
    resume: bool,
    begin: Path | None,
    prediction: Prediction | None,
    bfloat16: bool,
) -> None:
    """Train one of the shipped networks."""
    budget = Budget(minutes, steps)
    check_output_folder(out)
    torch.set_num_threads(threads)
    made = recipe(name) if prediction is None else replace(recipe(name), prediction=prediction)
    train(
        made,
        made.pictures(),
        budget,
        out,
        seed=seed,
        resume=resume,
        begin=begin,
        bfloat16=bfloat16,
        report=click.echo,
    )


if __name__ == "__main__":
    main()
