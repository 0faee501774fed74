"""Time a sampler with and without LML: Table 5, in one process, interleaved, the network's share apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from image_exps.commands import _options as shared
from image_exps.pipelines.loading import DTYPES
from image_exps.pipelines.models import Model, find_models
from image_exps.samplers.pipeline_sampler import PIPELINE_BASES
from image_exps.timing.shapes import FULL_SIZE
from theory_checks.command_line.outputs import check_output_file

_EVALUATIONS = "5,10,15,20,30,50,100"


@click.command(
    name="time",
    epilog="""\b
Examples:
  python -m image_exps time -m fashion-mnist --repetitions 20
  python -m image_exps time --full-size sd15 --dtype float16 --out out/time-sd15.parquet
  python -m image_exps time --full-size sdxl --dtype bfloat16 --evaluations 10 --repetitions 50
  python -m image_exps time -m sd15 --model-dir models/sd15
  python -m image_exps time -m models/mine
""",
)
@click.option(
    "--model",
    "-m",
    "name",
    default=None,
    metavar="NAME|FOLDER",
    help="A model, or the folder of a saved diffusers pipeline; its network is timed.",
    show_default="fashion-mnist",
)
@click.option("--model-dir", type=click.Path(file_okay=False, path_type=Path), help="Local folder with its weights.")
@click.option(
    "--full-size",
    "size",
    type=click.Choice(list(FULL_SIZE)),
    help="Instead: a network of full size with random weights; time does not depend on the weights.",
)
@click.option("--base", type=click.Choice(list(PIPELINE_BASES)), default="ddim", show_default=True, metavar="NAME")
@click.option("--evaluations", "-n", default=_EVALUATIONS, show_default=True, help="Budgets, separated by commas.")
@click.option("--repetitions", "-r", type=shared.at_least(1, "repetitions"), default=200, show_default=True)
@click.option("--batch", type=shared.at_least(1, "batch"), default=1, show_default=True, help="Pictures at a time.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True, help="Of the network.")
@click.option("--device", default=None, help="cpu, cuda, cuda:N.", show_default="cuda if there is one, or cpu")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option("--out", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Parquet file of the results.")
@shared.plain_errors
def command(
    name: str | None,
    model_dir: Path | None,
    size: str | None,
    base: str,
    evaluations: str,
    repetitions: int,
    batch: int,
    dtype: str,
    device: str | None,
    seed: int,
    out: Path | None,
) -> None:
    """Time a base and LML on it, generation by generation in turns, and print medians with their quartiles.

    The ratio is formed within each repetition and has a 95 % bootstrap interval; the network's share of the whole is
    shown apart, and so is what remains, which is all that LML can change. Text encoder and decoder are not timed.
    """
    if size is not None and (name is not None or model_dir is not None):
        raise ValueError("full-size takes no --model: it makes its own network")
    budgets = _budgets(evaluations)
    if out is not None:
        check_output_file(out)

    import torch

    from image_exps.evaluation.results import Result, add_results, check_parquet
    from image_exps.pipelines.own import find_model
    from image_exps.timing.timing import machine, median_ratio, spread, time_samplers
    from theory_checks.command_line.progress_line import ProgressLine

    if out is not None:
        check_parquet(out)
    where = torch.device(shared.device_or_best(device))
    number = getattr(torch, dtype)
    if size is not None:
        network, shape, own = _full_size(size, where, number, batch, seed)
        label = {"pixart": "pixart-alpha-512"}.get(size, size)
    else:
        known = find_model(name or "fashion-mnist")
        network, shape, own = _loaded(known, model_dir, where, dtype, batch)
        label = known.name
    start = torch.randn((batch, *shape), generator=torch.Generator().manual_seed(seed)).to(where, number)
    facts = machine(where)
    click.echo(
        f"{label}, batch {batch}, {dtype}, {repetitions} repetitions; {facts['device']}, {facts['threads']} threads, "
        f"torch {facts['torch']}"
    )
    with ProgressLine(f"timing {label}"):
        timed = time_samplers(network, start, own, base=base, evaluations=budgets, repetitions=repetitions)
    rows = [("evaluations", "sampler", "seconds [quartiles]", "network", "rest, ms", "ratio [95 %]")]
    results = []
    remark = f"{repetitions} repetitions, medians; {facts['device']}, {dtype}, batch {batch}"
    if size is not None:
        remark += ", random weights, no guidance"
    for without, with_lml in zip(timed[::2], timed[1::2], strict=True):
        ratio = median_ratio(with_lml.seconds, without.seconds)
        for arm, shown in ((without, ""), (with_lml, "{:.4f} [{:.4f}, {:.4f}]".format(*ratio))):
            whole, share = spread(arm.seconds), spread(arm.network / arm.seconds)
            rest = spread(1000 * (arm.seconds - arm.network))
            rows.append((str(arm.evaluations), arm.arm, "{:.4g} [{:.4g}, {:.4g}]".format(*whole),
                         f"{share.median:.2%}", f"{rest.median:.3g}", shown))  # fmt: skip
            common = (label, arm.arm, arm.evaluations)
            results.append(Result(*common, "seconds", *whole, repetitions, remark=remark, source=label))
            results.append(Result(*common, "network share", *share, repetitions, True, remark=remark, source=label))
        added = spread(((with_lml.seconds - with_lml.network) - (without.seconds - without.network)) / without.seconds)
        rows.append(("", "", "", "", "LML adds", f"{added.median:.3%} of a generation"))
        common = (label, with_lml.arm, with_lml.evaluations)
        results.append(Result(*common, "time ratio", *ratio, repetitions, remark=remark, source=label))
        results.append(Result(*common, "added share", *added, repetitions, remark=remark, source=label))
    shared.echo_table(rows)
    if out is not None:
        add_results(results, out)
        click.echo(f"Kept in {out}", err=True)


def _budgets(text: str) -> list[int]:
    try:
        found = [int(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise ValueError(f"evaluations must be numbers separated by commas, got {text!r}") from None
    most = shared.MOST["evaluations"]
    if not found or min(found) < 1 or max(found) > most:
        raise ValueError(f"evaluations must be numbers from 1 to {most} separated by commas, got {text!r}")
    return found


def _full_size(size: str, device: Any, dtype: Any, batch: int, seed: int) -> tuple[Any, tuple[int, ...], Any]:
    import diffusers

    from image_exps.timing.networks import predictor
    from image_exps.timing.shapes import full_size

    shape = full_size(size)
    own: Any = diffusers.DDIMScheduler
    return predictor(shape, device, dtype, batch=batch, seed=seed), shape.latent, own(clip_sample=False)


def _loaded(known: Model, folder: Path | None, device: Any, dtype: str, batch: int) -> tuple[Any, tuple[int, ...], Any]:
    """Return the network of a model as a predictor, the shape of a sample (C, H, W), and the model's scheduler."""
    from image_exps.pipelines.loading import load_pipeline
    from image_exps.timing.networks import conditioned

    if known.flow or known.controlnet is not None:
        usable = ", ".join(m.name for m in find_models().values() if not (m.flow or m.controlnet))
        raise ValueError(
            f"model must be one of {usable}, or a folder of a pipeline that predicts no flow, to be timed, got "
            f"{known.name!r}"
        )
    pipe = load_pipeline(known, folder, dtype=dtype, device=str(device)).pipe
    network = getattr(pipe, "unet", None) or pipe.transformer
    config = network.config
    side = config.sample_size if isinstance(config.sample_size, int) else config.sample_size[0]
    return conditioned(network, batch=batch), (config.in_channels, side, side), pipe.scheduler
