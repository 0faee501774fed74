"""Tune the damping of LML on a target, by the paper's search or by one that knows its noise."""

from __future__ import annotations

from pathlib import Path

import click

from image_exps.commands._options import plain_errors
from image_exps.tune import METHODS, tune_damping
from image_exps.tune_objective import arm_objective


@click.command(name="tune")
@click.argument("target")
@click.option(
    "--arm", "name", default="ddim/lml", show_default=True, help="Base and correction whose damping is tuned."
)
@click.option("--model", default="exact", show_default=True, help="exact, network, smooth(size=0.1), ...")
@click.option("--evaluations", "-n", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--distance", default="endpoint-rmse", show_default=True, help="What is to be least.")
@click.option("--count", type=click.IntRange(min=2), default=512, show_default=True, help="Samples of each seed.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many, from 0 on.")
@click.option("--method", type=click.Choice(METHODS), default="scan", show_default=True)
@click.option("--iterations", type=int, help="Dampings that are tried.", show_default="12; 5 for the paper's search")
@click.option(
    "--bounds", type=(float, float), default=(1e-4, 1.0), show_default=True, help="Least and largest damping."
)
@click.option(
    "--cache",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/cache/flow-ends"),
    show_default=True,
    help="Folder for endpoints of the exact flow.",
)
@plain_errors
def command(
    target: str,
    name: str,
    model: str,
    evaluations: int,
    distance: str,
    count: int,
    seeds: int,
    method: str,
    iterations: int | None,
    bounds: tuple[float, float],
    cache: Path,
) -> None:
    """Tune the damping of LML on TARGET: every value that was tried, with its error, then the best.

    Choose on a target that is not the one to be reported. "relative" damping, the default, is a share of |eps|^2.
    """
    objective = arm_objective(target, name, evaluations, distance, count=count, model=model, cache=cache)
    trace = tune_damping(
        objective,
        bounds=bounds,
        method=method,  # type: ignore[arg-type]
        iterations=iterations,
        seeds=range(seeds),
    )
    for trial in trace.trials:
        mark = "  best" if trial.damping == trace.best else ""
        click.echo(f"damping {trial.damping:<10.3g} {distance} {trial.value:.4g} ± {trial.error:.2g}{mark}")
    click.echo(f"Best damping: {trace.best:.3g}; noise of its lead over the second, same seeds: {trace.noise:.2g}.")


if __name__ == "__main__":
    command()
