"""Write the tables of a sweep: samplers against evaluations, or values of lambda or kappa."""

from __future__ import annotations

from pathlib import Path

import click

from image_exps.commands._options import plain_errors


@click.command(name="table")
@click.argument("results", type=click.Path(exists=True, path_type=Path))
@click.option("--target", help="Name of a target.", show_default="every one of the results")
@click.option("--model", help="exact, network, ...", show_default="every one of the results")
@click.option("--distance", help="Name of a distance.", show_default="every one of the results")
@click.option("--format", "style", type=click.Choice(["markdown", "latex"]), default="markdown", show_default=True)
@click.option(
    "--ablation", "parameter", type=click.Choice(["damping", "mixing"]), help="Figures 9 and 10 of the paper."
)
@click.option("--base", default="ddim", show_default=True, help="Base solver of an ablation.")
@click.option(
    "--standings", is_flag=True, help="All targets in one table: over the best sampler that carries no correction."
)
@plain_errors
def command(
    results: Path,
    target: str | None,
    model: str | None,
    distance: str | None,
    style: str,
    parameter: str | None,
    base: str,
    standings: bool,
) -> None:
    """Write the tables of RESULTS, a Parquet file or the folder of a sweep, finished or not, to standard output."""
    from image_exps.sweeps.standings import standings_table
    from image_exps.sweeps.store import read_results
    from image_exps.sweeps.tables import ablation, quality_table

    rows = read_results(results)
    found = rows[["target", "model", "distance"]].drop_duplicates()
    asked = {"target": target, "model": model, "distance": distance}
    for column, name in asked.items():
        if name is not None and name not in set(rows[column]):
            known = ", ".join(sorted(set(rows[column])))
            raise ValueError(f"{column} must be one of {known} in these results, got {name!r}")
        if name is not None:
            found = found[found[column] == name]
    if standings:
        if target is not None or parameter is not None or style != "markdown":
            raise ValueError("standings are of all targets, in Markdown, without --target, --ablation and --format")
        over_targets = rows[~rows["higher_is_better"]].groupby(["model", "distance"])["target"].nunique()
        for which in found[["model", "distance"]].drop_duplicates().itertuples(index=False):
            if over_targets.get((which.model, which.distance), 0) < 2:
                continue  # one target has no standings: its own table says more
            click.echo(f"{which.distance}, {which.model} model\n")
            click.echo(standings_table(rows, distance=which.distance, model=which.model) + "\n")
        return
    for which in found.itertuples(index=False):
        names = {"target": which.target, "model": which.model, "distance": which.distance}
        made = ablation(rows, parameter, base=base, **names) if parameter else quality_table(rows, **names)  # type: ignore[arg-type]
        click.echo(made.to_markdown() if style == "markdown" else made.to_latex())


if __name__ == "__main__":
    command()
