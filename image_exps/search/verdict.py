r"""The verdict: the frozen setting on reported targets, noise by noise against the best baseline of all.

``python -m image_exps.search.verdict --target digits`` writes a row for every arm and budget. The distance is the RMSE
to the endpoint of the exact flow from the same noise; the gain over the best baseline is paired, and that baseline is
chosen on the very noises that it is judged by, in its favour. The Frechet distance stands beside it, with the floor of
exact samples. Nothing is chosen here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from image_exps.distances import distances
from image_exps.problems.endpoints import reference, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import Target, target
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS, BASELINES
from image_exps.search.frozen import CONTROLS, TUNED
from image_exps.search.trials import EVALUATIONS, RESULTS
from lml.samplers import sample
from theory_checks.command_line.outputs import check_output_folder
from theory_checks.command_line.plain_errors import plain_errors
from theory_checks.command_line.progress_line import ProgressLine
from theory_checks.ledger.statistics import mean_interval
from toy.atomic import atomic

__all__ = ["EXACT", "measure"]

#: Arms of LML as it stands, for comparison: a default for all steps.
_PLAIN = ("ddim@log-snr/lml", "ddim@time/lml", "unipc-2@log-snr/lml", "unipc-2@time/lml")

#: The row of the exact flow itself: its Frechet distance is what these very noises leave when nothing is wrong.
EXACT = "exact flow"


def _ends(at: Target, x: Tensor, name: str, evaluations: int, seed: int) -> Tensor:
    plan = arm(name).build(evaluations, at.dim, seed=seed, count=len(x))
    return sample(plan.sampler, at.model(), x, plan.levels, plan.correction)


def measure(at: Target, *, count: int, seed: int, twice: bool = True) -> list[dict[str, Any]]:
    """Return a row for every arm and budget, on ``count`` noises of a seed.

    Args:
        at: the target.
        count: noises.
        seed: of the noises and of what controls draw.
        twice: measure the baselines in twice the evaluations, too.
    """
    x = starting_noise(seed, 0, count, (at.dim,)).to(at.dtype)
    exact = reference(at.model(), x)
    which = "frechet" if at.dim <= count // 2 else "frechet-pca"
    frechet = distances(at, which=(which,))[which] if at.dim < 64 or count > 64 else None
    others = [*(f"{base}@tuned" for base in BASELINES), TUNED, *CONTROLS, *_PLAIN]
    rows: list[dict[str, Any]] = []
    for n in EVALUATIONS:
        errors: dict[str, np.ndarray] = {}
        fits: dict[str, float] = {}
        budgets = [(name, n) for name in (*BASELINE_ARMS, *others)] + [(name, 2 * n) for name in BASELINE_ARMS if twice]
        for name, spent in budgets:
            ends = _ends(at, x, name, spent, seed)
            key = name if spent == n else f"{name} in twice the evaluations"
            errors[key] = rms((ends - exact).double()).numpy()
            fits[key] = frechet(ends) if frechet is not None else float("nan")
        errors[EXACT], fits[EXACT] = np.zeros(count), frechet(exact) if frechet is not None else float("nan")
        best = min(BASELINE_ARMS, key=lambda name: float(errors[name].mean()))
        for name in errors:
            gain = mean_interval((errors[best] - errors[name]) / errors[best].mean(), level=0.95, comparisons=1)
            rows.append(
                {"target": at.name, "evaluations": n, "arm": name, "count": count, "seed": seed,
                 "rmse": float(errors[name].mean()), "best_baseline": best, "gain": gain.value, "gain_low": gain.low,
                 "gain_high": gain.high, "frechet_kind": which, "frechet": fits[name],
                 "frechet_floor": frechet(at.final().sample(count, generator=torch.Generator().manual_seed(seed)))
                 if frechet is not None else float("nan")}
            )  # fmt: skip
    return rows


@click.command()
@click.option("--target", "name", required=True, help="A reported target.")
@click.option("--count", type=click.IntRange(2, 100_000), default=512, show_default=True, help="Noises.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--twice/--no-twice", default=True, show_default=True, help="Baselines in twice the evaluations, too.")
@click.option("--folder", default=RESULTS / "verdict", type=click.Path(path_type=Path), show_default=True)
@plain_errors
def main(name: str, count: int, seed: int, twice: bool, folder: Path) -> None:
    """Measure the frozen setting once on one reported target."""
    check_output_folder(folder, "folder")
    torch.set_num_threads(1)
    with ProgressLine(name):
        frame = pd.DataFrame(measure(target(name), count=count, seed=seed, twice=twice))
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / f"{name}-{seed}.csv") as part:
        frame.to_csv(part, index=False, float_format="%.6g")
    click.echo(frame[frame["arm"].isin([TUNED, *CONTROLS])].to_string())


if __name__ == "__main__":
    main()
