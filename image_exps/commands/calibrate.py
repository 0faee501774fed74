"""Calibrate a few-step solver on a network: fit it to a few accurate trajectories, judged by others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_exps.commands import _options as shared

if TYPE_CHECKING:
    from lml.solver import Schedule

__all__ = ["command"]


@click.command(
    name="calibrate",
    epilog="""\b
Examples:
  lml calibrate --model fashion-mnist -n 8
  lml calibrate --model models/my-ddpm -n 5 --samples 32 --out my-solver.json
""",
)
@click.option("--model", required=True, help="A network by name, or the folder of an unconditional pipeline.")
@click.option("-n", "--evaluations", type=click.IntRange(3, 50), default=8, show_default=True,
              help="Evaluations of the network for a picture.")  # fmt: skip
@click.option("--samples", type=shared.at_least(1, "samples"), default=16, show_default=True,
              help="Accurate trajectories; from 8 on something can be held out.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the noises.")
@click.option("--batch", type=shared.at_least(1, "batch"), default=64, show_default=True, help="Samples at a time.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=Path("solver.json"), show_default=True,
              help="File for the solver.")  # fmt: skip
@shared.plain_errors
def command(model: str, evaluations: int, samples: int, seed: int, batch: int, out: Path) -> None:
    """Find the few-step solver for a network, and say what to expect of it.

    The cost is told first. Answers are kept: the same question is answered at once.
    """
    from image_exps.pipelines.network import network
    from lml.solver import calibrate, save

    if not out.parent.is_dir():
        raise ValueError(f"--out must be in a folder that exists, got {out}")
    found = network(model)
    made = calibrate(
        found.noise_model, _schedule(model), evaluations, samples, shape=found.shape, seed=seed, batch=batch,
        progress=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    save(made.solver, out)
    click.echo(f"{made}\nWritten     {out}\n\n{made.paste(str(out))}")


def _schedule(model: str) -> Schedule:
    """Return the noise levels at the training timesteps: those on which a scheduler will use the solver."""
    import math

    from image_exps.networks import NETWORKS, network_folder
    from image_exps.networks.galaxies import GALAXIES
    from image_exps.pipelines.component_files import read_object
    from lml.schedulers import LMLSolverScheduler
    from lml.solver import Schedule

    if model in GALAXIES:  # beta = 1 on [0, 10], as a table of diffusers
        return Schedule.of_betas([-math.expm1(-0.01)] * 1000)
    folder = network_folder(model) if model in NETWORKS else Path(model)
    table: Schedule = LMLSolverScheduler.from_config(read_object(folder / "scheduler" / "scheduler_config.json")).table
    return table
