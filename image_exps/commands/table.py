"""Write the tables of a sweep: samplers against evaluations, or values of lambda or kappa."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    from image_exps.sweeps.pages import text_of_tables
    from image_exps.sweeps.store import read_results

    names: dict[str, Any] = {"target": target, "model": model, "distance": distance}
    options: dict[str, Any] = {"style": style, "parameter": parameter, "base": base, "standings": standings}
    for text in text_of_tables(read_results(results), **names, **options):
        click.echo(text)


if __name__ == "__main__":
    command()
