"""The problems on which the choices behind `lml.solver` were tuned; nothing is reported on them but that.

They are the exact targets of `lml.solver.ensemble` and the small networks of `lml.solver.networks`, all with constant
betas, ``lambda = log(alpha/sigma)`` from -5.0 to 3.45. None is a problem of `image_exps.search.few_steps_plan`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from image_exps.problems.seeds import starting_noise
from image_exps.search.few_steps_problems import SCHEDULES, STEPS_OF_NETWORKS, STEPS_OF_TARGETS, Measured
from lml.arguments import check_choice
from lml.solver import of_method
from lml.solver.choice import BASELINES, TARGETS
from lml.solver.ensemble import ENSEMBLE, ensemble_model
from lml.solver.networks import SMALL_NETWORKS, small_model
from lml.solver.path import end
from lml.solver.trajectories import Checked, Reference, distances, reference

__all__ = [
    "GROUPS", "RESULTS", "SEEDS", "TRAJECTORIES", "fresh", "fresh_baselines", "mean_and_square", "oracle", "problem_of",
    "trajectories",
]  # fmt: skip

#: Where the rows are.
RESULTS = Path(__file__).parent.parent / "results" / "solver" / "tuning"

#: The problems by kind.
GROUPS: dict[str, tuple[str, ...]] = {"networks": tuple(SMALL_NETWORKS), "exact targets": tuple(ENSEMBLE)}

#: Seeds of the trajectories, and how many there are.
SEEDS, TRAJECTORIES = (1, 2), 16

_FRESH_SEED, _FRESH = 51, 96


@lru_cache(maxsize=32)
def problem_of(name: str) -> Measured:
    """Return a problem with constant betas.

    Raises:
        ValueError: for a name that is not in `lml.solver.choice.TARGETS`.
    """
    check_choice(name, "name", TARGETS)
    if name in SMALL_NETWORKS:
        shape, model = SMALL_NETWORKS[name].shape, small_model(name)
        return Measured(model, shape, *SCHEDULES["constant"], torch.float32, STEPS_OF_NETWORKS)
    exact, dim = ensemble_model(name)
    return Measured(exact, (dim,), *SCHEDULES["constant"], torch.float64, STEPS_OF_TARGETS)


@lru_cache(maxsize=64)
@torch.no_grad()
def trajectories(name: str, seed: int, count: int = TRAJECTORIES) -> Reference:
    """Return the trajectories that `calibrate` makes on a problem with this seed."""
    on = problem_of(name)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((count, *on.shape), dtype=torch.float64, generator=generator)
    return reference(Checked(on.model, dtype=on.dtype), on.levels, noise)


@lru_cache(maxsize=32)
def fresh(name: str) -> tuple[Tensor, Tensor]:
    """Return 96 other samples at the first level, and where their flow ends, (96, ...) both."""
    on = problem_of(name)
    x = on.sigma * starting_noise(_FRESH_SEED, 0, _FRESH, on.shape).to(on.dtype)
    return x, on.ends(x)


@lru_cache(maxsize=64)
@torch.no_grad()
def fresh_baselines(name: str, evaluations: int) -> dict[str, Tensor]:
    """Return the errors of every published method on the fresh samples, by name, (96,) each."""
    on, (x, ends) = problem_of(name), fresh(name)
    return {each.name: distances(end(of_method(each, on.levels, evaluations), on.model, x), ends) for each in BASELINES}


def oracle(found: Iterable[Any]) -> tuple[float, float]:
    """Return the smallest mean and root mean square distance of methods, by their errors, (B,) each."""
    means, squares = zip(*map(mean_and_square, found), strict=True)
    return min(means), min(squares)


def mean_and_square(errors: Any) -> tuple[float, float]:
    """Return the mean and the root mean square of errors, (B,), infinite where one is not finite."""
    found = np.nan_to_num(np.asarray(errors, dtype=float), nan=np.inf)
    return float(found.mean()), float(np.sqrt(np.square(found).mean()))
