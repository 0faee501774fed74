"""Calibrate a few-step solver on a network: fitted to a few accurate trajectories, judged by others."""

from __future__ import annotations

from pathlib import Path

import click

from image_exps.commands import _network_options as options
from image_exps.commands import _options as shared

__all__ = ["command"]


@click.command(
    name="calibrate",
    epilog="""\b
Examples:
  lml calibrate --model fashion-mnist -n 8
  lml calibrate --model models/my-ddpm -n 5 --samples 32 --out my-solver.json
  lml calibrate --model models/sd15 -p "a red fox" -p "a blue bird" -n 8 --guidance 5 --dtype float16
""",
)
@options.network_options
@click.option("--evaluations", "-n", type=click.IntRange(3, 50), default=8, show_default=True,
              help="Evaluations of the network for a picture.")  # fmt: skip
@click.option("--samples", type=shared.at_least(1, "samples"), default=16, show_default=True,
              help="Accurate trajectories, at least 8 to judge by; more where a note asks for them.")  # fmt: skip
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), default=Path("solver.json"),
              show_default=True, help="File for the solver.")  # fmt: skip
@shared.plain_errors
@options.gathered
def command(asked: options.NetworkOptions, evaluations: int, samples: int, out: Path) -> None:
    """Find the few-step solver for a network, and say what to expect of it.

    The model is a name or the folder of a saved diffusers pipeline. Prompts and guidance go through the pipeline
    itself: the solver is for them and the size of picture. The cost is printed first, in evaluations and in time; it
    grows with the square of the evaluations of a picture. Interrupted, the same command goes on where it was; the same
    question is answered at once.
    """
    from image_exps.compare.measure import first_evaluation
    from image_exps.compare.paste import solver_lines
    from image_exps.networks.model import NetworkModel
    from image_exps.pipelines.solver_schedule import solver_schedule
    from lml.solver import calibrate, save

    if not out.parent.is_dir():
        raise ValueError(f"--out must be in a folder that exists, got {out}")
    made = asked.network()
    if isinstance(made.noise_model, NetworkModel) and len(asked.prompts) > 1:
        raise ValueError(f"prompts must be one class to calibrate on, got {list(asked.prompts)!r}")
    first_evaluation(made, made.start(asked.seed, 1))
    # The network splits samples into batches by itself, and knows the prompt of each by its place.
    found = calibrate(
        made.noise_model, solver_schedule(made, evaluations), evaluations, samples, shape=made.shape, seed=asked.seed,
        batch=samples, progress=lambda line: click.echo(line, err=True),
    )  # fmt: skip
    save(found.solver, out)
    click.echo(f"{found}\nWritten     {out}\n")
    for line in solver_lines(made, str(out), evaluations):
        click.echo(line)
