"""Score a folder of pictures: FID or FD-EffNetLite0, CLIP, colourfulness, plug-ins, T2I-CompBench, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from image_exps.commands import _options as shared
from image_exps.evaluation.benchmarks import COMPBENCH_CATEGORIES
from image_exps.evaluation.score_names import COLOURFULNESS, check_score_names, score_names

if TYPE_CHECKING:
    from image_exps.evaluation.fid import FeatureNetwork
    from image_exps.evaluation.folder import Generated
    from image_exps.evaluation.results import Result
    from image_exps.evaluation.scores import Score
    from theory_checks.command_line.progress_line import ProgressLine

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

    FOLDER is one that sample made, or any folder of pictures: BMP, GIF, JPEG, PNG, TIFF and WebP, of one frame, in it
    and in folders below; what is hidden does not count. Without further options its colourfulness is measured.
    Scores of other packages come through the entry-point group "lml.scores".
    """
    if list_only:
        for name, origin in score_names().items():
            click.echo(f"{name}  ({origin})")
        return
    if folder is None:
        raise ValueError("FOLDER must be given: the folder of pictures to be scored")
    if inception is not None and real is None:
        raise ValueError("inception: an FID needs real pictures to compare with, give their folder with --real")
    if (compbench is None) != (compbench_dir is None):
        raise ValueError("compbench and compbench-dir belong together, got one of them")
    check_score_names(names)
    if not (names or real or clip_dir or compbench):
        names = (COLOURFULNESS,)
    out = folder / "results.parquet" if out is None else out

    from image_exps.evaluation.folder import open_generated
    from image_exps.evaluation.results import check_parquet

    # What can be refused is, before the first network takes its time.
    check_parquet(out)
    kept = _ResultsWriter(open_generated(folder), out, repeats, seed, batch)
    others = None if real is None else open_generated(real)
    for pictures in filter(None, (kept.generated, others)):
        pictures.check_files()
        if pictures.left_out:
            click.echo(f"{pictures.folder}: {len(pictures)} pictures; left out: {pictures.left_out}", err=True)
    if others is not None:
        for what, pictures in (("FOLDER", kept.generated), ("real", others)):
            if len(pictures) < 2:
                raise ValueError(f"{what} must have at least 2 pictures for a distance, {pictures.folder} has one")
    if clip_dir is not None:
        kept.generated.check_prompts("a CLIP score")
    where = shared.device_or_best(device)

    from image_exps.evaluation.scores import load_score

    wanted = [load_score(name) for name in names]
    if clip_dir is not None:
        from image_exps.evaluation.clip import ClipScore

        wanted.append(ClipScore(clip_dir, where))
    compared = None
    if others is not None:
        from image_exps.evaluation.fid import efficientnet_network, inception_network

        compared = efficientnet_network() if inception is None else inception_network(inception, where), others
    if compbench is not None and compbench_dir is not None:
        kept.compbench(compbench, compbench_dir)
    for score in wanted:
        kept.score(score)
    if compared is not None:
        kept.frechet(*compared)
    if kept.count:
        click.echo(f"Kept in {kept.path}", err=True)


@dataclass
class _ResultsWriter:
    """The figures of a folder: each is shown, and kept in a file, as soon as it is measured.

    Attributes:
        generated: the folder.
        path: of the results.
        repeats, seed: of the intervals.
        batch: pictures at a time.
        count: how many are measured.
    """

    generated: Generated
    path: Path
    repeats: int
    seed: int
    batch: int
    count: int = 0

    def keep(self, made: Result) -> None:
        from image_exps.evaluation.results import add_results

        add_results([made], self.path)
        self.count += 1
        note = f"  ({made.remark})" if made.remark else ""
        click.echo(f"{made.metric}: {made.value:.4g} [{made.low:.4g}, {made.high:.4g}], {made.count} pictures{note}")

    def score(self, score: Score) -> None:
        from image_exps.evaluation.scores import mean_score

        with _bar(score.name) as bar:
            mean = mean_score(
                score, self.generated, batch=self.batch, progress=bar, repeats=self.repeats, seed=self.seed
            )
        self.keep(self.generated.result(score.name, *mean, higher_is_better=score.higher_is_better))

    def frechet(self, network: FeatureNetwork, real: Generated) -> None:
        from image_exps.evaluation.fid import features_of, frechet

        features = []
        for what, pictures in (("generated", self.generated), ("real", real)):
            with _bar(f"{network.distance}, {what}") as bar:
                features.append(features_of(pictures, network, batch=self.batch, progress=bar))
        *interval, remark = frechet(*features, repeats=self.repeats, seed=self.seed)
        self.keep(self.generated.result(network.distance, *interval, higher_is_better=False, remark=remark))

    def compbench(self, category: str, folder: Path) -> None:
        """Read the scores of a folder that is laid out, or lay it out."""
        from image_exps.evaluation.compbench import evaluation_command, lay_out, read_scores

        if any((folder / "samples").glob("*")):
            self.keep(read_scores(folder, category, self.generated))
        else:
            count, command_line = lay_out(self.generated, folder), evaluation_command(folder)
            click.echo(f"{count} pictures in {folder / 'samples'}. Now run its evaluation, {command_line},")
            click.echo("and then this command again.")


def _bar(label: str) -> ProgressLine:
    from theory_checks.command_line.progress_line import ProgressLine

    return ProgressLine(label, "pictures")
