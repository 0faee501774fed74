"""Faults of claims A5 to A7: norms, strengths and weights of the steps."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from theory_checks.annealing import proofs_steps
from theory_checks.annealing.consistency import check_consistency
from theory_checks.annealing.restored_norm import check_restored_norm
from theory_checks.annealing.stability import Solver, check_stability
from theory_checks.ledger.faults import fault

REDUCED = {
    "A5": partial(check_restored_norm, names=("cross-2d",)),
    "A6": partial(check_consistency, names=("cross-2d",)),
    "A7": partial(check_stability, labels=("ddim", "extrapolation, eta = 1/2", "dpm-solver-2m", "dpm-solver++-2m")),
}


# --- the norm


@fault("lml.extrapolated_norm:extrapolated_norm", "A5")
def norm_extrapolated_backwards(original: Any) -> Any:
    """``|e| - eta (|e| - |p|)``: the norm of a level behind, with the direction of one ahead."""
    return lambda noise, previous, eta: original(noise, previous, -eta)


@fault("lml.extrapolated_norm:extrapolated_norm", "A5")
def norm_of_the_current_noise(original: Any) -> Any:
    """``|e|``: step 13 of Algorithm 1 as it is."""
    return lambda noise, previous, eta: original(noise, previous, 0.0)


@fault("lml.extrapolated_norm:turn_weight", "A5")
def norm_of_twice_the_turn(original: Any) -> Any:
    """``2 zeta``: the norm goes twice as far as the direction."""
    return lambda noise, previous, *, damping, mixing: 2 * original(noise, previous, damping=damping, mixing=mixing)


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


# --- strengths that grow


@fault("theory_checks.annealing.consistency:across", "A6")
def limit_with_the_whole_change(original: Any) -> Any:
    """``eps + tau eps'`` in place of ``eps + tau P eps'``: the part along eps counts before the norm is restored."""
    return lambda noise, vector: vector


@fault("theory_checks.annealing.consistency:across", "A6")
def limit_of_half_the_strength(original: Any) -> Any:
    """``tau/2``: that of a sampler which sees every level twice."""
    return lambda noise, vector: 0.5 * original(noise, vector)


@fault("lml.correction:lml_direction_rank", "A6")
def strength_that_does_not_grow(original: Any) -> Any:
    """The mixing is capped at ``eta0 = 1``: LML is consistent then."""
    return lambda noise, history, *, damping, mixing: original(
        noise, history, damping=damping, mixing=min(mixing, 1e-12)
    )


@fault("lml.correction:lml_direction_rank", "A6")
def turned_twice_as_far(original: Any) -> Any:
    """``2 kappa`` for ``kappa``."""
    return lambda noise, history, *, damping, mixing: original(noise, history, damping=damping, mixing=2 * mixing)


@fault("theory_checks.annealing.proofs_steps:claimed_bend", "A5")
def change_of_the_noise_not_projected(original: Any) -> Any:
    """``|eps'|^2`` in place of ``|P eps'|^2``."""
    return lambda e, change, bend: e.dot(bend) + change.dot(change)


# --- stability


@fault("theory_checks.annealing.proofs_steps:claimed_limit", "A7")
def limit_without_the_past_noise(original: Any) -> Any:
    """``2/(k (1 + eta))``: the past noise left out."""
    return lambda: 2 / (proofs_steps.k * (1 + proofs_steps.eta))


@fault("theory_checks.annealing.stability:interval", "A7")
def interval_of_the_current_noise(original: Any) -> Any:
    """``2/(1 + eta)``: the weight of the past noise is forgotten."""
    return lambda eta: original(eta / 2)


@fault("theory_checks.annealing.stability:guidance_limit", "A7")
def limit_without_alternating_signs(original: Any) -> Any:
    """The root 1 in place of -1: weights add up to one, as if the past stabilised."""

    def limit(solver: Solver, h: float) -> Any:
        return original(Solver("ddim", lambda _: (1.0,), data=solver.data), h)

    return limit


@fault("theory_checks.annealing.stability:characteristic", "A7")
def past_noise_at_the_level_of_today(original: Any) -> Any:
    """``eps = m u/r`` with the r of the current level for the past noise too."""

    def characteristic(solver: Solver, h: float, m: float) -> Any:
        right = original(solver, h, m)
        right[2:] *= 1.0 if solver.data else np.exp(h * np.arange(1, len(right) - 1))
        return right

    return characteristic


@fault("theory_checks.annealing.stability:FixedExtrapolation._turned", "A7")
def extrapolation_by_twice_eta(original: Any) -> Any:
    """The noise is extrapolated twice as far as it says."""

    def turned(self: Any, vector: Tensor, history: Any, progress: float) -> Any:
        return vector + 2 * (original(self, vector, history, progress) - vector)

    return turned
