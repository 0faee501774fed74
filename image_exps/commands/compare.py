"""Compare samplers on one network, your own pipeline too: pictures, distances to its own flow, and what to use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from image_exps.commands import _network_options as options
from image_exps.commands import _options as shared
from theory_checks.command_line.outputs import check_output_folder

__all__ = ["command"]


@click.command(
    name="compare",
    epilog="""\b
Samplers are named base@spacing/correction: ddim@time, unipc-2@karras, dpm-solver++-2m@log-snr/lml(mixing=0.0002);
own is the scheduler that the pipeline came with. Bases are those of lml.samplers; spacings time, log-snr, karras.

\b
Examples:
  lml compare --model models/mine -n 5,8,10
  lml compare --model models/sd15 -p "a red fox" -p "a blue bird" -n 8 --count 16 --dtype float16
  lml compare --model galaxy-hsc-32 -n 5,8,10 --count 64
  lml compare --model models/mine -n 8 --arms "own, ddim@karras, ddim@karras/lml, unipc-3@log-snr"
""",
)
@options.network_options
@click.option("--evaluations", "-n", default="5,8,10", show_default=True, metavar="N,N,...",
              help="Of the network, a picture.")  # fmt: skip
@click.option("--arms", default=None, metavar="NAMES", help="Samplers, with commas between them.",
              show_default="own; ddim, dpm-solver++-2m, unipc-2, ipndm-4, LML on two, all spacings")  # fmt: skip
@click.option("--count", type=shared.at_least(4, "samples"), default=32, show_default=True,
              help="Samples; half of them choose, the others report.")  # fmt: skip
@click.option("--columns", type=click.IntRange(1, 16), default=4, show_default=True, help="Of the pictures.")
@click.option("--out", "-o", type=click.Path(file_okay=False, path_type=Path), default=Path("out/compare"),
              show_default=True, help="Folder for compare.json, compare.html, compare.png, and for what goes on "
              "after an interruption.")  # fmt: skip
@shared.plain_errors
@options.gathered
def command(
    asked: options.NetworkOptions, evaluations: str, arms: str | None, count: int, columns: int, out: Path
) -> None:
    """Compare samplers on one network: from the same noises, how near does each come to where its own flow ends?

    The model is a name (galaxy-hsc-32, fashion-mnist) or the folder of a saved diffusers pipeline. Prompts and guidance
    go through the pipeline itself; distances are in its latents then. The flow is followed in steps that are doubled
    until its end no longer moves. Nothing is fetched. The same command again goes on where it was stopped.
    """
    check_output_folder(out)
    numbers = options.numbers(evaluations)

    from image_exps.compare.measure import check_arms, compare, default_arms
    from image_exps.compare.page import content_of, page, sheet
    from image_exps.images.files import write_png
    from image_exps.samplers.names import split_names
    from theory_checks.command_line.progress_line import ProgressLine
    from toy.atomic import atomic

    made = asked.network()
    names = default_arms(made) if arms is None else check_arms(split_names(arms), made)
    with ProgressLine(f"comparing on {made.name}", "evaluations") as progress:
        found = compare(
            made, names, numbers, count=count, seed=asked.seed, folder=out / "kept", announce=progress.say,
            progress=progress,
        )  # fmt: skip
    content = content_of(found)
    for cell in content["cells"]:
        _show(cell, content["base"])
    click.echo(content["reference"]["text"])
    sheets = {n: sheet(found, n, columns) for n in found.evaluations[:1]}
    out.mkdir(parents=True, exist_ok=True)
    for drawn, _ in sheets.values():
        write_png(drawn, out / "compare.png")
    texts = {
        "compare.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
        "compare.html": page(content, sheets),
    }
    for name, text in texts.items():
        with atomic(out / name) as path:
            path.write_text(text, encoding="utf-8")
    click.echo(f"Pictures and tables: {out / 'compare.html'}")


def _show(cell: dict[str, Any], base: str) -> None:
    head = ("sampler", "mean", "rms", "nearer", f"over {base} [95 %]")
    click.echo(f"\n{cell['evaluations']} evaluations: distance to the flow, share of samples nearer to it than {base}")
    shared.echo_table([head, *(_texts(row) for row in cell["rows"] if not row["reason"])])
    for row in cell["rows"]:
        if row["reason"]:
            click.echo(f"{row['label']}: {row['reason']}")
    for note in cell["notes"]:
        click.echo(note)
    click.echo(f"\n{cell['advice']}")
    for line in cell["lines"]:
        click.echo(f"    {line}")


def _texts(row: dict[str, Any]) -> tuple[str, ...]:
    nearer = "" if row["nearer"] is None else f"{row['nearer']:.0%}"
    ratio = "" if row["ratio"] is None else "{:.2f} [{:.2f}, {:.2f}]".format(*row["ratio"])
    return row["label"], f"{row['mean']:.4g}", f"{row['rms']:.4g}", nearer, ratio


if __name__ == "__main__":
    command()
