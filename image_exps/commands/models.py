"""List the models that can be named, where each comes from, and what the paper set for it."""

from __future__ import annotations

import json

import click

from image_exps.commands._options import echo_table, plain_errors
from image_exps.models import Model, find_models


def _row(known: Model) -> tuple[str, ...]:
    guidance = "-" if known.guidance is None else f"{known.guidance:g}"
    source = "shipped" if known.shipped else known.hub or "see below"
    damping = "-"
    if known.pickled and known.hub:
        source += " (pickles: convert)"
    if known.damping:
        values = sorted(set(known.damping.values()))
        damping = f"{values[0]:g}" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g}"
    return known.name, f"{known.resolution}", guidance, damping, known.licence, source


@click.command(name="models")
@click.option("--json", "as_json", is_flag=True, help="Everything, with the paper's lambda for each budget, as JSON.")
@plain_errors
def command(as_json: bool) -> None:
    """List the models that can be named, where each comes from, and what the paper set for it.

    lambda is the damping of Tables 6 and 7 and of Supp. B.2; '-' where the paper gives none. The paper's kappa is not
    in the text that this package was written from, so it is never filled in.

    Other packages add models through the entry-point group "lml.models".
    """
    known = find_models()
    if as_json:
        rows = [{**vars(entry), "damping": dict(entry.damping)} for entry in known.values()]
        click.echo(json.dumps(rows, indent=2))
        return
    head = ("model", "pixels", "guidance", "paper's lambda", "licence", "hub id")
    echo_table([head, *map(_row, known.values())])
    click.echo()
    for entry in known.values():
        if entry.fetch:
            click.echo(f"{entry.name}: {entry.fetch}")
        if entry.controlnet:
            click.echo(f"{entry.name}: its ControlNet is {entry.controlnet}")
