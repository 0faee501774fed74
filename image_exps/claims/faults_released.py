"""Faults of the claim Q3: an expression that does not round, mixing left on, a control of another size.

Errors that are not paired are a fault of Q1, Q2 and Q3 alike, in `image_exps.claims.faults`.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from image_exps.claims.released import check_released_quality
from lml.correction import ReleasedLML
from theory_checks.ledger.faults import fault

#: One budget, fewer noises, and no figures beside the verdict.
REDUCED = {"Q3": partial(check_released_quality, count=64, budgets=(20,), moments=False)}


@fault("image_exps.claims.released:ReleasedLML", "Q3")
def expression_of_k3_instead_of_the_published_one(original: Any) -> Any:
    """What is audited is our own expression, which is the identity: of course it adds nothing."""
    return lambda damping, mixing: ReleasedLML(damping, mixing, textbook=False)


@fault("image_exps.claims.released:ReleasedLML", "Q3")
def mixing_left_on(original: Any) -> Any:
    """``kappa = 1e-7``: float64 moves too."""
    return lambda damping, mixing: ReleasedLML(damping, 1e-7)


@fault("image_exps.claims.released:predicted_deviation", "Q3")
def noise_of_a_tenth_of_the_size(original: Any) -> Any:
    """The control draws a tenth of the noise that rounding makes."""
    return lambda noise, damping: 0.1 * original(noise, damping)
