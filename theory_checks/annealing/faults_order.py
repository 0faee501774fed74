"""Faults of the samplers and of the corrections in them, for the claims A3 and K5."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lml.correction import Correction, Memory
from theory_checks.annealing.order import BASES, check_order
from theory_checks.ledger.faults import fault

#: A second-order base, a first-order one and one with two evaluations a step, on one target.
REDUCED = {
    "A3": lambda settings: check_order(
        settings, {name: BASES[name] for name in ("ddim", "dpm-solver-2", "heun")}, ("cross-2d",)
    )
}


@fault("lml.correction:Correction.correct", "A3")
def memory_keeps_the_first_noise(original: Any) -> Any:
    """The previous noise is that of the first evaluation for ever, so that the change does not shrink with the step."""

    def correct(self: Correction, vector: Tensor, memory: Memory, progress: float = 0.0) -> tuple[Tensor, Memory]:
        turned, after = original(self, vector, memory, progress)
        return turned, memory if memory.history else after

    return correct


@fault("lml.correction:lml_direction_rank", "A3")
def turn_towards_the_previous_noise(original: Any) -> Any:
    """The sign of the extrapolation is wrong: the noise is turned towards the one before it."""
    return lambda noise, history, **options: original(noise, [2 * noise - p for p in history], **options)


@fault("lml.correction:lml_direction_rank", "A3")
def norm_is_not_restored(original: Any) -> Any:
    """Step 13 is left out: the extrapolated noise keeps the norm that comes out."""

    def direction(noise: Tensor, history: Any, *, damping: Any, mixing: float) -> Tensor:
        if not history:
            return noise
        turned: Tensor = noise + mixing * (noise * noise).sum(1, keepdim=True) / damping[:, None] * (noise - history[0])
        return turned

    return direction


@fault("lml.samplers.dpm_solver:multistep_sum", "A3")
def midpoint_is_the_end_point(original: Any) -> Any:
    """The second-order step extrapolates by a whole step instead of by half."""
    return lambda D, eta, **options: D[0] + D[1] if len(D) == 2 else original(D, eta, **options)


@fault("lml.correction:ReleasedLML.site", "K5")
def published_code_turns_the_noise(original: Any) -> str:
    """The noise is turned before the base sees it, as Algorithm 1 has it and the published code does not."""
    return "noise"


@fault("lml.samplers.base:Network.advance", "K5")
def published_code_turns_the_sample(original: Any) -> Any:
    """The whole next sample is turned instead of what the base adds to its linear part."""
    return lambda self, rest, scale, vector, memory, i: original(self, 0 * rest, 1.0, rest + scale * vector, memory, i)


@fault("lml.correction:lml_direction_textbook", "K5")
def textbook_with_ten_times_the_damping(original: Any) -> Any:
    """The damping is taken for another one, which leaves a tenth of the rounding noise."""
    return lambda noise, previous, *, damping, mixing: original(noise, previous, damping=10 * damping, mixing=mixing)
