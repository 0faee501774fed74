r"""Where the learned setting stops: its error by the best baseline's on the noise tables of other models.

A table of training timesteps is for an exact score the range of ``log(alpha/sigma)`` that it covers, and where a
baseline's equal steps of time lie. ``python -m image_exps.search.ranges`` stretches the learned levels (`lml.tuned`)
over that range, takes the nearest training timestep for each, since a network is asked at those, and writes
``ranges.csv``: the mean over samples of the root mean square distance to where the flow ends over the table, and that
of the best baseline at the best spacing, chosen on the very noises that it is judged by. With ``--room`` it writes
``room.csv`` instead: the linear table, whose range is the learned one, with either end, or both, moved by the distances
of `MOVED`.

What was found: over the linear table the setting ends nearer to the flow than the best baseline in all cases but one,
ring-2d in 5 evaluations. With ends moved by 0.25 it still does in the same cases. With ends moved by 0.5 it is up to
1.7 times as far there, by 1 up to 2.1 times.

Both files were made with the baselines of `RECORDED`, without the other ones of `image_exps.samplers.baselines`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor

import toy
from image_exps.problems.endpoints import rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import find_targets, target
from image_exps.samplers.arms import pure_sampler
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.samplers.names import parse_name
from image_exps.samplers.table import TABLE_BASES
from image_exps.search.differentiable import grid_levels
from image_exps.search.trials import EVALUATIONS, RESULTS
from lml.arguments import check_choice
from lml.samplers import SAMPLERS, Level, sample
from lml.tuned import tuned_fractions, tuned_profile
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.command_line.progress_line import ProgressLine
from toy.atomic import atomic
from toy.schedule import VPScaledLinear

__all__ = ["MOVED", "RECORDED", "TABLES", "measure"]

#: Tables by the models that have them: linear betas, those of Stable Diffusion and latent diffusion, cosine.
TABLES: dict[str, toy.NoiseSchedule] = {
    "linear": toy.noise_schedule("vp-linear"),
    "stable-diffusion": toy.noise_schedule("vp-scaled-linear"),
    "latent-diffusion": VPScaledLinear(1.5, 19.5),
    "cosine": toy.noise_schedule("cosine"),
}

#: By how much ends of the linear table are moved, in ``log(alpha/sigma)``.
MOVED = (0.25, 0.5, 1.0)

#: Small ones: a minute each on an idle core.
TARGETS = ("digits", "digits-low-rank", "random-16d", "ring-2d")

_REFERENCE, _REFERENCE_STEPS = "dpm-solver++-3m", 160

# The singlestep solver finds the levels inside of its steps on a schedule; here is a table.
_BASELINES = tuple(name for name in BASELINE_ARMS if parse_name(name).base != "dpm-solver-3s")

#: The baselines that the files were made with.
RECORDED: tuple[str, ...] = tuple(
    f"{base}@{spacing}"
    for base in (*(name for name in TABLE_BASES if name != "dpm-solver-3s"), "dpm-solver++-2m", "unipc-2")
    for spacing in ("log-snr", "time")
)


def _levels(half_log_snr: np.ndarray) -> list[Level]:
    """Return variance-preserving levels of these ``log(alpha/sigma)``."""
    alpha, sigma = grid_levels(torch.from_numpy(np.ascontiguousarray(half_log_snr)))
    return [Level(*pair) for pair in zip(alpha.tolist(), sigma.tolist(), strict=True)]


def _spaced(table: np.ndarray, steps: int, spacing: str) -> list[Level]:
    """Return the levels of a spacing over a table of falling ``log(alpha/sigma)``."""
    if spacing == "time":
        places = np.linspace(len(table) - 1, 0, steps + 1)
        return _levels(np.interp(places, np.arange(len(table)), table))
    if spacing == "log-snr":
        return _levels(np.linspace(table[-1], table[0], steps + 1))
    if spacing == "karras":
        first, last = np.exp(-table[[-1, 0]] / 7)  # seventh roots of sigma/alpha
        return _levels(-7 * np.log(np.linspace(first, last, steps + 1)))
    wanted = table[-1] + np.array(tuned_fractions(steps)) * (table[0] - table[-1])
    return _levels(table[np.abs(table - wanted[:, None]).argmin(1)])


@torch.inference_mode()
def measure(
    on: str,
    name: str,
    *,
    count: int,
    seed: int = 0,
    moved: tuple[float, float] = (0.0, 0.0),
    baselines: Sequence[str] = _BASELINES,
) -> list[dict[str, Any]]:
    """Return a row for each number of evaluations, of one table of `TABLES` and one target.

    Args:
        on: the name of the table.
        name: the name of the target.
        count: noises.
        seed: of the noises.
        moved: is added to the first and to the last ``log(alpha/sigma)``; those between move in proportion.
        baselines: by names with a spacing; all but the singlestep solver, if not given.
    """
    table = (TABLES[on].discrete(1000).log_snr / 2).numpy()
    table = table + np.interp(table, (table[-1], table[0]), moved)
    at = target(name)
    x, model = starting_noise(seed, 0, count, (at.dim,)).to(at.dtype), at.model()
    exact = sample(SAMPLERS[_REFERENCE], model, x, _spaced(table, _REFERENCE_STEPS, "log-snr"))

    def error(ends: Tensor) -> float:
        return float(rms((ends - exact).double()).mean())

    rows = []
    for n in EVALUATIONS:
        errors = {}
        for baseline in baselines:
            base, spacing = parse_name(baseline)[:2]
            assert spacing is not None
            sampler, steps = pure_sampler(base, n)
            errors[baseline] = error(sample(sampler, model, x, _spaced(table, steps, spacing)))
        best = min(errors, key=errors.__getitem__)
        tuned = error(sample(SAMPLERS["ddim"], model, x, _spaced(table, n, "tuned"), tuned_profile(n)))
        rows.append(
            {"table": on, "first": table[-1], "last": table[0], "target": name, "evaluations": n, "count": count,
             "seed": seed, "tuned": tuned, "best_baseline": best, "best": errors[best], "ratio": tuned / errors[best]}
        )  # fmt: skip
    return rows


@click.command()
@click.option("--target", "names", multiple=True, default=TARGETS, show_default=True)
@click.option("--count", type=click.IntRange(2, 100_000), default=256, show_default=True, help="Noises.")
@click.option("--room", is_flag=True, help="Move the ends of the linear table, eight ways by each of three distances.")
@click.option("--folder", default=RESULTS / "ranges", type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(names: tuple[str, ...], count: int, room: bool, folder: Path) -> None:
    """Measure the learned setting on every table and target."""
    for name in names:
        check_choice(name, "target", find_targets())
    check_output_folder(folder, "folder")
    torch.set_num_threads(1)
    ways = [(first * by, last * by) for by in MOVED for first, last in product((-1, 0, 1), repeat=2) if first or last]
    asked = [("linear", moved) for moved in ways] if room else [(on, (0.0, 0.0)) for on in TABLES]
    rows, parts = [], list(product(asked, names))
    with ProgressLine("ranges", "tables and targets") as progress:
        for done, ((on, moved), name) in enumerate(parts):
            progress(done, len(parts))
            rows += measure(on, name, count=count, moved=moved)
    frame = pd.DataFrame(rows)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / ("room.csv" if room else "ranges.csv")) as part:
        frame.to_csv(part, index=False, float_format="%.4g")
    lines = ["first", "last", "target"] if room else ["table", "target"]
    click.echo(frame.pivot_table("ratio", lines, "evaluations", sort=False).round(2).to_string())


if __name__ == "__main__":
    main()
