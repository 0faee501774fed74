r"""Euler and Heun of flow matching: ``dz/ds = v = e - x0`` in ``z = x/(alpha + sigma)``, ``s = sigma/(alpha + sigma)``.

Where ``alpha + sigma = 1`` these are the variables of a rectified flow, elsewhere its equivalent. In terms of the
noise, ``v = ((alpha + sigma) e - x)/alpha``. Euler: ``z' = z + (s' - s) v``. Heun: ``z' = z + (s' - s)(v + v')/2`` with
``v'`` at the Euler point; a step into ``sigma = 0`` is Euler's.

Source: Liu et al. 2023, Rectified Flow; Lipman et al. 2023, Flow Matching; Esser et al. 2024, Stable Diffusion 3.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from lml.samplers.base import Info, Level, Network, Sampler, State

__all__ = ["EULER_FLOW", "HEUN_FLOW"]


def velocity(x: Tensor, e: Tensor, level: Level) -> Tensor:
    """Return ``v = e - x0``."""
    return ((level.alpha + level.sigma) * e - x) / level.alpha


def _scales(now: Level, after: Level) -> tuple[float, float]:
    """Return ``linear`` and ``c`` of ``x' = linear x + c v``: ``c = (alpha' + sigma')(s' - s)``."""
    total, total_after = now.alpha + now.sigma, after.alpha + after.sigma
    # s' - s = (sigma' alpha - sigma alpha')/(..), without cancellation of what the two levels share.
    moved = (after.sigma - now.sigma) * now.alpha - now.sigma * (after.alpha - now.alpha)
    return total_after / total, moved / total


def euler(state: State, network: Network, levels: Sequence[Level], i: int) -> tuple[State, Info]:
    """Take one step of Euler."""
    now, after = levels[i], levels[i + 1]
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    linear, c = _scales(now, after)
    x, memory = network.advance(linear * state.x, c, velocity(state.x, evaluation.noise, now), memory, i)
    return State(x, memory), Info((evaluation,))


def heun(state: State, network: Network, levels: Sequence[Level], i: int) -> tuple[State, Info]:
    """Take one step of Heun."""
    now, after = levels[i], levels[i + 1]
    if after.sigma == 0:
        return euler(state, network, levels, i)
    linear, c = _scales(now, after)
    first, memory = network.noise(state.x, now, state.memory, i)
    v = velocity(state.x, first.noise, now)
    there = linear * state.x + c * v
    second, memory = network.noise(there, after, memory, i)
    # In x, the second velocity acts with the same c as the first: z scales by alpha + sigma, v does not.
    u = c * 0.5 * (v + velocity(there, second.noise, after))
    x, memory = network.advance(linear * state.x, 1.0, u, memory, i)
    return State(x, memory), Info((first, second))


#: First and second order. Heun's last step into ``sigma = 0`` costs one evaluation less.
EULER_FLOW = Sampler("euler-flow", order=1, step=euler)
HEUN_FLOW = Sampler("heun-flow", order=2, step=heun, evaluations=lambda steps: 2 * steps)
