"""Tune the damping of LML on a target, by the paper's search or by one that knows its noise."""

from __future__ import annotations

import math
from pathlib import Path

import click

from image_exps.commands._options import at_least, cache_option, plain_errors
from image_exps.problems.names import check_problem
from image_exps.sweeps.tuning import ITERATIONS, METHODS, Trial, compare, tune_damping
from theory_checks.command_line.outputs import check_output_folder


@click.command(
    name="tune",
    epilog="""\b
Examples:
  python -m image_exps tune digits --evaluations 5
  python -m image_exps tune ring-2d --method paper --bounds 1e-4 10
  python -m image_exps tune fashion-mnist --model network --count 256 --seeds 2 --held-out 2
  python -m image_exps tune digits --arm "dpm-solver-3m/lml(mixing=1e-4)"
""",
)
@click.argument("target")
@click.option(
    "--arm", "name", default="ddim/lml", show_default=True, help="Base and correction whose damping is tuned."
)
@click.option("--model", default="exact", show_default=True, help="exact, network, smooth(size=0.1), ...")
@click.option("--evaluations", "-n", type=at_least(1, "evaluations"), default=10, show_default=True)
@click.option("--distance", default="endpoint-rmse", show_default=True, help="What is to be least.")
@click.option("--count", type=at_least(2, "samples"), default=512, show_default=True, help="Samples of each seed.")
@click.option("--seeds", type=at_least(1, "seeds"), default=3, show_default=True, help="How many, from 0 on.")
@click.option(
    "--held-out",
    type=at_least(0, "seeds"),
    default=3,
    show_default=True,
    help="Seeds after those, on which the best damping meets the arm as it was named.",
)
@click.option("--method", type=click.Choice(METHODS), default="scan", show_default=True)
@click.option(
    "--iterations",
    type=click.IntRange(1, 10_000),
    help="Dampings that are tried.",
    show_default="12; 5 for the paper's search",
)
@click.option(
    "--bounds", type=(float, float), default=(1e-4, 1.0), show_default=True, help="Least and largest damping."
)
@cache_option
@plain_errors
def command(
    target: str,
    name: str,
    model: str,
    evaluations: int,
    distance: str,
    count: int,
    seeds: int,
    held_out: int,
    method: str,
    iterations: int | None,
    bounds: tuple[float, float],
    cache: Path,
) -> None:
    """Tune the damping of LML on TARGET: every value that was tried, with its error, then the best, on other seeds too.

    TARGET is one of a sweep: digits, mnist, emoji, ring-2d, ...; fashion-mnist and emoji have a network (--model
    network). Choose on a target that is not the one to be reported. "relative" damping, the default, is a share of
    |eps|^2. The endpoints of the flow, from which endpoint-rmse is measured, take longest: some hundred evaluations for
    each seed, 256 samples at a time, kept in --cache for the next run.
    """
    check_problem(target, model)
    check_output_folder(cache, "cache")

    from image_exps.sweeps.tuning_objective import arm_objective
    from theory_checks.command_line.progress_line import ProgressLine

    objective = arm_objective(target, name, evaluations, distance, count=count, model=model, cache=cache)
    of = f"{count} samples, {seeds} seed{'s' if seeds > 1 else ''}"
    click.echo(f"{name} on {target} ({model}), {evaluations} evaluations, {distance} of {of}")

    with ProgressLine(f"{name} on {target}", "measurements") as progress:
        done = 0

        def counted(damping: float | None, seed: int) -> float:
            nonlocal done
            value = objective(damping, seed)
            done += 1
            progress(done, seeds * (iterations or ITERATIONS[method]))
            return value

        def notify(trial: Trial) -> None:
            click.echo(f"damping {trial.damping:<10.3g} {trial.value:.4g}{_spread(trial.error)}")

        trace = tune_damping(
            counted,
            bounds=bounds,
            method=method,  # type: ignore[arg-type]
            iterations=iterations,
            seeds=range(seeds),
            notify=notify,
        )
    noise = "" if math.isnan(trace.noise) else f"; its lead over the second is known to {trace.noise:.2g}"
    click.echo(f"Best damping: {trace.best:.3g}{noise}.")
    edges = [end for end in bounds if math.isclose(trace.best, end)]
    if edges:
        click.echo(f"It is the end of the range: the least may lie beyond, try other --bounds than {bounds}.")
    if held_out:
        found = {d: [objective(d, seed) for seed in range(seeds, seeds + held_out)] for d in (trace.best, None)}
        change = compare(found[trace.best], found[None])
        interval = "" if math.isnan(change.low) else f" [{change.low:.2g}, {change.high:.2g}]"
        means = {d: sum(values) / held_out for d, values in found.items()}
        others = f"{held_out} other seed{'s' if held_out > 1 else ''}"
        click.echo(
            f"On {others}: {means[trace.best]:.4g}, and {means[None]:.4g} without tuning; "
            f"difference {change.value:.2g}{interval}."
        )


def _spread(error: float) -> str:
    return "" if math.isnan(error) else f" ± {error:.2g}"


if __name__ == "__main__":
    command()
