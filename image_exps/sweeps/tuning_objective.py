"""The objective of a tuner: a distance of samples as a function of damping and seed, with noises in common."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch

from image_exps.problems.specification import check_pictures
from image_exps.samplers.arms import Arm, arm
from image_exps.sweeps.grid import Cell, parse_grid
from toy.threads import single_thread

__all__ = ["arm_objective"]


def arm_objective(
    target: str,
    name: str,
    evaluations: int,
    distance: str,
    *,
    count: int,
    cache: Path,
    model: str = "exact",
) -> Callable[[float | None, int], float]:
    """Return ``objective(damping, seed)``: smaller is better, NaN where samples are not finite.

    For a damping of ``None`` the arm is as it was named.

    Args:
        target: by name.
        name: of an arm whose correction has a damping.
        evaluations: of the network.
        distance: by name.
        count: samples of each seed.
        cache: folder for endpoints of the exact flow.
        model: by name.

    Raises:
        ValueError: for what a grid refuses, or an arm without a damping.
    """
    part = {"targets": [target], "models": [model], "arms": [_with(arm(name), 1.0)], "evaluations": [evaluations],
            "count": count, "distances": [distance]}  # fmt: skip
    (cell,) = parse_grid({"name": "tune", "part": [part]}).cells

    from image_exps.distances import ENDPOINT_DISTANCES  # after what can be refused: it takes long to load
    from image_exps.sweeps.cell import distance_of, generate

    if distance not in ENDPOINT_DISTANCES:
        check_pictures(target, model)

    def objective(damping: float | None, seed: int) -> float:
        used = name if damping is None else _with(arm(name), damping)
        at = Cell(**{**vars(cell), "arm": used, "seed": seed})
        with single_thread(), torch.inference_mode():
            x, _, _ = generate(at)
            if not bool(x.isfinite().all()):
                return math.nan
            measured = distance_of(at, distance, cache)
            return measured(x) * (-1 if measured.higher_is_better else 1)

    return objective


def _with(chosen: Arm, damping: float) -> str:
    """Return the name of an arm with another damping."""
    parameters = tuple({**dict(chosen.parameters), "damping": damping}.items())
    return Arm(chosen.base, chosen.spacing, chosen.correction, parameters).name
