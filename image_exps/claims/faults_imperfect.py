"""Faults of the claim Q4: a correction that is off or turns the wrong way, errors that are none or not independent."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from image_exps.claims.imperfect import check_imperfect
from image_exps.problems.endpoints import Endpoints, flow_endpoints
from image_exps.problems.score_errors import Imperfect
from lml.correction import LML
from lml.samplers import Level
from theory_checks.ledger.faults import fault

#: Fewer noises, and no network.
REDUCED = {"Q4": partial(check_imperfect, count=96, network=False)}


@fault("image_exps.claims.imperfect:_LML", "Q4")
def correction_switched_off_with_an_imperfect_score(original: Any) -> LML:
    """``mixing = 0``: LML is its base."""
    return LML(mixing=0.0)


@fault("image_exps.problems.score_errors:Imperfect._white", "Q4")
def white_error_that_repeats(original: Any) -> Any:
    """The white error is the same at every level, and an extrapolation takes none of it for a change."""

    def white(self: Imperfect, count: int, level: Level) -> Tensor:
        result: Tensor = original(self, count, Level(1.0, 1.0))
        return result

    return white


@fault("image_exps.claims.imperfect:flow_endpoints", "Q4")
def own_flow_is_the_exact_one(original: Any) -> Any:
    """The flow is that of the score without its error."""

    def ends(model: Any, x: Tensor, steps: int) -> Endpoints:
        return flow_endpoints(model.model if isinstance(model, Imperfect) else model, x, steps)

    return ends


@fault("image_exps.claims.imperfect:Imperfect", "Q4")
def error_of_a_tenth_of_the_size(original: Any) -> Any:
    """The score is spoiled by less than is said."""
    return lambda model, kind, size, seed, shape: Imperfect(model, kind, size / 10, seed, shape)
