"""Judge a sampler of anybody's: is it right, good, robust, well-behaved, cheap, the same as another."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import click

from image_exps.commands import _options as shared

__all__ = ["command"]

_FOLDER = click.Path(file_okay=False, path_type=Path)
_PART_NAMES = ("right", "behaviour", "same", "good", "robust", "cost")


@click.command(
    name="judge",
    epilog="""\b
WHAT is one of
  diffusers:UniPCMultistepScheduler       a scheduler class, of any package: package.module:Class
  'package:Class{"solver_order": 3}'      the same with options, as JSON
  scheduler_config.json, models/sd15      a saved scheduler, or the folder of a saved pipeline
  k_diffusion.sampling:sample_dpmpp_2m    f(model, x, sigmas, extra_args=None, callback=None, disable=None)
  package.module:function                 the same, or f(noise_model, x, levels)
  dpm-solver++-2m@karras, ddim/lml        a sampler of this project, base@spacing/correction
  NAME                                    an entry point of the group "lml.judged"

\b
Examples:
  lml judge diffusers:UniPCMultistepScheduler
  lml judge my_package:MyScheduler --require "order >= 2" --require consistent
  lml judge 'diffusers:DPMSolverMultistepScheduler{"use_karras_sigmas": true}' \\
      --same-as k_diffusion.sampling:sample_dpmpp_2m --only same

\b
--require takes consistent, without-symptoms, deterministic, well-behaved, same, or a comparison of order, ratio (the
largest, to the best baseline), cost (a step over one of DDIM) or breaks (the guidance at which it does): "order >= 2".
""",
)
@click.argument("what")
@click.option("--same-as", metavar="OTHER", help="Another sampler: are the two one algorithm, and where do they part?")
@click.option("--claims-order", type=click.FloatRange(min=0), help="The order that it is held against.",
              show_default="what it says of itself")  # fmt: skip
@click.option("--require", "requirements", multiple=True, metavar="CONDITION",
              help="Exit with 1 unless this is met. Can be repeated.")  # fmt: skip
@click.option("--profile", type=click.Choice(["quick", "full"]), default="quick", show_default=True,
              help="quick: within 2 minutes on 2 cores. full: more steps, samples and targets, within 15.")  # fmt: skip
@click.option(
    "--only", "parts", multiple=True, type=click.Choice(_PART_NAMES), help="This question only. Can be repeated."
)
@click.option("--evaluations", metavar="N,N,...", help="Evaluations of the network at which quality is measured.",
              show_default="5,8,10,20; full: 5,6,8,10,15,20,30")  # fmt: skip
@click.option("--spacing", help="Of its levels where quality is measured: time, log-snr, karras; of diffusers also "
              "leading, linspace, trailing, exponential, beta.", show_default="its own")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of all samples.")
@click.option("--network-ms", type=click.FloatRange(min=0, min_open=True),
              help="What an evaluation of your network costs, in ms: draws quality against seconds too.")  # fmt: skip
@click.option("--seconds", type=click.FloatRange(min=1), help="The longest that one question may take.",
              show_default="600; full: 3600")  # fmt: skip
@click.option("--out", type=_FOLDER, default=Path("out/judge"), show_default=True,
              help="Folder for judge.json, judge.html and the answers of single questions.")  # fmt: skip
@click.option(
    "--resume", is_flag=True, help="Take answers from the folder where nothing that they rest on has changed."
)
@shared.plain_errors
def command(
    what: str,
    same_as: str | None,
    claims_order: float | None,
    requirements: tuple[str, ...],
    profile: str,
    parts: tuple[str, ...],
    evaluations: str | None,
    spacing: str | None,
    seed: int,
    network_ms: float | None,
    seconds: float | None,
    out: Path,
    resume: bool,
) -> None:
    """Judge a sampler on targets whose score and flow are known exactly.

    Prints a card of one screen, and writes judge.json and a page, judge.html. The exit status is 0 if every --require
    is met (and something could be judged), 1 if one is not, 2 for what cannot be judged at all or a bad argument.
    """
    from rich.console import Console

    from image_exps.judge.card import card
    from image_exps.judge.judged import CannotRunError
    from image_exps.judge.page import page
    from image_exps.judge.progress import Line
    from image_exps.judge.run import judge
    from image_exps.judge.sentences import sentences
    from image_exps.judge.verdict import PARTS, Verdict
    from toy.atomic import atomic

    needed = Verdict.parts_of(requirements)
    if "same" in (needed | set(parts)) and same_as is None:
        raise ValueError("same: with what? give the other sampler with --same-as")
    asked = [part for part in PARTS if not parts or part in parts or part in needed]
    numbers = _numbers(evaluations)
    sys.path.insert(0, str(Path.cwd()))  # a sampler of one's own is most often in the folder at hand
    began = time.monotonic()
    try:
        with Line(asked, profile) as line:
            verdict = judge(
                what, profile=profile, seed=seed, claims_order=claims_order, same_as=same_as, evaluations=numbers,
                spacing=spacing, parts=asked, out=out, resume=resume, seconds=seconds, network_ms=network_ms,
                listener=line,
            )  # fmt: skip
    except CannotRunError as error:
        raise ValueError(f"{what} cannot be judged: {error}") from error
    except KeyboardInterrupt:
        click.echo(f"Interrupted after {time.monotonic() - began:.0f} s: go on with --resume.", err=True)
        sys.exit(130)
    out.mkdir(parents=True, exist_ok=True)
    met = {each: verdict.meets(each) for each in requirements}
    verdict.content["sentences"] = sentences(verdict)
    verdict.content["requirements"] = {each: {"met": ok, "found": found} for each, (ok, found) in met.items()}
    with atomic(out / "judge.json") as path:
        text = json.dumps(verdict.content, indent=1, ensure_ascii=False, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")
    with atomic(out / "judge.html") as path:
        path.write_text(page(verdict), encoding="utf-8")
    console = Console(highlight=False)
    console.print(card(verdict, console.width), end="", soft_wrap=True)
    for each, (ok, found) in met.items():
        click.echo(f"{'Met' if ok else 'NOT MET':<14}{each}: {found}")
    click.echo(f"{'Page':<14}{out / 'judge.html'}")
    if not all(ok for ok, _ in met.values()):
        sys.exit(1)


def _numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        numbers = tuple(sorted({int(each) for each in text.split(",")}))
    except ValueError:
        raise ValueError(f"evaluations must be whole numbers with commas between them, got {text!r}") from None
    if not numbers or numbers[0] < 1 or numbers[-1] > 200:
        raise ValueError(f"evaluations must lie in 1 to 200, got {text!r}")
    return numbers
