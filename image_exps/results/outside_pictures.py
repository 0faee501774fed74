"""The pictures behind the figure `galaxies`: samples of two networks that nobody here trained.

``python -m image_exps.results.outside_pictures`` draws them anew, with the networks of the package ``galaxygrad``. What
is kept needs no network: the figure is drawn from it alone.
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from image_exps.problems.endpoints import flow_endpoints
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import sampling_problem
from image_exps.results.outside import best_baseline, outside_rows
from image_exps.samplers.arms import arm
from lml.samplers import sample
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["EVALUATIONS", "NETWORKS", "PICTURES", "draw_samples"]

#: The file of the pictures.
PICTURES = Path(__file__).parent / "outside" / "pictures.npz"

NETWORKS = ("galaxy-hsc-32", "galaxy-ztf-32")
EVALUATIONS = (5, 8)

# The first noises of a seed of their own, none chosen.
_SEED, _COUNT, _FLOW_STEPS = 2027, 6, 60


def draw_samples() -> dict[str, np.ndarray]:
    """Return for the k-th network ``flow k``, where its flow ends, (count, H, H), and ``off k``, (rows, count, H, H).

    The second is what each row differs from the first by, in float16. ``rows k`` has the names of the arms and
    ``evaluations`` those of each row. The best baseline is that of the rows of the sweep.
    """
    rows = outside_rows()
    data: dict[str, np.ndarray] = {}
    for k, name in enumerate(NETWORKS):
        made = sampling_problem(name, "network")
        x = starting_noise(_SEED, 0, _COUNT, made.shape).to(made.dtype)
        noise = made.model(_SEED, 0, _COUNT)
        arms = [(a, n) for n in EVALUATIONS for a in ("ddim@log-snr", "ddim@log-snr/lml", best_baseline(rows, name, n))]
        with torch.inference_mode():
            found = [flow_endpoints(made.flow, x, _FLOW_STEPS, made.levels).exact]
            for a, n in arms:
                plan = arm(a).build(n, made.dim, seed=_SEED, count=_COUNT, schedule=made.schedule, times=made.times)
                found.append(sample(plan.sampler, noise, x, plan.levels, plan.correction))
        pictures = torch.stack(found)[:, :, 0]
        data[f"flow {k}"] = pictures[0].numpy()
        data[f"off {k}"] = (pictures[1:] - pictures[0]).half().numpy()
        data[f"rows {k}"] = np.array([a for a, _ in arms])
        data["evaluations"] = np.array([n for _, n in arms])
    return {**data, "networks": np.array(NETWORKS), "n": np.array(_COUNT), "seed": np.array(_SEED)}


@click.command()
@plain_errors
def main() -> None:
    """Draw the pictures and keep them."""
    with atomic(PICTURES) as partial, partial.open("wb") as file:
        np.savez_compressed(file, **draw_samples())  # type: ignore[arg-type]
    click.echo(PICTURES)


if __name__ == "__main__":
    main()
