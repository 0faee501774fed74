"""List the models that can be named, where each comes from, and what the paper set for it."""

from __future__ import annotations

import json

import click

from image_exps.commands._options import echo_table, plain_errors
from image_exps.pipelines.models import Model, find_models


def _row(known: Model) -> tuple[str, ...]:
    guidance = "-" if known.guidance is None else f"{known.guidance:g}"
    values = sorted(set(known.damping.values()))
    damping = " to ".join(dict.fromkeys(f"{value:g}" for value in (values[0], values[-1]))) if values else "-"
    return known.name, f"{known.resolution}", guidance, damping, known.licence


def _origin(known: Model) -> tuple[str, str]:
    where = "shipped" if known.shipped else known.hub or "not on the hub"
    notes = [known.fetch] if known.fetch else []
    if known.pickled:
        notes.append("its weights are pickles: convert them")
    if known.controlnet:
        notes.append(f"ControlNet: {known.controlnet}")
    return known.name, "; ".join([where, *notes])


@click.command(name="models")
@click.option("--json", "as_json", is_flag=True, help="Everything, with the paper's lambda for each budget, as JSON.")
@plain_errors
def command(as_json: bool) -> None:
    """List the models that can be named, where each comes from, and what the paper set for it.

    lambda is the damping of Tables 6 and 7 and of Supp. B.2; '-' where the paper gives none. The paper's kappa is not
    in the text that this package was written from, so it is never filled in.

    A saved diffusers pipeline of your own needs no name: give its folder as --model.

    Other packages add models through the entry-point group "lml.models".
    """
    known = find_models()
    if as_json:
        rows = [{**vars(entry), "damping": dict(entry.damping)} for entry in known.values()]
        click.echo(json.dumps(rows, indent=2))
        return
    echo_table([("model", "pixels", "guidance", "paper's lambda", "licence"), *map(_row, known.values())])
    click.echo()
    echo_table([("model", "where it is on the hub"), *map(_origin, known.values())])
