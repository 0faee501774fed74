r"""PNDM: linear multistep (PLMS) on the noise prediction, carried from level to level by the transfer of DDIM.

``x' = linear x - gain e*`` with the Adams-Bashforth combination of the last four predictions
(`lml.samplers.adams_bashforth`).

The start is either the improved Euler step of Stable Diffusion (one more evaluation), then two and three predictions;
or three pseudo Runge-Kutta steps (four evaluations each): ``e* = (e_1 + 2 e_2 + 2 e_3 + e_4)/6``, with ``e_2`` and
``e_3`` half-way. The combinations are exact in a variable of equal steps, the transfer in ``sigma/alpha``: together
they are of second order, as the paper says.

Source: Liu et al. 2022, Pseudo Numerical Methods for Diffusion Models on Manifolds, Eqs. 9, 12 and 13, Algorithm 2.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from lml.samplers.adams_bashforth import adams_bashforth
from lml.samplers.base import Evaluation, Info, Level, Network, Sampler, State
from lml.samplers.exponential import noise_transfer

__all__ = ["PNDM", "PNDM_PRK", "between", "pndm"]

Halfway = Callable[[Level, Level], Level]


def between(now: Level, after: Level) -> Level:
    """Return the level half-way in ``log alpha`` and ``log sigma``, and in time."""
    return Level(math.sqrt(now.alpha * after.alpha), math.sqrt(now.sigma * after.sigma), 0.5 * (now.time + after.time))


def _transfer(x: Tensor, now: Level, after: Level, e: Tensor) -> Tensor:
    linear, gain, _ = noise_transfer(now, after)
    return linear * x - gain * e


def _runge_kutta(state: State, network: Network, levels: Sequence[Level], i: int, halfway: Level) -> tuple[State, Info]:
    now, after, x = levels[i], levels[i + 1], state.x
    first, memory = network.noise(x, now, state.memory, i)
    second, memory = network.noise(_transfer(x, now, halfway, first.noise), halfway, memory, i)
    third, memory = network.noise(_transfer(x, now, halfway, second.noise), halfway, memory, i)
    fourth, memory = network.noise(_transfer(x, now, after, third.noise), after, memory, i)
    e = (first.noise + 2 * second.noise + 2 * third.noise + fourth.noise) / 6
    linear, gain, _ = noise_transfer(now, after)
    x, memory = network.advance(linear * x, 1.0, -gain * e, memory, i)
    outputs = ((now, first.noise), *state.outputs)
    return State(x, memory, outputs), Info((first, second, third, fourth))


def step(
    state: State, network: Network, levels: Sequence[Level], i: int, *, halfway: Halfway | None
) -> tuple[State, Info]:
    """Take one step of PNDM."""
    now, after, x = levels[i], levels[i + 1], state.x
    if halfway is not None and len(state.outputs) < 3:
        return _runge_kutta(state, network, levels, i, halfway(now, after))
    first, memory = network.noise(x, now, state.memory, i)
    evaluations: tuple[Evaluation, ...] = (first,)
    outputs = ((now, first.noise), *state.outputs)[:4]
    e = adams_bashforth([m for _, m in outputs])
    if len(outputs) == 1 and after.sigma > 0:
        second, memory = network.noise(_transfer(x, now, after, first.noise), after, memory, i)
        evaluations, e = (first, second), (first.noise + second.noise) / 2
    linear, gain, _ = noise_transfer(now, after)
    x, memory = network.advance(linear * x, 1.0, -gain * e, memory, i)
    return State(x, memory, outputs), Info(evaluations)


def pndm(halfway: Halfway | None = None) -> Sampler:
    """Return PNDM.

    Args:
        halfway: the level half-way between two, for the Runge-Kutta start; ``None`` starts as Stable Diffusion does.
    """
    if halfway is None:
        return Sampler("pndm", order=2, step=partial(step, halfway=None), evaluations=lambda steps: steps + 1)
    return Sampler(
        "pndm-prk",
        order=2,
        step=partial(step, halfway=halfway),
        evaluations=lambda steps: steps + 3 * min(steps, 3),
    )


#: With the start of Stable Diffusion, and with the paper's.
PNDM, PNDM_PRK = pndm(), pndm(between)
