"""Tune LML: its damping on a target, or its strength on your own pipeline, by the distance to the flow."""

from __future__ import annotations

import math
from pathlib import Path

import click

from image_exps.commands import _network_options as network_options
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
  lml tune --model models/mine -n 8
  lml tune --model models/sd15 -p "a red fox" -p "a blue bird" -n 8 --arm dpm-solver++-2m@karras/lml --count 16
""",
)
@click.argument("target", required=False)
@click.option(
    "--arm",
    "name",
    default=None,
    show_default="ddim/lml; euler-flow/lml along a flow",
    help="Base and correction whose damping or strength is tuned.",
)
@click.option(
    "--model",
    "-m",
    default=None,
    metavar="NAME|FOLDER",
    show_default="exact",
    help="With TARGET: exact, network, smooth(size=0.1), ... Without: a network by name, or the folder of a saved "
    "diffusers pipeline.",
)
@network_options.further_network_options
@click.option("--evaluations", "-n", type=at_least(1, "evaluations"), default=10, show_default=True)
@click.option("--distance", default="endpoint-rmse", show_default=True, help="What is to be least.")
@click.option(
    "--count",
    type=at_least(2, "samples"),
    default=None,
    show_default="512; 32 without TARGET",
    help="Samples of each seed; without TARGET, those that choose.",
)
@click.option("--seeds", type=at_least(1, "seeds"), default=3, show_default=True, help="How many, from 0 on.")
@click.option(
    "--held-out",
    type=at_least(0, "seeds"),
    default=None,
    show_default="3; 32 without TARGET",
    help="Seeds after those, on which the best damping meets the arm as it was named; without TARGET, samples.",
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
@network_options.gathered
def command(
    asked: network_options.NetworkOptions,
    target: str | None,
    name: str | None,
    evaluations: int,
    distance: str,
    count: int | None,
    seeds: int,
    held_out: int | None,
    method: str,
    iterations: int | None,
    bounds: tuple[float, float],
    cache: Path,
) -> None:
    """Tune LML on TARGET, or without one on your own pipeline: every value that was tried, then the best, on others.

    Without TARGET, --model is a network by name or a folder; the strength of LML is chosen by the distance to that
    network's own flow, and reported on samples that did not choose it, with the lines to paste.

    TARGET is one of a sweep: digits, mnist, emoji, ring-2d, ...; fashion-mnist and emoji have a network (--model
    network). Choose on a target that is not the one to be reported. "relative" damping, the default, is a share of
    |eps|^2. The endpoints of the flow, from which endpoint-rmse is measured, take longest: some hundred evaluations for
    each seed, 256 samples at a time, kept in --cache for the next run.
    """
    check_output_folder(cache, "cache")
    if target is None:
        if asked.model is None:
            raise ValueError("tune needs a TARGET, or the network to be tuned on with --model FOLDER")
        _on_network(asked, name, evaluations, count or 32, 32 if held_out is None else held_out, cache)
        return
    name, model, count = name or "ddim/lml", asked.model or "exact", count or 512
    check_problem(target, model)
    held_out = 3 if held_out is None else held_out

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


def _on_network(
    asked: network_options.NetworkOptions, name: str | None, evaluations: int, count: int, held_out: int, cache: Path
) -> None:
    """Tune the strength of LML on a network, and print what was tried, what it gains, and the lines to paste."""
    from image_exps.compare.paste import lines
    from image_exps.compare.strength import tune
    from theory_checks.command_line.progress_line import ProgressLine

    made = asked.network()
    name = name or ("euler-flow/lml" if made.flow else "ddim/lml")
    with ProgressLine(f"{name} on {made.name}", "evaluations") as progress:
        found = tune(
            made, name, evaluations, count=count, held_out=held_out, seed=asked.seed, folder=cache / "tune",
            announce=progress.say, progress=progress,
        )  # fmt: skip
    for strength, value in found.tried.items():
        click.echo(f"strength {strength:<5g} {value:.4g}" + ("  <- least" if strength == found.strength else ""))
    base, default = ("{:.3f} [{:.3f}, {:.3f}]".format(*interval) for interval in (found.base, found.default))
    click.echo(
        f"On {held_out} other samples, in {evaluations} evaluations: distance {found.distance:.4g}, {base} of that "
        f"without LML, {default} of that at the default strength."
    )
    if not found.converged:
        click.echo("The reference flow has NOT CONVERGED: distances of this size are not to be trusted.")
    if found.strength == max(found.tried):
        click.echo("It is the largest that was tried: a larger one may be better.")
    if found.base.high >= 1:
        click.echo("No gain over the base beyond the interval: leave LML out.")
    elif found.default.value == 1:
        click.echo("That is the default strength.")
    elif found.default.high >= 1:
        click.echo("No gain over the default strength beyond the interval: either will do.")
    click.echo(f"Best strength: {found.strength:g}, {found.arm}. The lines to paste:")
    for line in lines(made, found.arm, evaluations):
        click.echo(f"    {line}")


def _spread(error: float) -> str:
    return "" if math.isnan(error) else f" ± {error:.2g}"


if __name__ == "__main__":
    command()
