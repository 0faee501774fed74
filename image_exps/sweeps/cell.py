"""One cell of a sweep: a pure function of its parameters, in blocks of samples that are always the same."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from image_exps.distances import Distance, Estimate, distances, estimate
from image_exps.distances.endpoint import ENDPOINT_DISTANCES
from image_exps.distances.own_flow import BASE_DISTANCES, DRAW_DISTANCES
from image_exps.distances.reference import Reference
from image_exps.problems.endpoint_cache import block_size, cached_endpoints
from image_exps.problems.endpoints import Endpoints
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import sampling_problem
from image_exps.samplers.arms import Arm, Plan, arm
from image_exps.samplers.names import NO_CORRECTION
from image_exps.sweeps.grid import Cell
from lml.samplers import Level, NoiseModel, sample
from toy.threads import single_thread

__all__ = ["blocks_of", "distance_of", "flows_of", "generate", "prepare", "run_cell"]

# Of the resamples: the same rows are drawn for every arm.
_BOOTSTRAP_SEED = 0xB007

# What is added to a seed for draws of the flow from other noises.
_DRAWS = 500_000

# Whose errors others are held against.
_BASE = "ddim"


def blocks_of(target: str, count: int) -> range:
    """Return the blocks that ``count`` samples of a target are in."""
    return range(-(-count // block_size(target)))


def flows_of(cell: Cell) -> list[tuple[str, str, int, int]]:
    """Return the arguments of `prepare` for each block of endpoints of the flow that a cell's distances need."""
    wanted = set(cell.distances)
    seeds = [cell.seed] * bool(wanted & {*ENDPOINT_DISTANCES, *BASE_DISTANCES, *DRAW_DISTANCES})
    seeds += [cell.seed + _DRAWS] * bool(wanted & set(DRAW_DISTANCES))
    return [(*cell.problem, seed, block) for seed in seeds for block in blocks_of(cell.target, cell.count)]


def prepare(target: str, model: str, seed: int, block: int, folder: Path) -> None:
    """Compute the flow's endpoints of one block, unless they are kept in ``folder``."""
    with single_thread(), torch.inference_mode():
        cached_endpoints(sampling_problem(target, model), seed, block, folder)


def run_cell(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a cell, one for each distance.

    Args:
        cell: its parameters.
        folder: where endpoints of the exact flow are kept.

    Raises:
        ValueError: for parameters that do not fit together.
    """
    with single_thread(), torch.inference_mode():
        made = sampling_problem(*cell.problem)
        started = time.perf_counter()
        x, plan, spent = _of_base(cell) if _is_base(cell) else generate(cell)
        seconds = time.perf_counter() - started
        bad = int((~torch.isfinite(x.flatten(1)).all(1)).sum())
        used = arm(cell.arm)
        lml = getattr(plan.correction, "lml", plan.correction)
        shared = {
            **{k: v for k, v in asdict(cell).items() if k != "distances"},
            "base": used.base,
            "spacing": used.spacing,
            "correction": used.correction,
            "damping": float(getattr(lml, "damping", math.nan)),
            "mixing": float(getattr(lml, "mixing", math.nan)),
            "dim": made.dim,
            "dtype": str(plan.dtype or made.dtype).removeprefix("torch."),
            "spent": spent,
            "not_finite": bad,
            "sampling_seconds": seconds,
        }
        rows = []
        for name in cell.distances:
            started = time.perf_counter()
            distance = distance_of(cell, name, folder)
            generator = torch.Generator().manual_seed(_BOOTSTRAP_SEED + cell.seed)
            found = (
                _undefined(cell.count, bad) if bad else estimate(distance, x, generator=generator, repeats=cell.repeats)
            )
            rows.append(
                {**shared, "distance": name, **found._asdict(), "higher_is_better": distance.higher_is_better,
                 "distance_seconds": time.perf_counter() - started}
            )  # fmt: skip
        return rows


class _Counted:
    """A model that counts its evaluations and is called in its own dtype."""

    def __init__(self, model: NoiseModel, dtype: torch.dtype) -> None:
        self._model, self._dtype, self.evaluations = model, dtype, 0

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        self.evaluations += 1
        return self._model(x.to(self._dtype), level).to(x.dtype)


def generate(cell: Cell) -> tuple[Tensor, Plan, int]:
    """Return a cell's samples ``(count, *shape)``, the plan of the last block, and the evaluations that each took.

    The last block is computed whole and cut: what a sample is does not depend on how many there are.
    """
    made, chosen = sampling_problem(*cell.problem), arm(cell.arm)
    parts, plan, model = [], None, None
    size = block_size(cell.target)
    for block in blocks_of(cell.target, cell.count):
        first = size * block
        plan = chosen.build(
            cell.evaluations, made.dim, seed=cell.seed, count=size, first=first, schedule=made.schedule,
            times=made.times,
        )  # fmt: skip
        model = _Counted(made.model(cell.seed, first, size), made.dtype)
        x = starting_noise(cell.seed, first, size, made.shape).to(plan.dtype or made.dtype)
        parts.append(sample(plan.sampler, model, x, plan.levels, plan.correction))
    assert plan is not None
    assert model is not None
    return torch.cat(parts)[: cell.count], plan, model.evaluations


def _is_base(cell: Cell) -> bool:
    """Whether a cell is one that others are held against, and has been asked for."""
    used = arm(cell.arm)
    return bool(set(cell.distances) & set(BASE_DISTANCES)) and (used.base, used.correction) == (_BASE, NO_CORRECTION)


def _base_of(cell: Cell) -> Cell:
    """Return the cell of DDIM at a cell's levels."""
    return replace(cell, arm=Arm(_BASE, arm(cell.arm).spacing).name)


@lru_cache(maxsize=4)
def _of_base(cell: Cell) -> tuple[Tensor, Plan, int]:
    return generate(cell)


@lru_cache(maxsize=32)
def _distance(target: str, model: str, name: str) -> Distance:
    """Return a distance; it keeps what it has prepared, and its floor."""
    return distances(sampling_problem(target, model).compared(), which=[name])[name]


@lru_cache(maxsize=4)
def _ends_of(target: str, model: str, seed: int, count: int, folder: Path) -> Endpoints:
    made = sampling_problem(target, model)
    parts = [cached_endpoints(made, seed, block, folder) for block in blocks_of(target, count)]
    return Endpoints(*(torch.cat(column)[:count] for column in zip(*parts, strict=True)))


def distance_of(cell: Cell, name: str, folder: Path) -> Distance:
    """Return a distance for a cell's samples; endpoints of the flow, where it needs them, are kept in ``folder``.

    Raises:
        ValueError: for a distance that the cell's target does not have.
    """
    if name not in {*ENDPOINT_DISTANCES, *BASE_DISTANCES, *DRAW_DISTANCES}:
        return _distance(*cell.problem, name)
    made, ends = sampling_problem(*cell.problem), _ends_of(*cell.problem, cell.seed, cell.count, folder)
    # The endpoints are what is compared with: no picture is needed, and none is loaded.
    reference = Reference(made.name, made.shape, real=torch.empty(0, made.dim))
    if name in BASE_DISTANCES:
        return BASE_DISTANCES[name](reference, ends, _of_base(_base_of(cell))[0])
    if name in DRAW_DISTANCES:
        draws = _ends_of(*cell.problem, cell.seed + _DRAWS, cell.count, folder)
        return DRAW_DISTANCES[name](reference, ends, draws.exact)
    return ENDPOINT_DISTANCES[name](reference, ends)


def _undefined(count: int, bad: int) -> Estimate:
    nan = math.nan
    return Estimate(nan, nan, nan, nan, nan, nan, count, f"{bad} of {count} samples are not finite")
