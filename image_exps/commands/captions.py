"""Select captions of MS-COCO, or prompts of T2I-CompBench, into a file that sample reads with --prompts."""

from __future__ import annotations

import json
from pathlib import Path

import click

from image_exps.commands import _options as shared
from image_exps.evaluation.benchmarks import COCO_CAPTIONS, COMPBENCH_CATEGORIES
from theory_checks.command_line.outputs import check_output_file


@click.command(
    name="captions",
    epilog="""\b
Examples:
  python -m image_exps captions --coco annotations/captions_val2014.json --out captions.json
  python -m image_exps captions --compbench T2I-CompBench --category color --out color.json
  python -m image_exps sample -m sd15 --model-dir models/sd15 --prompts captions.json --out out/captions
""",
)
@click.option("--coco", type=click.Path(dir_okay=False, path_type=Path), help="A local captions_val2014.json.")
@click.option("--compbench", type=click.Path(file_okay=False, path_type=Path), help="A local clone of T2I-CompBench.")
@click.option("--category", type=click.Choice(COMPBENCH_CATEGORIES), help="Of T2I-CompBench.")
@click.option("--count", type=int, help="Of captions.", show_default=f"{COCO_CAPTIONS}, as in the paper")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the selection of captions.")
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), required=True, help="JSON list of texts.")
@shared.plain_errors
def command(
    coco: Path | None, compbench: Path | None, category: str | None, count: int | None, seed: int, out: Path
) -> None:
    """Select captions of MS-COCO, or prompts of T2I-CompBench, into a file that sample reads with --prompts.

    Of MS-COCO: one caption each of --count different pictures, which depend on --seed alone. The paper draws 30,000 and
    does not say which.
    """
    if (coco is None) == (compbench is None):
        raise ValueError("give one of --coco and --compbench")
    if (compbench is None) != (category is None):
        raise ValueError("--category belongs to --compbench, and must be given with it")
    check_output_file(out)
    if coco is not None:
        from image_exps.evaluation.coco import coco_captions

        found = coco_captions(coco, COCO_CAPTIONS if count is None else count, seed)
    else:
        from image_exps.evaluation.compbench import compbench_prompts

        if count is not None:
            raise ValueError("--count belongs to --coco: all prompts of T2I-CompBench are used")
        assert compbench is not None
        assert category is not None
        found = compbench_prompts(compbench, category)
    from toy.atomic import atomic

    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic(out) as partial:
        partial.write_text(json.dumps(found, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")
    click.echo(f"{len(found)} prompts in {out}")
