"""Draw the same seeds with several samplers, side by side, as one labelled picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from image_exps.commands import _sampling_options as options
from image_exps.commands._options import MOST, plain_errors
from image_exps.commands._sampling_options import SamplingOptions
from image_exps.images.files import check_png, write_png
from image_exps.samplers.names import parse_name, split_names
from image_exps.samplers.pipeline_sampler import PipelineSampler
from theory_checks.command_line.outputs import check_output_file

# Columns without prompts, and at most.
_COLUMNS, _MOST = 8, 64


@click.command(
    name="grid",
    epilog="""\b
Examples:
  python -m image_exps grid -m fashion-mnist --samplers ddim,ddim/lml,unipc-2,unipc-2/lml -n 10 --count 8 \\
      --out out/grid.png
  python -m image_exps grid -m fashion-mnist --out out/budgets.png \\
      --samplers ddim/lml:5,dpm-solver-3m/lml:5,dpm-solver-3m/lml:8,ddim/lml:20
  python -m image_exps grid -m sd15 --model-dir models/sd15 -p "a red fox" -p "a blue bird" \\
      --samplers ddim,dpm-solver-3m,dpm-solver++-3m,unipc-2,dpm-solver++-3m/lml --out out/figure4.png
""",
)
@options.load_options
@click.option(
    "--samplers",
    "-s",
    default=None,
    show_default="ddim,ddim/lml; euler-flow,euler-flow/lml along a flow",
    metavar="NAMES",
    help="A row each, with commas; NAME:N for a budget of its own.",
)
@options.run_options
@click.option(
    "--count", type=click.IntRange(1, _MOST), help="Columns.", show_default=f"as many as prompts, or {_COLUMNS}"
)
@options.prompt_options
@options.lml_options
@click.option(
    "--out", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True, help="PNG file; replaced if there."
)
@plain_errors
@options.gathered
def command(asked: SamplingOptions, samplers: str | None, count: int | None, out: Path) -> None:
    """Draw the same seeds with several samplers, side by side, as one labelled picture.

    A column starts from the same noise in every row and has the same prompt, as in Figures 3, 4, 5 and 11 of the paper.
    The options of LML hold for the rows that have it.

    Where timesteps lie is left to the model's config, as in diffusers. With leading, which the shipped models have,
    rows begin at different noise levels (in 5 evaluations ddim at 800 of 1000, unipc-2 at 830), and a part of what
    tells them apart is that. --spacing linspace lets all begin at 999, as dpm-solver-3s always does.
    """
    check_png(out)
    check_output_file(out)
    samplers = samplers or ("euler-flow,euler-flow/lml" if asked.model.flow else "ddim,ddim/lml")
    if count is None and len(asked.prompts) > _MOST:
        raise ValueError(f"prompts must be at most {_MOST}, a column each, or --count given, got {len(asked.prompts)}")
    chosen = [_sampler(asked, text) for text in split_names(samplers)]
    if asked.lml and not any(sampler.correction == "lml" for sampler in chosen):
        raise ValueError(f"{', '.join(asked.lml)}: only of LML, and no row has it, got samplers {samplers!r}")

    import numpy as np

    from image_exps.images.grid import compose
    from image_exps.pipelines.rendering import to_bytes
    from image_exps.pipelines.session import open_session
    from theory_checks.command_line.progress_line import ProgressLine

    prompts, seed = asked.prompts, asked.seed
    columns = count if count is not None else len(prompts) or _COLUMNS
    session = open_session(asked.request(chosen[0], columns))
    for sampler in chosen:
        session.renderer(sampler).check_prompts(prompts)  # all of them, before the first takes its time
    rows: list[list[np.ndarray[Any, Any] | None]] = []
    with ProgressLine(asked.model.name, "pictures") as progress:
        for sampler in chosen:
            renderer = session.renderer(sampler)
            row: list[np.ndarray[Any, Any]] = []
            for start in range(0, columns, asked.batch):
                row.extend(session.draw(renderer, range(start, min(start + asked.batch, columns))))
                progress(len(rows) * columns + len(row), len(chosen) * columns)
            rows.append([to_bytes(picture) for picture in row])
    labels = [f"{sampler.name}, {sampler.evaluations}" for sampler in chosen]
    heads = [prompts[i % len(prompts)] if prompts else f"seed {seed + i}" for i in range(columns)]
    sheet = compose(rows, labels, heads)
    write_png(sheet, out)
    bad = [
        f"{label}, seed {seed + i}"
        for label, row in zip(labels, rows, strict=True)
        for i, picture in enumerate(row)
        if picture is None
    ]
    click.echo(f"{len(chosen)} x {columns} pictures in {out}", err=True)
    if bad:
        click.echo(f"not finite, and crossed out: {'; '.join(bad)}", err=True)


def _sampler(asked: SamplingOptions, text: str) -> PipelineSampler:
    """Return the sampler of a row, ``NAME`` or ``NAME:N``; one without LML leaves LML's options to the others."""
    name, colon, budget = text.partition(":")
    parts = parse_name(name)
    if colon:
        try:
            asked = replace(asked, evaluations=int(budget))
        except ValueError:
            raise ValueError(f"samplers: the budget of {name} must be a whole number, got {budget!r}") from None
        if asked.evaluations > MOST["evaluations"]:
            raise ValueError(f"samplers: the budget of {name} must be at most {MOST['evaluations']}, got {budget}")
    if parts.correction != "lml":
        asked = replace(asked, lml={})
    if parts.spacing is not None or not replace(asked, spacing=None).sampler(name).scheduler.spaced:
        asked = replace(asked, spacing=None)
    return asked.sampler(name)
