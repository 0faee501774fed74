"""Faults of the claims Q1, Q2 and, one, Q3: a wrong correction, errors that are not paired, controls that are none."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor

from image_exps.claims.quality import check_attribution, check_gain
from image_exps.problems.endpoints import FlowBenchmark
from lml.controls import Extrapolation
from lml.correction import LML, NoCorrection
from theory_checks.ledger.faults import fault

#: Fewer noises, and no pictures.
REDUCED = {"Q1": partial(check_gain, count=96, pictures=False), "Q2": partial(check_attribution, count=96)}


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
