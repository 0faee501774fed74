"""Draw pictures into a folder, any number of them, on any number of GPUs, and go on after an interruption."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from image_exps.commands import _sampling_options as options
from image_exps.commands._options import plain_errors
from image_exps.commands._sampling_options import SamplingOptions
from image_exps.samplers.pipeline_sampler import PIPELINE_BASES, TUNED
from image_exps.samplers.table import ALGORITHMS

_ABOUT = {name: (ALGORITHMS[name].about, form.budget) for name, form in PIPELINE_BASES.items()}
_ABOUT["ddim@tuned/tuned"] = ("learned levels and weights, for linear betas", TUNED.budget)
_SAMPLERS = "\n".join(f"  {name:<17} {about}; {budget}" for name, (about, budget) in _ABOUT.items())


@click.command(
    name="sample",
    epilog=f"""\b
Samplers, and the numbers of evaluations that each can spend:
{_SAMPLERS}

\b
A name is base@spacing/lml(option=value, ...), all but the base optional: ddim, ddim/lml, unipc-2@trailing/lml(rank=2).
The spacings and options are those of --spacing and of LML above.

\b
Examples:
  python -m image_exps sample -m fashion-mnist --sampler ddim/lml -n 10 --count 64 --batch 16 --out out/shirts
  python -m image_exps sample -m emoji -p "Animals & Nature" --count 16 --out out/animals
  python -m image_exps sample -m sd15 --model-dir models/sd15 --prompts captions.txt --sampler dpm-solver++-3m/lml \\
      --dtype float16 --batch 8 --out out/captions
  accelerate launch --multi_gpu --num_processes 8 -m image_exps sample -m ddpm-ema-cifar10 --model-dir models/cifar \\
      --sampler dpm-solver-3m/lml --damping paper --mixing 1e-7 --count 50000 --batch 500 --out out/cifar
""",
)
@options.load_options
@click.option("--sampler", "-s", default="ddim/lml", show_default=True, metavar="NAME")
@options.run_options
@click.option("--count", type=int, help="How many pictures.", show_default="as many as there are prompts, or 1")
@options.prompt_options
@options.lml_options
@click.option(
    "--out", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the pictures."
)
@plain_errors
@options.gathered
def command(asked: SamplingOptions, sampler: str, count: int | None, out: Path) -> None:
    """Draw pictures into a folder, any number of them, on any number of GPUs, and go on after an interruption.

    Picture i starts from the noise of seed --seed + i, as torch.Generator().manual_seed(seed) draws it, and has prompt
    i modulo the number of prompts. For one --batch and one --threads it is the same file to the last bit, whatever the
    number of processes, the --count and the interruptions. With another --batch or --threads the kernels of a network
    sum in another order, and the last bits differ.

    The same command again goes on where it was stopped; with a larger --count it adds pictures. A folder of other
    settings is left alone. A picture that is not finite is recorded with its seed, not written, and makes the exit
    status 1.
    """
    chosen = asked.sampler(sampler)

    from image_exps.pipelines.generation import generate
    from image_exps.utils.processes import Process
    from image_exps.utils.progress import Bar

    process = Process.from_environment()
    request = asked.request(chosen, max(1, len(asked.prompts)) if count is None else count, process.device)
    with Bar(f"{asked.model.name} {sampler}", process) as bar:
        outcome = generate(request, out, process, bar)
    rate = f", {outcome.made / outcome.seconds:.2f} pictures/s" if outcome.made else ""
    before = f" ({outcome.kept} were there)" if outcome.kept else ""
    share = "" if process.world == 1 else f"process {process.rank} of {process.world}: "
    click.echo(f"{share}{outcome.made} pictures in {out}{before}{rate}", err=True)
    if outcome.not_finite:
        shown = ", ".join(map(str, outcome.not_finite[:10])) + (" ..." if len(outcome.not_finite) > 10 else "")
        click.echo(
            f"{len(outcome.not_finite)} of them are not finite and were not written; seeds: {shown}. "
            "Try --dtype bfloat16 or float32, or a smaller --mixing.",
            err=True,
        )
        sys.exit(1)
