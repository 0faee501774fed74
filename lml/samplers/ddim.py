r"""DDIM, deterministic (eta = 0): exact where the noise prediction is constant along the path.

``x_next = alpha_next x0 + sigma_next e`` with ``x0 = (x - sigma e)/alpha``.
Source: Song, Meng & Ermon 2021, Denoising Diffusion Implicit Models, Eq. 12.
"""

from __future__ import annotations

from collections.abc import Sequence

from lml.samplers.base import Info, Level, Network, Sampler, State

__all__ = ["DDIM"]


def step(state: State, network: Network, levels: Sequence[Level], i: int) -> tuple[State, Info]:
    """Take one step of DDIM."""
    now, after = levels[i], levels[i + 1]
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    e = evaluation.noise
    x0 = (state.x - now.sigma * e) / now.alpha
    x, memory = network.advance(after.alpha * x0, after.sigma, e, memory, i)
    return State(x, memory), Info((evaluation,))


#: First order.
DDIM = Sampler("ddim", order=1, step=step)
