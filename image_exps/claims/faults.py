"""Faults of claims Q and T: wrong corrections, pairs, controls, and clocks."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from image_exps.claims.cost import check_cost
from image_exps.claims.imperfect import check_imperfect
from image_exps.claims.quality import check_attribution, check_gain
from image_exps.claims.released import check_released_quality
from image_exps.problems.endpoints import Endpoints, FlowBenchmark, flow_endpoints
from image_exps.problems.score_errors import Imperfect
from lml.controls import Extrapolation
from lml.correction import LML, NoCorrection, ReleasedLML
from lml.samplers import Level
from theory_checks.ledger.faults import fault

#: Fewer noises, repetitions and budgets; no pictures, no network, and no figures beside the verdict.
REDUCED = {
    "Q1": partial(check_gain, count=96, targets=("digits-low-rank",), pictures=False),
    "Q2": partial(check_attribution, count=96, targets=("digits-low-rank",)),
    "Q3": partial(check_released_quality, count=64, budgets=(20,), moments=False),
    "Q4": partial(check_imperfect, count=96, network=False),
    "T1": partial(check_cost, repetitions=8),
}


# --- Q1 and Q2: what LML gains, and by what


@fault("lml.correction:lml_direction_rank", "Q1", "Q2")
def turn_towards_the_previous_noise(original: Any) -> Any:
    """The sign of the extrapolation is wrong: the noise is turned towards the one before it."""
    return lambda noise, history, **options: original(noise, [2 * noise - p for p in history], **options)


@fault("image_exps.problems.endpoints:FlowBenchmark.error", "Q1", "Q2", "Q3")
def endpoints_of_other_noises(original: Any) -> Any:
    """A sample is compared with the endpoint of its neighbour's noise."""

    def error(self: FlowBenchmark, ends: Tensor) -> Tensor:
        result: Tensor = original(self, ends.roll(1, 0))
        return result

    return error


@fault("image_exps.problems.endpoints:_REFERENCE_STEPS", "Q1")
def reference_of_few_steps(original: Any) -> int:
    """The flow's endpoint is taken from so few steps that it is not known better than what is compared with it."""
    return 10


@fault("image_exps.problems.endpoints:ElementNoise", "Q2")
def noise_control_switched_off(original: Any) -> Any:
    """The noise control draws nothing: of course it gains nothing."""
    return lambda size, generators: NoCorrection()


@fault("image_exps.problems.endpoints:RandomTurn", "Q2")
def random_turn_is_the_extrapolation(original: Any) -> Any:
    """The control that should turn anywhere turns where LML does."""
    return lambda lml, generators: Extrapolation(lml)


@fault("lml.controls:extrapolation_coefficient", "Q2")
def control_extrapolates_backwards(original: Any) -> Any:
    """``e - eta (e - p)``: the control is not the extrapolation that LML makes."""
    return lambda *args, **options: -original(*args, **options)


@fault("image_exps.claims.quality:_FIRST_ORDER", "Q1")
def correction_switched_off(original: Any) -> LML:
    """``mixing = 0``: LML is its base."""
    return LML(mixing=0.0)


# --- Q3: the published code


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


# --- Q4: an imperfect score


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


# --- T1: the cost


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
