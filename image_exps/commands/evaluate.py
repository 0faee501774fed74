"""Score a folder of pictures: FID or FD-EffNetLite0, CLIP, colourfulness, plug-ins, T2I-CompBench, with intervals."""

from __future__ import annotations

import math
from pathlib import Path

import click

from image_exps.benchmarks import COMPBENCH_CATEGORIES
from image_exps.commands import _options as shared

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command(
    name="evaluate",
    epilog="""\b
Examples:
  python -m image_exps evaluate out/shirts --score colourfulness
  python -m image_exps evaluate out/cifar --real data/cifar10-train \\
      --inception weights-inception-2015-12-05-6726825d.pth
  python -m image_exps evaluate out/captions --clip-dir models/clip-vit-large-patch14

\b
T2I-CompBench: pictures (ten of each of 300 prompts), layout, its own evaluation, scores read back:
  python -m image_exps sample -m sd15 --model-dir models/sd15 --count 3000 \\
      --prompts T2I-CompBench/examples/dataset/color_val.txt --out out/color
  python -m image_exps evaluate out/color --compbench color --compbench-dir out/color-bench
  (cd T2I-CompBench/BLIPvqa_eval && python BLIP_vqa.py --out_dir=/absolute/path/to/out/color-bench)
  python -m image_exps evaluate out/color --compbench color --compbench-dir out/color-bench
""",
)
@click.argument("folder", type=_FOLDER, required=False)
@click.option("--score", "names", multiple=True, metavar="NAME", help="A score of single pictures; can be repeated.")
@click.option("--real", type=_FOLDER, help="Folder of real pictures: their Frechet distance is measured.")
@click.option(
    "--inception",
    type=_FILE,
    help="Inception weights, of torch-fidelity's release v0.2.0: FID. Without: FD-EffNetLite0.",
)
@click.option("--clip-dir", type=_FOLDER, help="Local folder of a CLIP model: CLIP score of pictures and prompts.")
@click.option("--compbench", type=click.Choice(COMPBENCH_CATEGORIES), help="Category of T2I-CompBench.")
@click.option("--compbench-dir", type=_FOLDER, help="Its folder: laid out if it is new, else its scores are read.")
@click.option("--batch", type=click.IntRange(min=1), default=32, show_default=True, help="Pictures at a time.")
@click.option("--repeats", type=click.IntRange(min=2), default=1000, show_default=True, help="Resamples of intervals.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the resamples.")
@click.option("--device", default=None, help="cpu, cuda, cuda:N.", show_default="cuda if there is one, or cpu")
@click.option("--out", "-o", type=_FILE, help="Parquet file of the results.", show_default="FOLDER/results.parquet")
@click.option("--list", "list_only", is_flag=True, help="List the scores that --score knows, and exit.")
@shared.plain_errors
def command(
    folder: Path | None,
    names: tuple[str, ...],
    real: Path | None,
    inception: Path | None,
    clip_dir: Path | None,
    compbench: str | None,
    compbench_dir: Path | None,
    batch: int,
    repeats: int,
    seed: int,
    device: str | None,
    out: Path | None,
    list_only: bool,
) -> None:
    """Score a folder of pictures: each figure with its 95 % bootstrap interval, kept as Parquet beside those of before.

    FOLDER is one that sample made, or any folder of pictures. Without further options its colourfulness is measured.
    Scores of other packages come through the entry-point group "lml.scores".
    """
    from image_exps.evaluation.folder import open_generated
    from image_exps.evaluation.results import Result, add_results, check_parquet
    from image_exps.evaluation.scores import Score, chosen, find_scores, mean_score

    scores = find_scores()
    if list_only:
        for score in scores.values():
            click.echo(f"{score.name}  ({'more' if score.higher_is_better else 'less'} is better)")
        return
    if out is not None:
        check_parquet(out)
    if folder is None:
        raise ValueError("FOLDER must be given: the folder of pictures to be scored")
    if inception is not None and real is None:
        raise ValueError("inception: an FID needs real pictures to compare with, give their folder with --real")
    if (compbench is None) != (compbench_dir is None):
        raise ValueError("compbench and compbench-dir belong together, got one of them")
    if not (names or real or clip_dir or compbench):
        names = ("colourfulness",)
    generated = open_generated(folder)
    wanted: list[Score] = chosen(names, scores)
    where = shared.device_or_best(device)
    if clip_dir is not None:
        from image_exps.evaluation.clip import ClipScore

        wanted.append(ClipScore(clip_dir, where))

    results = []

    def keep(metric: str, value: float, low: float, high: float, *, higher: bool, remark: str = "") -> None:
        lost = f"{len(generated.lost)} pictures were not finite and are left out" if generated.lost else ""
        guidance = math.nan if generated.guidance is None else generated.guidance
        results.append(
            Result(
                generated.model,
                generated.sampler,
                generated.evaluations,
                metric,
                value,
                low,
                high,
                len(generated),
                higher,
                guidance,
                "; ".join(filter(None, (remark, lost))),
                folder.name,
            )
        )
        note = f"  ({remark})" if remark else ""
        click.echo(f"{metric}: {value:.4g} [{low:.4g}, {high:.4g}], {len(generated)} pictures{note}")

    for score in wanted:
        mean = mean_score(score, generated, batch=batch, repeats=repeats, seed=seed)
        keep(score.name, *mean, higher=score.higher_is_better)
    if real is not None:
        from image_exps.evaluation.fid import efficientnet_network, features_of, frechet, inception_network

        network = efficientnet_network() if inception is None else inception_network(inception, where)
        features = [features_of(each, network, batch=batch) for each in (generated, open_generated(real))]
        found = frechet(*features, repeats=repeats, seed=seed)
        keep(network.distance, found.value, found.low, found.high, higher=False, remark=found.remark)
    if compbench is not None and compbench_dir is not None:
        from image_exps.evaluation.compbench import evaluation_command, lay_out, read_scores

        if any((compbench_dir / "samples").glob("*")):
            read = read_scores(compbench_dir, compbench, generated)
            keep(read.metric, read.value, read.low, read.high, higher=True, remark=read.remark)
        else:
            count, command_line = lay_out(generated, compbench_dir), evaluation_command(compbench_dir)
            click.echo(f"{count} pictures in {compbench_dir / 'samples'}. Now run its evaluation, {command_line},")
            click.echo("and then this command again.")
    if results:
        path = out or folder / "results.parquet"
        add_results(results, path)
        click.echo(f"Kept in {path}", err=True)
