"""Faults of the sampler at growing strength and of its limit, for claim A6."""

from __future__ import annotations

from functools import partial
from typing import Any

from theory_checks.annealing.consistency import check_consistency
from theory_checks.ledger.faults import fault

REDUCED = {"A6": partial(check_consistency, names=("cross-2d",))}


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
