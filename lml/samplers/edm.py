r"""Euler and Heun in the variables of EDM, ``z = x/alpha`` and ``s = sigma/alpha``, where ``dz/ds = e``.

Euler: ``z' = z + (s' - s) e``, which is DDIM. Heun: ``z' = z + (s' - s)(e + e')/2`` with ``e'`` at the Euler point; a
step into ``sigma = 0`` is Euler's.

Source: Karras et al. 2022, EDM, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from lml.samplers.base import Info, Level, Network, Sampler, State
from lml.samplers.exponential import noise_transfer

__all__ = ["EULER", "HEUN"]


def euler(state: State, network: Network, levels: Sequence[Level], i: int) -> tuple[State, Info]:
    """Take one step of Euler."""
    now, after = levels[i], levels[i + 1]
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    linear, gain, _ = noise_transfer(now, after)  # gain = -alpha' (s' - s)
    x, memory = network.advance(linear * state.x, 1.0, -gain * evaluation.noise, memory, i)
    return State(x, memory), Info((evaluation,))


def heun(state: State, network: Network, levels: Sequence[Level], i: int) -> tuple[State, Info]:
    """Take one step of Heun."""
    now, after = levels[i], levels[i + 1]
    if after.sigma == 0:
        return euler(state, network, levels, i)
    first, memory = network.noise(state.x, now, state.memory, i)
    linear, gain, _ = noise_transfer(now, after)
    second, memory = network.noise(linear * state.x - gain * first.noise, after, memory, i)
    u = -gain * 0.5 * (first.noise + second.noise)
    x, memory = network.advance(linear * state.x, 1.0, u, memory, i)
    return State(x, memory), Info((first, second))


#: First and second order. Heun's last step into ``sigma = 0`` costs one evaluation less.
EULER = Sampler("euler", order=1, step=euler)
HEUN = Sampler("heun", order=2, step=heun, evaluations=lambda steps: 2 * steps)
