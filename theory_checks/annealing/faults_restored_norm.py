"""Faults of the norm rule of claim A5 and of the multistep loop behind it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from theory_checks.annealing.restored_norm import check_restored_norm
from theory_checks.ledger.faults import fault

REDUCED = {"A5": partial(check_restored_norm, names=("cross-2d",))}


@fault("lml.extrapolated_norm:extrapolated_norm", "A5")
def norm_extrapolated_backwards(original: Any) -> Any:
    """``|e| - eta (|e| - |p|)``: the norm of a level behind, with the direction of one ahead."""
    return lambda noise, previous, eta: original(noise, previous, -eta)


@fault("lml.extrapolated_norm:extrapolated_norm", "A5")
def norm_of_the_current_noise(original: Any) -> Any:
    """``|e|``: step 13 of Algorithm 1 as it is."""
    return lambda noise, previous, eta: original(noise, previous, 0.0)


@fault("theory_checks.annealing.multistep:adams_bashforth", "A5")
def weights_of_equal_steps(original: Any) -> Any:
    """The weights of equal steps between any levels."""
    return lambda nodes, end: original([-float(k) for k in range(len(nodes))], 1.0)


@fault("theory_checks.annealing.restored_norm:bent_source", "A5")
def mean_of_a_square_over_the_whole_step(original: Any) -> Any:
    """``theta^2/12``, the variance of a uniform law of width one, in place of half of it."""

    def source(noise: Tensor, change: Tensor) -> tuple[Tensor]:
        (right,) = original(noise, change)
        return (2 * right,)

    return source


@fault("theory_checks.annealing.multistep:combined", "A5")
def bend_of_the_last_step(original: Any) -> Any:
    """The angle is taken for that of a step ten times as long."""

    def combined(noises: list[Tensor], weights: np.ndarray, norm: str, ratio: float) -> Any:
        return original(noises, weights, norm, 10 * ratio)

    return combined
