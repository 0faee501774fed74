"""Draw pictures into a folder, any number of them, on any number of GPUs, and go on after an interruption."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from image_exps.commands import _options as shared
from image_exps.models import Model
from image_exps.samplers import LML_OPTIONS, SAMPLERS, SCHEDULER_BASES

_BASES = "\n".join(f"  {name:<14} {base.about}; {base.budget}" for name, base in SCHEDULER_BASES.items())


@click.command(
    name="sample",
    epilog=f"""\b
Samplers, and the numbers of evaluations that each can spend; lml-NAME is LML on that base:
{_BASES}

\b
Examples:
  python -m image_exps sample -m fashion-mnist --sampler lml-ddim -n 10 --count 64 --batch 16 --out out/shirts
  python -m image_exps sample -m emoji -p "Animals & Nature" --count 16 --out out/animals
  python -m image_exps sample -m sd15 --model-dir models/sd15 --prompts captions.txt --sampler lml-dpm-solver++ \\
      --dtype float16 --batch 8 --out out/captions
  accelerate launch --multi_gpu --num_processes 8 -m image_exps sample -m ddpm-ema-cifar10 --model-dir models/cifar \\
      --sampler lml-dpm-solver-3m --damping paper --mixing 1e-7 --count 50000 --batch 500 --out out/cifar
""",
)
@shared.load_options
@click.option("--sampler", "-s", type=click.Choice(SAMPLERS), default="lml-ddim", show_default=True, metavar="NAME")
@shared.run_options
@click.option("--count", type=int, help="How many pictures.", show_default="as many as there are prompts, or 1")
@click.option("--batch", type=int, default=1, show_default=True, help="Pictures at a time.")
@shared.prompt_options
@shared.lml_options
@click.option(
    "--out", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the pictures."
)
@shared.plain_errors
def command(
    model: Model,
    sampler: str,
    evaluations: int,
    seed: int,
    count: int | None,
    batch: int,
    texts: tuple[str, ...],
    file: Path | None,
    tag: str | None,
    controls: tuple[Path, ...],
    spacing: str | None,
    device: str | None,
    out: Path,
    **rest: Any,
) -> None:
    """Draw pictures into a folder, any number of them, on any number of GPUs, and go on after an interruption.

    Picture i starts from the noise of seed --seed + i, as torch.Generator().manual_seed(seed) draws it, and has prompt
    i modulo the number of prompts. For one --batch and one --threads it is the same file to the last bit, whatever the
    number of processes, the --count and the interruptions. With another --batch or --threads the kernels of a network
    sum in another order, and the last bits differ.

    The same command again goes on where it was stopped; with a larger --count it adds pictures. A folder of other
    settings is left alone. A picture that is not finite is recorded with its seed, not written, and makes the exit
    status 1.
    """
    prompts = shared.read_prompts(texts, file, tag)
    options = {name: rest.pop(name) for name in LML_OPTIONS}
    chosen = shared.make_sampler(model, sampler, evaluations, spacing, options)

    from image_exps.generation import Request, generate
    from image_exps.processes import Process
    from image_exps.progress_bar import Bar

    process = Process.from_environment()
    request = Request(
        model=model,
        sampler=chosen,
        count=count if count is not None else max(1, len(prompts)),
        seed=seed,
        prompts=prompts,
        batch=batch,
        device=process.device(shared.device_or_best(device)),
        controls=shared.pictures_in(controls),
        **rest,
    )
    with Bar(f"{model.name} {sampler}", process) as bar:
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
