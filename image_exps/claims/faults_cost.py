"""Faults of the claim T1: a correction that is expensive, clocks and counters that do not see what they should."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch

from image_exps.claims.cost import check_cost
from lml.correction import LML
from theory_checks.ledger.faults import fault

#: Fewer repetitions: a fault is far from the limit.
REDUCED = {"T1": partial(check_cost, repetitions=8)}


@fault("lml.correction:lml_direction_rank", "T1")
def damped_matrix_is_formed(original: Any) -> Any:
    """``v v^T`` is formed, a channel at a time, to multiply with it: cost quadratic in the dimension."""

    def direction(noise: Any, history: Any, **options: Any) -> Any:
        for v, e in zip(history[0].flatten(0, 1), noise.flatten(0, 1), strict=True):
            torch.outer(v.flatten(), v.flatten()) @ e.flatten()
        return original(noise, history, **options)

    return direction


@fault("image_exps.claims.cost:_CORRECTION", "T1")
def lml_switched_off_while_it_is_timed(original: Any) -> LML:
    """``mixing = 0``: what is timed does nothing."""
    return LML(mixing=0.0)


@fault("image_exps.claims.cost:bytes_moved", "T1")
def counter_sees_no_operation(original: Any) -> Any:
    """The counter is entered after the correction was made."""
    return lambda correction, noise, previous: 0


@fault("image_exps.claims.cost:_evaluate", "T1")
def network_is_evaluated_more_often_than_in_a_step(original: Any) -> Any:
    """What is timed as one evaluation is five: LML's share looks smaller than it is."""

    def evaluate(network: Any, x: Any) -> None:
        for _ in range(5):
            original(network, x)

    return evaluate
