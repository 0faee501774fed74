r"""iPNDM: PNDM's multistep steps from the first step on, with fewer predictions where there are fewer.

``x' = linear x - gain e*`` with the transfer of DDIM and ``e*`` the Adams-Bashforth combination of the last ``order``
noise predictions (`lml.samplers.adams_bashforth`). One evaluation a step. It differs from `lml.samplers.pndm` at the
start alone: the first step is DDIM's, the second combines two predictions, the third three.

The combination is exact in a variable of equal steps and the transfer in ``sigma/alpha``; with the start of first order
the whole is of second order, whatever ``order``. On levels equal in log-SNR ``ipndm-2`` is the multistep DPM-Solver-2
(`lml.samplers.dpm_solver`), but for the last step of few.

``diffusers.IPNDMScheduler`` takes the steps of ``ipndm-4``. It has a noise schedule of its own in place of the model's,
``sigma = sin(pi t/2)^2``, takes the velocity ``v = alpha e - sigma x0`` for the network's answer, and starts at
``alpha = 0``, which the samplers here refuse. From its second level on the steps are the same.

Source: Zhang & Chen 2023, Fast Sampling of Diffusion Models with Exponential Integrator (iPNDM: PNDM improved).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from lml.samplers.adams_bashforth import adams_bashforth
from lml.samplers.base import Info, Level, Network, Sampler, State
from lml.samplers.exponential import noise_transfer

__all__ = ["IPNDM_2", "IPNDM_3", "IPNDM_4", "ipndm"]


def step(state: State, network: Network, levels: Sequence[Level], i: int, *, order: int) -> tuple[State, Info]:
    """Take one step of iPNDM."""
    now, after = levels[i], levels[i + 1]
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    outputs = ((now, evaluation.noise), *state.outputs)[:order]
    linear, gain, _ = noise_transfer(now, after)
    e = adams_bashforth([m for _, m in outputs])
    x, memory = network.advance(linear * state.x, 1.0, -gain * e, memory, i)
    return State(x, memory, outputs), Info((evaluation,))


def ipndm(order: int) -> Sampler:
    """Return iPNDM.

    Args:
        order: 2, 3 or 4: how many noise predictions a step combines. (One is DDIM.)

    Raises:
        ValueError: for another order.
    """
    if isinstance(order, bool) or order not in (2, 3, 4):
        raise ValueError(f"order must be 2, 3 or 4, got {order!r}")
    return Sampler(f"ipndm-{order}", order=2, step=partial(step, order=order))


#: All of second order: the number in the name counts the predictions.
IPNDM_2, IPNDM_3, IPNDM_4 = ipndm(2), ipndm(3), ipndm(4)
