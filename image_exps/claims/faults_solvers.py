"""Faults of claims L3 and L4: a margin that lets all pass, an inexact flow, and wrong rows."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from image_exps.claims.solver_choice import check_choice
from image_exps.claims.solver_rows import check_rows
from lml.samplers import Level
from theory_checks.ledger.faults import fault

#: One target, and few methods.
REDUCED = {
    "L3": partial(check_choice, targets=("ring-2d",)),
    "L4": partial(check_rows, methods=("unipc-2", "dpm-solver++-3m"), evaluations=(5,)),
}


# --- L3: a choice without the network


@fault("image_exps.claims.solver_choice:MARGIN", "L3")
def margin_of_a_factor(original: Any) -> float:
    """Twenty times as far is let pass for 5 % further."""
    return 20.0


@fault("image_exps.claims.solver_choice:_REFERENCE_STEPS", "L3")
def flow_of_few_steps(original: Any) -> int:
    """The flow's end is taken from so few steps that it is not known better than what is compared with it."""
    return 10


# --- L4: rows of weights


@fault("lml.solver.solver:published_rows", "L4")
def rows_of_the_oldest_noise_first(original: Any) -> Any:
    """The weights stand in the order of the evaluations."""
    return lambda base, levels: tuple(row[::-1] for row in original(base, levels))


@fault("lml.solver.solver:published_rows", "L4")
def only_the_last_noise_has_a_weight(original: Any) -> Any:
    """What the corrector of UniPC reuses is dropped."""
    return lambda base, levels: tuple((*row[:1], *(0.0,) * (len(row) - 1)) for row in original(base, levels))


@fault("lml.solver.fitting:published_rows", "L4")
def fit_that_begins_with_ddim(original: Any) -> Any:
    """Offsets are from rows of zeros, not from the published ones."""
    return lambda base, levels: original("ddim", levels)


@fault("image_exps.claims.solver_rows:_gaussian", "L4")
def noises_that_are_not_parallel(original: Any) -> Any:
    """The variance differs from one coordinate to the next."""

    def noise(x: Tensor, level: Level) -> Tensor:
        made: Tensor = original(x, level) * torch.linspace(1, 1.1, x.shape[1], dtype=x.dtype)
        return made

    return noise
