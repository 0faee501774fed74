"""Draw pictures into a folder, any number of them, on any number of GPUs, and go on after an interruption."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from image_exps.commands import _sampling_options as options
from image_exps.commands._options import at_least, plain_errors, shortened
from image_exps.commands._sampling_options import SamplingOptions
from image_exps.samplers.pipeline_sampler import PIPELINE_BASES
from image_exps.samplers.table import ALGORITHMS
from image_exps.utils.processes import Process
from theory_checks.command_line.outputs import check_output_folder

_SAMPLERS = "\n".join(f"  {name:<16} {ALGORITHMS[name].about}; {form.budget}" for name, form in PIPELINE_BASES.items())


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
  python -m image_exps sample -m models/mine --sampler dpm-solver++-2m/lml -n 8 --count 16 --out out/mine
  python -m image_exps sample -m sd15 --model-dir models/sd15 --prompts captions.txt --sampler dpm-solver++-3m/lml \\
      --dtype float16 --batch 8 --out out/captions
  accelerate launch --multi_gpu --num_processes 8 -m image_exps sample -m ddpm-ema-cifar10 --model-dir models/cifar \\
      --sampler dpm-solver-3m/lml --damping paper --mixing 1e-7 --count 50000 --batch 500 --out out/cifar
""",
)
@options.load_options
@click.option("--sampler", "-s", default=None, metavar="NAME", show_default="ddim/lml; euler-flow/lml along a flow")
@options.run_options
@click.option(
    "--count", type=at_least(1, "count"), help="How many pictures.", show_default="as many as there are prompts, or 1"
)
@options.prompt_options
@options.lml_options
@click.option(
    "--out", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the pictures."
)
@plain_errors
@options.gathered
def command(asked: SamplingOptions, sampler: str | None, count: int | None, out: Path) -> None:
    """Draw pictures into a folder, any number of them, on any number of GPUs, and go on after an interruption.

    Picture i starts from the noise of seed --seed + i, as torch.Generator().manual_seed(seed) draws it, and has prompt
    i modulo the number of prompts. For one --batch and one --threads it is the same file to the last bit, whatever the
    number of processes, the --count and the interruptions. With another --batch or --threads the kernels of a network
    sum in another order, and the last bits differ.

    The same command again goes on where it was stopped; with a larger --count it adds pictures. A folder of other
    settings is left alone. A picture that is not finite is recorded with its seed, not written, and makes the exit
    status 1.
    """
    process = Process.from_environment()
    check_output_folder(out)
    sampler = sampler or ("euler-flow/lml" if asked.model.flow else "ddim/lml")
    chosen = asked.sampler(sampler)

    from image_exps.pipelines.generation import generate
    from theory_checks.command_line.progress_line import ProgressLine

    request = asked.request(chosen, max(1, len(asked.prompts)) if count is None else count, process.device)
    label = f"{asked.model.name} {sampler}"
    if process.world > 1:
        label += f", process {process.rank + 1} of {process.world}"
    with ProgressLine(label, "pictures", quiet=process.rank > 0) as progress:
        outcome = generate(request, out, process, progress)
    rate = f", {outcome.made / outcome.seconds:.2f} pictures/s" if outcome.made else ""
    before = f" ({outcome.kept} were there)" if outcome.kept else ""
    share = "" if process.world == 1 else f"process {process.rank} of {process.world}: "
    if outcome.damaged:
        click.echo(
            f"{share}{len(outcome.damaged)} recorded pictures were missing or damaged ({shortened(outcome.damaged)}); "
            + ("they were drawn again" if outcome.complete else "those of this process were drawn again"),
            err=True,
        )
    click.echo(f"{share}{outcome.made} pictures in {out}{before}{rate}", err=True)
    if outcome.not_finite:
        click.echo(
            f"{len(outcome.not_finite)} of them are not finite and were not written; seeds: "
            f"{shortened(outcome.not_finite)}. Try --dtype bfloat16 or float32, or a smaller --mixing.",
            err=True,
        )
        sys.exit(1)
