"""One cell of a sweep: a pure function of its parameters, in blocks of samples that are always the same."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from image_exps.arms import Plan, arm
from image_exps.distances import Distance, Estimate, distances, estimate
from image_exps.flow_ends import BLOCK, flow_ends
from image_exps.seeds import starting_noise
from image_exps.sweep_grid import FLOW, Cell, load_plugins
from image_exps.sweep_models import World, world
from lml.samplers import Level, NoiseModel, sample

__all__ = ["blocks_of", "generate", "prepare", "run_cell"]

# Of the resamples: the same rows are drawn for every arm.
_BOOTSTRAP_SEED = 0xB007


@contextmanager
def _one_thread() -> Iterator[None]:
    """Run on one thread: sums have one order, and workers do not take each other's cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1), torch.inference_mode():
            yield
    finally:
        torch.set_num_threads(before)


def blocks_of(count: int) -> range:
    """Return the blocks that ``count`` samples are in."""
    return range(-(-count // BLOCK))


def prepare(target: str, model: str, seed: int, block: int, folder: Path) -> None:
    """Compute the flow's endpoints of one block, unless they are kept in ``folder``."""
    with _one_thread():
        _ends(world(target, model), target, seed, block, folder)


def run_cell(cell: Cell, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of a cell, one for each distance.

    Args:
        cell: its parameters.
        folder: where endpoints of the exact flow are kept.

    Raises:
        ValueError: for parameters that do not fit together.
    """
    load_plugins(cell.plugins)
    with _one_thread():
        made = world(*cell.world)
        started = time.perf_counter()
        x, plan, spent = generate(cell)
        seconds = time.perf_counter() - started
        bad = int((~torch.isfinite(x.flatten(1)).all(1)).sum())
        used = arm(cell.arm)
        lml = getattr(plan.correction, "lml", plan.correction)
        shared = {
            **{k: v for k, v in asdict(cell).items() if k not in ("distances", "plugins")},
            "base": used.base,
            "spacing": used.spacing,
            "correction": used.correction,
            "damping": float(getattr(lml, "damping", math.nan)),
            "mixing": float(getattr(lml, "mixing", math.nan)),
            "dim": math.prod(made.shape),
            "dtype": str(plan.dtype or made.dtype).removeprefix("torch."),
            "spent": spent,
            "not_finite": bad,
            "sampling_seconds": seconds,
        }
        rows = []
        for name in cell.distances:
            started = time.perf_counter()
            if bad:
                found = _undefined(cell.count, bad)
            elif name == FLOW:
                found = _flow_error(x, made, cell, folder)
            else:
                generator = torch.Generator().manual_seed(_BOOTSTRAP_SEED + cell.seed)
                found = estimate(_distance(*cell.world, name), x, generator=generator, repeats=cell.repeats)
            higher = name != FLOW and _distance(*cell.world, name).higher_is_better
            rows.append(
                {**shared, "distance": name, **found._asdict(), "higher_is_better": higher,
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
    """Return a cell's samples (count, *shape), the plan of the last block, and the evaluations that each took.

    The last block is computed whole and cut: what a sample is does not depend on how many there are.
    """
    made, chosen = world(*cell.world), arm(cell.arm)
    dim = math.prod(made.shape)
    parts, plan, model = [], None, None
    for block in blocks_of(cell.count):
        first = BLOCK * block
        plan = chosen.build(cell.evaluations, dim, seed=cell.seed, count=BLOCK, first=first)
        model = _Counted(made.model(cell.seed, first, BLOCK), made.dtype)
        x = starting_noise(cell.seed, first, BLOCK, made.shape).to(plan.dtype or made.dtype)
        parts.append(sample(plan.sampler, model, x, plan.levels, plan.correction))
    assert plan is not None
    assert model is not None
    return torch.cat(parts)[: cell.count], plan, model.evaluations


@lru_cache(maxsize=32)
def _distance(target: str, model: str, name: str) -> Distance:
    """Return a distance; it keeps what it has prepared, and its floor."""
    return distances(world(target, model).compared, which=[name])[name]


def _ends(made: World, target: str, seed: int, block: int, folder: Path) -> Tensor:
    if made.exact is None:
        raise ValueError(f"distances must not have {FLOW} for {target}: its flow is not exact")
    return flow_ends(made.exact, seed, block, folder)


def _flow_error(x: Tensor, made: World, cell: Cell, folder: Path) -> Estimate:
    r"""Return the mean of ``|x - x_flow|/sqrt(d)`` with its 95 % normal interval; the exact flow has zero."""
    ends = torch.cat([_ends(made, cell.target, cell.seed, block, folder) for block in blocks_of(cell.count)])
    errors = (x - ends[: cell.count]).double().flatten(1).square().mean(1).sqrt()
    mean, half = float(errors.mean()), 1.959964 * float(errors.std()) / math.sqrt(cell.count)
    return Estimate(mean, mean - half, mean + half, 0.0, 0.0, 0.0, cell.count, "")


def _undefined(count: int, bad: int) -> Estimate:
    nan = math.nan
    return Estimate(nan, nan, nan, nan, nan, nan, count, f"{bad} of {count} samples are not finite")
