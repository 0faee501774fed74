"""The open search: ``python -m image_exps.search``; trials are rows in ``image_exps/results/search``."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch

from image_exps.search.learning import Learned
from image_exps.search.trials import (
    EVALUATIONS,
    FINALISTS,
    FROZEN,
    RESULTS,
    VARIANTS,
    bench,
    learned_trials,
    leave_one_out,
    plain_trials,
)
from image_exps.utils.text_files import read_json
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.command_line.progress_line import ProgressLine
from toy.atomic import atomic

__all__ = ["chosen", "main"]

_MANY = click.IntRange(1, 100_000)


def _record(folder: Path, name: str, rows: list[dict[str, Any]], found: Learned | None = None) -> None:
    """Write the rows of one trial, and what was learned, each file at once."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, text in (
        ("csv", pd.DataFrame(rows).to_csv(index=False, float_format="%.6g")),
        ("json", None if found is None else _text(found)),
    ):
        if text is not None:
            with atomic(folder / f"{name}.{suffix}") as part:
                part.write_text(text)
    frame = pd.DataFrame(rows)
    for trial, group in frame.groupby("trial", sort=False):
        click.echo(f"{name:12s} {trial:56s} {group['ratio'].round(2).tolist()}")


def chosen(folder: Path) -> dict[str, Any]:
    """Return the frozen setting of a record: at every number of evaluations what was learned of `FROZEN`."""
    k, table = list(VARIANTS).index(FROZEN), {}
    for n in EVALUATIONS:
        found = read_json(folder / f"{n}-learned-{k}.json")
        first, *_, last = levels = found["half_log_snr"]
        fractions = [round((level - first) / (last - first), 6) for level in levels]
        table[str(n)] = {"fractions": fractions, "weights": found["weights"], "restored": found["restored"]}
    return table


def _text(found: Learned) -> str:
    profile = found.profile()
    return json.dumps(
        {
            "half_log_snr": [round(float(value), 4) for value in found.half_log_snr],
            "weights": profile.weights,
            "restored": profile.restored,
            "loss": found.loss,
        },
        indent=1,
    )


@click.command()
@click.option(
    "--evaluations", "-n", multiple=True, type=click.IntRange(1, 1000), default=EVALUATIONS, show_default=True
)
@click.option("--part", type=click.Choice(["plain", "finalists", "variants", "leave-one-out"]), multiple=True)
@click.option("--iterations", type=_MANY, default=250, show_default=True, help="Steps of Adam.")
@click.option("--training", type=_MANY, default=48, show_default=True, help="Noises of every target to learn from.")
@click.option("--validation", type=_MANY, default=192, show_default=True, help="Noises of every target to judge by.")
@click.option("--freeze", is_flag=True, help="Try nothing: write what the record holds of the frozen setting to lml.")
@click.option("--folder", default=RESULTS, type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(
    evaluations: tuple[int, ...],
    part: tuple[str, ...],
    iterations: int,
    training: int,
    validation: int,
    freeze: bool,
    folder: Path,
) -> None:
    """Try settings on the tuning targets, and keep a record of all of them."""
    if freeze:
        with atomic(Path(str(files("lml"))) / "tuned.json") as new:
            new.write_text(json.dumps(chosen(folder), indent=1) + "\n")
        return
    check_output_folder(folder, "folder")
    torch.set_num_threads(1)
    with ProgressLine("search", "numbers of evaluations") as progress:
        on = bench(training, validation)
        for done, n in enumerate(evaluations):
            progress(done, len(evaluations))
            if not part or "plain" in part:
                _record(folder, f"{n}-plain", list(plain_trials(on, n)))
            for k, name in enumerate(VARIANTS):
                if (name in FINALISTS and (not part or "finalists" in part)) or (
                    name not in FINALISTS and (not part or "variants" in part)
                ):
                    # Two first grids where the record has two: at 5 evaluations half-way ends in a worse minimum.
                    shares = (0.5, 1.0) if name in FINALISTS[1:] and n == EVALUATIONS[0] else (0.5,)
                    found, rows = learned_trials(on, n, name, iterations=iterations, shares=shares)
                    _record(folder, f"{n}-learned-{k}", rows, found)
            if not part or "leave-one-out" in part:
                _record(folder, f"{n}-left-out", list(leave_one_out(on, n, FINALISTS[-1], iterations=iterations)))


if __name__ == "__main__":
    main()
